"""The shard weights that counters of examples imply.

A counter is a SUM variable. Its value may be compared with a single device, or the replicas only
write to it, and nobody reads it: what each replica adds in a call is the size of its shard.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from varsim.analysis.arithmetic import value_of
from varsim.analysis.findings.comparison import Comparison
from varsim.analysis.findings.shard_weights import Weights
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.analysis.observer import EventObserver
from varsim.extension_dtypes import kind_of
from varsim.tracing.history import Event


class ExampleCounts(EventObserver):
    """What each replica adds to each SUM variable, call by call."""

    def __init__(self, num_replicas: int, variables: Mapping[int, VariableFacts]) -> None:
        self._num_replicas = num_replicas
        self._counters = {
            number: facts
            for number, facts in variables.items()
            if facts.aggregation == "SUM"
            and facts.shape == ()
            and kind_of(facts.numpy_dtype) in "iuf"
        }
        self._added: defaultdict[int, dict[int | None, list[float]]] = defaultdict(dict)
        """Variable → call → what each replica added."""
        self._others: set[int] = set()  # variables with writes that count nothing
        self.listed: list[list[Weights]] = []
        """Weights from compared counters: one for all comparisons, or one for each."""

    def concerns(self, variable: int | None) -> bool:
        """Return whether the variable can be a counter of examples."""
        return variable in self._counters

    def on_write_by_replica(self, event: Event) -> None:
        """Add what a replica adds. A variable with other writes is no counter."""
        facts = self._counters[event.variable or 0]
        if facts.variable_id in self._others:
            return
        value = value_of(event, facts.numpy_dtype) if event.indices is None else None
        number = 0.0 if value is None or event.operation != "assign_add" else float(value[0])
        if not (number > 0 and number.is_integer()):  # NaN and infinity are no counts
            self._others.add(facts.variable_id)
            self._added.pop(facts.variable_id, None)
            return
        calls = self._added[facts.variable_id]
        calls.setdefault(event.call, [0.0] * self._num_replicas)[event.process] += number

    def weights_for(self, comparisons: Sequence[Comparison]) -> Iterator[list[Weights]]:
        """Yield, for each way to count, a weight of each replica for each comparison."""
        for known in self.listed:
            if len(known) in {1, len(comparisons)}:
                yield known * (len(comparisons) // len(known))
        for calls in self._added.values():
            each = [calls.get(one.event.call) for one in comparisons]
            found = [np.array(one) for one in each if one is not None and min(one) > 0]
            if len(found) == len(comparisons):
                yield [one / one.sum() for one in found]
            total = np.sum(list(calls.values()), axis=0)
            if total.min() > 0:
                yield [total / total.sum()] * len(comparisons)
