"""Check the types in a user's tests on the simulated cluster."""

from __future__ import annotations

from typing import assert_type

import varsim as tf
from varsim.testing import SimulatedCluster, simulated_cluster


def test_total() -> None:
    """Let each of two replicas add 1."""
    with simulated_cluster() as cluster:
        assert_type(cluster, SimulatedCluster)
        with tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"]) as strategy:
            with strategy.scope():
                total = tf.Variable(0.0, aggregation=tf.VariableAggregation.SUM)
            strategy.run(lambda: total.assign_add(1.0))
            assert float(total) == 2.0


simulated_cluster("seed")  # type: ignore[arg-type]  # a seed is a number
