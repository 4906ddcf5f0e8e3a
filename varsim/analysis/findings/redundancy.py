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
from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.model import (
    Certainty,
    Evidence,
    Finding,
    FindingKind,
    Proposed,
    SelectiveFinder,
    finding_of,
)
from varsim.analysis.findings.same_contributions import (
    AGAIN_AND_AGAIN,
    SAME_CONTRIBUTIONS,
    SAME_DATA,
    SameContributions,
)
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.spec import VariableAggregation, VariableSynchronization
from varsim.texts.facts import times
from varsim.tracing.history import PROGRAM, Event

UNREAD_MERGES: Final = FindingKind(name="merges that are never read", costs_only=True)
REPEATED_READS: Final = FindingKind(name="reads with nothing changed", costs_only=True)
EAGER_SYNCHRONISATION: Final = FindingKind(
    name="manual synchronisation after every write", certainty=Certainty.PATTERN, costs_only=True
)

_UNREAD_SHARE: Final = 0.25
"""Least fraction of a variable's merges that must be unread for a finding."""

_REPEATED_SHARE: Final = 0.5
"""Fraction of a variable's reads that must be exceeded: a statement may read a value twice."""

_EAGER_SHARE: Final = 0.9
"""Least fraction of a variable's manual synchronisations that must follow a single write."""

_AGREEMENTS: Final = frozenset({"reduced", "merged", "host_result"})
"""Answers after which replicas may hold equal values that they could not compute alone."""

_OPEN_VERSIONS: Final = 64
"""Number of latest merges that slower replicas may still read. Older merges count as unread."""


@dataclass(slots=True)
class _MergeCounts:
    """The merges of one mirrored variable."""

    count: int = 0
    are_sparse: bool = False  # whether a merged write is sparse; ON_READ refuses such writes
    unread: Evidence = field(default_factory=Evidence)
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


