"""Values with SUM that replicas read whole, change in part, and assign again.

If every replica reads a variable with SUM, changes a few rows of the value and assigns the result,
each element counts once for every replica. The finder looks for elements that all replicas but one
assign exactly as they were before, while that one assigns a value other than 0, too. It needs no
oracle.

Not reported:
- Replicas that assign a part each, with 0 at the elements of others.
- Values of which a replica has not read the variable in the same call.
- Values that the rules of `scaling.py` have compared with a single device.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from varsim.analysis.arithmetic import Flat, value_of
from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.model import Evidence, Finding, SelectiveFinder, finding_of
from varsim.analysis.findings.summed_again import SUMMED_AGAIN
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.texts.facts import times
from varsim.tracing.history import Event

_LEAST: Final = 2
"""Least number of elements, in all merges, that were assigned again: one may be so by chance."""


@dataclass(slots=True)
class _Assigned:
    """The merges of one variable by assign."""

    before: Flat | None = None  # the value before the next merge; None if it was not recorded
    readers: set[int] = field(default_factory=set)  # the replicas that read it in this call
    merges: int = 0
    again: int = 0  # number of merges in which elements were assigned again
    elements: int = 0  # number of these elements
    shown: str = ""  # the first such element before and after the merge, as text
    evidence: Evidence = field(default_factory=Evidence)


class AssignedAgain(SelectiveFinder):
    """Finds variables with SUM to which replicas assign the value that they have read."""

    kinds = (SUMMED_AGAIN,)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._found: defaultdict[int, _Assigned] = defaultdict(_Assigned)

    def examines(self, facts: VariableFacts) -> bool:
        """Return whether the values that replicas assign are summed."""
        return facts.aggregation == "SUM" and facts.merged

    def on_create(self, event: Event) -> None:
        """Record the initial value."""
        if event.variable is not None:
            self._found[event.variable].before = self._value(event)

    def on_read_by_replica(self, event: Event) -> None:
        """Record who knows the value."""
        if event.variable is not None:
            self._found[event.variable].readers.add(event.process)

    def on_commit(self, event: Event) -> None:
        """Compare what the replicas assigned with the value before."""
        if event.variable is None:
            return
        found, after = self._found[event.variable], self._value(event)
        given = self.context.contributions.committed
        if given and all(one.operation == "assign" for one in given.values()):
            found.merges += 1
            if found.readers >= given.keys():
                self._compare(found, event, given, after)
        whole = event.replica is None and (event.operation == "assign" or bool(given))
        found.before = after if whole else None  # otherwise `after` is an operand, or one component

    def on_finish(self, event: Event) -> None:  # noqa: ARG002  # the kind is enough
        """Forget who has read the values."""
        for found in self._found.values():
            found.readers.clear()

    def finish(self) -> list[Finding]:
        """Return one finding for each variable whose value is assigned again in most merges."""
        comparisons = self.context.comparisons
        judged = set() if comparisons is None else comparisons.judged
        return [
            _finding(self._variables[number], found, self.num_replicas)
            for number, found in sorted(self._found.items())
            if number not in judged and found.elements >= _LEAST and 2 * found.again >= found.merges
        ]

    def _value(self, event: Event) -> Flat | None:
        assert event.variable is not None
        return value_of(event, self._variables[event.variable].numpy_dtype)

    def _compare(
        self, found: _Assigned, event: Event, given: Mapping[int, Event], after: Flat | None
    ) -> None:
        parts = [self._value(one) for one in given.values()]
        before = found.before
        if before is None or any(one is None or one.shape != before.shape for one in parts):
            return
        values = np.stack([one for one in parts if one is not None])
        kept = (values == before).sum(axis=0) >= len(values) - 1
        again = np.flatnonzero(kept & (before != 0) & (values != 0).all(axis=0))
        if len(values) < 2 or not len(again):
            return
        first = int(again[0])
        if not found.again and after is not None and first < len(after):
            found.shown = f": for example, {before[first]:g} becomes {after[first]:g}"
        found.again += 1
        found.elements += len(again)
        locations = [one.location for one in given.values() if one.location is not None]
        numbers = (one.event for one in given.values())
        found.evidence.add(event, *numbers, location=locations[0] if locations else None)


def _finding(facts: VariableFacts, found: _Assigned, num_replicas: int) -> Finding:
    return finding_of(
        SUMMED_AGAIN,
        facts,
        found.evidence,
        f"In {found.again:,} of {times(found.merges, 'merge')} the {num_replicas} replicas read "
        "the value, changed it at most in part, and assigned it again. SUM adds these values, so "
        f"what the replicas left as it was counts {num_replicas} times{found.shown}.",
        "Add only the change: v.assign_add with 0 at the elements that the replica does not "
        "change, or v.scatter_add(tf.IndexedSlices(changes, rows)).",
        paste=("change = new - value  # value: what the replica has read", "v.assign_add(change)"),
    )
