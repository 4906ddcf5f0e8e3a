"""Sparse writes and reads of variables, in every context; `tests/golden` compares their values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.replica_context import replica_id
from varsim.errors import (
    DistributedValueError,
    DtypeError,
    PartError,
    ShapeError,
    ValueMismatchError,
    ValueTypeError,
)

SUM, NONE = tf.VariableAggregation.SUM, tf.VariableAggregation.NONE


def rows(indices: list[int], value: float = 1.0) -> tf.IndexedSlices:
    return tf.IndexedSlices(np.full(len(indices), value, np.float32), indices)


def done(_: Any) -> None:
    """Drop the variable that a write returns."""


def variable(strategy: Any, aggregation: Any = SUM, **settings: Any) -> Any:
    with strategy.scope():
        return tf.Variable(np.zeros(4, np.float32), aggregation=aggregation, **settings)


def components(v: Any) -> list[list[float]]:
    return [part.numpy().tolist() for part in v.values]


def test_a_plain_variable_has_every_sparse_method() -> None:
    """A write changes the variable's array in place only if the program has not read the array."""
    v = tf.Variable(np.arange(4, dtype=np.float32))
    before = v.read_value()

    v.scatter_add(rows([1, 1])).scatter_mul(rows([3], 2.0))
    v.scatter_nd_add([[0]], np.ones(1, np.float32))
    v.scatter_nd_sub([[2]], np.ones(1, np.float32))
    v.scatter_nd_update([[3]], np.ones(1, np.float32))

    assert [0.0, 1.0, 2.0, 3.0] == before.tolist()
    assert [1.0, 3.0, 1.0, 1.0] == v.numpy().tolist()
    assert [3.0, 3.0] == v[[1, 1]].tolist() == v.sparse_read([1, 1]).tolist()
    assert [1.0, 1.0] == v.gather_nd([[0], [3]]).tolist()


def test_a_batch_scatter_writes_along_the_last_axis() -> None:
    """Each row of the indices belongs to one row of the variable."""
    v = tf.Variable(np.zeros((2, 3), np.float32))

    v.batch_scatter_update(
        tf.IndexedSlices(np.array([[1, 2], [3, 4]], np.float32), np.array([[0, 2], [2, 1]]))
    )

    assert [[1.0, 0.0, 2.0], [0.0, 4.0, 3.0]] == v.numpy().tolist()


def test_an_array_that_was_read_never_changes(strategy: Any) -> None:
    """Writes change no array that the program or a replica has read. A read of rows copies them."""
    v = variable(strategy)
    kept = []

    def step() -> Any:
        v.scatter_add(rows([replica_id()]))
        whole, part = v.read_value(), v[[0]]
        v.scatter_add(rows([0]))
        return whole, part, v[[0]]

    kept.append(v.read_value())
    whole, part, after = strategy.run(step)
    kept.append(v.read_value())
    v.scatter_add(rows([0]))

    assert [0.0] * 4 == kept[0].tolist()
    assert [3.0, 1.0, 0.0, 0.0] == kept[1].tolist()
    assert [4.0, 1.0, 0.0, 0.0] == v.numpy().tolist()
    seen = [one.values[0].tolist() for one in (whole, part, after)]
    assert [[1.0, 1.0, 0.0, 0.0], [1.0], [3.0]] == seen


def test_a_slice_of_rows_can_be_assigned_on_one_device() -> None:
    """`v[indices]` is a copy of the rows, but its assign writes to the variable."""
    v = tf.Variable(np.zeros(3, np.float32))

    v[[0, 2]].assign(5.0)

    assert [5.0, 0.0, 5.0] == v.numpy().tolist()


@pytest.mark.parametrize("method", ["batch_scatter_update", "scatter_nd_add"])
def test_a_distributed_variable_refuses_sparse_writes_that_its_components_accept(
    strategy: Any, method: str
) -> None:
    """TensorFlow refuses the same writes."""
    v = variable(strategy)
    arguments: Any = (rows([1]),)
    if method == "scatter_nd_add":
        arguments = ([[1]], np.ones(1, np.float32))

    with pytest.raises(NotImplementedError, match=r"strategy\.extended\.update"):
        getattr(v, method)(*arguments)
    strategy.extended.update(v, lambda part: done(getattr(part, method)(*arguments)))

    assert [[0.0, 1.0, 0.0, 0.0]] * 2 == components(v)


