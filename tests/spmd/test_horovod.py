"""The functions of Horovod on NumPy arrays."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import varsim as tf
import varsim.horovod as hvd
from tests.spmd.conftest import Ranks
from varsim.errors import (
    ContextError,
    DeadlockError,
    MismatchError,
    ReplicaIndexError,
)


@pytest.fixture(autouse=True)
def _initialised(ranks: Ranks) -> None:
    ranks(hvd.init)


def floats(*values: float) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32)


def test_ranks_and_sizes(ranks: Ranks):
    def places() -> Any:
        cross = hvd.cross_rank(), hvd.cross_size()
        return hvd.rank(), hvd.size(), hvd.local_rank(), hvd.local_size(), *cross

    assert [(0, 3, 0, 2, 0, 2), (1, 3, 1, 2, 0, 1), (2, 3, 0, 1, 1, 2)] == ranks(places)
    assert 3 * [True] == ranks(hvd.is_initialized)


def test_a_function_before_init_is_refused(ranks: Ranks):
    ranks(hvd.shutdown)

    with pytest.raises(ContextError, match=r"hvd\.size: call hvd\.init\(\) first, on every rank"):
        ranks(hvd.size)


def test_a_program_without_workers_is_the_only_rank():
    hvd.init()

    assert (0, 1, 0, 1) == (hvd.rank(), hvd.size(), hvd.local_rank(), hvd.local_size())
    assert (0, 1) == (hvd.cross_rank(), hvd.cross_size())
    assert [2.0] == hvd.allreduce(floats(2.0)).tolist()
    assert [1, 2] == hvd.allgather(np.array([1, 2])).tolist()
    assert {"a": 1} == hvd.broadcast_object({"a": 1})
    hvd.barrier()
    hvd.shutdown()


def test_cross_replica_context_has_no_rank(ranks: Ranks):
    with tf.distribute.MirroredStrategy(["a"]).scope(), pytest.raises(ContextError, match="--spmd"):
        hvd.init()


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (None, [1.0, 2.0]),
        (hvd.Average, [1.0, 2.0]),
        (hvd.Sum, [3.0, 6.0]),
        (hvd.Min, [0.0, 2.0]),
        (hvd.Max, [2.0, 2.0]),
        (hvd.Product, [0.0, 8.0]),
    ],
)
def test_allreduce(ranks: Ranks, op: Any, expected: list[float]):
    assert 3 * [expected] == ranks(lambda: hvd.allreduce(floats(hvd.rank(), 2), op=op).tolist())


def test_allreduce_scales_before_and_after(ranks: Ranks):
    def scaled() -> Any:
        x = hvd.allreduce(floats(1.0), op=hvd.Sum, prescale_factor=0.5, postscale_factor=10.0)
        return x.dtype.name, x.tolist()

    assert 3 * [("float32", [15.0])] == ranks(scaled)


def test_a_grouped_allreduce_is_one_collective(ranks: Ranks):
    def grouped() -> Any:
        a, b = hvd.grouped_allreduce([floats(hvd.rank()), floats(3.0, 6.0)], op=hvd.Sum)
        return a.tolist(), b.tolist()

    assert 3 * [([3.0], [9.0, 18.0])] == ranks(grouped)


def test_gathers_and_exchanges(ranks: Ranks):
    def several() -> Any:
        rank = hvd.rank()
        gathered = hvd.allgather(np.full((rank, 2), rank)).tolist()
        single = hvd.allgather(np.int64(rank)).tolist()
        equal = hvd.alltoall(np.arange(3) + 10 * rank).tolist()
        rows, sizes = hvd.alltoall(np.full(rank + 2, rank), splits=[rank, 1, 1])
        return gathered, single, equal, rows.tolist(), sizes.tolist()

    same = [[1, 1], [2, 2], [2, 2]], [0, 1, 2]
    assert [
        (*same, [0, 10, 20], [1, 2, 2], [0, 1, 2]),
        (*same, [1, 11, 21], [0, 1, 2], [1, 1, 1]),
        (*same, [2, 12, 22], [0, 1, 2], [1, 1, 1]),
    ] == ranks(several)


def test_reducescatter_gives_the_first_ranks_the_remaining_rows(ranks: Ranks):
    def scattered(rows: int) -> Any:
        return hvd.reducescatter(np.arange(rows), op=hvd.Sum).tolist()

    assert [[0, 3], [6, 9], [12, 15]] == ranks(scattered, 6)
    assert [[0, 3], [6, 9], [12]] == ranks(scattered, 5)


def test_broadcasts(ranks: Ranks):
    def several() -> Any:
        rank = hvd.rank()
        parameters = {"w": floats(rank, rank), "b": np.array(rank)}
        hvd.broadcast_parameters(parameters, root_rank=2)
        variables = [floats(rank), floats(-rank)]
        hvd.broadcast_variables(variables, root_rank=1)
        named = [("w", floats(rank))]
        hvd.broadcast_parameters(named, 1)
        return [
            hvd.broadcast(floats(rank), 1).tolist(),
            [one.tolist() for one in (*parameters.values(), *variables, named[0][1])],
            hvd.broadcast_object({"epoch": rank}, root_rank=1),
            hvd.allgather_object("x" * rank),
        ]

    expected = [[1.0], [[2.0, 2.0], 2, [1.0], [-1.0], [1.0]], {"epoch": 1}, ["", "x", "xx"]]
    assert 3 * [expected] == ranks(several)


def test_a_read_only_parameter_is_refused(ranks: Ranks):
    array = np.broadcast_to(floats(1.0), (2,))

    with pytest.raises(TypeError, match="broadcast_parameters changes the array 'w' in place"):
        ranks(lambda: hvd.broadcast_parameters({"w": array}, 0))


def test_names_that_differ_are_named(ranks: Ranks):
    def differ() -> None:
        hvd.allreduce(floats(1.0), name="loss" if hvd.rank() else "accuracy")

    with pytest.raises(
        MismatchError, match=r"all_reduce\(MEAN, float32\[1\], name='accuracy'\)"
    ) as e:
        ranks(differ)
    assert "test_horovod.py" in str(e.value)


def test_process_sets(ranks: Ranks):
    def even() -> Any:
        odd_one = hvd.add_process_set([2, 0])
        rank, included = hvd.rank(), odd_one.included()
        total = hvd.allreduce(floats(rank), op=hvd.Sum, process_set=odd_one) if included else None
        gathered = hvd.allgather(floats(rank), process_set=odd_one) if included else None
        return [
            odd_one.ranks,
            odd_one.size(),
            included,
            odd_one.rank() if included else None,
            None if total is None else total.tolist(),
            None if gathered is None else gathered.tolist(),
        ]

    members = [[0, 2], 2, True]
    assert [
        [*members, 0, [2.0], [0.0, 2.0]],
        [[0, 2], 2, False, None, None, None],
        [*members, 1, [2.0], [0.0, 2.0]],
    ] == ranks(even)


def test_a_rank_outside_a_process_set_is_refused(ranks: Ranks):
    one = hvd.ProcessSet([0, 2])

    with pytest.raises(
        ReplicaIndexError, match=r"hvd\.allreduce: rank=1: the ranks that take part"
    ):
        ranks(lambda: hvd.allreduce(floats(1.0), process_set=one) if hvd.rank() == 1 else None)


def test_process_sets_that_differ_are_an_error(ranks: Ranks):
    with pytest.raises(MismatchError, match="add_process_set"):
        ranks(lambda: hvd.add_process_set([0, 1 + hvd.rank() % 2]))


class Optimizer:
    """A NumPy optimizer in two styles."""

    rate = 0.5

    def apply_gradients(self, pairs: Any, scale: float = 1.0) -> Any:
        for gradient, variable in pairs:
            if gradient is not None:
                np.subtract(variable, self.rate * scale * gradient, out=variable)
        return "applied"

    def step(self, gradients: Any) -> Any:
        return gradients


def test_an_optimizer_gets_averaged_gradients(ranks: Ranks):
    def train() -> Any:
        optimizer = hvd.DistributedOptimizer(Optimizer())
        w, frozen = floats(1.0), floats(5.0)
        said = optimizer.apply_gradients([(floats(hvd.rank()), w), (None, frozen)], scale=2.0)
        stepped = optimizer.step({"w": floats(3.0 * hvd.rank())})
        return said, w.tolist(), frozen.tolist(), optimizer.rate, stepped["w"].tolist()

    assert 3 * [("applied", [0.0], [5.0], 0.5, [3.0])] == ranks(train)


def test_an_optimizer_can_sum(ranks: Ranks):
    inner = SimpleNamespace(step=lambda gradients: gradients[0].tolist())

    assert 3 * [[3.0]] == ranks(
        lambda: hvd.DistributedOptimizer(inner, op=hvd.Sum).step([floats(hvd.rank())])
    )


def train(batches: Any) -> Any:
    """Average a gradient in each of the rank's batches, and join; then all ranks continue."""
    seen = [
        hvd.allreduce(floats(6.0), name=f"step {i}").tolist() for i in range(batches[hvd.rank()])
    ]
    last = hvd.join()
    return seen, last, hvd.broadcast_object(hvd.rank(), root_rank=last)


