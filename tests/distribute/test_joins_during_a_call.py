"""`context.join()` in functions of `strategy.run`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.replica_context import replica_id
from varsim.analysis.outcome import Outcome
from varsim.analysis.verdict import judge
from varsim.errors import CreationError, DeadlockError, MismatchError, SynchronizationError
from varsim.testing import simulated_cluster
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

ON_WRITE, MEAN = tf.VariableSynchronization.ON_WRITE, tf.VariableAggregation.MEAN


@pytest.fixture
def strategy() -> Iterator[Any]:
    """Provide three simulated replicas."""
    with simulated_cluster(), tf.distribute.MirroredStrategy(["a", "b", "c"]) as made:
        yield made


def run(strategy: Any, step: Callable[[Any], Any]) -> list[Any]:
    """Call a function with the context of each replica; return all results."""
    returned = strategy.run(lambda: np.array(step(tf.distribute.get_replica_context())))
    return [one.tolist() for one in strategy.experimental_local_results(returned)]


def test_variables_are_equal_on_all_replicas_after_uneven_steps(strategy: Any):
    with strategy.scope():
        w = tf.Variable(0.0, synchronization=ON_WRITE, aggregation=MEAN)

    def step(context: Any) -> int:
        for _ in range(replica_id()):
            w.assign_add(replica_id())
        return int(context.join())

    assert [2, 2, 2] == run(strategy, step)
    assert [3.5, 3.5, 3.5] == [float(part.read_value()) for part in w.values]


def test_replicas_that_have_joined_before_the_call_are_not_needed(strategy: Any):
    strategy.uneven = "join"
    with pytest.warns(tf.VarsimWarning, match="batch 1 has 2 rows for 3 replicas"):
        (rows,) = strategy.experimental_distribute_dataset([np.float32([1, 2])])

    def step(own: Any) -> Any:
        context = tf.distribute.get_replica_context()
        sums = [context.all_reduce("MEAN", own[0]) for _ in range(1 + replica_id())]
        return float(sums[-1]) + 100 * context.join()

    assert (101.5, 101.0) == strategy.run(step, args=(rows,)).values


def test_the_only_replica_joins_at_once():
    assert 0 == tf.distribute.get_replica_context().join()
    with tf.distribute.MirroredStrategy(["a"]) as alone:
        assert [0] == run(alone, lambda context: context.join())


def test_a_lock_of_a_replica_that_has_joined_is_a_deadlock(strategy: Any):
    def step(context: Any) -> None:
        context.barrier()
        with context.lock("a"):
            context.join()

    with pytest.raises(DeadlockError, match=r"waits in join at .*which has not joined") as caught:
        run(strategy, step)
    assert "A replica that has joined waits until all" in str(caught.value)


def test_a_value_for_a_replica_that_has_joined_is_a_deadlock(strategy: Any):
    def step(context: Any) -> None:
        if replica_id() == 1:
            context.send(1, to=0)
        context.join()

    with pytest.raises(DeadlockError, match="for replica 0, which has not received the value"):
        run(strategy, step)


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_a_replica_that_has_joined_holds_no_writer_with_bounded_staleness_back(
    tmp_path: Path, seed: int | None
):
    """In each epoch, the writes are counted from 0 again, so the slowest one can be another one."""
    with (
        simulated_cluster(seed),
        tf.distribute.MirroredStrategy(["a", "b", "c"], trace=TraceOptions(tmp_path)) as strategy,
    ):
        with strategy.scope():
            w = tf.Variable(
                0.0, synchronization=tf.BoundedStaleness(2), aggregation=tf.VariableAggregation.SUM
            )

        def step(context: Any) -> float:
            for writes in (4 * replica_id(), 12 - 5 * replica_id(), 3):
                for number in range(writes):
                    w.assign_add(1.0)
                    if number % 2:
                        w.read_value()
                context.join()
            return float(w.read_value())

        assert 3 * [12.0 + 21.0 + 9.0] == run(strategy, step)
        strategy.close()
    merge(tmp_path, tmp_path)
    with open_history(tmp_path) as history:
        verdicts = judge(history)
    assert [] == [one for one in verdicts if one.outcome is not Outcome.VALID]


def test_a_read_after_a_join_has_the_writes_of_the_others_to_a_copy(strategy: Any):
    """The bound of the staleness allows a read without them, as before a barrier."""
    with strategy.scope():
        w = tf.Variable(
            0.0, synchronization=tf.BoundedStaleness(8), aggregation=tf.VariableAggregation.SUM
        )

    def step(context: Any) -> float:
        float(w.read_value())
        for _ in range(replica_id()):
            w.assign_add(1.0)
        context.join()
        return float(w.read_value())

    assert 3 * [3.0] == run(strategy, step)


def test_local_sgd_refuses_a_join(strategy: Any):
    with strategy.scope():
        v = tf.Variable(0.0, name="v", synchronization=tf.LocalSGD(2))
    with pytest.raises(SynchronizationError, match="'v'"):
        run(strategy, lambda context: context.join())
    del v


def test_a_variable_cannot_be_created_without_a_replica_that_has_joined(strategy: Any):
    def step(context: Any) -> None:
        if replica_id() == 0:
            context.join()
        tf.Variable(0.0)

    with pytest.raises((CreationError, MismatchError), match="replica"):
        run(strategy, step)


def test_a_replica_that_has_joined_takes_no_part_in_a_call_within_the_call(strategy: Any):
    def step(context: Any) -> None:
        if replica_id() == 0:
            context.join()
        context.merge_call(lambda strategy: None)

    with pytest.raises(MismatchError, match="merge_call needs a value of replica 0"):
        run(strategy, step)