def test_a_replica_writes_rows_of_its_own_component(strategy: Any) -> None:
    """An ON_READ variable refuses sparse writes, but its components accept them."""
    v = variable(strategy, synchronization=tf.VariableSynchronization.ON_READ)

    def step() -> None:
        v.values[replica_id()].scatter_add(rows([replica_id(), 3]))

    strategy.run(step)

    assert [[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0]] == components(v)
    assert [1.0, 1.0, 0.0, 2.0] == v.numpy().tolist()


def test_a_plain_variable_is_written_by_every_replica_in_order(strategy: Any) -> None:
    """A plain variable exists only once, in the process of the program."""
    v = tf.Variable(np.zeros(4, np.float32))

    strategy.run(lambda: done(v.scatter_add(rows([0]))))

    assert [2.0, 0.0, 0.0, 0.0] == v.numpy().tolist()


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (np.ones(4, np.float32), ValueTypeError),
        (tf.IndexedSlices(np.ones(1), [0]), DtypeError),
        (tf.IndexedSlices(np.ones(2, np.float32), [0]), ShapeError),
        (rows([4]), ShapeError),
    ],
)
def test_invalid_rows_of_one_replica_are_refused_on_all_replicas(
    strategy: Any, given: Any, error: Any
) -> None:
    """Replica 0's rows are valid, but no component changes (difference D4 in docs/semantics.md)."""
    v = variable(strategy)

    with pytest.raises(error):
        strategy.run(lambda: done(v.scatter_add(given if replica_id() else rows([0]))))
    with pytest.raises(error):
        v.scatter_add(given)

    assert [[0.0] * 4] * 2 == components(v)


def test_a_replica_cannot_write_the_rows_of_all_replicas(strategy: Any) -> None:
    """A write without aggregation changes one component, so it needs the rows of one replica."""
    v = variable(strategy, NONE)
    each = strategy.experimental_distribute_values_from_function(lambda _: rows([0]))

    with pytest.raises(DistributedValueError, match=r"'Variable' at .*pass it to strategy\.run"):
        strategy.run(lambda: done(v.scatter_add(each)))


def test_an_aggregated_write_combines_the_captured_rows_of_all_replicas(strategy: Any) -> None:
    """In TensorFlow a merge and `assign` use all components of a captured PerReplica."""
    v = variable(strategy)
    each = strategy.experimental_distribute_values_from_function(
        lambda context: rows([context.replica_id_in_sync_group])
    )
    strategy.run(lambda: done(v.scatter_add(each)))

    assert [[1.0, 1.0, 0.0, 0.0]] * 2 == components(v)


@pytest.mark.parametrize(
    "use",
    [
        lambda v: tf.IndexedSlices([1.0], [[0], [1, 2]]),
        lambda v: v[[[0], [1, 2]]],
        lambda v: v.values[0].sparse_read([[0], [1, 2]]),
        lambda v: v.values[0].scatter_nd_add([[0], [1, 2]], [1.0]),
    ],
)
def test_ragged_indices_are_refused(strategy: Any, use: Any) -> None:
    with pytest.raises(ShapeError, match=r"at .*\.py:\d+: the indices are ragged"):
        use(variable(strategy))


def test_slices_are_not_reduced_with_dense_values_or_with_other_rows(strategy: Any) -> None:
    mixed = tf.distribute.PerReplica([rows([0]), np.zeros(4, np.float32)])
    with pytest.raises(ValueMismatchError, match="no IndexedSlices on replica 1"):
        strategy.reduce("SUM", mixed, axis=None)
    wide = tf.IndexedSlices(np.ones((1, 2), np.float32), [0])
    with pytest.raises(ValueMismatchError, match="cannot join the rows of IndexedSlices"):
        strategy.reduce("SUM", tf.distribute.PerReplica([rows([0]), wide]), axis=None)


def test_the_statistics_have_the_bytes_of_rows_and_of_whole_values(strategy: Any) -> None:
    """A row has 8 bytes of index and 4 bytes of value.

    A replica sends one row and gets two rows.
    """
    v = variable(strategy)

    strategy.run(lambda: done(v.scatter_add(rows([0]))))
    (account,) = strategy.statistics()

    assert 2 * 12 + 2 * 24 == account.sparse_bytes == account.size_bytes
    assert 4 * 16 == account.dense_bytes
    assert (1, 4, 2) == (account.merges, account.messages, account.writes)


