"""Which events of other replicas happened before a replica continues after a meeting.

A meeting is a lock, a barrier, a send or a receive. The program answers it, but not everything that
the program knows is ordered before the answer: only the releases of the same lock, the arrivals at
the same barrier, or the other side of a send.
"""

from __future__ import annotations

from varsim.analysis.locks import LOCKS
from varsim.tracing.history import Event

Source = tuple[int, int]
"""A replica and the number of its event."""

_Key = tuple[int | None, str]


class MeetingOrder:
    """Follows requests, releases and answers; give it these events in causal order."""

    def __init__(self) -> None:
        self.before: dict[int, list[Source]] = {}
        """An answer that is not followed yet → the events that happened before it."""
        self._asked: dict[int, Event] = {}  # replica → its request that is not answered
        self._held: dict[int, dict[_Key, bool]] = {}  # replica → locks → whether it only reads
        self._released: dict[_Key, dict[int, tuple[int, bool]]] = {}  # lock → replica → release
        self._at_barrier: dict[tuple[_Key, str | None], list[Source]] = {}  # … and its members
        self._other_sides: dict[int, list[Source]] = {}  # replicas that get their answers next

    def request(self, event: Event) -> None:
        """Take a request of a replica."""
        self._asked[event.process] = event
        if event.operation == "barrier":
            arrived = self._at_barrier.setdefault((_key(event), event.members), [])
            arrived.append((event.process, event.event))

    def release(self, event: Event) -> None:
        """Take the release of a lock."""
        reads = self._held.get(event.process, {}).pop(_key(event), None)
        if reads is not None:
            self._released.setdefault(_key(event), {})[event.process] = event.event, reads

    def end_function(self, event: Event) -> None:
        """Take the end of a replica's function, which releases its locks."""
        held = self._held.get(event.process, {})
        for key in [key for key in held if key[0] == event.call]:
            self._released.setdefault(key, {})[event.process] = event.event, held.pop(key)

    def answer(self, event: Event) -> None:
        """Take an answer of the program."""
        replica_id = event.replica
        if replica_id is None or event.operation not in {"granted", "passed"}:
            return
        asked = self._asked.pop(replica_id, None)
        if asked is None:
            return
        key = _key(asked)
        if asked.operation in LOCKS:
            reads = asked.operation == "read_lock"
            released = self._released.get(key, {}).items()
            # A reader is not ordered after other readers.
            self.before[event.event] = [
                (other, number) for other, (number, read) in released if not (reads and read)
            ]
            self._held.setdefault(replica_id, {})[key] = reads
            return
        if asked.operation == "barrier":
            arrived = self._at_barrier.pop((key, asked.members), [])
            self._other_sides |= {other: arrived for other, _ in arrived}
        elif event.operation == "passed" and (asked.note or "").isdecimal():
            sender = int(asked.note or 0)
            sent = self._asked.get(sender)
            self._other_sides[sender] = [(replica_id, asked.event)]
            self._other_sides[replica_id] = [] if sent is None else [(sender, sent.event)]
        self.before[event.event] = self._other_sides.pop(replica_id, [])

    def end_call(self, call: int | None) -> None:
        """Drop a call that has ended or failed."""
        self.before.clear()
        self._released = {key: one for key, one in self._released.items() if key[0] != call}
        self._at_barrier = {key: one for key, one in self._at_barrier.items() if key[0][0] != call}
        for replica_id, held in self._held.items():
            self._held[replica_id] = {key: reads for key, reads in held.items() if key[0] != call}


def _key(event: Event) -> _Key:
    return event.call, event.note or ""
