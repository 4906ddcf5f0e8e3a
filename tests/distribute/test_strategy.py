"""The operations of a strategy in the program's own process, and their contexts."""

from __future__ import annotations

import numpy as np
import pytest

import varsim as tf
from tests.distribute.programs import components, create_variable, each
from tests.replica_context import replica_id
from varsim.errors import ConfigError

# ---------------------------------------------------------------- contexts


def test_each_part_of_a_program_has_its_context(strategy):
    def where():
        return (
            tf.distribute.has_strategy(),
            tf.distribute.in_cross_replica_context(),
            tf.distribute.get_replica_context() is None,
        )

    assert (False, False, False) == where()
    with strategy.scope():
        assert (True, True, True) == where()
        assert strategy is tf.distribute.get_strategy()
    assert (True, False, False) == strategy.run(where)
    assert (False, False, False) == where()


def test_a_scope_can_be_nested_only_in_itself(strategy):
    other = tf.distribute.MirroredStrategy(["cpu:0"])
    with strategy.scope(), strategy.scope():
        assert strategy is tf.distribute.get_strategy()
        with pytest.raises(RuntimeError, match="two strategies cannot be mixed"), other.scope():
            pass
        with pytest.raises(RuntimeError):
            other.run(lambda: None)


def test_a_scope_cannot_be_entered_on_a_replica(strategy):
    def step():
        with strategy.scope():
            pass

    with pytest.raises(RuntimeError, match="scope cannot be entered on a replica"):
        strategy.run(step)


def test_a_variable_of_one_strategy_is_not_written_under_another(strategy):
    v = create_variable(strategy, 1.0, "ON_WRITE", "SUM")
    other = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])

    with other.scope(), pytest.raises(RuntimeError, match="mixed"):
        v.assign(2.0)
    with pytest.raises(RuntimeError, match="mixed"):
        other.run(lambda: v.assign(2.0) and None)
    assert [1.0, 1.0] == components(v)


def test_a_strategy_can_be_made_global(strategy):
    tf.distribute.experimental_set_strategy(strategy)
    try:
        assert tf.distribute.has_strategy()
        assert 2 == len(components(tf.Variable(1.0)))
    finally:
        tf.distribute.experimental_set_strategy(None)
    assert not tf.distribute.has_strategy()


# ---------------------------------------------------------------- reduce and gather


def test_reduce_combines_per_replica_values(strategy):
    result = strategy.run(lambda: {"loss": np.float32(replica_id() + 1), "n": [replica_id()]})

    reduced = strategy.reduce("MEAN", result, axis=None)
    assert 1.5 == reduced["loss"]
    assert (0.5, np.dtype("float64")) == (reduced["n"][0], reduced["n"][0].dtype)


def test_reduce_along_an_axis_weights_each_replica_by_its_size(strategy):
    uneven = strategy.run(
        lambda: np.arange(1 + 2 * replica_id(), dtype=np.float32) + 10 * replica_id()
    )

    assert 33.0 == strategy.reduce("SUM", uneven, axis=0)
    assert 33.0 / 4 == strategy.reduce(tf.distribute.ReduceOp.MEAN, uneven, axis=0)


def test_one_value_can_be_reduced_with_mean_but_not_with_sum(strategy):
    assert 5.0 == strategy.reduce("mean", 5.0, axis=None)
    with pytest.raises(ValueError, match="one value, not one per replica"):
        strategy.reduce("sum", 5.0, axis=None)


@pytest.mark.parametrize("op", ["AVG", tf.VariableAggregation.SUM, None])
def test_reduce_accepts_only_its_ops(strategy, op):
    with pytest.raises((ValueError, TypeError), match="use "):
        strategy.reduce(op, each(strategy, 1.0, 2.0), axis=None)


def test_reduce_and_gather_are_refused_on_a_replica(strategy):
    for wrong in (
        lambda: strategy.reduce("SUM", 1.0, axis=None),
        lambda: strategy.gather(np.ones(2), axis=0),
    ):
        with pytest.raises(RuntimeError, match="needs cross-replica context"):
            strategy.run(wrong)


def test_gather_concatenates_in_replica_order(strategy):
    rows = strategy.run(lambda: np.full((replica_id() + 1, 2), replica_id()))

    assert [[0, 0], [1, 1], [1, 1]] == strategy.gather(rows, axis=0).tolist()
    with pytest.raises(ValueError, match="cannot gather along axis -1"):
        strategy.gather(rows, axis=-1)
    with pytest.raises(ValueError, match="replica 0: int64"):
        strategy.gather(rows, axis=1)


def test_empty_values_can_be_gathered(strategy):
    empty = strategy.run(lambda: np.zeros((0, 2)))

    assert (0, 2) == strategy.gather(empty, axis=0).shape


def test_local_results_are_the_components(strategy):
    v = create_variable(strategy, 1.0, "ON_READ", "SUM")
    x = each(strategy, 1.0, 2.0)

    assert v.values == strategy.experimental_local_results(v)
    assert (1.0, 2.0) == tuple(map(float, strategy.experimental_local_results(x)))
    assert (3,) == strategy.experimental_local_results(3)
    assert [{"x": 1.0}, {"x": 2.0}] == [
        {"x": float(one["x"])} for one in strategy.experimental_local_results({"x": x})
    ]