class Redundancy(SelectiveFinder):
    """Finds unnecessary merges and reads."""

    kinds = (UNREAD_MERGES, REPEATED_READS, SAME_CONTRIBUTIONS, SAME_DATA, EAGER_SYNCHRONISATION)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._components, self._contributions = context.components, context.contributions
        self._same = SameContributions()
        self._agreed: set[int] = set()  # replicas that had a collective in their running call
        self._read_mirror: set[int] = set()  # replicas that read a mirrored variable in it
        self._local = [number for number, one in self._variables.items() if not one.merged]
        self._merges: defaultdict[int, _MergeCounts] = defaultdict(_MergeCounts)
        self._reads: defaultdict[int, _Reads] = defaultdict(_Reads)
        self._synchronisations: dict[int, _Synchronisations] = {}
        self._own_reads: dict[tuple[int, int], Event] = {}  # (variable, replica) → last read
        self._gathered: dict[int, int | None] = {}  # variable → digest of its last gathered value

    def examines(self, facts: VariableFacts) -> bool:
        """Return whether a merge or a read of the variable can be unnecessary."""
        return facts.merged or facts.gathered or facts.own

    def on_write(self, event: Event) -> None:
        """Record that a local write changes a component."""
        if event.variable is None:
            return
        if not (facts := self._variables[event.variable]).merged:
            self._changed(event, facts)
        else:
            collective, read = event.process in self._agreed, event.process in self._read_mirror
            self._same.write(event.variable, collective=collective, read=read)

    def on_begin(self, event: Event) -> None:
        """Record that a replica begins a call, in which it has come to no collective."""
        self._agreed.discard(event.process)
        self._read_mirror.discard(event.process)

    def on_commit(self, event: Event) -> None:
        """Judge a merge; for other commits, record that components change."""
        if event.variable is None:
            return
        facts = self._variables[event.variable]
        if not facts.merged:
            self._changed(event, facts)
        elif contributions := self._contributions.committed:
            self._merge(event, self._merges[event.variable], contributions)
            if len(contributions) == len(self.givers(event)):
                self._same.merge(event, facts, contributions)

    def on_answer(self, event: Event) -> None:
        """Compare what replicas gave to a collective."""
        given, givers = self.context.collectives.answered, self.givers(event)
        if given is not None:
            collective, read = (
                not them.isdisjoint(givers) for them in (self._agreed, self._read_mirror)
            )
            self._same.collect(given, givers, collective=collective, read=read)
        if event.operation in _AGREEMENTS:
            self._agreed.update(givers if event.replica is None else (event.replica,))

    def on_finish(self, event: Event) -> None:  # noqa: ARG002  # each observer gets the event
        """Record whether components of variables that are not mirrored differ after a call."""
        same = self._same
        same.some_differ = same.some_differ or any(
            not self._components[number].same for number in self._local
        )

    def on_read(self, event: Event) -> None:
        """Store a read of a merged value, of gathered components, or of an own component."""
        if event.variable is None:
            return
        facts = self._variables[event.variable]
        if facts.merged:
            self._was_read(event, event.variable)
            self._read_mirror.add(event.process)
        elif event.process != PROGRAM:
            self._own_reads[event.variable, event.process] = event
        elif facts.gathered and event.replica is None:
            self._gather(event, self._reads[event.variable])
            self._gathered[event.variable] = event.digest

    def finish(self) -> list[Finding]:
        """Return one finding for each variable and kind of redundancy."""
        judged = {n: self._judge_merges(self._variables[n], one) for n, one in self._merges.items()}
        found = list(judged.values())
        left = {n: self._variables[n] for n, finding in judged.items() if finding is None}
        found += self._same.aggregated(left, self.context.face)
        found += [
            _repeated(self._variables[n], one.repeated, one.count, self.num_replicas)
            for n, one in self._reads.items()
            if one.repeated.count >= AGAIN_AND_AGAIN
            and one.repeated.count > _REPEATED_SHARE * one.count
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
            if facts.summed or facts.first:
                return
        copies = self._components[variable]
        if not (
            (facts.own and copies.synchronised_at == event.event)
            or (copies.united_at == event.event and self._is_combined(event, variable))
        ):
            return
        one = self._synchronisations.setdefault(variable, _Synchronisations())
        one.count += 1
        if copies.written_before == 1:
            one.eager.add(event if event.location is not None else copies.program_write or event)

    def _is_combined(self, event: Event, variable: int) -> bool:
        """Return whether a write assigns what was just combined from all components.

        The program assigns the value that it has read. Or a replica assigns the result of an
        all_reduce, before which it has read its component in the same call.
        """
        if event.operation != "assign":
            return False
        if event.process == PROGRAM:
            return event.digest is not None and event.digest == self._gathered.get(variable)
        result = self.context.collectives.result_of(event)
        read = self._own_reads.get((variable, event.process))
        return (
            result is not None
            and read is not None
            and read.call == event.call
            and read.event < result[1].event
        )

    def _judge_merges(self, facts: VariableFacts, merges: _MergeCounts) -> Finding | None:
        if (found := self._same.first_only(facts)) is not None:
            return found
        unread = merges.unread
        # The last merge does not count: the run ended before its value could be read.
        merges.open.pop(merges.newest, None)
        for event, location in merges.open.values():
            unread.add(event, location=location)
        if unread.count >= max(AGAIN_AND_AGAIN, _UNREAD_SHARE * merges.count):
            some_joined = self.context.presence.some_joined
            return _unread(facts, merges, some_joined=some_joined)
        return None


_ADAPTIVE: Final = "auto=adaptive, which merges at the next read; or "
_COLLECT_ROWS: Final = "collect the rows of several writes on each replica, and write them once."


def _unread(facts: VariableFacts, merges: _MergeCounts, *, some_joined: bool) -> Finding:
    return finding_of(
        UNREAD_MERGES,
        facts,
        merges.unread,
        f"The values of {merges.unread.count:,} of {times(merges.count, 'merge')} were not read "
        "before the next merge.",
        _rarer_merges(facts, merges, some_joined=some_joined),
        settings=None if some_joined else _without_merges(facts, merges),
    )


def _without_merges(facts: VariableFacts, merges: _MergeCounts) -> Proposed | None:
    """Return settings with the same aggregation, under which a write sends nothing."""
    if merges.are_sparse or facts.one_copy:
        return None
    return Proposed(VariableSynchronization.ON_READ, VariableAggregation[facts.aggregation])


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
