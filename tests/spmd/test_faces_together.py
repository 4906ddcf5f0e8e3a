"""Horovod's and torch's functions together with MultiWorkerMirroredStrategy in one program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import varsim as tf
import varsim.horovod as hvd
import varsim.torch_distributed as dist
from tests.spmd.conftest import Ranks
from varsim.errors import MismatchError, ValueTypeError

SUM = tf.VariableAggregation.SUM


def start(value: float = 0.0) -> tuple[Any, Any]:
    """Return a strategy and a variable of all workers, with both faces in use."""
    hvd.init()
    dist.init_process_group("gloo")
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        return strategy, tf.Variable(np.float32(value), name="w", aggregation=SUM)


def total() -> tuple[int, int, float, float]:
    """Return the rank of each face, and the sum of all ranks by the functions of each."""
    x = np.full(1, float(dist.get_rank()), np.float32)
    dist.all_reduce(x)
    by_hvd = hvd.allreduce(np.float32(hvd.rank()), op=hvd.Sum, name="rank")
    return hvd.rank(), dist.get_rank(), float(by_hvd), float(x[0])


def outside(strategy: Any, variable: Any) -> Any:
    return total()


def in_run(strategy: Any, variable: Any) -> Any:
    return strategy.run(total)


def in_scope(strategy: Any, variable: Any) -> Any:
    with strategy.scope():
        return total()


def in_merge_call(strategy: Any, variable: Any) -> Any:
    def call() -> Any:
        return tf.distribute.get_replica_context().merge_call(lambda _: total())

    return strategy.run(call)


def in_update(strategy: Any, variable: Any) -> Any:
    found: list[Any] = []
    strategy.extended.update(variable, lambda _: found.append(total()))
    return found[0]


@pytest.mark.parametrize("place", [outside, in_run, in_scope, in_merge_call, in_update])
def test_a_worker_is_the_same_rank_in_every_context(ranks: Ranks, place: Callable[..., Any]):
    assert [(i, i, 3.0, 3.0) for i in range(3)] == ranks(lambda: place(*start()))


def test_groups_and_writes_of_all_faces_do_not_affect_each_other(ranks: Ranks):
    def program() -> Any:
        strategy, w = start()
        pair, group = hvd.add_process_set([0, 1]), dist.new_group([1, 2])

        def step() -> tuple[float, float]:
            x = np.full(1, 1.0 + hvd.rank(), np.float32)
            mine: Any = x
            if pair.included():
                mine = hvd.allreduce(x, op=hvd.Sum, process_set=pair, name="pair")
            if dist.get_rank():
                dist.all_reduce(x, group=group)
            w.assign_add(float(mine[0]))
            return float(mine[0]), float(x[0])

        return *strategy.run(step), float(w.numpy())

    assert [(3.0, 1.0, 11.0), (3.0, 5.0, 11.0), (5.0, 5.0, 11.0)] == ranks(program)


def joined_before_a_write(strategy: Any, w: Any) -> Any:
    for _ in range(1 + hvd.rank()):
        strategy.run(lambda: w.assign_add(1.0))
    return hvd.join(), float(w.numpy())


def test_writes_in_run_go_on_without_a_rank_that_has_joined(ranks: Ranks):
    assert 3 * [(2, 6.0)] == ranks(lambda: joined_before_a_write(*start()))


def joins_before_an_operation_of_all_workers(strategy: Any, w: Any) -> None:
    hvd.join() if hvd.rank() == 0 else strategy.reduce("SUM", 1.0, axis=None)


def reduces_by_two_faces(strategy: Any, w: Any) -> None:
    one = np.float32(1)
    hvd.allreduce(one, op=hvd.Sum) if hvd.rank() else strategy.reduce("SUM", one, axis=None)


def broadcasts_a_variable(strategy: Any, w: Any) -> None:
    hvd.broadcast_variables([w], root_rank=0)


@pytest.mark.parametrize(
    ("program", "error", "texts"),
    [
        (
            joins_before_an_operation_of_all_workers,
            MismatchError,
            ["strategy.reduce(SUM) needs a value of replica 0, which has joined"],
        ),
        (
            reduces_by_two_faces,
            MismatchError,
            ["replica 0: strategy.reduce(SUM, float32[]) at", "1, 2: all_reduce(SUM, float32[])"],
        ),
        (
            broadcasts_a_variable,
            ValueTypeError,
            ["hvd.broadcast_variables changes the array '0' in place", "and then v.assign(x)."],
        ),
    ],
)
def test_mixtures_that_cannot_work_say_what_to_do(
    ranks: Ranks, program: Callable[..., None], error: type[Exception], texts: list[str]
):
    with pytest.raises(error) as raised:
        ranks(lambda: program(*start()))
    assert [] == [text for text in texts if text not in str(raised.value)], str(raised.value)
