"""Redundant synchronisation: exchanges that affect no later read.

A single occurrence is not reported: the last merge of a run may stay unread, and a program may read
a result twice. Only repeated occurrences are a finding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from varsim.analysis import sparse
from varsim.analysis.arithmetic import digest_of
from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.model import (
    Certainty,
    Evidence,
    Finder,
    Finding,
    FindingKind,
    finding_of,
)
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.spec import VariableSynchronization
from varsim.texts.facts import times
from varsim.texts.program_lines import variable_lines
from varsim.tracing.history import PROGRAM, Event

UNREAD_MERGES: Final = FindingKind(name="merges that are never read")
REPEATED_READS: Final = FindingKind(name="reads with nothing changed")
SAME_CONTRIBUTIONS: Final = FindingKind(
    name="merges of the same values", certainty=Certainty.PATTERN
)
EAGER_SYNCHRONISATION: Final = FindingKind(
    name="manual synchronisation after every write", certainty=Certainty.PATTERN
)

AGAIN_AND_AGAIN: Final = 3
"""Least number of occurrences that make a redundancy a finding."""

_UNREAD_SHARE: Final = 0.25
"""Least fraction of a variable's merges that must be unread for a finding."""

_EAGER_SHARE: Final = 0.9
"""Least fraction of a variable's manual synchronisations that must follow a single write."""

_OPEN_VERSIONS: Final = 64
"""Number of latest merges that slower replicas may still read. Older merges count as unread."""


@dataclass(slots=True)
class _MergeCounts:
    """The merges of one mirrored variable."""

    count: int = 0
    are_sparse: bool = False  # whether a merged write is sparse; ON_READ refuses such writes
    equal: int = 0  # number of merges of equal contributions
    unread: Evidence = field(default_factory=Evidence)
    shown_equal: Evidence = field(default_factory=Evidence)
    newest: int = 0  # the newest version
    read: int = 0  # the newest version that was read
    open: dict[int, tuple[Event, str | None]] = field(default_factory=dict)
    """Version → the commit of an unread merge, and the location of the write."""


@dataclass(slots=True)
class _Reads:
    """The program's reads of a variable that is aggregated when it is read."""

    count: int = 0
    unchanged: bool = False  # whether nothing was written since the last read
    repeated: Evidence = field(default_factory=Evidence)


@dataclass(slots=True)
class _Synchronisations:
    """The program's manual synchronisations of a variable that each replica writes for itself."""

    count: int = 0
    eager: Evidence = field(default_factory=Evidence)


class Redundancy(Finder):
    """Finds unnecessary merges and reads."""

    kinds = (UNREAD_MERGES, REPEATED_READS, SAME_CONTRIBUTIONS, EAGER_SYNCHRONISATION)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._variables = {
            number: one
            for number, one in context.variables.items()
            if one.merged or one.gathered or one.own
        }
        self._components, self._contributions = context.components, context.contributions
        self._merges: defaultdict[int, _MergeCounts] = defaultdict(_MergeCounts)
        self._reads: defaultdict[int, _Reads] = defaultdict(_Reads)
        self._synchronisations: dict[int, _Synchronisations] = {}

    def concerns(self, variable: int | None) -> bool:
        """Return True unless the variable is adaptive."""
        return variable is None or variable in self._variables

    def on_write(self, event: Event) -> None:
        """Record that a local write changes a component."""
        if event.variable is not None and not (facts := self._variables[event.variable]).merged:
            self._changed(event, facts)

    def on_commit(self, event: Event) -> None:
        """Judge a merge; for other commits, record that components change."""
        if event.variable is None:
            return
        facts = self._variables[event.variable]
        if not facts.merged:
            self._changed(event, facts)
        elif contributions := self._contributions.committed:
            self._merge(event, self._merges[event.variable], contributions)

    def on_read(self, event: Event) -> None:
        """Store a read of a merged value, or of gathered components."""
        if event.variable is None:
            return
        facts = self._variables[event.variable]
        if facts.merged:
            self._was_read(event, event.variable)
        elif facts.gathered and event.process == PROGRAM and event.replica is None:
            self._gather(event, self._reads[event.variable])

    def finish(self) -> list[Finding]:
        """Return one finding for each variable and kind of redundancy."""
        found = [self._judge_merges(self._variables[n], one) for n, one in self._merges.items()]
        found += [
            _repeated(self._variables[n], one.repeated, one.count, self.num_replicas)
            for n, one in self._reads.items()
            if one.repeated.count >= AGAIN_AND_AGAIN
        ]
        found += [
            _eager(self._variables[n], one)
            for n, one in self._synchronisations.items()
            if one.eager.count >= max(AGAIN_AND_AGAIN, _EAGER_SHARE * one.count)
        ]
        return [one for one in found if one is not None]

    def _was_read(self, event: Event, variable: int) -> None:
        merges = self._merges[variable]  # the first read may come before the first commit
        version = merges.newest if event.version is None else event.version
        if version in merges.open:
            del merges.open[version]
        merges.read = max(merges.read, version)

    def _merge(
        self, event: Event, merges: _MergeCounts, contributions: Mapping[int, Event]
    ) -> None:
        merges.count += 1
        merges.are_sparse = merges.are_sparse or event.operation in sparse.OPERATIONS
        first = next(iter(contributions.values()))
        location = first.location  # a commit has no location
        if len(contributions) == len(self.givers(event)) and _are_equal(contributions):
            merges.equal += 1
            merges.shown_equal.add(event, first.event, location=location)
        if event.version is not None:
            merges.newest = event.version
            if event.version != merges.read:  # otherwise the program has already read this version
                merges.open[event.version] = event, location
            if len(merges.open) > _OPEN_VERSIONS:
                shown, location = merges.open.pop(next(iter(merges.open)))
                merges.unread.add(shown, location=location)

    def _gather(self, event: Event, reads: _Reads) -> None:
        reads.count += event.occurrences
        if reads.unchanged:
            reads.repeated.add(event)
        reads.unchanged = True

    def _changed(self, event: Event, facts: VariableFacts) -> None:
        variable = facts.variable_id
        if facts.gathered:
            self._reads[variable].unchanged = False
            return
        copies = self._components[variable]
        if copies.synchronised_at != event.event:
            return
        one = self._synchronisations.setdefault(variable, _Synchronisations())
        one.count += 1
        if copies.written_before == 1:
            one.eager.add(event if event.location is not None else copies.program_write or event)

    def _judge_merges(self, facts: VariableFacts, merges: _MergeCounts) -> Finding | None:
        if facts.first and merges.equal == merges.count >= AGAIN_AND_AGAIN:
            return _equal(facts, merges)
        unread = merges.unread
        # The last merge does not count: the run ended before its value could be read.
        merges.open.pop(merges.newest, None)
        for event, location in merges.open.values():
            unread.add(event, location=location)
        if unread.count >= max(AGAIN_AND_AGAIN, _UNREAD_SHARE * merges.count):
            some_joined = self.context.presence.some_joined
            return _unread(facts, merges, some_joined=some_joined)
        return None


