"""Count how long replicas wait for locks, over all calls of a cluster."""

from __future__ import annotations

from typing import Final

from varsim.sync.statistics import LockStatistics

MOST_LOCKS: Final = 1000
"""Largest number of locks with an entry of their own. A program may make up names without end."""

OTHERS: Final = "(other locks)"
"""In place of a name: all locks after the first `MOST_LOCKS`."""


class LockAccount:
    """The waits for all locks of a cluster."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, int], LockStatistics] = {}
        self._names: set[str] = set()

    def _entry(self, lock: str, replica_id: int) -> LockStatistics:
        if lock not in self._names:
            if len(self._names) < MOST_LOCKS:
                self._names.add(lock)
            else:
                lock = OTHERS
        key = lock, replica_id
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = LockStatistics(lock, replica_id)
        return entry

    def granted(self, lock: str, replica_id: int, waited_s: float, *, had_to_wait: bool) -> None:
        """Record that a replica got a lock."""
        entry = self._entry(lock, replica_id)
        entry.requests += 1
        if had_to_wait:
            entry.waits += 1
            entry.waited_s += waited_s
            entry.longest_s = max(entry.longest_s, waited_s)

    def released(self, lock: str, replica_id: int, held_s: float) -> None:
        """Record that a replica no longer holds a lock."""
        self._entry(lock, replica_id).held_s += held_s

    def statistics(self) -> tuple[LockStatistics, ...]:
        """Return an entry for each lock and replica, by name and then in replica order."""
        return tuple(self._entries[key] for key in sorted(self._entries))