def test_gradients_of_an_embedding_are_joined(strategy: Any) -> None:
    """The rows are joined by all_reduce and reduce. A dense leaf is reduced as usual."""

    def step() -> Any:
        context = tf.distribute.get_replica_context()
        gradient = tf.IndexedSlices(
            np.ones((1 + replica_id(), 1), np.float32), [3, 1][-1 - replica_id() :]
        )
        summed = context.all_reduce("MEAN", {"rows": gradient, "loss": np.float32(replica_id())})
        return gradient, summed["rows"].values, summed["rows"].indices, summed["loss"]

    gradient, values, indices, loss = strategy.run(step)
    joined = strategy.reduce("SUM", gradient, axis=None)

    assert [[0.5], [0.5], [0.5]] == values.values[1].tolist()
    assert [1, 3, 1] == indices.values[0].tolist() == joined.indices.tolist()
    assert 0.5 == loss.values[0]
    assert [[1.0], [1.0], [1.0]] == joined.values.tolist()


def test_slices_cannot_be_gathered(strategy: Any) -> None:
    """TensorFlow refuses this, too. The error says what to gather instead."""
    with pytest.raises(NotImplementedError, match=r"slices\.values and slices\.indices"):
        strategy.gather(strategy.run(lambda: rows([0])), axis=0)
    with pytest.raises(NotImplementedError, match="all_gather does not accept IndexedSlices"):
        strategy.run(lambda: tf.distribute.get_replica_context().all_gather(rows([0]), axis=0))


# ---------------------------------------------------------------- programs of users


def test_the_fix_for_an_assigned_slice_gives_its_rows(strategy: Any) -> None:
    """Each replica lowers its own row by 1."""
    with strategy.scope():
        centers = tf.Variable(np.full(2, 10, np.float32), aggregation=SUM)

    def step() -> None:
        me = replica_id()
        with pytest.raises(tf.VarsimError) as caught:
            centers[me].assign(9.0)
        assert "v.scatter_add(tf.IndexedSlices(change, rows))" in str(caught.value)
        centers.scatter_add(tf.IndexedSlices([-1.0], [me]))

    strategy.run(step)

    assert [9.0, 9.0] == centers.numpy().tolist()


def test_a_sparse_write_moves_centers_as_far_as_a_dense_write(strategy: Any) -> None:
    """Each replica moves the centers of its own points; two points have the same center."""
    labels, points = np.array([0, 1, 1, 3]), np.arange(8, dtype=np.float32).reshape(4, 2)
    with strategy.scope():
        sparse, dense = (
            tf.Variable(np.zeros((4, 2), np.float32), aggregation=SUM) for _ in range(2)
        )

    def step() -> None:
        mine = slice(2 * replica_id(), 2 * replica_id() + 2)
        moved = np.float32(0.5) * (sparse[labels[mine]] - points[mine])
        sparse.scatter_sub(tf.IndexedSlices(moved, labels[mine]))
        whole = np.zeros((4, 2), np.float32)
        np.add.at(whole, labels[mine], moved)
        dense.assign_sub(whole)

    strategy.run(step)

    expected = [[0.0, 0.5], [3.0, 4.0], [0.0, 0.0], [3.0, 3.5]]
    assert expected == sparse.numpy().tolist() == dense.numpy().tolist()


@pytest.mark.parametrize("method", ["sparse_read", "gather_nd"])
@pytest.mark.parametrize(
    ("indices", "error", "said"),
    [
        ([-1], PartError, "negative index -1"),
        ([4], PartError, "out of bounds"),
        ([2**62], PartError, "out of bounds"),
        (np.array([2**64 - 1], np.uint64), PartError, "out of range"),
        ([0.5], ValueTypeError, "needs integer indices"),
        ([True], ValueTypeError, "needs integer indices"),
        (None, ValueTypeError, "needs integer indices"),
        (np.array([0], object), ValueTypeError, "needs integer indices"),
    ],
)
def test_rows_that_do_not_exist_cannot_be_read(
    method: str, indices: Any, error: type[Exception], said: str
) -> None:
    """For example, TensorFlow refuses a negative index, which NumPy counts from the end."""
    with pytest.raises(error, match=rf"'table' at .*\.py:\d+: {method}.*{said}"):
        getattr(tf.Variable(np.zeros(4, np.float32), name="table"), method)(indices)


