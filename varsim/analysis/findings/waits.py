"""Waits: one replica makes the others wait repeatedly.

At every collective and at the end of every call, early replicas wait for the last one. Only the
extra work of the last replica since the previous collective is counted; a late start is not. The
critical path of a call consists of the work of the last replica before each collective.

A host has noise: other programs and the scheduler make the same work take longer, sometimes. The
work of the other replicas at one line shows this noise, and a wait must be larger. In a simulated
cluster, replicas take turns in one process, so times show nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.model import (
    Certainty,
    Evidence,
    Finder,
    Finding,
    FindingKind,
    finding_of,
    milliseconds,
)
from varsim.analysis.outcome import Note
from varsim.texts.facts import times
from varsim.tracing.bounded import WAITS
from varsim.tracing.history import Event

STRAGGLER: Final = FindingKind(
    name="waiting for one replica", certainty=Certainty.PATTERN, costs_only=True
)

_SHARE: Final = 0.2
"""Least fraction of the measured time in which the others must have waited for one replica."""

_MOST_OF_IT: Final = 0.6
"""Least fraction of all waiting that one replica must cause.

Below this, replicas may be slow in turns.
"""

_REPEATEDLY: Final = 5
"""Least number of waits for a straggler."""

_MOST_AT_ONCE: Final = 0.5  # largest share of the waiting time that a single wait may have

NOTICEABLE_S: Final = 0.5e-3
"""Shorter waits come from messages and from process scheduling."""

_MORE_THAN_NOISE: Final = 3
"""Least ratio of a mean wait to the noise of the host."""

_MOST_WORKS: Final = 200  # the first works of a replica at one line that show the noise

_END: Final = -1  # in place of a variable: the end of a call
_TOGETHER: Final = -3  # in place of a variable: an operation of the programs of all workers
_GATHERING: Final = -2  # in place of a variable: an all_reduce, all_gather or merge_call


_Key = tuple[str | None, int]
"""A collective of a call: its members and its position."""

_JOIN: Final[_Key] = (None, -1)
"""In place of a collective: a join. It waits for no contribution, and has no number of its own."""


@dataclass(slots=True)
class _Arrivals:
    """The arrivals of replicas at one collective, and each replica's work before the arrival."""

    variable: int
    location: str | None
    event: Event | None = None  # the first write or arrival; None for the end of the call
    key: _Key | None = None  # None for the end of the call
    came: dict[int, tuple[Event, float]] = field(default_factory=dict)  # replica → arrival, work
    waiting: set[int] = field(default_factory=set)  # replicas that are blocked at the collective


@dataclass(slots=True)
class _Late:
    """The waits for one replica."""

    evidence: Evidence = field(default_factory=Evidence)
    lost_s: float = 0.0  # mean waiting time of the other replicas
    longest_s: float = 0.0
    by_variable: Counter[int] = field(default_factory=Counter)  # waiting time in microseconds
    critical_s: float = 0.0  # the replica's work on the critical path


