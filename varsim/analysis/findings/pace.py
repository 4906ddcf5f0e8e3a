"""The pace of replicas under bounded staleness: long waits for one replica, and bounds without use.

Replicas under bounded staleness wait only for a replica that is too many writes behind. If they
wait for the same replica for a large part of the time, and this replica computes longer between its
writes, it sets the pace of all. If they never wait, although each of them could have gone beyond
the bound, a smaller bound would do.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
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
from varsim.analysis.findings.waits import NOTICEABLE_S, STRAGGLER
from varsim.analysis.observer import Take
from varsim.texts.facts import times
from varsim.tracing.bounded import WAITS
from varsim.tracing.history import Event

BOUND_NOT_REACHED: Final = FindingKind(
    name="bound not reached", certainty=Certainty.PATTERN, costs_only=True
)

_SHARE: Final = 0.2
"""Part of the time of the calls that replicas must have waited for one replica, for a finding."""

_SLOWER: Final = 1.5
"""How much longer such a replica must compute between two writes than the others, on average."""

_PAUSES: Final = frozenset("ask request arrive wait".split())
"""The kinds of events after which a replica waits."""

_REPEATEDLY: Final = 5
"""Least number of such waits, and of writes of a replica beyond the bound."""


@dataclass(slots=True)
class _Waits:
    """The waits of all other replicas for one replica."""

    total_s: float = 0.0
    longest_s: float = 0.0
    evidence: Evidence = field(default_factory=Evidence)


@dataclass(slots=True)
class _Paced:
    """What the replicas did with one variable."""

    bound: int
    writes: int = 0
    most_ahead: int = 0
    most_in_call: int = 0  # the most writes of one replica in one call
    late: defaultdict[int, _Waits] = field(default_factory=lambda: defaultdict(_Waits))
    held: int = 0  # number of writes that had to wait
    evidence: Evidence = field(default_factory=Evidence)  # of the writes that came closest
    replica_s: float = 0.0  # the time of all calls with writes, summed over their replicas
    work_s: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    """Replica → the time in which it computed between its writes."""
    counts: Counter[int] = field(default_factory=Counter)  # replica → number of writes
    calls: set[int] = field(default_factory=set)  # running calls with writes to the variable

    def pace_of(self, replica_id: int) -> tuple[float, float]:
        """Return how long a replica computed per write, and the others on average, in seconds."""
        others = [i for i in self.counts if i != replica_id]
        own_s = self.work_s[replica_id] / max(1, self.counts[replica_id])
        count = sum(self.counts[i] for i in others)
        return own_s, sum(self.work_s[i] for i in others) / max(1, count)

    @property
    def is_unused(self) -> bool:
        """Return whether the bound is larger than necessary, although it could be reached."""
        could_reach = self.most_in_call >= self.bound + _REPEATEDLY
        return could_reach and not self.held and self.most_ahead < self.bound


class Pace(Finder):
    """Finds replicas that hold the others back, and bounds that never make a replica wait."""

    kinds = (STRAGGLER, BOUND_NOT_REACHED)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._variables = {
            number: _Paced(one.bound)
            for number, one in context.variables.items()
            if one.bound is not None
        }
        self._coming: defaultdict[int, deque[Event]] = defaultdict(deque)  # not yet received
        self._clocks: dict[tuple[int, int], dict[int, int]] = {}  # (call, variable) → writes
        self._ended: defaultdict[int, set[int]] = defaultdict(set)  # call → returned or joined
        self._waiting: dict[int, Event] = {}  # replica → its write that waits
        self._blamed: dict[int, int] = {}  # event of such a write → the slowest replica
        self._began_s: dict[int, float] = {}
        self._since_s: dict[int, float] = {}  # replica → the time since which it computes
        self._work_s: defaultdict[int, float] = defaultdict(float)  # replica → since its last write

    def concerns(self, variable: int | None) -> bool:
        """Return whether the variable has bounded staleness; also True without a variable."""
        return bool(self._variables) and (variable is None or variable in self._variables)

    def on_call(self, event: Event) -> None:
        """Begin to measure a call."""
        if event.call is not None:
            self._began_s[event.call] = event.time_s

    def taker(self, kind: str, *, by_program: bool) -> Take | None:
        """Return the method for an event; all events of replicas measure how long they compute."""
        own = super().taker(kind, by_program=by_program)
        if by_program:
            return own
        pauses = kind in _PAUSES

        def take(event: Event) -> None:
            self._measure(event, pauses=pauses)
            if own is not None:
                own(event)

        return take

    def _measure(self, event: Event, *, pauses: bool) -> None:
        replica_id = event.process
        since_s = self._since_s.pop(replica_id, None)
        if since_s is not None:
            self._work_s[replica_id] += event.time_s - since_s
        if not pauses and event.note != WAITS:
            self._since_s[replica_id] = event.time_s

    def on_advance(self, event: Event) -> None:
        """Store a write until the program receives it."""
        assert event.variable is not None
        self._coming[event.process].append(event)
        paced = self._variables[event.variable]
        paced.work_s[event.process] += self._work_s.pop(event.process, 0.0)
        paced.counts[event.process] += 1
        if event.note == WAITS:
            self._waiting[event.process] = event

    def on_return(self, event: Event) -> None:
        """Store the end of a function until the program receives it."""
        self._coming[event.process].append(event)

    on_raise = on_return

    def on_arrive(self, event: Event) -> None:
        """Store a join until the program receives it."""
        if event.operation == "join":
            self._coming[event.process].append(event)

    def on_answer(self, event: Event) -> None:
        """Begin to count again when all replicas have joined."""
        if event.operation == "joined" and event.call is not None:
            self._ended.pop(event.call, None)
            for number in self._variables:
                self._clocks.pop((event.call, number), None)

    def on_receive(self, event: Event) -> None:
        """Count the writes that have arrived."""
        coming = self._coming.get(event.replica or 0)
        while coming and coming[0].event <= (event.cause or 0):
            self._arrive(coming.popleft())

    def _arrive(self, event: Event) -> None:
        call, replica_id = event.call, event.process
        if call is None:
            return
        if event.variable is None:
            self._ended[call].add(replica_id)
            return
        paced = self._variables[event.variable]
        present = self.present(call)
        clocks = self._clocks.setdefault((call, event.variable), dict.fromkeys(present, 0))
        clocks[replica_id] = clocks.get(replica_id, 0) + 1
        paced.writes += 1
        paced.calls.add(call)
        paced.most_in_call = max(paced.most_in_call, clocks[replica_id])
        running = [i for i in present if i not in self._ended[call]]
        slowest = min(running, key=lambda i: clocks[i], default=replica_id)
        ahead = clocks[replica_id] - clocks[slowest]
        if ahead > paced.bound:
            paced.held += 1
            self._blamed[event.event] = slowest
        elif ahead > paced.most_ahead or not paced.evidence.count:
            paced.most_ahead, paced.evidence = ahead, Evidence()
            paced.evidence.add(event)

    def on_renew(self, event: Event) -> None:
        """Measure the wait of a write that is over."""
        assert event.variable is not None
        write = self._waiting.pop(event.process, None)
        slowest = None if write is None else self._blamed.pop(write.event, None)
        if write is None or slowest is None:
            return
        waited_s = event.time_s - write.time_s
        if waited_s < NOTICEABLE_S:
            return
        waits = self._variables[event.variable].late[slowest]
        waits.total_s += waited_s
        waits.longest_s = max(waits.longest_s, waited_s)
        waits.evidence.add(write, event.event)

    def on_finish(self, event: Event) -> None:
        """Add the time of the call."""
        call = event.call
        if call is None or call not in self._began_s:
            return
        took_s = event.time_s - self._began_s.pop(call)
        for number, paced in self._variables.items():
            if call in paced.calls:
                paced.replica_s += took_s * len(self.present(call))
                paced.calls.discard(call)
            self._clocks.pop((call, number), None)
        self._ended.pop(call, None)

    def finish(self) -> list[Finding]:
        """Return the findings: for each variable, about one replica or about the bound."""
        found = []
        for number, paced in sorted(self._variables.items()):
            facts = self.context.variables[number]
            all_s = sum(waits.total_s for waits in paced.late.values())
            for replica_id, waits in sorted(paced.late.items()):
                share = waits.total_s / paced.replica_s if paced.replica_s else 0.0
                own_s, others_s = paced.pace_of(replica_id)
                is_cause = waits.total_s > all_s / 2 and own_s > _SLOWER * others_s
                slow = share > _SHARE and is_cause and not self.context.simulated
                if slow and waits.evidence.count >= _REPEATEDLY:
                    what = _of_waits(replica_id, waits, share, own_s, others_s)
                    remedy = _of_slow(replica_id)
                    found.append(finding_of(STRAGGLER, facts, waits.evidence, what, remedy))
            if paced.is_unused:
                what, remedy = _of_bound(paced), _of_smaller(paced)
                found.append(finding_of(BOUND_NOT_REACHED, facts, paced.evidence, what, remedy))
        return found


def _of_waits(replica_id: int, waits: _Waits, share: float, own_s: float, others_s: float) -> str:
    return (
        f"the other replicas waited for replica {replica_id} in "
        f"{times(waits.evidence.count, 'write')}, {milliseconds(waits.total_s)} in all and up to "
        f"{milliseconds(waits.longest_s)} at once: {share:.0%} of the time of all replicas. "
        f"Between two writes, replica {replica_id} computed for {milliseconds(own_s)} on average, "
        f"and the others for {milliseconds(others_s)}."
    )


def _of_slow(replica_id: int) -> str:
    return (
        f"Give replica {replica_id} less to do, or find out what makes its device slow. A larger "
        "staleness helps only if the replica is slow for a short time: a replica that is always "
        "slower sets the pace under every bound."
    )


def _of_bound(paced: _Paced) -> str:
    return (
        f"in {times(paced.writes, 'write')} no replica was more than "
        f"{times(paced.most_ahead, 'write')} ahead of the slowest one, so the bound of "
        f"{paced.bound} never made a replica wait."
    )


def _of_smaller(paced: _Paced) -> str:
    return (
        f"Choose a smaller bound, such as bounded_staleness:{paced.most_ahead}: at the same pace "
        "of the replicas it would not have made them wait, and reads would see fresher values."
    )