def test_ranks_that_have_joined_give_zeros(ranks: Ranks):
    """An average divides by the number of all ranks, as in Horovod."""
    assert [
        ([[6.0]], 1, 1),
        ([[6.0], [4.0], [2.0]], 1, 1),
        ([[6.0], [4.0]], 1, 1),
    ] == ranks(train, (1, 3, 2))


def test_join_names_the_highest_of_several_last_ranks(ranks: Ranks):
    assert [1, 1, 1] == [last for _, last, _ in ranks(train, (2, 2, 0))]


def test_the_only_rank_joins_at_once():
    hvd.init()

    assert 0 == hvd.join()
    hvd.shutdown()


@pytest.mark.parametrize(
    "function",
    [
        lambda: hvd.allreduce(floats(1.0), op=hvd.Min),
        lambda: hvd.allgather(floats(1.0)),
        lambda: hvd.broadcast(floats(1.0), root_rank=1),
        lambda: hvd.alltoall(floats(1.0, 2.0, 3.0)),
        lambda: hvd.reducescatter(floats(1.0, 2.0, 3.0)),
        lambda: hvd.broadcast_object(1, root_rank=1),
    ],
)
def test_a_function_without_a_zero_names_the_ranks_that_have_joined(ranks: Ranks, function: Any):
    def step() -> None:
        if hvd.rank() == 0:
            hvd.join()
        function()

    with pytest.raises(
        MismatchError, match="needs a value of replica 0, which has joined"
    ) as caught:
        ranks(step)
    assert "  replica 0: join at tests/spmd/test_horovod.py:" in str(caught.value)
    assert "  replicas 1, 2: " in str(caught.value)


def test_a_barrier_of_all_ranks_does_not_wait_for_those_that_have_joined(ranks: Ranks):
    def step() -> int:
        for _ in range(hvd.rank()):
            hvd.barrier()
        return hvd.join()

    assert [2, 2, 2] == ranks(step)


def test_a_barrier_against_a_collective_is_named_as_the_program_calls_it(ranks: Ranks):
    def step() -> None:
        if hvd.rank() == 1:
            hvd.barrier()
        else:
            hvd.allreduce(floats(1.0), name="g")

    with pytest.raises(DeadlockError, match=r"replica 1 waits in hvd\.barrier at tests/"):
        ranks(step)


def test_a_process_set_waits_for_a_member_that_has_joined(ranks: Ranks):
    def step() -> None:
        if hvd.rank() == 0:
            hvd.join()
        else:
            hvd.allreduce(floats(1.0), process_set=hvd.ProcessSet([0, 1])) if hvd.rank() == 1 else 0

    with pytest.raises(DeadlockError, match="for replica 1, which has not joined"):
        ranks(step)


def test_every_public_name_exists():
    assert all(hasattr(hvd, name) for name in hvd.__all__)
