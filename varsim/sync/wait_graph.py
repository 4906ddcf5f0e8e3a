"""Find deadlocks in a waits-for graph: which replicas wait for which other replicas."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping

Waits = Mapping[int, Collection[int]]
"""A mapping: waiting replica → the replicas that must act before it continues. All are needed."""


def find_deadlock(waits: Waits, ended: Collection[int]) -> tuple[int, ...]:
    """Return the replicas of a deadlock; empty if every waiting replica can still continue.

    A waiting replica needs all replicas for which it waits. So a wait for a replica that has ended
    never ends, and the waits of a cycle never end, whatever the other replicas do.

    Args:
        ended: The replicas whose functions have ended.
    Returns:
        Replicas of which each waits for the next one. The last replica has ended, or it waits for
        the first one. Of several deadlocks, the shortest one; then the one with the lowest ids.
    """
    for waiter in sorted(waits):
        for other in sorted(waits[waiter]):
            if other in ended:
                return waiter, other
    stuck = _without_end(waits)
    cycles = [cycle for replica_id in stuck if (cycle := _shortest_cycle(replica_id, stuck))]
    return min(cycles, key=lambda cycle: (len(cycle), cycle), default=())


def _without_end(waits: Waits) -> dict[int, Collection[int]]:
    """Return the waits that never end: those of replicas on a cycle, or before a cycle."""
    stuck = dict(waits)
    while True:
        free = [one for one, others in stuck.items() if not any(map(stuck.__contains__, others))]
        if not free:
            return stuck
        for replica_id in free:
            del stuck[replica_id]


def _shortest_cycle(start: int, waits: Waits) -> tuple[int, ...]:
    """Return the shortest cycle through a replica, which is its first member; empty if none."""
    paths: deque[tuple[int, ...]] = deque([(start,)])
    seen: set[int] = set()
    while paths:
        path = paths.popleft()
        for other in sorted(waits.get(path[-1], ())):
            if other == start:
                return path
            if other not in seen:
                seen.add(other)
                paths.append((*path, other))
    return ()
