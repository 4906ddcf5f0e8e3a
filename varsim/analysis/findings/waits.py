"""Waits: one replica that makes the others wait, again and again, and where.

At every meeting, and at the end of every call, those who have come first wait for the last one. Of
that time counts against the last one what it worked longer than they did, since each went on from
the meeting before: coming last because of a late start is nobody's fault. The stretches of work of
those who came last, one after another, are the critical path of a call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from varsim.analysis.findings.found import Evidence, Finder, Finding, Kind, milliseconds, times
from varsim.analysis.findings.subject import Subject
from varsim.tracing.history import Event

_SHARE: Final = 0.2
"""Of the measured time, that the others must have waited for one replica."""

_MOST_OF_IT: Final = 0.6
"""Of all that replicas waited for each other: less is chance, or work that is uneven in turns."""

_REPEATEDLY: Final = 5
"""Waits for one replica before it is a straggler; and no one of them may be most of the time."""

_MOST_AT_ONCE: Final = 0.5

_NOTICEABLE_S: Final = 0.5e-3
"""Shorter waits are what messages take, and who happens to get the processor."""

_END: Final = -1  # in place of a variable: the end of a call
_GATHERING: Final = -2  # or an all_reduce, all_gather or merge_call


@dataclass(slots=True)
class _Arrivals:
    """Who has come to one meeting, when, and after how much work."""

    variable: int
    place: str | None
    came: dict[int, tuple[Event, float]] = field(default_factory=dict)  # by replica: when, work
    waiting: set[int] = field(default_factory=set)  # who does nothing else


@dataclass(slots=True)
class _Late:
    """How one replica was waited for."""

    evidence: Evidence = field(default_factory=Evidence)
    lost_s: float = 0.0  # by each of the others, on average
    longest_s: float = 0.0
    by_variable: Counter[int] = field(default_factory=Counter)  # in microseconds
    critical_s: float = 0.0  # its work on the critical path


class Waits(Finder):
    """Finds replicas for which the others wait."""

    def __init__(self, num_replicas: int, variables: Mapping[int, Subject]) -> None:
        self._num_replicas = num_replicas
        self._variables = variables
        self._late = [_Late() for _ in range(num_replicas)]
        self._measured_s = 0.0
        self._began_s: float | None = None
        self._call: int | None = None
        self._reset(None)

    def on_call(self, event: Event) -> None:
        """A call is followed if it is in no other."""
        if event.call is None or event.call != self._call:
            self._reset(event)

    def on_begin(self, event: Event) -> None:
        """A replica's work begins."""
        if event.call is not None and event.call == self._call:
            self._resumed[event.process] = event.time_s

    def on_install(self, event: Event) -> None:
        """It goes on, as it does with whatever a replica does."""
        if event.process in self._paused and event.call == self._call:
            self._resume(event.process, event.time_s)

    on_read_by_replica = on_install
    """Likewise."""

    def on_write_by_replica(self, event: Event) -> None:
        """Likewise; and there may be a meeting to which it will come."""
        if event.call is None or event.call != self._call:
            return
        replica_id = event.process
        if replica_id in self._paused:
            self._resume(replica_id, event.time_s)
        if event.meeting is not None and event.variable is not None:
            if event.meeting not in self._meetings:
                self._meetings[event.meeting] = _Arrivals(event.variable, event.place)
            self._outbox[replica_id].append(event.meeting)

    def on_wait(self, event: Event) -> None:
        """It comes to a meeting."""
        if event.call is not None and event.call == self._call:
            if event.process in self._paused:
                self._resume(event.process, event.time_s)
            self._arrive(event, event.process)

    def on_meet(self, event: Event) -> None:
        """Likewise."""
        self.on_wait(event)

    def on_return(self, event: Event) -> None:
        """It comes to the end of the call."""
        self.on_wait(event)

    def on_answer(self, event: Event) -> None:
        """All have met: those who waited go on."""
        if event.call is None or event.call != self._call:
            return
        for replica_id, (_, meeting) in list(self._paused.items()):
            if event.replica == replica_id or event.meeting == meeting is not None:
                self._resume(replica_id, event.time_s)

    def on_finish(self, event: Event) -> None:
        """The call is over."""
        if event.call is not None and event.call == self._call and self._began_s is not None:
            self._measured_s += event.time_s - self._began_s
            self._reset(None)

    def finish(self) -> list[Finding]:
        """One finding for each straggler."""
        critical_s = sum(late.critical_s for late in self._late)
        lost_s = sum(late.lost_s for late in self._late)
        return [
            self._finding(replica_id, late, critical_s)
            for replica_id, late in enumerate(self._late)
            if late.lost_s > _MOST_OF_IT * lost_s and self._is_straggler(late)
        ]

    def _resume(self, replica_id: int, time_s: float) -> None:
        """Its work goes on; it began anew, unless it had not come to a meeting."""
        since_s, meeting = self._paused.pop(replica_id)
        if meeting is None and replica_id in self._resumed:
            self._resumed[replica_id] += time_s - since_s
        else:
            self._resumed[replica_id] = time_s

    def _reset(self, call: Event | None) -> None:
        self._call = None if call is None else call.call
        self._began_s = None if call is None else call.time_s
        self._meetings: dict[int, _Arrivals] = {}
        self._end = _Arrivals(_END, None)
        self._outbox: list[list[int]] = [[] for _ in range(self._num_replicas)]
        self._resumed: dict[int, float] = {}
        self._paused: dict[int, tuple[float, int | None]] = {}  # since when, at which meeting

    def _arrive(self, event: Event, replica_id: int) -> None:
        numbers = self._outbox[replica_id]
        if event.kind == "meet" and event.meeting is not None:
            numbers.append(event.meeting)
            self._meetings.setdefault(event.meeting, _Arrivals(_GATHERING, event.place))
        work_s = event.time_s - self._resumed.get(replica_id, event.time_s)
        for number in numbers:
            self._meetings[number].came[replica_id] = (event, work_s)
        ends = event.kind == "return"
        if ends and numbers:  # with the call, what is written last ends
            last = self._meetings[numbers[-1]]
            self._end.variable, self._end.place = last.variable, last.place
        if not ends:
            self._paused[replica_id] = (event.time_s, numbers[-1] if numbers else None)
            if numbers:
                self._meetings[numbers[-1]].waiting.add(replica_id)
        for number in numbers:
            if len(self._meetings[number].came) == self._num_replicas:
                self._charge(self._meetings.pop(number), replica_id)
        numbers.clear()
        if ends:
            self._end.came[replica_id] = (event, work_s)
            self._end.waiting.add(replica_id)
            if len(self._end.came) == self._num_replicas:
                self._charge(self._end, replica_id)

    def _charge(self, meeting: _Arrivals, last: int) -> None:
        if not meeting.waiting:
            return
        event, work_s = meeting.came[last]
        late = self._late[last]
        late.critical_s += work_s
        lost_s, first = 0.0, event
        for replica_id in meeting.waiting - {last}:
            came, own_work_s = meeting.came[replica_id]
            waited_s = min(event.time_s - came.time_s, work_s - own_work_s)
            if waited_s >= _NOTICEABLE_S:
                lost_s += waited_s / (self._num_replicas - 1)
                first = came if came.time_s < first.time_s else first
        if lost_s:
            late.lost_s += lost_s
            late.longest_s = max(late.longest_s, lost_s)
            late.by_variable[meeting.variable] += round(lost_s * 1e6)
            place = meeting.place if meeting.place is not None else event.place
            late.evidence.add(event._replace(place=place), first.event)

    def _is_straggler(self, late: _Late) -> bool:
        return (
            late.evidence.count >= _REPEATEDLY
            and late.lost_s > _SHARE * self._measured_s
            and late.longest_s < _MOST_AT_ONCE * late.lost_s
        )

    def _finding(self, replica_id: int, late: _Late, critical_s: float) -> Finding:
        ((variable, lost_us),) = late.by_variable.most_common(1)
        subject = self._variables.get(variable)
        where = _WHERE.get(variable, subject.name if subject is not None else "")
        mostly = lost_us / sum(late.by_variable.values())
        share = late.lost_s / self._measured_s
        path = late.critical_s / critical_s if critical_s else 0.0
        return Finding(
            kind=Kind.STRAGGLER,
            variable_id=None if subject is None else subject.variable_id,
            variable="" if subject is None else subject.name,
            places=late.evidence.most_places(),
            count=late.evidence.count,
            what=(
                f"{times(late.evidence.count, 'time')} the others waited for replica {replica_id}, "
                f"each {milliseconds(late.lost_s)} in all: {share:.0%} of the time that calls "
                f"took; {mostly:.0%} of it at {where}. Replica {replica_id} did {path:.0%} of the "
                "work on the critical path."
            ),
            remedy=(
                f"Give replica {replica_id} less to do, or find out what makes its device slow; or "
                "let replicas meet less often (ON_READ), so that they need not keep step."
            ),
            events=tuple(late.evidence.events),
        )


_WHERE: Final = {_END: "the end of the call", _GATHERING: "an all_reduce, gather or merge_call"}