def test_zero_rows_can_be_read_and_written(strategy: Any) -> None:
    with strategy.scope():
        thin = tf.Variable(np.zeros((3, 0), np.float32), aggregation=SUM)
        empty = tf.Variable(np.zeros((0, 2), np.float32), aggregation=SUM)
    strategy.run(lambda: done(thin.scatter_add(tf.IndexedSlices(np.ones((2, 0), "f4"), [0, 2]))))
    strategy.run(lambda: done(empty.scatter_add(tf.IndexedSlices(np.ones((0, 2), "f4"), []))))

    assert ((3, 0), (0, 2)) == (thin.numpy().shape, empty.numpy().shape)
    assert [] == tf.Variable([1.0]).sparse_read([]).tolist()
    with pytest.raises(ShapeError, match="cannot write row 0: the variable has no rows"):
        empty.scatter_add(tf.IndexedSlices(np.ones((1, 2), np.float32), [0]))


def test_slices_with_too_few_rows_are_not_reduced(strategy: Any) -> None:
    def fewer() -> Any:
        return tf.IndexedSlices(np.ones((1, 2), np.float32), [0, 1])

    with pytest.raises(ShapeError, match="each index needs one row"):
        strategy.run(lambda: tf.distribute.get_replica_context().all_reduce("SUM", fewer()))
    with pytest.raises(ShapeError, match="each index needs one row"):
        strategy.reduce("SUM", tf.distribute.PerReplica([fewer(), fewer()]), axis=None)
    each = tf.distribute.PerReplica([rows([0]), rows([1])])
    with pytest.raises(NotImplementedError, match=r"along an axis: use axis=None"):
        strategy.reduce("SUM", each, axis=0)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (None, ValueError),
        (np.ones(1), DtypeError),
        (1j, ValueTypeError),
        ("text", ValueTypeError),
        (np.ones(3, np.float32), ShapeError),
        (tf.distribute.PerReplica([1.0, 2.0]), DistributedValueError),
    ],
)
def test_a_slice_refuses_values_that_its_variable_refuses(
    strategy: Any, value: Any, error: type[Exception]
) -> None:
    """None is not read as NaN, and an array of another dtype is not cast."""
    plain = tf.Variable(np.zeros(4, np.float32))
    own = variable(strategy, synchronization=tf.VariableSynchronization.ON_READ)

    with pytest.raises(error):
        plain[0:1].assign(value)
    with pytest.raises(error):
        strategy.run(lambda: done(own[0:1].assign(value)))
    assert [[0.0] * 4] * 3 == [plain.numpy().tolist(), *components(own)]


@pytest.mark.parametrize("in_a_replica", [True, False])
@pytest.mark.parametrize(
    ("key", "said"),
    [
        ([9], "index 9 is out of bounds for axis 0 with size 4"),
        (9, "index 9 is out of bounds for axis 0 with size 4"),
        ([2, -1], "row -1 cannot be read"),
    ],
)
def test_an_error_about_an_index_names_the_variable_and_the_line(
    strategy: Any, key: Any, said: str, in_a_replica: bool
) -> None:
    v = variable(strategy, name="table")

    with pytest.raises(PartError, match=rf"variable 'table' at .*\.py:\d+: {said}") as caught:
        strategy.run(lambda: v[key]) if in_a_replica else v[key]
    assert isinstance(caught.value, IndexError)


def test_a_sparse_write_ignores_the_dense_shape(strategy: Any) -> None:
    """TensorFlow passes only the indices and the values to the kernel."""
    v = variable(strategy)
    v.scatter_add(tf.IndexedSlices(np.ones(1, np.float32), [3], dense_shape=(2, 7)))

    assert [[0.0, 0.0, 0.0, 1.0]] * 2 == components(v)


def test_slices_of_python_numbers_take_the_dtype_of_the_variable(strategy: Any) -> None:
    v = variable(strategy)
    v.assign_add(tf.IndexedSlices([1, 2.5], [0, 0], dense_shape=(4,)))

    assert [[3.5, 0.0, 0.0, 0.0]] * 2 == components(v)
