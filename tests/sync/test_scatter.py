"""A sparse write equals a loop over its rows, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from tests.sync.build import MEAN, ON_WRITE, SUM, W, spec
from varsim.errors import OperationError, ShapeError, ValueTypeError
from varsim.protocol.messages import Create, ScatterCommit
from varsim.spec import SCATTERS, Operation, Rows
from varsim.sync import scatter
from varsim.sync.block import Block
from varsim.sync.replica_events import MessagesHandled
from varsim.sync.replica_state import ReplicaState

LOOPS = {
    Operation.SCATTER_ADD: np.add,
    Operation.SCATTER_SUB: np.subtract,
    Operation.SCATTER_MUL: np.multiply,
    Operation.SCATTER_DIV: np.divide,
    Operation.SCATTER_MIN: np.minimum,
    Operation.SCATTER_MAX: np.maximum,
    Operation.SCATTER_UPDATE: lambda _, value: value,
}


def rows(indices, values):
    return Rows(np.array(indices, np.int64), np.array(values))


def truncated(before, value):
    return np.trunc(before.astype(np.float64) / value).astype(before.dtype)


@pytest.mark.parametrize("operation", SCATTERS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "int32"])
@pytest.mark.parametrize("count", [0, 1, 7, 60])
@pytest.mark.parametrize("piece_bytes", [16, 64, 2**20])
def test_the_result_is_that_of_a_loop(operation, dtype, count, piece_bytes, monkeypatch):
    """Indices may be duplicates, in any order. The result is rounded after every row."""
    monkeypatch.setattr(scatter, "PIECE_BYTES", piece_bytes)
    chance = np.random.default_rng(count)
    before = chance.integers(-50, 50, (9, 2)).astype(dtype)
    values = chance.integers(1, 4, (count, 2)).astype(dtype)
    given = Rows(chance.integers(0, 9, count), values)
    expected = before.copy()
    loop = LOOPS[operation]
    if operation is Operation.SCATTER_DIV and dtype == "int32":
        loop = truncated
    with np.errstate(all="ignore"):
        for index, value in zip(given.indices, values, strict=True):
            expected[index] = loop(expected[index], value)

    after = scatter.applied(operation, before, given)

    assert expected.tobytes() == after.tobytes()
    assert expected.dtype == after.dtype


@pytest.mark.parametrize(
    ("operation", "component", "given", "error"),
    [
        (Operation.SCATTER_ADD, np.zeros(3), rows([3], [1.0]), ShapeError),
        (Operation.SCATTER_ADD, np.zeros(3), rows([-1], [1.0]), ShapeError),
        (Operation.SCATTER_ADD, np.zeros(3), rows([0, 1], [1.0]), ShapeError),
        (Operation.SCATTER_ADD, np.zeros(()), rows([0], [1.0]), ShapeError),
        (Operation.SCATTER_ADD, np.zeros(3, bool), rows([0], [True]), ValueTypeError),
        (Operation.SCATTER_MIN, np.zeros(3, complex), rows([0], [1j]), ValueTypeError),
        (Operation.SCATTER_DIV, np.zeros(3, int), rows([0], [0]), OperationError),
    ],
)
def test_rows_that_do_not_fit_are_refused(operation, component, given, error):
    """Such rows are refused before a component changes."""
    with pytest.raises(error):
        scatter.check_rows(spec(SUM, ON_WRITE), operation, component.shape, given)


def test_rows_of_all_replicas_are_joined_in_replica_order():
    """For MEAN the values are divided by the number of replicas, not by the number of rows."""
    parts = [rows([2, 0], [4.0, 2.0]), rows([], np.empty(0)), rows([0], [8.0])]

    total, mean = scatter.joined(parts, SUM), scatter.joined(parts, MEAN)

    assert [2, 0, 0] == total.indices.tolist() == mean.indices.tolist()
    assert [4.0, 2.0, 8.0] == total.values.tolist()
    assert [4.0 / 3, 2.0 / 3, 8.0 / 3] == mean.values.tolist()


@pytest.mark.parametrize("count", [1, 2, 3, 8, 17])
def test_a_complex_product_does_not_depend_on_the_number_of_rows(count):
    """NumPy's product of arrays rounds differently from its product of two numbers."""
    draw = np.random.default_rng(count)
    component, factors = (
        (draw.standard_normal(count) + 1j * draw.standard_normal(count)).astype(np.complex64)
        for _ in range(2)
    )
    one_by_one = np.array([a * b for a, b in zip(component, factors, strict=True)])

    after = scatter.applied(Operation.SCATTER_MUL, component, rows(range(count), factors))

    assert one_by_one.tobytes() == after.tobytes()


# ---------------------------------------------------------------- blocks


def block_of(*numbers):
    return Block(np.array([1]), [np.array(numbers)], [0])


def commit_of(version, indices, values):
    return ScatterCommit(
        call_id=1,
        settled=0,
        variable_id=W,
        version=version,
        operation=Operation.SCATTER_ADD,
        rows=Rows(np.array(indices, np.int64), np.array(values, np.float32)),
    )


def test_a_postponed_sparse_write_is_applied_when_the_value_is_used():
    """An array that was read before the write does not change."""
    block = block_of(1.0, 2.0)
    before = block.show(0)
    for value in (10.0, 20.0):
        block.scatter_later(Operation.SCATTER_ADD, rows([0], [value]))

    assert [1.0, 2.0] == before.tolist()
    assert (2,) == block.shape(0)
    assert [31.0, 2.0] == block.value(0).tolist()
    block.scatter_now(Operation.SCATTER_ADD, rows([1], [5.0]))
    assert [31.0, 7.0] == block.value(0).tolist()


def test_a_postponed_sparse_write_is_applied_before_a_later_one():
    block = block_of(1.0)
    block.scatter_later(Operation.SCATTER_ADD, rows([0], [1.0]))
    block.scatter_now(Operation.SCATTER_MUL, rows([0], [3.0]))

    assert [6.0] == block.value(0).tolist()


def test_a_new_value_replaces_postponed_sparse_writes():
    block = block_of(1.0)
    block.scatter_later(Operation.SCATTER_ADD, rows([0], [1.0]))
    block.install(np.array([5.0]), np.array([1]))

    assert [5.0] == block.value(0).tolist()


def test_a_sparse_commit_is_applied_while_the_shell_waits():
    """An arriving commit changes only the version. A wait or a read then applies the rows."""
    state = ReplicaState(0, 2)
    table = spec(SUM, ON_WRITE, shape=(2,))
    state.handle(Create(spec=table, value=np.array([1.0, 2.0], np.float32)))
    block = state.components.find(W).block
    state.handle(commit_of(1, [0], [10.0]))
    assert [1] == block.versions.tolist()
    assert [1.0, 2.0] == block._values.tolist()

    assert state.is_behind
    state.handle(MessagesHandled())
    assert not state.is_behind
    assert [11.0, 2.0] == block._values.tolist()
    state.handle(commit_of(2, [1], [10.0]))
    assert [11.0, 12.0] == state.components.find(W).component().tolist()
