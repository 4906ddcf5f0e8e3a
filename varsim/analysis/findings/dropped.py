"""Dropped contributions: only the first replica's value is used, but the others' values differ.

With ONLY_FIRST_REPLICA, replicas should write the same value, or the program means a broadcast from
the first replica. If the others write values of their own, which change in each step and nearly
always differ from the first replica's, their work is lost. A few merges, and values that do not
change, can be a broadcast; added values are parts of a whole, so a few merges are enough. The
finder needs no oracle. If the rules of `scaling.py` were tried on the variable, they know more, so
this finder says nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from varsim.analysis.arithmetic import digest_of
from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.model import (
    OWN_VALUES,
    Certainty,
    Evidence,
    Finder,
    Finding,
    FindingKind,
    finding_of,
)
from varsim.analysis.findings.scaling_messages import FIRST_REPLICA_ONLY
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.texts.facts import name_replicas, share
from varsim.tracing.history import Event

DROPPED: Final = FindingKind(
    name=FIRST_REPLICA_ONLY.name, certainty=Certainty.PATTERN, about_values=True
)
"""The kind of the same name that needs a comparison with a single device is another one."""

_LEAST: Final = 10
"""Least number of merges: fewer do not show that the replicas' values are independent."""

_LEAST_ADDED: Final = 4
"""Least number of merges if replicas add: an added value is a part of the whole, no broadcast."""

_ADDS: Final = frozenset({"assign_add", "assign_sub"})

_NEARLY_ALL: Final = 0.9
"""Fraction of the other replicas' values that must differ from the first replica's."""

_MOST_REPEATED: Final = 0.5
"""Largest fraction of a replica's values that may repeat earlier ones."""


@dataclass(slots=True)
class _Merges:
    """The merges of one variable of which only the first replica's value is used."""

    count: int = 0
    whole: bool = True  # whether every value has a digest
    added: bool = True  # whether all merges add or subtract
    values: defaultdict[int, set[int | None]] = field(default_factory=lambda: defaultdict(set))
    """Replica → the digests of its contributions."""
    others: int = 0  # number of the other replicas' contributions
    differing: int = 0  # number of those that differ from the first replica's contribution
    dropped: Evidence = field(default_factory=Evidence)


class Dropped(Finder):
    """Finds variables of which only the first replica's value is used, although others differ."""

    kinds = (DROPPED,)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._variables = {
            number: one for number, one in context.variables.items() if one.merged and one.first
        }
        self._merges: defaultdict[int, _Merges] = defaultdict(_Merges)

    def concerns(self, variable: int | None) -> bool:
        """Return whether only the first replica's value of a merge is used."""
        return variable in self._variables

    def on_commit(self, event: Event) -> None:
        """Compare the contributions to a merge."""
        contributions = self.context.contributions.committed
        if contributions and event.variable is not None and 0 in contributions:
            self._add(self._merges[event.variable], event, contributions)

    def _add(self, merges: _Merges, event: Event, contributions: Mapping[int, Event]) -> None:
        digests = {i: digest_of(one) for i, one in contributions.items()}
        merges.count += 1
        merges.added = merges.added and contributions[0].operation in _ADDS
        merges.whole = merges.whole and None not in digests.values()
        for replica_id, digest in digests.items():
            merges.values[replica_id].add(digest)
        differing = sum(digest != digests[0] for digest in digests.values())
        merges.others += len(digests) - 1
        merges.differing += differing
        if differing:
            numbers = (one.event for one in contributions.values())
            merges.dropped.add(event, *numbers, location=contributions[0].location)

    def finish(self) -> list[Finding]:
        """Return one finding for each variable whose other contributions are lost."""
        comparisons = self.context.comparisons
        judged = set() if comparisons is None else comparisons.judged
        return [
            _finding(self._variables[number], merges)
            for number, merges in sorted(self._merges.items())
            if number not in judged and _are_lost(merges)
        ]


def _are_lost(merges: _Merges) -> bool:
    """Return whether the other replicas' values change, and nearly always differ."""
    least = (1 - _MOST_REPEATED) * merges.count
    return (
        merges.whole
        and merges.count >= (_LEAST_ADDED if merges.added else _LEAST)
        and merges.differing >= _NEARLY_ALL * merges.others > 0
        and all(len(values) >= least for values in merges.values.values())
    )


def _finding(facts: VariableFacts, merges: _Merges) -> Finding:
    others = name_replicas([one for one in merges.values if one])
    verbs = f"that {others} contributed differs", f"that {others} contributed differ"
    return finding_of(
        DROPPED,
        facts,
        merges.dropped,
        f"{share(merges.differing, merges.others, 'value', verbs)} "
        f"from the value of replica 0 in the same merge, and each replica's values change. "
        f"ONLY_FIRST_REPLICA drops them: after the merge, {others} read the value of replica 0.",
        "If each replica should use its own value, choose ON_READ with NONE, which keeps each "
        "replica's component, or keep the value outside a variable. If the values should be "
        "combined, choose SUM or MEAN. If all replicas should use one value, let the program "
        "compute it, and give it to strategy.run in `args`.",
        settings=None if facts.one_copy else OWN_VALUES,
    )
