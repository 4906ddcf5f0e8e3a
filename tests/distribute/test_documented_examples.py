"""Programs in the style of TensorFlow's documentation of tf.distribute.

Their code is unchanged, except that datasets are lists, because varsim has no tf.data.
"""

from __future__ import annotations

import pytest

import varsim as tf


@pytest.fixture
def strategy(simulated):
    return tf.distribute.MirroredStrategy(["GPU:0", "GPU:1"])


def values(distributed):
    return [value.tolist() for value in distributed.values]


def test_the_example_of_a_value_from_a_function_runs(strategy):
    def value_fn(context):
        return tf.constant(context.replica_id_in_sync_group)

    distributed = strategy.experimental_distribute_values_from_function(value_fn)
    assert (0, 1) == strategy.experimental_local_results(distributed)

    @tf.function
    def replica_fn(x):
        return x * 2

    assert [0, 2] == [int(x) for x in strategy.run(replica_fn, args=(distributed,)).values]


def test_the_example_of_values_that_depend_on_the_replica_id_runs(strategy):
    context = tf.distribute.experimental.ValueContext(
        replica_id_in_sync_group=2, num_replicas_in_sync=4
    )
    assert 0.5 == context.replica_id_in_sync_group / context.num_replicas_in_sync


def test_the_example_of_a_reduction_of_results_runs(strategy):
    def step_fn():
        i = tf.distribute.get_replica_context().replica_id_in_sync_group
        return tf.identity(i)

    per_replica = strategy.run(step_fn)
    assert 1 == strategy.reduce("SUM", per_replica, axis=None)
    assert 0.5 == strategy.reduce(tf.distribute.ReduceOp.MEAN, per_replica, axis=None)


def test_the_example_of_a_reduction_over_replicas_and_an_axis_runs(strategy):
    @tf.function
    def step_fn():
        i = tf.distribute.get_replica_context().replica_id_in_sync_group
        return tf.cast(tf.constant([4 * i, 4 * i + 1]), tf.float32)

    assert 2.5 == strategy.reduce("MEAN", strategy.run(step_fn), axis=0)


def test_the_example_of_a_gather_in_both_contexts_runs(strategy):
    values_of = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant([[context.replica_id_in_sync_group] * 2])
    )

    assert [[0, 0], [1, 1]] == strategy.gather(values_of, axis=0).tolist()

    @tf.function
    def gather_value():
        local = tf.constant([1, 2, 3])
        return tf.distribute.get_replica_context().all_gather(local, axis=0)

    assert [[1, 2, 3, 1, 2, 3]] * 2 == values(strategy.run(gather_value))


def test_the_example_of_an_all_reduce_of_a_structure_runs(strategy):
    @tf.function
    def all_reduce(value):
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, value)

    result = strategy.run(all_reduce, args=([tf.constant(1), {"a": tf.constant(2.0)}],))
    assert [2, 2] == values(result[0])
    assert [4.0, 4.0] == values(result[1]["a"])


def test_the_example_of_a_merge_call_that_reduces_runs(strategy):
    def merge_fn(strategy, value, use_reduce):
        return strategy.reduce("SUM", value, axis=None) if use_reduce else value

    def step():
        context = tf.distribute.get_replica_context()
        return context.merge_call(merge_fn, args=(tf.constant(3.0), True))

    assert [6.0, 6.0] == values(strategy.run(step))


def test_the_example_of_variables_with_both_settings_runs(strategy):
    with strategy.scope():
        weight = tf.Variable(tf.ones([2]), aggregation=tf.VariableAggregation.MEAN)
        count = tf.Variable(
            tf.constant(0),
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    @tf.function
    def step():
        weight.assign_sub(tf.convert_to_tensor([0.5, 0.25]))
        count.assign_add(tf.constant(1, dtype=tf.int32))

    for _ in range(2):
        strategy.run(step)
    assert [0.0, 0.5] == weight.numpy().tolist()
    assert 4 == count.numpy()


def test_the_example_of_an_update_of_components_runs(strategy):
    with strategy.scope():
        v = tf.Variable(5.0)

    def update(var, value):
        return var.assign_add(value)

    strategy.extended.update(v, update, args=(tf.constant(2.0),))
    reduced = strategy.extended.reduce_to("SUM", tf.distribute.PerReplica(tf.ones([2])), v)
    strategy.extended.update(v, update, args=(reduced,))
    assert [9.0, 9.0] == [float(part) for part in v.values]


def test_the_example_of_a_training_loop_over_epochs_runs(strategy):
    dataset = [([1.0, 2.0], [0.0, 1.0])]
    train = strategy.experimental_distribute_dataset([{"x": tf.constant(x)} for x, _ in dataset])
    with strategy.scope():
        total = tf.Variable(tf.zeros(()), aggregation=tf.VariableAggregation.SUM)

    @tf.function
    def train_step(inputs):
        total.assign_add(tf.cast(inputs["x"].sum(), tf.float32))

    for _ in range(3):
        for batch in train:
            strategy.run(train_step, args=(batch,))
    assert 9.0 == total.numpy()


def test_the_example_of_a_strategy_of_one_device_runs():
    strategy = tf.distribute.OneDeviceStrategy(device="/gpu:0")
    with strategy.scope():
        v = tf.Variable(1.0)
    assert "CPU" in v.device or "GPU" in v.device

    result = 0
    for i in range(10):
        result += strategy.run(lambda x: x * 2, args=(i,))
    assert 90 == result
