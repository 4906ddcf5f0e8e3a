"""Keep track of the locks of one call: who holds them, and who waits for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from varsim.errors import ProtocolError
from varsim.protocol.limits import MAX_LOCKS_HELD
from varsim.value_class import value_class


@value_class
class Request:
    """A replica's request for a lock."""

    replica_id: int
    is_shared: bool  # whether other replicas can hold the lock at the same time, for reading
    location: str
    asked_s: float


@dataclass(slots=True)
class _Lock:
    """One lock that a replica holds; without a holder there is no such object."""

    holders: dict[int, Request] = field(default_factory=dict)  # several only if all are shared
    queue: deque[Request] = field(default_factory=deque)  # in order of arrival

    def admits(self, request: Request) -> bool:
        """Return whether the first request of the queue can be granted now."""
        if not self.holders:
            return True
        return request.is_shared and all(one.is_shared for one in self.holders.values())


@value_class
class Obstacle:
    """A replica that must act before a waiting replica gets a lock."""

    replica_id: int
    holds: bool  # whether it holds the lock; else it waits for the lock since an earlier time
    is_shared: bool
    location: str  # where it requested the lock


Granted = Callable[[str, Request], None]
"""Called for each request that is granted."""


class Locks:
    """The locks of one call.

    A lock is exclusive, or shared by readers. The requests for a lock are granted in order of
    arrival: a reader does not overtake a waiting writer. A replica waits for one lock at most, but
    it can hold several locks. Locks are not re-entrant.

    Args:
        granted: Called for each request that is granted, with the name of the lock.
    """

    def __init__(self, granted: Granted) -> None:
        self._granted = granted
        self._locks: dict[str, _Lock] = {}
        self._waits: dict[int, str] = {}  # replica_id → the lock for which it waits

    def request(self, name: str, request: Request) -> None:
        """Add a request for a lock, and grant it if the lock is free.

        Raises:
            ProtocolError: The replica holds the lock already, or too many locks.
        """
        if len(self.held_by(request.replica_id)) >= MAX_LOCKS_HELD:
            raise ProtocolError(f"replica {request.replica_id} holds too many locks")
        lock = self._locks.setdefault(name, _Lock())
        if request.replica_id in lock.holders:
            raise ProtocolError(f"replica {request.replica_id} already holds lock {name!r}")
        lock.queue.append(request)
        self._waits[request.replica_id] = name
        self._grant(name, lock)

    def release(self, name: str, replica_id: int) -> None:
        """End a replica's hold of a lock, and grant the lock to those that wait for it.

        Raises:
            ProtocolError: The replica does not hold the lock.
        """
        lock = self._locks.get(name)
        if lock is None or replica_id not in lock.holders:
            raise ProtocolError(f"replica {replica_id} does not hold lock {name!r}")
        del lock.holders[replica_id]
        self._grant(name, lock)

    def release_all(self, replica_id: int) -> None:
        """End all holds of a replica, whose function has ended."""
        for name in self.held_by(replica_id):
            self.release(name, replica_id)

    def _grant(self, name: str, lock: _Lock) -> None:
        while lock.queue and lock.admits(lock.queue[0]):
            request = lock.queue.popleft()
            lock.holders[request.replica_id] = request
            del self._waits[request.replica_id]
            self._granted(name, request)
        if not lock.holders:
            del self._locks[name]

    # ------------------------------------------------------------ who waits for whom

    def held_by(self, replica_id: int) -> dict[str, Request]:
        """Return the locks that a replica holds, with its requests."""
        return {
            name: lock.holders[replica_id]
            for name, lock in self._locks.items()
            if replica_id in lock.holders
        }

    def waiting_for(self, replica_id: int) -> dict[str, list[int]]:
        """Return the locks that a replica holds and others wait for, with the waiting replicas."""
        return {
            name: [request.replica_id for request in self._locks[name].queue]
            for name in self.held_by(replica_id)
            if self._locks[name].queue
        }

    def obstacles(self, replica_id: int) -> Iterator[Obstacle]:
        """Yield the replicas that must act before a waiting replica gets its lock.

        These are the holders, and the earlier requests that cannot share the lock with this one.
        """
        lock = self._locks[self._waits[replica_id]]
        own = next(one for one in lock.queue if one.replica_id == replica_id)
        for request in lock.holders.values():
            if not (own.is_shared and request.is_shared):
                yield Obstacle(request.replica_id, True, request.is_shared, request.location)
        for request in lock.queue:
            if request is own:
                return
            if not (own.is_shared and request.is_shared):
                yield Obstacle(request.replica_id, False, request.is_shared, request.location)

    def validate(self) -> None:
        """Assert the conditions that hold after every event."""
        waits: dict[int, str] = {}
        for name, lock in self._locks.items():
            assert lock.holders, "a lock without a holder is dropped"
            assert len(lock.holders) == 1 or all(one.is_shared for one in lock.holders.values())
            assert not lock.queue or not lock.admits(lock.queue[0]), "a request could be granted"
            for request in lock.queue:
                assert request.replica_id not in lock.holders
                assert request.replica_id not in waits, "a replica waits for one lock at most"
                waits[request.replica_id] = name
            for replica_id, request in lock.holders.items():
                assert replica_id == request.replica_id
        assert waits == self._waits
