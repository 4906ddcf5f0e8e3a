"""Variables in programs: writes, chained assigns, operators, copies."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.distribute.programs import components, create_variable
from tests.replica_context import replica_id

# ---------------------------------------------------------------- TensorFlow's examples


def test_the_documented_example_of_auto_runs_unchanged(simulated, capsys):
    mirrored_strategy = tf.distribute.MirroredStrategy()
    with mirrored_strategy.scope():
        var = tf.Variable(1.0, synchronization=tf.VariableSynchronization.AUTO)
    print("Synchronization Mode:", var.synchronization)

    said = capsys.readouterr().out
    assert "Synchronization Mode: VariableSynchronization.ON_WRITE\n" == said


def test_the_documented_example_outside_every_scope_runs_unchanged():
    v = tf.Variable(
        0.0,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.MEAN,
    )

    assert 0.0 == v.numpy()
    assert tf.VariableSynchronization.ON_READ is v.synchronization
    assert tf.VariableAggregation.MEAN is v.aggregation
    assert not v.trainable
    assert 3.0 == v.assign_add(3.0).numpy()


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize("synchronization", ["ON_WRITE", "ON_READ"])
def test_assigns_can_be_chained(strategy, synchronization):
    v = create_variable(strategy, 1.0, synchronization, "MEAN")

    assert v is v.assign(5.0)
    assert 6.0 == v.assign(5.0).assign_add(2.0).assign_sub(1.0).numpy()


def test_assigns_can_be_chained_on_replicas(strategy):
    v = create_variable(strategy, 0.0, "ON_WRITE", "SUM")
    results = strategy.run(lambda: v.assign(1.0).assign_add(10.0).read_value())

    assert [22.0, 22.0] == [float(value) for value in results.values]


def test_an_assign_with_read_value_false_returns_none(strategy):
    v = create_variable(strategy, 1.0, "ON_READ", "NONE")

    assert None is v.assign(2.0, read_value=False)
    assert [2.0, 2.0] == components(v)


def test_a_write_that_could_not_be_read_back_changes_nothing(strategy):
    v = create_variable(strategy, 1.0, "ON_READ", "NONE")

    with pytest.raises(ValueError, match="NONE does not say how to combine"):
        v.assign(2.0)
    assert [1.0, 1.0] == components(v)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (None, ValueError),
        ("one", TypeError),
        ([1.0, 2.0, 3.0], ValueError),
        (1.0, ValueError),
        (np.array([1.0, 2.0]), ValueError),
        ([1j, 2.0], TypeError),
        ([[1.0], [2.0, 3.0]], ValueError),
        (object(), TypeError),
    ],
)
def test_a_refused_value_changes_nothing(strategy, value, error):
    v = create_variable(strategy, [1.0, 2.0], "ON_WRITE", "SUM")

    with pytest.raises(error):
        v.assign(value)
    with pytest.raises(error):
        strategy.run(lambda: v.assign(value) and None)
    assert [[1.0, 2.0], [1.0, 2.0]] == components(v)


def test_each_component_gets_its_part_of_a_per_replica_value(strategy):
    v = create_variable(strategy, 0.0, "ON_WRITE", "SUM")
    values = tf.distribute.PerReplica([np.float32(1), np.float32(2)])

    assert [1.0, 2.0] == components(v.assign(values))


@pytest.mark.parametrize("count", [1, 3])
def test_a_per_replica_value_of_the_wrong_length_changes_nothing(strategy, count):
    v = create_variable(strategy, 7.0, "ON_WRITE", "SUM")
    values = tf.distribute.PerReplica([np.float32(1)] * count)

    with pytest.raises(ValueError, match=rf"PerReplica of {count} values?\b.* 2 replicas"):
        v.assign(values)
    with pytest.raises(ValueError, match=rf"PerReplica of {count} values?\b"):
        strategy.run(lambda x: x, (values,))
    assert [7.0, 7.0] == components(v)


def test_a_distributed_variable_can_be_assigned(strategy):
    """Each component gets the component of the same replica, not the sum of all."""
    v, w = (
        create_variable(strategy, 0.0, "ON_WRITE", "SUM"),
        create_variable(strategy, 2.0, "ON_READ", "SUM"),
    )

    assert 2.0 == v.assign(w).numpy()
    assert 6.0 == float(v.assign_add(w).assign_add(tf.Variable(2.0)))


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("synchronization", ["ON_WRITE", "ON_READ"])
def test_later_writes_do_not_change_a_value_that_was_read(strategy, synchronization):
    v = create_variable(strategy, [1.0, 2.0], synchronization, "MEAN")
    outside = v.read_value()

    def step():
        before = v.read_value()
        v.assign_add([1.0, 1.0])
        between = v.read_value()
        v.assign_add([1.0, 1.0])
        return before, between

    before, between = strategy.run(step)
    v.assign([0.0, 0.0])
    assert [1.0, 2.0] == outside.tolist()
    assert [[1.0, 2.0]] * 2 == [value.tolist() for value in before.values]
    assert [[2.0, 3.0]] * 2 == [value.tolist() for value in between.values]


def test_a_value_that_was_read_cannot_be_written_to(strategy):
    v = create_variable(strategy, [1.0, 2.0], "ON_WRITE", "SUM")

    with pytest.raises(ValueError, match="read-only"):
        v.read_value()[0] = 5.0
    v.numpy()[0] = 5.0
    assert [1.0, 2.0] == v.numpy().tolist()


def test_an_array_that_was_assigned_can_be_written_to_afterwards(strategy):
    v = create_variable(strategy, [0.0, 0.0], "ON_WRITE", "SUM")
    mine = np.array([1.0, 2.0], np.float32)
    v.assign(mine)
    mine[:] = 9.0

    assert [[1.0, 2.0]] * 2 == components(v)


def test_a_distributed_variable_has_its_name_dtype_shape_and_components(strategy):
    v = create_variable(
        strategy, [[1, 2]], "ON_READ", "SUM", name="hits", shape=[None, 2], dtype="int64"
    )

    assert "hits:0" == v.name
    assert np.dtype("int64") == v.dtype
    assert (None, 2) == v.shape
    assert ["hits:0", "hits/replica_1:0"] == [component.name for component in v.values]
    assert [[[1, 2]]] * 2 == components(v)


def test_the_text_shows_the_components(strategy):
    v = create_variable(strategy, 1.0, "ON_WRITE", "NONE", name="w")
    v.assign(tf.distribute.PerReplica([np.float32(1), np.float32(2)]))

    assert (
        "MirroredVariable:{\n"
        "  0: <tf.Variable 'w:0' shape=() dtype=float32, numpy=1.0>,\n"
        "  1: <tf.Variable 'w/replica_1:0' shape=() dtype=float32, numpy=2.0>\n"
        "}"
    ) == repr(v)


# ---------------------------------------------------------------- operators


@pytest.fixture(params=["plain", "ON_WRITE", "ON_READ"])
def array_like(request, strategy):
    """Provide a variable with the value [1., 2., 4.]."""
    if request.param == "plain":
        return tf.Variable([1.0, 2.0, 4.0])
    return create_variable(strategy, [1.0, 2.0, 4.0], request.param, "MEAN")


def test_arithmetic_equals_that_of_numpy(array_like):
    v, x = array_like, np.array([1.0, 2.0, 4.0], np.float32)
    y = np.array([2.0, 4.0, 8.0], np.float32)

    for ours, numpys in (
        (v + 1, x + 1),
        (1 + v, 1 + x),
        (v - y, x - y),
        (10 - v, 10 - x),
        (v * v, x * x),
        (2 / v, 2 / x),
        (v // 2, x // 2),
        (v % 3, x % 3),
        (v**2, x**2),
        (2**v, 2**x),
        (v @ y, x @ y),
        (-v, -x),
        (abs(v), abs(x)),
        (v > 1, x > 1),
        (v == y, x == y),
        (v != 2, x != 2),
        (np.sum(v), np.sum(x)),
        (np.asarray(v, dtype=np.float64), x.astype(np.float64)),
    ):
        np.testing.assert_array_equal(numpys, ours)
        assert np.asarray(numpys).dtype == np.asarray(ours).dtype


def test_a_variable_can_be_indexed_and_iterated_and_has_a_length(array_like):
    assert 3 == len(array_like)
    assert [1.0, 2.0, 4.0] == [float(value) for value in array_like]
    assert [2.0, 4.0] == array_like[1:].tolist()
    assert 4.0 == array_like[-1]


def test_a_variable_has_no_hash_and_an_array_no_truth_value(array_like):
    with pytest.raises(TypeError):
        hash(array_like)
    with pytest.raises(ValueError):
        bool(array_like)


def test_scalars_are_converted_as_in_numpy(strategy):
    v = create_variable(strategy, 3, "ON_WRITE", "SUM")

    assert (3, 3.0, True) == (int(v), float(v), bool(v))
    assert "c" == "abcd"[v - 1]
    assert "3" == f"{v:d}"


def test_a_slice_of_a_distributed_variable_cannot_be_assigned(strategy):
    v, plain = create_variable(strategy, [1.0, 2.0], "ON_WRITE", "SUM"), tf.Variable([1.0, 2.0])

    assert [9.0, 2.0] == plain[0].assign(9.0).numpy().tolist()
    with pytest.raises(ValueError, match=r"slice .*D12"):
        v[0].assign(9.0)
    with pytest.raises(ValueError, match="D12"):
        strategy.run(lambda: v[0].assign(9.0) and None)
    with pytest.raises(ValueError, match="D12"):
        v.values[0][0].assign(9.0)


@pytest.mark.filterwarnings("ignore::varsim.VarsimWarning")
@pytest.mark.parametrize("synchronization", ["ON_READ", "NONE"])
def test_a_slice_of_a_replicas_own_component_can_be_assigned(strategy, synchronization):
    """A write to one component is not aggregated, so a slice of it can be written, too."""
    v = create_variable(strategy, [1.0, 2.0], synchronization, "SUM")

    def step():
        v[tf.distribute.get_replica_context().replica_id_in_sync_group].assign(9.0)

    strategy.run(step)
    assert [[9.0, 2.0], [1.0, 9.0]] == [part.numpy().tolist() for part in v.values]
    v.values[1][0].assign(5.0)
    assert [[9.0, 2.0], [5.0, 9.0]] == [part.numpy().tolist() for part in v.values]


# ---------------------------------------------------------------- copies


def test_a_deep_copy_is_a_new_variable_with_the_same_components(strategy):
    v = create_variable(strategy, 1.0, "ON_READ", "SUM", name="total")
    strategy.run(lambda: v.assign(float(replica_id())) and None)
    twin = copy.deepcopy(v)
    twin.assign(10.0)

    assert [0.0, 1.0] == components(v)
    assert [5.0, 5.0] == components(twin)
    assert ("total:0", v.synchronization, v.aggregation) == (
        twin.name,
        twin.synchronization,
        twin.aggregation,
    )


def test_a_deep_copy_on_a_replica_is_refused(strategy):
    v = create_variable(strategy, 1.0, "ON_WRITE", "SUM")

    with pytest.raises(ValueError, match="copied in cross-replica context"):
        strategy.run(lambda: copy.deepcopy(v) and None)


def test_a_shallow_copy_is_the_same_variable(strategy):
    v = create_variable(strategy, 1.0, "ON_WRITE", "SUM")
    other = copy.copy(v)
    del v
    other.assign(4.0)

    assert [4.0, 4.0] == components(other)


def test_a_variable_cannot_be_pickled(strategy):
    for v in (create_variable(strategy, 1.0), tf.Variable(1.0)):
        with pytest.raises(TypeError, match=r"workers of its strategy.*numpy\(\)"):
            pickle.dumps(v)


def test_a_variable_without_references_is_freed(strategy):
    v = create_variable(strategy, 1.0, "ON_WRITE", "SUM", name="gone")
    number = v.spec.variable_id
    del v
    create_variable(strategy, 1.0, name="next")

    states = [worker.replica.state for worker in strategy.coordinator.link.channel._workers]
    strategy.run(lambda: None)
    assert all(number not in state.components for state in states)
    assert "gone" == strategy.statistics()[0].name


@pytest.mark.parametrize(
    ("members", "name", "said"),
    [
        (
            tf.VariableAggregation,
            "AVERAGE",
            "VariableAggregation has no member 'AVERAGE'. Its members are NONE, SUM, MEAN, "
            "ONLY_FIRST_REPLICA.",
        ),
        (
            tf.VariableSynchronization,
            "ON_RAED",
            "VariableSynchronization has no member 'ON_RAED'; did you mean 'ON_READ'? Its members",
        ),
        (
            tf.distribute.ReduceOp,
            "AVG",
            "ReduceOp has no member 'AVG'. Its members are SUM, MEAN, MIN, MAX, PROD, ANY, ALL.",
        ),
    ],
)
def test_the_error_for_an_unknown_member_names_the_members(members: Any, name: str, said: str):
    with pytest.raises(AttributeError) as caught:
        getattr(members, name)

    assert str(caught.value).startswith(said)
    assert not hasattr(members, "__unknown__")


@pytest.mark.parametrize(
    ("argument", "nearest"), [("synchronisation", "synchronization"), ("caching", "caching_device")]
)
def test_the_error_for_an_unknown_argument_names_the_nearest_one(argument: str, nearest: str):
    arguments: dict[str, Any] = {argument: None}
    with pytest.raises(TypeError) as caught:
        tf.Variable(0.0, **arguments)

    assert f"tf.Variable has no argument {argument!r}; did you mean {nearest!r}?" == str(
        caught.value
    )
