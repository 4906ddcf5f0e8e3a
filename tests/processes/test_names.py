"""Objects that varsim provides under TensorFlow's names, used on worker processes."""

from __future__ import annotations

import numpy as np
import pytest

import varsim as tf
from tests.processes.conftest import Strategy
from tests.processes.replicas import merge_call
from tests.replica_context import replica_id

pytestmark = pytest.mark.processes


def test_a_moving_average_is_updated_by_replicas(strategy: Strategy):
    """The object finds its averages by references to variables, which are sent with the object."""
    with strategy.scope():
        v = tf.Variable(1.0, aggregation=tf.VariableAggregation.MEAN)
    ema = tf.train.ExponentialMovingAverage(0.5)
    ema.apply([v])
    names = {v.ref(): "v"}

    def step():
        v.assign(replica_id() + 2.0)
        ema.apply([v])
        return names[v.ref()]

    assert "v" == strategy.run(step)
    assert [2.0] * 3 == [float(part) for part in ema.average(v).values]


def test_a_merge_call_runs_a_function_on_every_replica(strategy: Strategy):
    with strategy.scope():
        v = tf.Variable(0.0, aggregation=tf.VariableAggregation.SUM)

    def decide(strategy, values):
        assert 3.0 == strategy.reduce("SUM", values, axis=None)
        return strategy.extended.call_for_each_replica(v.assign_add, args=(tf.ones(()),))

    strategy.run(lambda: merge_call(decide, np.float32(replica_id())) is None)
    assert 3.0 == v.numpy()
