"""Redundant synchronisation: exchanges that changed nothing that anybody saw.

Once is no trouble: the last merge of a run may stay unread, and a result may be read twice. It has
to happen again and again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from varsim.analysis.arithmetic import digest_of
from varsim.analysis.findings.components import Components
from varsim.analysis.findings.found import Evidence, Finder, Finding, Kind, times
from varsim.analysis.findings.subject import Subject, finding_of
from varsim.tracing.history import PROGRAM, Event

AGAIN_AND_AGAIN: Final = 3
"""How often something redundant must be seen before it is a finding."""

_UNREAD_SHARE: Final = 0.25
"""Of a variable's merges: with fewer unread ones, the exchange pays for itself."""

_EAGER_SHARE: Final = 0.9
"""Of a variable's manual synchronisations: with fewer, its writes are collected as a rule."""

_OPEN_VERSIONS: Final = 64
"""Merges that slower replicas may still read; what is older and unread stays unread."""


@dataclass(slots=True)
class _Merges:
    """Those of one mirrored variable."""

    count: int = 0
    alike: int = 0  # to which all replicas contributed the same
    unread: Evidence = field(default_factory=Evidence)
    shown_alike: Evidence = field(default_factory=Evidence)
    newest: int = 0  # version
    read: int = 0  # the newest version that was read
    open: dict[int, tuple[Event, str | None]] = field(default_factory=dict)
    """By version, not yet read; and where that was written."""


@dataclass(slots=True)
class _Reads:
    """Those by the program of a variable that a read aggregates."""

    count: int = 0
    unchanged: bool = False  # since the last one
    repeated: Evidence = field(default_factory=Evidence)


@dataclass(slots=True)
class _Synchronisations:
    """Those of a replica's own variable, by the program under study."""

    count: int = 0
    eager: Evidence = field(default_factory=Evidence)


@dataclass(slots=True)
class _Meeting:
    """The contributions to one merge, as far as they have come."""

    first: Event
    digest: int | None
    arrived: int = 1
    alike: bool = True