def _are_equal(contributions: Mapping[int, Event]) -> bool:
    digests = {digest_of(event) for event in contributions.values()}
    return len(digests) == 1 and None not in digests


_ADAPTIVE: Final = "auto=adaptive, which merges at the next read; or "
_COLLECT_ROWS: Final = "collect the rows of several writes on each replica, and write them once."
_WRITE_OUTSIDE: Final = (
    "Write these rows outside strategy.run, where the program sends them once and replicas do not "
    "wait for each other. ON_READ refuses sparse writes."
)
"""The remedy if all replicas write the same rows."""


def _equal(facts: VariableFacts, merges: _MergeCounts) -> Finding:
    return finding_of(
        SAME_CONTRIBUTIONS,
        facts,
        merges.shown_equal,
        f"In all {times(merges.count, 'merge')} every replica contributed the same value, and the "
        "first replica's value was used. Each replica could have written it without an exchange.",
        _WRITE_OUTSIDE
        if merges.are_sparse
        else "Choose ON_READ with ONLY_FIRST_REPLICA: the values are the same, and nothing is sent "
        "before a read.",
        paste=()
        if merges.are_sparse
        else variable_lines(facts.name, VariableSynchronization.ON_READ, "ONLY_FIRST_REPLICA"),
    )


def _unread(facts: VariableFacts, merges: _MergeCounts, *, some_joined: bool) -> Finding:
    return finding_of(
        UNREAD_MERGES,
        facts,
        merges.unread,
        f"The values of {merges.unread.count:,} of {times(merges.count, 'merge')} were not read "
        "before the next merge.",
        _rarer_merges(facts, merges, some_joined=some_joined),
    )


def _rarer_merges(facts: VariableFacts, merges: _MergeCounts, *, some_joined: bool) -> str:
    """Return the remedy for unread merges.

    If replicas have joined, adaptive AUTO refuses the call, and the mean of ON_READ has other
    weights. A variable with one copy cannot get another synchronization.
    """
    if merges.are_sparse:
        only_collect = some_joined or facts.one_copy
        return _sentence(_COLLECT_ROWS if only_collect else f"choose {_ADAPTIVE}{_COLLECT_ROWS}")
    collect = "collect the writes on each replica, and merge once."
    if facts.one_copy:
        return _sentence(collect)
    if not some_joined:
        return f"Choose ON_READ if you need only the final sum or mean, or {_ADAPTIVE}{collect}"
    if facts.aggregation == "MEAN":
        return (
            "Some replicas had joined, so ON_READ would give another mean, and auto=adaptive would "
            "refuse this. First give rows to every replica in each step."
        )
    return f"Choose ON_READ if you need only the final value; or {collect}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _repeated(facts: VariableFacts, repeated: Evidence, count: int, num_replicas: int) -> Finding:
    asked = 1 if facts.first else num_replicas
    return finding_of(
        REPEATED_READS,
        facts,
        repeated,
        f"Nothing had changed since the previous read in {repeated.count:,} of "
        f"{times(count, 'read')} by the program. For these reads varsim returns a kept result; "
        f"TensorFlow copies {times(asked, 'component')} again each time.",
        "Keep the result of the first read in a Python variable, until the next write.",
    )


def _eager(facts: VariableFacts, one: _Synchronisations) -> Finding:
    return finding_of(
        EAGER_SYNCHRONISATION,
        facts,
        one.eager,
        f"{one.eager.count:,} of {times(one.count, 'manual synchronisation')} came after a single "
        "write in each replica.",
        "Choose ON_WRITE with the aggregation that you compute by hand, which needs one exchange "
        "for each write; or synchronise after several writes.",
    )
