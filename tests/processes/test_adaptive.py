"""Deferred writes on real workers give the values of ON_WRITE with few exchanges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.processes.conftest import cluster, soon
from varsim.errors import MismatchError

pytestmark = pytest.mark.processes

SUM, MEAN = tf.VariableAggregation.SUM, tf.VariableAggregation.MEAN


def train(auto: str) -> tuple[list[Any], tuple[Any, ...]]:
    """Return all values that a program reads, and the cost."""
    with cluster(3, auto=auto) as strategy:
        with strategy.scope():
            total = tf.Variable(0, aggregation=SUM)
            large = tf.Variable(np.zeros(50_000, "f"), aggregation=MEAN)

        def step(number: int) -> tuple[Any, Any]:
            me = tf.distribute.get_replica_context().replica_id_in_sync_group
            seen = -1
            for i in range(4):
                total.assign_add(number + me + i)
                if (me, i) == (number % 3, 2):
                    seen = int(total)
            large.assign_add(np.full(50_000, me + 1, "f"))
            if number == 3:
                large.assign_sub(large.read_value())
            return seen, float(total) if number == 4 else None

        saw = [strategy.run(step, args=(number,)) for number in range(6)]
        seen = [[np.array(one).tolist() for one in strategy.experimental_local_results(x)]
                for pair in saw for x in pair if x is not None]  # fmt: skip
        ends = [int(total), large.numpy().tolist()]
        return [*seen, *ends], strategy.statistics()


@pytest.mark.thorough
def test_a_program_with_auto_adaptive_reads_the_values_of_on_write() -> None:
    """The numbers are small integers, so no sum is rounded. One array is too large to be packed."""
    expected, _ = train("on_write")
    got, (total, large) = train("adaptive")

    assert expected == got
    for account in (total, large):
        assert account.on_write is not None
        assert account.merges < account.on_write.merges
        assert account.messages < account.on_write.messages
        assert account.size_bytes < account.on_write.size_bytes


def test_a_read_that_waits_for_a_missing_write_fails_immediately() -> None:
    with cluster(2, auto="adaptive") as strategy:
        with strategy.scope():
            v = tf.Variable(0.0, name="v", aggregation=SUM)

        def skips() -> float:
            if tf.distribute.get_replica_context().replica_id_in_sync_group == 0:
                v.assign_add(1.0)
            return float(v)

        with soon(), pytest.raises(MismatchError, match="replica 0: 1 write; it waits in a read"):
            strategy.run(skips)
        strategy.run(lambda: v.assign_add(1.0) is None)
        assert 2.0 == float(v)