class Redundancy(Finder):
    """Finds merges and reads that were not needed."""

    def __init__(
        self, num_replicas: int, variables: Mapping[int, Subject], components: Components
    ) -> None:
        self._num_replicas = num_replicas
        self._variables = {
            number: one
            for number, one in variables.items()
            if one.merged or one.gathered or one.own
        }
        self._components = components
        self._meetings: dict[tuple[int | None, int], dict[int, _Meeting]] = {}  # call, variable
        self._merges: defaultdict[int, _Merges] = defaultdict(_Merges)
        self._reads: defaultdict[int, _Reads] = defaultdict(_Reads)
        self._synchronisations: dict[int, _Synchronisations] = {}

    def on_abort(self, event: Event) -> None:
        """What was written in the call is not merged any more."""
        self._meetings = {k: v for k, v in self._meetings.items() if k[0] != event.call}

    def on_write(self, event: Event) -> None:
        """What is to be exchanged, or changes a component."""
        if event.variable is None:
            return
        subject = self._variables[event.variable]
        if subject.merged:
            if event.meeting is not None:
                self._contribute(event, event.variable, event.meeting)
        else:
            self._changed(event, subject)

    def on_commit(self, event: Event) -> None:
        """What was exchanged, or changes components."""
        if event.variable is None:
            return
        subject = self._variables[event.variable]
        if subject.merged:
            self._committed(event, event.variable)
        else:
            self._changed(event, subject)

    def on_read(self, event: Event) -> None:
        """What came of it."""
        if event.variable is None:
            return
        subject = self._variables[event.variable]
        if subject.merged:
            self._was_read(event, event.variable)
        elif subject.gathered and event.process == PROGRAM and event.replica is None:
            self._gather(event, self._reads[event.variable])

    def concerns(self, variable: int | None) -> bool:
        """All but adaptive variables."""
        return variable is None or variable in self._variables

    def finish(self) -> list[Finding]:
        """One finding for each variable and kind of redundancy."""
        found = [self._judge_merges(self._variables[n], one) for n, one in self._merges.items()]
        found += [
            _repeated(self._variables[n], one.repeated, one.count, self._num_replicas)
            for n, one in self._reads.items()
            if one.repeated.count >= AGAIN_AND_AGAIN
        ]
        found += [
            _eager(self._variables[n], one)
            for n, one in self._synchronisations.items()
            if one.eager.count >= max(AGAIN_AND_AGAIN, _EAGER_SHARE * one.count)
        ]
        return [one for one in found if one is not None]

    def _committed(self, event: Event, variable: int) -> None:
        """A commit tells of a merge if contributions to one have come: the first of them."""
        meetings = self._meetings.get((event.call, variable))
        if meetings and event.replica is None:
            meeting = meetings.pop(next(iter(meetings)))
            if not meetings:
                del self._meetings[event.call, variable]
            self._merge(event, self._merges[variable], meeting)

    def _was_read(self, event: Event, variable: int) -> None:
        merges = self._merges[variable]  # it may be read before the first commit is sent
        version = merges.newest if event.version is None else event.version
        if version in merges.open:
            del merges.open[version]
        merges.read = max(merges.read, version)

    def _contribute(self, event: Event, variable: int, number: int) -> None:
        key = event.call, variable
        meetings = self._meetings.get(key)
        if meetings is None:
            meetings = self._meetings[key] = {}
        meeting = meetings.get(number)
        digest = event.digest if event.digest is not None else digest_of(event)
        if meeting is None:
            meetings[number] = _Meeting(event, digest)
            return
        meeting.arrived += 1
        if digest is None or digest != meeting.digest:
            meeting.alike = False

    def _merge(self, event: Event, merges: _Merges, meeting: _Meeting) -> None:
        merges.count += 1
        place = meeting.first.place  # a commit has none
        if meeting.alike and meeting.arrived == self._num_replicas:
            merges.alike += 1
            merges.shown_alike.add(event, meeting.first.event, place=place)
        if event.version is not None:
            merges.newest = event.version
            if event.version != merges.read:  # by the program, before any replica heard of it
                merges.open[event.version] = event, place
            if len(merges.open) > _OPEN_VERSIONS:
                shown, place = merges.open.pop(next(iter(merges.open)))
                merges.unread.add(shown, place=place)

    def _gather(self, event: Event, reads: _Reads) -> None:
        reads.count += event.occurrences
        if reads.unchanged:
            reads.repeated.add(event)
        reads.unchanged = True

    def _changed(self, event: Event, subject: Subject) -> None:
        variable = subject.variable_id
        if subject.gathered:
            self._reads[variable].unchanged = False
            return
        copies = self._components[variable]
        if copies.synchronised_at != event.event:
            return
        one = self._synchronisations.setdefault(variable, _Synchronisations())
        one.count += 1
        if copies.written_before == 1:
            one.eager.add(event if event.place is not None else copies.asked or event)

    def _judge_merges(self, subject: Subject, merges: _Merges) -> Finding | None:
        if subject.first and merges.alike == merges.count >= AGAIN_AND_AGAIN:
            return _alike(subject, merges)
        unread = merges.unread
        merges.open.pop(merges.newest, None)  # the last of the run, which had no time to be read
        for event, place in merges.open.values():
            unread.add(event, place=place)
        if unread.count >= max(AGAIN_AND_AGAIN, _UNREAD_SHARE * merges.count):
            return _unread(subject, merges)
        return None


def _alike(subject: Subject, merges: _Merges) -> Finding:
    return finding_of(
        Kind.SAME_CONTRIBUTIONS,
        subject,
        merges.shown_alike,
        f"To all {times(merges.count, 'merge')} every replica contributed the same value, of "
        "which the first replica's counted; each could have written it without the others.",
        "Choose ON_READ with ONLY_FIRST_REPLICA: the same values, and nothing is sent before "
        "somebody reads.",
    )


def _unread(subject: Subject, merges: _Merges) -> Finding:
    return finding_of(
        Kind.UNREAD_MERGES,
        subject,
        merges.unread,
        f"Nobody read the value of {merges.unread.count:,} of {times(merges.count, 'merge')} "
        "before the next one came.",
        "Choose ON_READ if only the sum or mean in the end counts, or auto=adaptive, which merges "
        "when somebody reads; or collect the writes on each replica, and merge once.",
    )


def _repeated(subject: Subject, repeated: Evidence, count: int, num_replicas: int) -> Finding:
    asked = 1 if subject.first else num_replicas
    return finding_of(
        Kind.REPEATED_READS,
        subject,
        repeated,
        f"{repeated.count:,} of {times(count, 'read')} by the program found nothing changed since "
        "the one before. varsim keeps what they gave; TensorFlow copies "
        f"{times(asked, 'component')} for each of them again.",
        "Keep what the first read gave in a Python variable, until somebody has written again.",
    )


def _eager(subject: Subject, one: _Synchronisations) -> Finding:
    return finding_of(
        Kind.EAGER_SYNCHRONISATION,
        subject,
        one.eager,
        f"{one.eager.count:,} of {times(one.count, 'manual synchronisation')} came after a single "
        "write in each replica.",
        "Choose ON_WRITE with the aggregation that you compute by hand: it takes one exchange a "
        "write; or synchronise after several writes.",
    )