class Waits(Finder):
    """Finds stragglers: replicas that the others wait for."""

    kinds = (STRAGGLER,)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._variables = context.variables
        self._late = [_Late() for _ in range(self.num_replicas)]
        self._works: defaultdict[tuple[int, str | None], list[float]] = defaultdict(list)
        self._measured_s = 0.0
        self._began_s: float | None = None
        self._call: int | None = None
        self._reset(None)

    def on_call(self, event: Event) -> None:
        """Measure a call, unless it is inside another call, or in a simulated cluster."""
        if self.context.simulated:
            return
        if event.call is None or event.call != self._call:
            self._reset(event)

    def on_begin(self, event: Event) -> None:
        """Start a replica's work."""
        if event.call is not None and event.call == self._call:
            self._resumed[event.process] = event.time_s

    def on_install(self, event: Event) -> None:
        """Resume a replica's work, because the replica no longer waits, unless it has joined."""
        paused = self._paused.get(event.process)
        if paused is not None and paused[1] != _JOIN and event.call == self._call:
            self._resume(event.process, event.time_s)

    on_read_by_replica = on_renew = on_install

    def on_advance(self, event: Event) -> None:
        """Pause a replica's work while a write with bounded staleness waits."""
        if event.note == WAITS and event.call is not None and event.call == self._call:
            if event.process in self._paused:
                self._resume(event.process, event.time_s)
            self._paused[event.process] = (event.time_s, None)

    def on_write_by_replica(self, event: Event) -> None:
        """Resume a replica's work. The contribution arrives later, when the outbox is sent."""
        if event.call is None or event.call != self._call:
            return
        replica_id = event.process
        if replica_id in self._paused:
            self._resume(replica_id, event.time_s)
        if event.position is not None and event.variable is not None:
            self._send(event, event.variable)

    def on_wait(self, event: Event) -> None:
        """Record a replica's arrival at a collective."""
        if event.call is not None and event.call == self._call:
            if event.process in self._paused:
                self._resume(event.process, event.time_s)
            self._arrive(event, event.process)

    def on_arrive(self, event: Event) -> None:
        """Record a replica's arrival at a collective."""
        self.on_wait(event)

    def on_return(self, event: Event) -> None:
        """Record a replica's arrival at the end of the call."""
        self.on_wait(event)

    def on_answer(self, event: Event) -> None:
        """Resume the work of the waiting replicas."""
        if event.call is None or event.call != self._call:
            return
        answered = _JOIN if event.operation == "joined" else (event.members, event.position)
        for replica_id, (_, key) in list(self._paused.items()):
            if event.replica == replica_id or answered == key:
                self._resume(replica_id, event.time_s)

    def on_finish(self, event: Event) -> None:
        """Add the time of the call to the measured time."""
        if event.call is not None and event.call == self._call and self._began_s is not None:
            self._measured_s += event.time_s - self._began_s
            self._reset(None)

    def finish(self) -> list[Finding]:
        """Return one finding for each straggler."""
        critical_s = sum(late.critical_s for late in self._late)
        lost_s = sum(late.lost_s for late in self._late)
        found = []
        for replica_id, late in enumerate(self._late):
            if late.lost_s > _MOST_OF_IT * lost_s and self._is_straggler(late):
                noise_s = self._noise_s(replica_id)
                if late.lost_s > _MORE_THAN_NOISE * noise_s * late.evidence.count:
                    found.append(self._finding(replica_id, late, critical_s, noise_s))
        return found

    def notes(self) -> list[Note]:
        """Return the note that a simulated cluster has no times."""
        if not self.context.simulated:
            return []
        why = "replicas take turns in one process, so their times show nothing"
        return [Note(text=f"waits for a slow replica: in a simulated cluster, {why}")]

    def _noise_s(self, straggler: int) -> float:
        """Return by how much the work of another replica typically varies where others wait.

        It is the median absolute deviation; of several replicas and lines, the largest one counts.
        """
        places = self._late[straggler].evidence.locations
        found = 0.0
        for (replica_id, location), works in self._works.items():
            if replica_id != straggler and location in places:
                middle = median(works)
                found = max(found, median(abs(one - middle) for one in works))
        return found

    def _resume(self, replica_id: int, time_s: float) -> None:
        """Resume a replica's work. After a collective, the measured work begins again at zero."""
        since_s, key = self._paused.pop(replica_id)
        if key is None and replica_id in self._resumed:
            self._resumed[replica_id] += time_s - since_s
        else:
            self._resumed[replica_id] = time_s

    def _reset(self, call: Event | None) -> None:
        self._call = None if call is None else call.call
        self._present = len(self.present(self._call))
        self._began_s = None if call is None else call.time_s
        self._collectives: dict[_Key, _Arrivals] = {}
        self._end = _Arrivals(_END, None)
        self._outbox: list[list[_Arrivals]] = [[] for _ in range(self.num_replicas)]
        self._resumed: dict[int, float] = {}
        # replica → the time since which the replica waits, and the collective at which it waits
        self._paused: dict[int, tuple[float, _Key | None]] = {}

    def _send(self, event: Event, variable: int) -> None:
        """Add a write or an arrival to what the replica sends at its next arrival."""
        assert event.position is not None
        key = event.members, event.position
        if key not in self._collectives:
            self._collectives[key] = _Arrivals(variable, event.location, event, key)
        self._outbox[event.process].append(self._collectives[key])

    def _arrive(self, event: Event, replica_id: int) -> None:
        sent = self._outbox[replica_id]
        joins, ends = event.operation == "join", event.kind == "return"
        if event.kind == "arrive" and event.position is not None and not joins:
            self._send(event, _TOGETHER if event.operation == "cross_replica" else _GATHERING)
        work_s = event.time_s - self._resumed.get(replica_id, event.time_s)
        for collective in sent:
            collective.came[replica_id] = (event, work_s)
        if ends and sent:  # the wait at the end of the call is shown at the last write
            self._end.variable, self._end.location = sent[-1].variable, sent[-1].location
        if joins:
            self._paused[replica_id] = (event.time_s, _JOIN)
        elif not ends:
            self._paused[replica_id] = (event.time_s, sent[-1].key if sent else None)
            if sent:
                sent[-1].waiting.add(replica_id)
        for collective in sent:
            assert collective.event is not None, "only the end of a call has none"
            assert collective.key is not None
            if len(collective.came) == len(self.givers(collective.event)):
                self._charge(collective, replica_id)
                self._collectives.pop(collective.key, None)
        sent.clear()
        if ends:
            self._end.came[replica_id] = (event, work_s)
            self._end.waiting.add(replica_id)
            if len(self._end.came) == self._present:
                self._charge(self._end, replica_id)

    def _charge(self, collective: _Arrivals, last: int) -> None:
        if not collective.waiting:
            return
        event, work_s = collective.came[last]
        late = self._late[last]
        late.critical_s += work_s
        lost_s, first = 0.0, event
        waited: dict[int, float] = {}
        location = collective.location if collective.location is not None else event.location
        for replica_id, (_, own_work_s) in collective.came.items():
            works = self._works[replica_id, location]
            if len(works) < _MOST_WORKS:
                works.append(own_work_s)
        for replica_id in collective.waiting - {last}:
            came, own_work_s = collective.came[replica_id]
            waited_s = min(event.time_s - came.time_s, work_s - own_work_s)
            if waited_s >= NOTICEABLE_S:
                waited[replica_id] = waited_s
                lost_s += waited_s / (self._present - 1)
                first = came if came.time_s < first.time_s else first
        self.charged(last, work_s, waited)
        if lost_s:
            late.lost_s += lost_s
            late.longest_s = max(late.longest_s, lost_s)
            late.by_variable[collective.variable] += round(lost_s * 1e6)
            late.evidence.add(event._replace(location=location), first.event)

    def charged(self, last: int, work_s: float, waited: Mapping[int, float]) -> None:
        """Take note of a collective for which some replica has waited.

        Args:
            last: The replica that arrived last.
            work_s: Its work since the collective before, which is on the critical path.
            waited: Replica → how long it has waited for this work, if the wait is noticeable.
        """

    def _is_straggler(self, late: _Late) -> bool:
        return (
            late.evidence.count >= _REPEATEDLY
            and late.lost_s > _SHARE * self._measured_s
            and late.longest_s < _MOST_AT_ONCE * late.lost_s
        )

    def _finding(self, replica_id: int, late: _Late, critical_s: float, noise_s: float) -> Finding:
        ((variable, lost_us),) = late.by_variable.most_common(1)
        facts = self._variables.get(variable)
        where = _WHERE.get(variable, facts.name if facts is not None else "")
        mostly = lost_us / sum(late.by_variable.values())
        share = late.lost_s / self._measured_s
        path = late.critical_s / critical_s if critical_s else 0.0
        return finding_of(
            STRAGGLER,
            facts,
            late.evidence,
            f"The others waited for replica {replica_id} in {times(late.evidence.count, 'case')}. "
            f"These waits add up to {milliseconds(late.lost_s)} for each of them, on average: "
            f"{share:.0%} of the time of all calls. {mostly:.0%} of this waiting was at "
            f"{where}. Replica {replica_id} did {path:.0%} of the work on the critical path. The "
            "noise of the host is the typical variation, between calls, of the time that the other "
            f"replicas need at one line: {milliseconds(noise_s)}.",
            f"Give replica {replica_id} less to do, or find out what makes its device slow"
            f"{_RARER.get(variable, _RARER_WRITES)}.",
        )


_WHERE: Final = {
    _END: "the end of the call",
    _GATHERING: "an all_reduce, gather or merge_call",
    _TOGETHER: "an operation of all workers outside strategy.run",
}

_RARER_WRITES: Final = (
    "; or synchronize the variable less often (ON_READ), so that the others need not wait for it"
)
_RARER: Final = {
    _END: "",
    _GATHERING: "; or call these operations in fewer steps",
    _TOGETHER: "; or call these operations in fewer steps",
}
"""What reduces the waits for a slow replica, by where the others wait."""
