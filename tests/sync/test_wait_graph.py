"""A deadlock is a cycle of waits, or a wait for a replica that has ended."""

from __future__ import annotations

import random
from collections.abc import Collection
from itertools import pairwise

import pytest

from varsim.sync.wait_graph import find_deadlock


@pytest.mark.parametrize(
    ("waits", "ended", "expected"),
    [
        ({}, (), ()),
        ({0: [1]}, (), ()),
        ({0: [1], 1: [2], 2: [3]}, (), ()),
        ({0: [1, 2], 1: [2]}, (), ()),
        ({0: [1], 1: [0]}, (), (0, 1)),
        ({1: [2], 2: [1], 0: [1]}, (), (1, 2)),
        ({0: [1], 1: [2], 2: [0]}, (), (0, 1, 2)),
        ({0: [1, 3], 1: [2], 2: [0], 3: [0]}, (), (0, 3)),
        ({0: [0]}, (), (0,)),
        ({0: [1]}, (1,), (0, 1)),
        ({0: [1], 1: [0], 2: [3]}, (3,), (2, 3)),
        ({2: [0, 1], 1: [0]}, (0,), (1, 0)),
    ],
)
def test_the_deadlock_of_a_graph(
    waits: dict[int, list[int]], ended: Collection[int], expected: tuple[int, ...]
) -> None:
    assert expected == find_deadlock(waits, ended)


@pytest.mark.parametrize("seed", range(100))
def test_a_deadlock_is_found_exactly_if_a_replica_can_never_continue(seed: int) -> None:
    """The other replicas continue one after the other, each when nothing holds it up."""
    chance = random.Random(seed)
    count = chance.randint(2, 7)
    density = chance.choice((0.1, 0.2, 0.4))
    ended = {i for i in range(count) if chance.random() < 0.1}
    waits = {
        i: [j for j in range(count) if j != i and chance.random() < density]
        for i in range(count)
        if i not in ended and chance.random() < 0.8
    }

    found = find_deadlock(waits, ended)

    assert bool(found) == bool(_stuck(waits, ended))
    for waiter, other in pairwise(found):
        assert other in waits[waiter]
    assert not found or found[-1] in ended or found[0] in waits[found[-1]]


def _stuck(waits: dict[int, list[int]], ended: set[int]) -> set[int]:
    stuck = {i for i, others in waits.items() if others}
    going_on = set(range(7)) - stuck - ended
    while True:
        freed = {i for i in stuck if going_on.issuperset(waits[i])}
        if not freed:
            return stuck
        stuck -= freed
        going_on |= freed
