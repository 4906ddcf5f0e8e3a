"""Follow the locks of a history: requests, grants and releases, as the program received them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from varsim.tracing.history import Event

LOCKS: Final = frozenset({"lock", "read_lock"})
"""The operations of requests for locks."""

_Key = tuple[int | None, str]
"""A call and the name of a lock: each call has locks of its own."""


@dataclass(slots=True)
class Hold:
    """A lock that a replica holds."""

    request: Event
    granted: int  # the event of the grant
    released: int | None = None  # the replica's event that ends it

    @property
    def is_shared(self) -> bool:
        """Return whether other replicas can hold the lock at the same time."""
        return self.request.operation == "read_lock"


@dataclass(frozen=True, slots=True)
class Grant:
    """The grant of a lock."""

    request: Event
    arrived: bool  # whether the program had received the request
    had_to_wait: bool  # whether the lock was not free when the request arrived
    rivals: tuple[Hold, ...]  # holders that exclude this one
    overtaken: tuple[Event, ...]  # requests that had arrived earlier and still wait
    previous: Hold | None  # the last hold of the lock that is over


@dataclass(slots=True)
class _Lock:
    holds: dict[int, Hold] = field(default_factory=dict)  # replica → hold
    queue: dict[int, tuple[Event, bool]] = field(default_factory=dict)
    """Replica → request that has arrived, and whether it had to wait; in order of arrival."""
    last: Hold | None = None


class LockTracker:
    """The locks of all calls. Give it the events of these kinds in causal order."""

    def __init__(self) -> None:
        self.asked: dict[int, Event] = {}  # replica → its last request, of any operation
        self._locks: dict[_Key, _Lock] = {}
        self._ending: dict[int, list[tuple[_Key, Hold]]] = {}  # replica → holds that it has ended

    def request(self, event: Event) -> None:
        """Take a request of a replica."""
        self.asked[event.process] = event

    def release(self, event: Event) -> bool:
        """Take the release of a lock. Return whether the replica held the lock."""
        key = event.call, event.note or ""
        hold = self._locks[key].holds.get(event.process) if key in self._locks else None
        if hold is None or hold.released is not None:
            return False
        self._end(key, hold, event)
        return True

    def end_function(self, event: Event) -> None:
        """Take the end of a replica's function, which releases all its locks."""
        for key, lock in self._locks.items():
            hold = lock.holds.get(event.process)
            if key[0] == event.call and hold is not None and hold.released is None:
                self._end(key, hold, event)

    def _end(self, key: _Key, hold: Hold, event: Event) -> None:
        hold.released = event.event
        self._ending.setdefault(event.process, []).append((key, hold))

    def receive(self, event: Event) -> None:
        """Take the receipt of messages of a replica by the program."""
        replica_id, cause = event.replica, event.cause or 0
        if replica_id is None:
            return
        for key, hold in self._ending.pop(replica_id, ()):
            if hold.released is not None and hold.released <= cause:
                lock = self._locks[key]
                lock.holds.pop(replica_id, None)
                lock.last = hold
            else:
                self._ending.setdefault(replica_id, []).append((key, hold))
        asked = self.asked.get(replica_id)
        if asked is not None and asked.operation in LOCKS and asked.event == cause:
            lock = self._locks.setdefault((asked.call, asked.note or ""), _Lock())
            ahead = [*(one.request for one in lock.holds.values())]
            ahead += [one for one, _ in lock.queue.values()]
            lock.queue[replica_id] = asked, any(_exclude(asked, one) for one in ahead)

    def grant(self, event: Event) -> Grant | None:
        """Take a grant; None if the replica's last request was not for a lock."""
        replica_id = event.replica
        asked = None if replica_id is None else self.asked.get(replica_id)
        if replica_id is None or asked is None or asked.operation not in LOCKS:
            return None
        lock = self._locks.setdefault((asked.call, asked.note or ""), _Lock())
        rivals = tuple(one for one in lock.holds.values() if _exclude(asked, one.request))
        overtaken: list[Event] = []
        for other, (request, _) in lock.queue.items():
            if other == replica_id:
                break
            overtaken.append(request)
        arrived = lock.queue.pop(replica_id, None)
        lock.holds[replica_id] = Hold(asked, event.event)
        return Grant(
            asked,
            arrived is not None,
            arrived is not None and arrived[1],
            rivals,
            tuple(overtaken) if arrived is not None else (),
            lock.last,
        )

    def end_call(self, call: int | None) -> None:
        """Drop the locks of a call."""
        self._locks = {key: lock for key, lock in self._locks.items() if key[0] != call}
        self._ending = {
            i: kept
            for i, ending in self._ending.items()
            if (kept := [one for one in ending if one[0][0] != call])
        }


def _exclude(one: Event, other: Event) -> bool:
    """Return whether two requests for a lock exclude each other."""
    return one.operation == "lock" or other.operation == "lock"
