"""`strategy.extended` and other names that optimizers, layers and older programs use."""

from __future__ import annotations

import numpy as np
import pytest

import varsim as tf
from tests.distribute.programs import components, create_variable
from tests.replica_context import replica_id


def test_a_condition_in_a_merge_call_decides_for_every_replica(strategy):
    """The condition is computed once, in cross-replica context, and holds for all replicas."""
    weight = create_variable(strategy, 1.0, "ON_WRITE", "MEAN")

    def apply_it(rate):
        weight.assign_sub(np.float32(rate * (replica_id() + 1)))
        return replica_id()

    def decide(strategy, gradients):
        if strategy.reduce("SUM", gradients, axis=None) > 2:
            return strategy.extended.call_for_each_replica(apply_it, args=(0.1,))
        return None

    def train(x):
        return tf.distribute.get_replica_context().merge_call(decide, args=(np.float32(x),))

    assert strategy.run(train, (1.0,)) is None
    assert (0, 1) == strategy.run(train, (2.0,)).values
    assert [np.float32(0.85)] * 2 == components(weight)


def test_the_extended_strategy_has_the_devices_of_the_replicas(strategy):
    extended = strategy.extended

    assert ("/device:CPU:0", "/device:CPU:1") == extended.worker_devices
    assert [["/device:CPU:0"], ["/device:CPU:1"]] == extended.worker_devices_by_replica
    assert extended.worker_devices == extended.parameter_devices == extended.non_slot_devices([])
    assert ("/device:CPU:0",) == tf.distribute.get_strategy().extended.worker_devices


def test_the_container_of_a_component_is_its_variable(strategy):
    v = create_variable(strategy, 1.0)

    assert v is strategy.extended.value_container(v.values[1])
    assert v is strategy.extended.value_container(v)
    assert v.distribute_strategy is strategy
    assert v.is_distributed_variable


def test_a_replica_context_updates_components(strategy):
    v = create_variable(strategy, 1.0)

    def step():
        context = tf.distribute.get_replica_context()
        context.update(v, lambda part, x: part.assign_add(x), args=(np.float32(replica_id() + 1),))

    strategy.run(step)
    assert [2.0, 3.0] == components(v)


def test_a_reference_to_a_variable_can_be_a_key(strategy):
    v, w = create_variable(strategy, 1.0), create_variable(strategy, 1.0)
    names = {v.ref(): "v", w.ref(): "w"}

    assert "w" == names[w.ref()]
    assert v is v.ref().deref()
    assert "v" == strategy.run(lambda: names[v.ref()])
    assert v.values[0].ref() == v.values[0].ref() != v.ref()


@pytest.mark.parametrize("name", ["SUM", "MEAN"])
def test_an_aggregation_has_a_reduce_op_of_the_same_name(name):
    op = tf.distribute.ReduceOp.from_variable_aggregation(tf.VariableAggregation[name])

    assert tf.distribute.ReduceOp[name] is op


@pytest.mark.parametrize("name", ["NONE", "ONLY_FIRST_REPLICA"])
def test_other_aggregations_have_no_reduce_op(name):
    with pytest.raises(ValueError, match="only SUM and MEAN"):
        tf.distribute.ReduceOp.from_variable_aggregation(tf.VariableAggregation[name])


def test_options_for_performance_are_accepted(simulated):
    """The options do not change the results."""
    options = tf.distribute.experimental.CommunicationOptions(bytes_per_pack=50)
    strategy = tf.distribute.MirroredStrategy(
        ["cpu:0", "cpu:1"], cross_device_ops=tf.distribute.HierarchicalCopyAllReduce(num_packs=2)
    )

    def step():
        return tf.distribute.get_replica_context().all_reduce(
            "SUM", replica_id() + 1, options=options
        )

    total = strategy.run(step, options=tf.distribute.RunOptions())
    assert [3, 3] == [int(value) for value in total.values]
    assert (3, 3) == tuple(int(value) for value in strategy.unwrap(total))
    assert strategy.cluster_resolver is None
    with strategy.scope():
        v = tf.Variable(1.0)
        with strategy.colocate_vars_with(v):
            assert 2 == len(components(tf.Variable(2.0)))
