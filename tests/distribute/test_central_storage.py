"""CentralStorageStrategy: one copy of each variable, which the replicas write together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import varsim as tf
from tests.replica_context import replica_id
from varsim.distribute.aggregating import AggregatingVariable
from varsim.errors import (
    AggregationError,
    ContextError,
    DistributedValueError,
    MismatchError,
    OperationError,
    PartError,
)
from varsim.sync.policies.central import Central
from varsim.testing import simulated_cluster

CentralStorageStrategy = tf.distribute.experimental.CentralStorageStrategy
NONE, SUM, MEAN, FIRST = tf.VariableAggregation


@pytest.fixture
def central(simulated):
    """Provide a strategy of two replicas."""
    return CentralStorageStrategy(["cpu:0", "gpu:0"])


def variable(strategy, initial_value, aggregation=NONE, **kwargs):
    with strategy.scope():
        return tf.Variable(initial_value, aggregation=aggregation, name="v", **kwargs)


def rows(values, indices):
    return tf.IndexedSlices(np.array(values, np.float32), indices)


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize("synchronization", tf.VariableSynchronization)
def test_every_synchronization_is_kept_and_has_no_effect(central, synchronization):
    v = variable(central, 1.0, SUM, synchronization=synchronization)

    central.run(lambda: v.assign_add(1.0 + replica_id()))

    assert 4.0 == v.numpy()
    assert type(v) is AggregatingVariable
    assert synchronization is v.synchronization
    assert v.trainable == (synchronization is not tf.VariableSynchronization.ON_READ)


def test_a_variable_has_no_components(central):
    v = variable(central, 1.0)

    assert not hasattr(v, "values")
    assert not isinstance(v, tf.distribute.DistributedValues)
    assert (v,) == central.experimental_local_results(v)
    assert "<AggregatingVariable 'v:0' shape=() dtype=float32, numpy=1.0>" == repr(v)


def test_the_devices_are_those_of_the_arguments(simulated):
    strategy = CentralStorageStrategy(["gpu:0", "gpu:1"], "cpu:7")

    assert ("/device:CPU:7",) == strategy.extended.parameter_devices
    assert ("/device:CPU:7",) == strategy.extended.non_slot_devices([])
    assert ("/device:GPU:0", "/device:GPU:1") == strategy.extended.worker_devices


def test_the_argument_auto_is_refused(simulated):
    with pytest.raises(TypeError, match="no argument 'auto': the synchronization of its"):
        CentralStorageStrategy(["cpu:0"], auto="adaptive")


# ---------------------------------------------------------------- dense writes


def test_a_write_without_aggregation_is_refused_with_the_ways_out(central):
    v = variable(central, 1.0)

    with pytest.raises(OperationError, match="it has one copy, and aggregation=NONE") as caught:
        central.run(lambda: v.assign(2.0))

    assert 1.0 == v.numpy()
    assert ValueError in type(caught.value).__mro__
    assert [
        "aggregation=SUM: assigns 4.0 if every replica writes 2.0",
        "aggregation=MEAN: assigns 2.0 if every replica writes 2.0",
        "aggregation=ONLY_FIRST_REPLICA: assigns replica 0's 2.0",
    ] == [str(fix) for fix in caught.value.fixes]


def test_a_mean_of_integers_is_refused_at_the_write(central):
    v = variable(central, 1, MEAN)

    with pytest.raises(AggregationError, match="a mean of integers is not an integer") as caught:
        central.run(lambda: v.assign(np.int32(3)))

    assert 1 == v.numpy()
    assert not any("aggregation=NONE" in str(fix) for fix in caught.value.fixes)
    v.assign(5)
    assert 5 == v.numpy()


def test_one_replica_may_write_a_mean_of_integers(simulated):
    strategy = CentralStorageStrategy(["cpu:0"])
    v = variable(strategy, 1, MEAN)

    strategy.run(lambda: v.assign_add(3))

    assert 4 == v.numpy()


def test_a_per_replica_value_from_outside_gives_its_first_value_and_a_warning(central):
    v = variable(central, 1.0, SUM)
    value = central.run(lambda: np.float32(replica_id() + 7))

    with pytest.warns(tf.VarsimWarning, match="The copy gets the value of replica 0"):
        v.assign(value)

    assert 7.0 == v.numpy()
    with pytest.raises(DistributedValueError, match="a PerReplica of 3 values"):
        v.assign(tf.distribute.PerReplica([1.0, 2.0, 3.0]))


def test_a_replica_that_does_something_else_is_named(central):
    v = variable(central, 0.0, SUM)

    with pytest.raises(MismatchError) as caught:
        central.run(lambda: v.assign_add(1.0) if replica_id() else v.assign(1.0))

    assert [(0,), (1,)] == [group.replica_ids for group in caught.value.groups]
    assert 0.0 == v.numpy()


def test_there_is_nothing_to_publish_or_push(central):
    v = variable(central, 1.0, SUM)

    for use in (v.publish, lambda: v.push(1.0)):
        with pytest.raises(OperationError):
            central.run(use)


def test_an_update_calls_its_function_once_with_the_variable(central):
    v = variable(central, 1.0)

    assert v is central.extended.update(v, lambda one, x: one.assign_add(x), args=(2.0,))
    central.run(lambda: central.extended.update(v, lambda one: one.assign_add(1.0)))

    assert 4.0 == v.numpy()


def test_a_reduction_to_the_variable_is_one_value(central):
    v = variable(central, 1.0)
    value = central.run(lambda: np.float32(replica_id()))

    assert 1.0 == central.extended.reduce_to("SUM", value, v)


# ---------------------------------------------------------------- sparse writes


@pytest.mark.parametrize("aggregation", tf.VariableAggregation)
def test_the_rows_of_all_replicas_are_written_in_order_under_every_aggregation(
    central, aggregation
):
    v = variable(central, [1.0, 2.0, 3.0], aggregation)

    central.run(lambda: v.scatter_add(rows([1, 10], [0, replica_id()])))
    assert [13.0, 12.0, 3.0] == v.numpy().tolist()

    central.run(lambda: v.scatter_update(rows([5 + replica_id()], [2])))
    assert [13.0, 12.0, 6.0] == v.numpy().tolist()


def test_elements_are_changed_by_all_replicas_in_order(central):
    v = variable(central, np.zeros((2, 2), np.float32))

    def step():
        v.scatter_nd_add([[0, 1]], np.array([1.0 + replica_id()], np.float32))
        v.scatter_nd_update([[1, 0]], np.array([5.0 + replica_id()], np.float32))
        return v.numpy().tolist()

    results = central.experimental_local_results(central.run(step))

    assert ([[0.0, 3.0], [6.0, 0.0]],) * 2 == tuple(map(list, results))


def test_replicas_that_change_elements_by_different_methods_are_refused(central):
    v = variable(central, np.zeros(2, np.float32))

    def step():
        change = v.scatter_nd_add if replica_id() else v.scatter_nd_sub
        change([[0]], np.ones(1, np.float32))

    with pytest.raises(MismatchError):
        central.run(step)

    assert [0.0, 0.0] == v.numpy().tolist()


def test_rows_of_one_replica_alone_are_an_error_that_says_why(central):
    v = variable(central, np.zeros(2, np.float32))

    def step():
        if replica_id():
            v.scatter_add(rows([1], [0]))

    with pytest.raises(MismatchError, match="a sparse write to it uses the rows of all replicas"):
        central.run(step)


def test_a_per_replica_value_of_rows_from_outside_is_refused(central):
    v = variable(central, np.zeros(2, np.float32), SUM)

    with pytest.raises(TypeError, match="a PerReplica cannot be assigned"):
        v.scatter_add(tf.distribute.PerReplica([rows([1], [0])] * 2))


def test_parts_are_read_in_every_context_and_assigned_by_the_program(central):
    v = variable(central, [1.0, 2.0, 3.0], SUM)

    def parts():
        return v.sparse_read([2, 0]).tolist(), v.gather_nd([[1]]).tolist(), v[[1]].tolist()

    assert ([3.0, 1.0], [2.0], [2.0]) == parts()
    results = central.experimental_local_results(central.run(parts))
    assert [([3.0, 1.0], [2.0], [2.0])] * 2 == [tuple(map(list, one)) for one in results]

    v[0:2].assign([8.0, 9.0])
    assert [8.0, 9.0, 3.0] == v.numpy().tolist()
    with pytest.raises(OperationError, match="a slice of"):
        central.run(lambda: v[0:1].assign([1.0]))
    with pytest.raises(PartError, match="sparse_read: index 3 is out of bounds"):
        v.sparse_read([3])


# ---------------------------------------------------------------- other strategies, checkpoints


def test_a_variable_is_refused_in_another_strategy(central, strategy):
    v = variable(central, 1.0, SUM)

    for use in (v.read_value, lambda: v.assign(2.0), lambda: np.asarray(v)):
        with pytest.raises(ContextError, match=r"CentralStorageStrategy\(.*MirroredStrategy\("):
            strategy.run(use)


def test_mode_central_gives_a_variable_of_a_mirrored_strategy_one_copy(strategy):
    with strategy.scope():
        v = tf.Variable(0.0, aggregation=SUM, synchronization=Central())
        w = tf.Variable(0.0, aggregation=SUM)

    def step():
        v.assign_add(1.0)
        w.assign_add(1.0)

    strategy.run(step)

    assert (2.0, 2.0) == (v.numpy(), w.numpy())
    assert type(v) is AggregatingVariable


def test_a_checkpoint_has_the_copy_and_can_be_restored_by_another_strategy(
    central, strategy, tmp_path
):
    v = variable(central, 1.0, SUM)
    central.run(lambda: v.assign_add(1.0))
    path = tf.train.Checkpoint(v=v).save(tmp_path / "one")
    everything = central.save(tmp_path / "all")
    v.assign(0.0)
    with strategy.scope():
        mirrored = tf.Variable(0.0)

    tf.train.Checkpoint(v=mirrored).restore(path)
    assert 3.0 == mirrored.numpy()
    central.restore(everything)
    assert 3.0 == v.numpy()


# ---------------------------------------------------------------- against a plain model


@st.composite
def programs(draw):
    """Draw the writes of two replicas: equal operations with different operands."""
    number = st.integers(-8, 8).map(float)
    some = st.lists(st.tuples(st.integers(0, 2), number), max_size=3)
    dense = st.sampled_from(["assign", "assign_add", "assign_sub"])
    sparse = st.sampled_from(["scatter_add", "scatter_mul", "scatter_max", "scatter_update"])
    write = st.tuples(dense, number, number) | st.tuples(sparse, some, some)
    return draw(st.lists(write, max_size=8))


def modelled(program, aggregation):
    """Return the copy after each write."""
    copy, seen = np.ones(3, np.float32), []
    for operation, *operands in program:
        if operation.startswith("scatter"):
            for row, value in [pair for own in operands for pair in own]:
                match operation:
                    case "scatter_add":
                        copy[row] += value
                    case "scatter_mul":
                        copy[row] *= value
                    case "scatter_max":
                        copy[row] = max(copy[row], value)
                    case _:
                        copy[row] = value
        else:
            total = {SUM: sum(operands), MEAN: sum(operands) / 2, FIRST: operands[0]}[aggregation]
            sign = {"assign": 0, "assign_add": 1, "assign_sub": -1}[operation]
            copy = copy + np.float32(sign * total) if sign else np.full(3, total, np.float32)
        seen.append(copy.tolist())
    return seen


@pytest.mark.thorough
@settings(deadline=None)
@given(programs(), st.sampled_from([SUM, MEAN, FIRST]), st.booleans(), st.none() | st.integers(0))
def test_every_read_shows_the_copy_of_a_plain_model_in_any_order(program, aggregation, reads, seed):
    with simulated_cluster(seed):
        strategy = CentralStorageStrategy(["cpu:0", "cpu:1"])
        v = variable(strategy, np.ones(3, np.float32), aggregation)

        def step():
            seen = []
            for operation, *operands in program:
                own = operands[replica_id()]
                if isinstance(own, list):
                    getattr(v, operation)(rows([x for _, x in own], [row for row, _ in own]))
                else:
                    getattr(v, operation)(np.full(3, own, np.float32), read_value=False)
                if reads:
                    seen.append(v.numpy().tolist())
            return tuple(map(tuple, seen))

        results = strategy.experimental_local_results(strategy.run(step))

        expected = modelled(program, aggregation)
        assert (expected[-1] if expected else [1.0] * 3) == v.numpy().tolist()
        for own in results:
            assert not reads or expected == [list(one) for one in own]
