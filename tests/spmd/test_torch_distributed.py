"""The functions of torch.distributed: checks of arguments, and names.

test_forty_collectives.py compares the values with those of torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import varsim as tf
import varsim.torch_distributed as dist
from tests.spmd.conftest import Ranks
from varsim.errors import ContextError, DeadlockError, MismatchError, VarsimWarning
from varsim.testing import simulated_cluster


@pytest.fixture(autouse=True)
def _initialised(ranks: Ranks) -> None:
    ranks(dist.init_process_group)


def floats(*values: float) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32)


def test_the_average_of_floats(ranks: Ranks):
    def averaged() -> Any:
        x = floats(dist.get_rank(), 3.0)
        dist.all_reduce(x, dist.ReduceOp.AVG)
        return x.tolist()

    assert 3 * [[1.0, 3.0]] == ranks(averaged)


def test_reductions_of_bools(ranks: Ranks):
    def reduced(op: Any) -> Any:
        x = np.array([dist.get_rank() == 1, True])
        dist.all_reduce(x, op)
        return x.tolist()

    assert 3 * [[True, True]] == ranks(reduced, dist.ReduceOp.MAX)
    assert 3 * [[False, True]] == ranks(reduced, dist.ReduceOp.MIN)


def test_all_gather_into_a_new_axis(ranks: Ranks):
    def stacked() -> Any:
        x = np.zeros((3, 2), np.float32)
        dist.all_gather_into_tensor(x, floats(dist.get_rank(), 1.0))
        return x.tolist()

    assert 3 * [[[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]] == ranks(stacked)


def test_a_column_is_reduced_in_place(ranks: Ranks):
    """Torch 2.13 with gloo writes this result into the wrong elements, without an error."""

    def column() -> Any:
        x = np.ones((2, 2), np.float32)
        dist.all_reduce(x[:, 1])
        return x.tolist()

    assert 3 * [[[1.0, 3.0], [1.0, 3.0]]] == ranks(column)


def test_all_to_all_with_lists(ranks: Ranks):
    def exchanged() -> Any:
        rank = dist.get_rank()
        found = [np.zeros(1, np.int64) for _ in range(3)]
        dist.all_to_all(found, [np.array([10 * rank + i]) for i in range(3)])
        return [int(one[0]) for one in found]

    assert [[0, 10, 20], [1, 11, 21], [2, 12, 22]] == ranks(exchanged)


# ---------------------------------------------------------------- checks


def zeros(count: int = 3) -> list[Any]:
    return [floats(0.0) for _ in range(count)]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: dist.all_reduce(1.0), "float is not a NumPy array"),
        (lambda: dist.all_reduce(floats(1.0), "SUM"), r"use a dist\.ReduceOp"),
        (lambda: dist.all_reduce(np.array([1]), dist.ReduceOp.AVG), "the result is no integer"),
        (
            lambda: dist.broadcast(floats(1.0), 3),
            r"src=3: the ranks that take part are \[0, 1, 2\]",
        ),
        (lambda: dist.all_gather(zeros(2), floats(1.0)), "got 2 arrays, and 3 ranks take part"),
        (lambda: dist.all_gather(zeros(), np.array([1])), "cannot write int64"),
        (lambda: dist.all_reduce(floats(1.0), group=[0, 1]), "make a group by dist.new_group"),
        (lambda: dist.new_group([0, 0]), "give different ranks from 0 to 2"),
        (lambda: dist.gather(floats(1.0), zeros(), 0), "only rank 0 gives this list; this is rank"),
        (lambda: dist.scatter(floats(1.0), None, 0), r"scatter_list=…\) got 0 arrays"),
        (lambda: dist.recv(floats(1.0)), "name the rank that sends"),
        (lambda: dist.all_to_all_single(zeros()[0], floats(1.0)), "cannot be split equally"),
        (
            lambda: dist.all_to_all_single(zeros()[0], floats(1.0), None, [1, 1, 1]),
            "the array has 1 rows, and 3 ranks take part",
        ),
        (
            lambda: dist.reduce_scatter_tensor(zeros()[0], floats(1, 2)),
            r"must be \[3\] or \[3, 1\]",
        ),
        (dist.init_process_group, "was called twice"),
    ],
)
def test_wrong_arguments_are_refused(ranks: Ranks, call: Callable[[], Any], text: str):
    with pytest.raises((ValueError, TypeError, RuntimeError, IndexError), match=text):
        ranks(call)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"world_size": 8}, r"world_size=8\): 3 ranks run; start the script with varsim exec -n 8"),
        ({"rank": 5}, r"rank=5\): this is rank 0"),
    ],
)
def test_the_world_is_as_it_is(ranks: Ranks, arguments: dict[str, int], text: str):
    ranks(dist.destroy_process_group)
    with pytest.raises(ContextError, match=text):
        ranks(lambda: dist.init_process_group("nccl", **arguments))


def test_a_function_before_the_begin_is_refused(ranks: Ranks):
    ranks(dist.destroy_process_group)
    with pytest.raises(ContextError, match=r"call dist\.init_process_group\(\) first"):
        ranks(dist.barrier)


def test_another_order_of_functions_names_the_lines(ranks: Ranks):
    def differ() -> None:
        x = floats(1.0)
        if dist.get_rank() == 0:
            dist.broadcast(x, 0)
        dist.all_reduce(x)

    with pytest.raises(MismatchError) as caught:
        ranks(differ)
    assert "replica 0: broadcast" in str(caught.value)
    assert "replicas 1, 2: all_reduce(SUM, float32[1]) at " in str(caught.value)
    assert "test_torch_distributed.py" in str(caught.value)


def test_other_shapes_dtypes_and_ops_are_found(ranks: Ranks):
    for x, y, op in (
        (floats(1.0), floats(1.0, 2.0), dist.ReduceOp.SUM),
        (floats(1.0), np.array([1.0]), dist.ReduceOp.SUM),
        (floats(1.0), floats(1.0), dist.ReduceOp.MAX),
    ):
        with pytest.raises(MismatchError):
            ranks(lambda: dist.all_reduce(y, op) if dist.get_rank() else dist.all_reduce(x))  # noqa: B023


def test_gather_and_scatter_do_not_meet(ranks: Ranks):
    def differ() -> None:
        if dist.get_rank() == 1:
            dist.scatter(floats(1.0))
        else:
            dist.gather(floats(1.0), zeros() if dist.get_rank() == 0 else None)

    with pytest.raises(MismatchError, match=r"name='dist\.gather\(dst=0\)'"):
        ranks(differ)


def test_a_barrier_without_one_rank_is_a_deadlock(ranks: Ranks):
    with pytest.raises(DeadlockError, match=r"test_torch_distributed\.py"):
        ranks(lambda: None if dist.get_rank() == 1 else dist.monitored_barrier())


def test_sends_in_a_circle_are_a_deadlock(ranks: Ranks):
    """Torch returns at once from a send of a small array, so this works there by chance."""

    def circle() -> None:
        dist.send(floats(1.0), (dist.get_rank() + 1) % 3)
        dist.recv(floats(0.0), (dist.get_rank() - 1) % 3)

    with pytest.raises(DeadlockError):
        ranks(circle)


def test_another_tag_is_refused(ranks: Ranks):
    def tagged() -> None:
        if dist.get_rank() == 0:
            dist.send(floats(1.0), 1, tag=3)
        elif dist.get_rank() == 1:
            dist.recv(floats(0.0), 0, tag=4)

    with pytest.raises(ValueError, match="has tag 3"):
        ranks(tagged)


def test_groups_that_differ_are_an_error(ranks: Ranks):
    with pytest.raises(MismatchError, match=r"new_group\(\[0, 1\]\)"):
        ranks(lambda: dist.new_group([0, 2] if dist.get_rank() else [0, 1]))


def test_a_call_outside_its_group_has_no_effect(ranks: Ranks):
    def outside() -> Any:
        pair = dist.new_group([0, 1])
        x = floats(1.0)
        dist.all_reduce(x, group=pair)
        return x.tolist(), pair.rank(), dist.get_world_size(pair)

    with pytest.warns(
        VarsimWarning, match=r"rank 2 is not a member of the group of ranks \[0, 1\]"
    ):
        assert [([2.0], 0, 2), ([2.0], 1, 2), ([1.0], -1, -1)] == ranks(outside)


def test_a_missing_name_says_what_to_use():
    with pytest.raises(AttributeError, match=r"has no isend: use dist\.send and dist\.recv"):
        _ = dist.isend
    assert all(hasattr(dist, name) for name in dist.__all__)


def test_a_program_without_workers_is_the_only_rank():
    dist.init_process_group()
    x = floats(2.0)
    dist.all_reduce(x)
    dist.barrier()
    dist.destroy_process_group()

    assert [2.0] == x.tolist()


def test_collectives_of_two_groups_do_not_mix():
    """The program of pytorch#130102: sums in the groups {0, 3} and {1, 2}."""

    def summed() -> float:
        dist.init_process_group()
        rank = dist.get_rank()
        outer, inner = dist.new_group([0, 3]), dist.new_group([1, 2])
        x = floats(rank if rank in (0, 3) else 10 * rank)
        dist.barrier(outer if rank in (0, 3) else inner)
        dist.all_reduce(x, group=outer if rank in (0, 3) else inner)
        return float(x[0])

    with simulated_cluster(), tf.distribute.MirroredStrategy(list("abcd")) as strategy:
        assert (3.0, 30.0, 30.0, 3.0) == strategy.run(summed).values