def test_a_write_to_a_local_result_changes_the_variable(strategy):
    v = create_variable(strategy, 1.0, "ON_READ", "SUM")
    first, second = strategy.experimental_local_results(v)
    second.assign(7.0)

    assert [1.0, 7.0] == components(v)
    assert 8.0 == v.numpy()
    assert 1.0 == first.numpy()


# ---------------------------------------------------------------- input


def test_a_batch_is_split_along_axis_0(strategy):
    batches = [
        {"x": np.arange(10).reshape(5, 2), "y": np.arange(5)},
        {"x": np.zeros((1, 2)), "y": np.zeros(1)},
    ]
    with pytest.warns(tf.VarsimWarning, match="replica 1 gets none"):
        split = list(strategy.experimental_distribute_dataset(batches))

    assert [(3, 2), (2, 2)] == [part.shape for part in split[0]["x"].values]
    assert [[0, 1, 2], [3, 4]] == [part.tolist() for part in split[0]["y"].values]
    assert [(1,), (0,)] == [part.shape for part in split[1]["y"].values]


def test_the_parts_of_a_batch_can_be_arguments_of_run(strategy):
    total = create_variable(strategy, 0.0, "ON_READ", "SUM")
    data = [np.arange(4, dtype=np.float32), np.arange(3, dtype=np.float32)]
    for batch in strategy.experimental_distribute_dataset(data):
        strategy.run(lambda x: total.assign_add(np.sum(x)) and None, (batch,))

    assert 9.0 == total.numpy()


@pytest.mark.parametrize("batch", [np.float32(1.0), (np.ones(2), np.ones(3))])
def test_the_leaves_of_a_batch_need_the_same_first_dimension(strategy, batch):
    with pytest.raises(ValueError, match="must have the same first dimension"):
        next(iter(strategy.experimental_distribute_dataset([batch])))


def test_values_from_a_function_are_always_per_replica(strategy):
    values = strategy.experimental_distribute_values_from_function(
        lambda context: {
            "id": context.replica_id_in_sync_group,
            "n": context.num_replicas_in_sync,
            "same": None,
        }
    )

    assert [(0, 1), (2, 2), (None, None)] == [value.values for value in values.values()]


# ---------------------------------------------------------------- devices


def test_varsim_workers_sets_the_number_of_workers(simulated, monkeypatch):
    monkeypatch.setenv("VARSIM_WORKERS", "3")
    assert 3 == tf.distribute.MirroredStrategy().num_replicas_in_sync

    monkeypatch.delenv("VARSIM_WORKERS")
    assert 2 == tf.distribute.MirroredStrategy().num_replicas_in_sync


@pytest.mark.parametrize("count", ["0", "-1", "many", "1000000", ""])
def test_an_impossible_number_of_workers_is_refused(simulated, monkeypatch, count):
    monkeypatch.setenv("VARSIM_WORKERS", count)

    with pytest.raises(ConfigError, match=r"VARSIM_WORKERS=.*from 1 to"):
        tf.distribute.MirroredStrategy()


@pytest.mark.parametrize(
    ("devices", "problem"),
    [
        ([], "at least one"),
        (["cpu:0", "cpu:0"], "duplicate device"),
        ("cpu:0", r"write \['cpu:0'\]"),
    ],
)
def test_impossible_devices_are_refused(simulated, devices, problem):
    with pytest.raises(ValueError, match=problem):
        tf.distribute.MirroredStrategy(devices)


def test_a_replica_context_has_its_device(simulated):
    strategy = tf.distribute.MirroredStrategy(["cpu:0", "gpu:0"])
    (device,) = strategy.run(lambda: tf.distribute.get_replica_context().devices)

    assert ("cpu:0", "gpu:0") == device.values


# ---------------------------------------------------------------- the end


def test_use_of_a_closed_strategy_is_an_error(strategy):
    v = create_variable(strategy, 1.0, "ON_READ", "SUM")
    strategy.close()
    strategy.close()

    for use in (
        lambda: v.assign(1.0),
        lambda: strategy.run(lambda: None),
        lambda: create_variable(strategy, 1.0),
    ):
        with pytest.raises(RuntimeError, match="has been closed"):
            use()


def test_a_strategy_is_closed_at_the_end_of_its_with_block(simulated):
    with tf.distribute.MirroredStrategy(["cpu:0"]) as strategy:
        assert 1 == strategy.run(lambda: 1)
    with pytest.raises(RuntimeError, match="has been closed"):
        strategy.run(lambda: 1)


def test_a_strategy_without_operations_starts_no_workers(simulated):
    strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
    assert () == strategy.statistics()
    strategy.close()

    assert [] == simulated.networks


# ---------------------------------------------------------------- one device


@pytest.mark.parametrize("kind", ["default", "one_device"])
def test_a_program_also_works_on_one_device(kind):
    one = (
        tf.distribute.get_strategy()
        if kind == "default"
        else tf.distribute.OneDeviceStrategy("cpu:0")
    )
    with one.scope():
        v = tf.Variable(1.0, aggregation=tf.VariableAggregation.SUM)

    def step(x):
        context = tf.distribute.get_replica_context()
        v.assign_add(context.all_reduce("sum", x))
        return context.merge_call(lambda _, y: y + v, (1.0,))

    assert 4.0 == one.run(step, (2.0,))
    assert 3.0 == v.numpy()
    assert 1 == one.num_replicas_in_sync
    assert 4.0 == one.reduce("SUM", 4.0, axis=None)
    assert [np.ones(2).tolist()] == [
        b.tolist() for b in one.experimental_distribute_dataset([np.ones(2)])
    ]
