"""Process groups on real workers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.processes.conftest import Strategy, soon
from tests.replica_context import replica_id
from varsim.errors import DeadlockError, MismatchError

pytestmark = pytest.mark.processes


def context() -> Any:
    return tf.distribute.get_replica_context()


def test_members_combine_small_and_large_values(strategy: Strategy) -> None:
    """A group travels with the function; a large array may be in shared memory."""
    pair = strategy.group([0, 2])

    def step() -> list[float]:
        if replica_id() not in pair:
            return []
        large = np.full(2**18, replica_id() + 1.0)
        context().barrier(group=pair)
        mean = context().all_reduce("MEAN", {"large": large, "small": 1.0}, group=pair)
        rows = context().all_gather(np.array([replica_id()]), axis=0, group=pair)
        return [float(mean["large"].sum()) / 2**18, float(mean["small"]), *map(float, rows)]

    seen = strategy.run(lambda: repr(step()))
    expected = repr([2.0, 1.0, 0.0, 2.0])
    assert (expected, "[]", expected) == strategy.experimental_local_results(seen)


def test_a_member_that_ends_early_and_a_circle_of_groups_fail_at_once(strategy: Strategy) -> None:
    groups = [strategy.group(ids) for ids in ([0, 1], [1, 2], [0, 2])]

    def forgets() -> None:
        if replica_id() == 0:
            context().all_reduce("SUM", 1.0, group=groups[0])

    def circle() -> None:
        context().all_reduce("SUM", 1.0, group=groups[replica_id()])

    with pytest.raises(MismatchError, match="of the group of replicas 0, 1 in this call"), soon():
        strategy.run(forgets)
    with pytest.raises(DeadlockError, match="replicas wait for each other") as caught, soon():
        strategy.run(circle)
    assert (0, 1, 2) == caught.value.replica_ids
