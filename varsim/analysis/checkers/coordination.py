"""Locks exclude, barriers wait for all replicas, and a value is passed on once."""

from __future__ import annotations

from varsim.analysis.checker import Checker, seen_by
from varsim.analysis.locks import LockTracker
from varsim.analysis.replay import Replay
from varsim.tracing.history import Event


class Coordination(Checker):
    """Checks the grants of locks, the ends of barriers, and the values that replicas receive.

    A lock is granted to one replica at a time, or to several readers, in the order in which the
    requests arrive. A barrier ends when all replicas that have not joined, or all members of its
    group, have arrived. A value is passed on when its sender sends it and its receiver receives it.
    """

    name = "coordination"
    promise = "locks exclude other replicas, and barriers wait for all replicas"

    def __init__(self, replay: Replay) -> None:
        super().__init__(replay)
        self._tracker = LockTracker()
        self._aborted: set[int | None] = set()
        self._passed: dict[int, int] = {}  # sender → the event that passed its value on
        # members of a barrier → the replicas whose waits at this barrier end now
        self._at_barrier: dict[str | None, dict[int, Event]] = {}

    def on_request(self, event: Event) -> None:
        """Store what a replica waits for."""
        self._tracker.request(event)

    def on_release(self, event: Event) -> None:
        """Check that the replica holds the lock."""
        held = self._tracker.release(event)
        if not held and self.replay.from_start and event.call not in self._aborted:
            reason = f"{seen_by(event)} releases lock {event.note!r}, which it does not hold"
            self.wrong(None, reason, (event.event,))

    def on_return(self, event: Event) -> None:
        """End the locks of a replica."""
        self._tracker.end_function(event)

    on_raise = on_return

    def on_receive(self, event: Event) -> None:
        """Follow the requests that the program knows."""
        self._tracker.receive(event)

    def on_answer(self, event: Event) -> None:
        """Check a grant, or a value that is passed on."""
        if event.replica is None or event.operation not in {"granted", "passed"}:
            return
        asked = self._tracker.asked.get(event.replica)
        if asked is None:
            if self.replay.from_start:
                reason = f"replica {event.replica} gets an answer without a request"
                self.wrong(None, reason, (event.event,))
        elif not self.replay.may_know(asked):
            reason = f"the request of {seen_by(asked)} is answered before it arrives"
            self.wrong(None, reason, (asked.event, event.event))
        elif asked.operation == "barrier":
            self._end_barrier(asked, event)
        elif asked.operation in {"send", "recv"}:
            self._pass(asked, event)
        else:
            self._grant(event)
            return
        self._tracker.asked.pop(event.replica, None)

    def _grant(self, event: Event) -> None:
        grant = self._tracker.grant(event)
        self._tracker.asked.pop(event.replica or 0, None)
        if grant is None or not self.replay.from_start:
            return
        who, lock = seen_by(grant.request), grant.request.note
        for rival in grant.rivals:
            reason = f"{who} gets lock {lock!r} while {seen_by(rival.request)} holds it"
            proof = (rival.request.event, rival.granted, grant.request.event, event.event)
            self.wrong(None, reason, proof)
        for other in grant.overtaken:
            reason = f"{who} gets lock {lock!r} before {seen_by(other)}, which requested it earlier"
            self.wrong(None, reason, (other.event, grant.request.event, event.event))

    def _end_barrier(self, asked: Event, event: Event) -> None:
        """Check that all members are at the barrier; their answers are separate events."""
        waiting = self._at_barrier.setdefault(asked.members, {})
        members, joined = self.replay.at_barrier(asked)
        if asked.process not in waiting:
            waiting.clear()
            for replica_id in members:
                other = self._tracker.asked.get(replica_id)
                if other is not None and _is_same_barrier(asked, other):
                    waiting[replica_id] = other
            missing = len(members) - len(waiting)
            known = all(map(self.replay.may_know, (*waiting.values(), *joined.values())))
            if (missing or not known) and self.replay.from_start:
                everyone = "members" if asked.group else "replicas"
                reason = f"a barrier ends for {seen_by(asked)} before all {everyone} have arrived"
                proof = (*(one.event for one in waiting.values()), event.event)
                self.wrong(None, reason, proof)
        waiting.pop(asked.process, None)

    def _pass(self, asked: Event, event: Event) -> None:
        """Check that a receive has a value of its sender, and that a sent value was received."""
        if event.operation == "granted":
            if self._passed.pop(asked.process, None) is None and self.replay.from_start:
                reason = f"a value of {seen_by(asked)} is not passed on, and its send ends"
                self.wrong(None, reason, (asked.event, event.event))
            return
        source = int(asked.note or 0) if (asked.note or "").isdecimal() else -1
        sent = self._tracker.asked.get(source)
        if (
            sent is None
            or (sent.operation, sent.note, sent.call) != ("send", str(asked.process), asked.call)
            or not self.replay.may_know(sent)
            or source in self._passed
        ):
            if self.replay.from_start:
                reason = f"{seen_by(asked)} gets a value that replica {source} has not sent to it"
                self.wrong(None, reason, (asked.event, event.event))
            return
        self._passed[source] = event.event

    def on_abort(self, event: Event) -> None:
        """Record that replicas may still send releases of the call, which have no effect."""
        self._aborted.add(event.call)

    def on_finish(self, event: Event) -> None:
        """Drop the locks of the call."""
        self._tracker.end_call(event.call)
        self._passed.clear()


def _is_same_barrier(one: Event, other: Event) -> bool:
    return (one.operation, one.note, one.call, one.members) == (
        other.operation, other.note, other.call, other.members,
    )  # fmt: skip
