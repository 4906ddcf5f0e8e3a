"""BoundedStaleness: replicas add to one copy, and none is more than s writes ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import varsim as tf
from varsim.errors import (
    AggregationError,
    ConfigError,
    DeadlockError,
    OperationError,
    ShapeError,
    VariableError,
)
from varsim.testing import simulated_cluster

SUM = tf.VariableAggregation.SUM
MEAN = tf.VariableAggregation.MEAN
ON_WRITE = tf.VariableSynchronization.ON_WRITE


@contextmanager
def cluster(
    bound: int,
    count: int = 2,
    value: Any = 0.0,
    aggregation: tf.VariableAggregation = SUM,
    seed: int | None = None,
    **options: Any,
) -> Iterator[tuple[tf.distribute.MirroredStrategy, tf.Variable]]:
    with simulated_cluster(seed):
        strategy = tf.distribute.MirroredStrategy([f"cpu:{i}" for i in range(count)], **options)
        with strategy.scope():
            yield (
                strategy,
                tf.Variable(
                    value,
                    name="v",
                    synchronization=tf.BoundedStaleness(bound),
                    aggregation=aggregation,
                ),
            )


def me() -> int:
    replica_id: int = tf.distribute.get_replica_context().replica_id_in_sync_group
    return replica_id


def write(v: tf.Variable, times: int) -> None:
    for _ in range(times):
        v.assign_add(1.0, read_value=False)


def statistics(strategy: tf.distribute.MirroredStrategy) -> Any:
    return next(one for one in strategy.statistics() if one.name == "v")


# ---------------------------------------------------------------- values


def test_a_sum_adds_whole_values_and_a_mean_adds_their_nth_parts() -> None:
    for aggregation, expected in ((SUM, 10 + 1 + 2 + 3 - 3), (MEAN, 10 + (1 + 2 + 3) / 3 - 1)):
        with cluster(1, 3, 10.0, aggregation) as (strategy, v):

            def step(v: tf.Variable = v) -> None:
                v.assign_add(1.0 + me())
                v.assign_sub(1.0)

            strategy.run(step)
            assert expected == pytest.approx(float(v.read_value()))


def test_a_replica_reads_its_own_writes() -> None:
    with cluster(5) as (strategy, v):
        seen: list[bool] = []

        def step() -> None:
            before = float(v.read_value())
            seen.extend(float(v.assign_add(1.0)) - before >= turn for turn in range(1, 4))

        strategy.run(step)
        assert [True] * 6 == seen


def test_a_bound_of_zero_is_bulk_synchronous() -> None:
    """Nobody sees a write of the next round, and everybody sees all writes of this round."""
    for seed in range(5):
        with cluster(0, 3, seed=seed) as (strategy, v):
            seen: list[list[float]] = [[], [], []]

            def step(v: tf.Variable = v, seen: Any = seen) -> None:
                for _ in range(4):
                    seen[me()].append(float(v.assign_add(1.0)))

            strategy.run(step)
            assert [[3.0, 6.0, 9.0, 12.0]] * 3 == seen


def test_the_program_reads_and_writes_the_copy_without_messages() -> None:
    with cluster(1, value=[1.0, 2.0]) as (strategy, v):
        v.assign([5.0, 6.0])
        v.assign_add([1.0, 1.0])

        assert [6.0, 7.0] == v.numpy().tolist()
        assert 0 == statistics(strategy).messages
        assert [6.0, 7.0] == strategy.run(v.read_value).values[1].tolist()


def test_a_replica_reads_what_a_merge_call_has_written() -> None:
    with cluster(3) as (strategy, v):
        seen: list[float] = []

        def step() -> None:
            v.assign_add(1.0)
            tf.distribute.get_replica_context().merge_call(
                lambda _: v.assign(100.0, read_value=False)
            )
            seen.append(float(v.read_value()))

        strategy.run(step)
        assert [100.0, 100.0] == seen


def test_a_replica_reads_what_was_written_before_it_got_a_lock() -> None:
    """The cache was fresh before; the lock makes it stale."""
    with cluster(100, seed=3) as (strategy, v):
        seen: list[float] = []

        def step() -> None:
            context = tf.distribute.get_replica_context()
            v.read_value()
            for _ in range(5):
                with context.lock("l"):
                    before = float(v.read_value())
                    v.assign_add(1.0, read_value=False)
                    seen.append(before)

        strategy.run(step)
        assert [*map(float, range(10))] == sorted(seen)


# ---------------------------------------------------------------- waits


def test_a_fast_replica_waits_for_the_slowest_and_the_statistics_say_for_whom() -> None:
    with cluster(2, 3, seed=1) as (strategy, v):

        def step() -> None:
            context = tf.distribute.get_replica_context()
            if me() == 2:
                for turn in range(20):
                    context.send(turn, to=1)
            elif me() == 1:
                for _ in range(20):
                    context.recv(2)
            write(v, 5)

        strategy.run(step)
        bounded = statistics(strategy).bounded

        assert 2 == bounded.bound == bounded.most_ahead
        assert 15 == bounded.writes
        waits = [one for one in bounded.waits.values() if one.replica_id == 0]
        assert waits
        assert {one.waited_for for one in waits} <= {1, 2}
        assert all(0 < one.longest_s <= one.waited_s for one in waits)


@pytest.mark.parametrize("bound", [0, 1])
def test_a_replica_that_has_returned_holds_no_other_back(bound: int) -> None:
    for seed in range(3):
        with cluster(bound, 3, seed=seed) as (strategy, v):
            strategy.run(lambda v=v: write(v, (0, 2, 7)[me()]))
            assert 9 == v.read_value()


def test_a_joined_replica_holds_no_other_back() -> None:
    with cluster(0, 3, uneven="join") as (strategy, v):
        values = tf.distribute.PerReplica([2, 3], 1)

        strategy.run(lambda times: write(v, times), (values,))

        assert 5 == v.read_value()


def test_a_replica_that_joins_during_a_call_holds_no_other_back_and_starts_again() -> None:
    """After the join, the clocks are equal again, so the bound holds for the next writes."""
    for seed in range(5):
        with cluster(1, 3, seed=seed) as (strategy, v):
            seen: list[float] = []

            def step(v: tf.Variable = v, seen: list[float] = seen) -> None:
                context = tf.distribute.get_replica_context()
                write(v, (0, 2, 7)[me()])
                context.join()
                seen.append(float(v.read_value()))
                write(v, 3)

            strategy.run(step)

            assert 18 == v.read_value()
            assert 9 <= min(seen)
            assert 1 == statistics(strategy).bounded.most_ahead


def test_a_replica_that_has_raised_ends_the_wait_of_the_others() -> None:
    with cluster(0) as (strategy, v):

        def step() -> None:
            if me():
                raise KeyError("mine")
            write(v, 3)

        with pytest.raises(KeyError, match="mine"):
            strategy.run(step)
        strategy.run(lambda: write(v, 2))
        assert 4 <= v.read_value() <= 7  # those of the failed call that arrived in time count


# ---------------------------------------------------------------- deadlocks


def deadlock(step: Callable[[], Any], strategy: tf.distribute.MirroredStrategy) -> str:
    with pytest.raises(DeadlockError) as caught:
        strategy.run(step)
    return str(caught.value)


def test_a_lock_that_the_slowest_replica_needs_is_a_deadlock() -> None:
    with cluster(1) as (strategy, v):

        def step() -> None:
            context = tf.distribute.get_replica_context()
            if me() == 0:
                with context.lock("l"):
                    context.barrier()
                    write(v, 2)
            else:
                context.barrier()
                with context.lock("l"):
                    write(v, 2)

        text = deadlock(step, strategy)

    assert "replica 0 waits in v.assign_add (float32 scalar) at " in text
    assert "for replica 1, which has written it never (this is write 2)" in text
    assert "replica 1 waits in lock('l') at " in text
    assert "Release the lock before an operation that needs other replicas" in text


def test_a_collective_that_the_fast_replica_must_reach_is_a_deadlock() -> None:
    with cluster(1) as (strategy, v):

        def step() -> None:
            write(v, 1 + 2 * (me() == 0))
            tf.distribute.get_replica_context().all_reduce("SUM", 1.0)

        text = deadlock(step, strategy)

    assert "for replica 1, which has written it once (this is write 3)" in text
    assert "replica 1 waits in all_reduce" in text
    assert "allow a larger staleness" in text


def test_a_wait_for_a_commit_that_needs_the_fast_replica_is_a_deadlock() -> None:
    with cluster(0) as (strategy, v):
        with strategy.scope():
            w = tf.Variable(0.0, name="w", synchronization=ON_WRITE, aggregation=SUM)

        def step() -> None:
            if me() == 0:
                write(v, 1)
                w.assign_add(1.0)
            else:
                w.assign_add(1.0)
                w.read_value()
                write(v, 1)

        text = deadlock(step, strategy)

    assert "for replica 1, which has written it never (this is write 1)" in text


# ---------------------------------------------------------------- refusals


def test_an_assign_by_a_replica_is_refused_with_a_remedy() -> None:
    with cluster(1) as (strategy, v):
        with pytest.raises(OperationError, match="would drop what the other replicas") as caught:
            strategy.run(lambda: v.assign(1.0))
        assert "v.assign_add(new - v.read_value())" in str(caught.value)
        assert 0 == v.read_value()


def test_sparse_writes_are_refused() -> None:
    with cluster(1, value=[0.0, 0.0]) as (strategy, v):
        rows = tf.IndexedSlices(np.array([1.0], np.float32), np.array([0]))
        with pytest.raises(VariableError, match="sparse write"):
            strategy.run(lambda: v.scatter_add(rows))
        with pytest.raises(VariableError, match="sparse write"):
            v.scatter_add(rows)


@pytest.mark.parametrize("name", ["NONE", "ONLY_FIRST_REPLICA"])
def test_only_sum_and_mean_fit(name: str) -> None:
    aggregation = tf.VariableAggregation[name]
    with (
        pytest.raises(AggregationError, match="it needs SUM, MEAN"),
        cluster(1, aggregation=aggregation),
    ):
        pass


def test_a_mean_of_integers_and_an_unknown_dimension_are_refused_at_the_write() -> None:
    with cluster(1, value=3, aggregation=MEAN) as (strategy, v):
        with pytest.raises(AggregationError, match="a mean of integers"):
            strategy.run(lambda: v.assign_add(1))
        with strategy.scope():
            u = tf.Variable(
                [1.0], shape=[None], synchronization=tf.BoundedStaleness(1), aggregation=SUM
            )
        with pytest.raises(ShapeError, match="needs a known shape"):
            strategy.run(lambda: u.assign_add([1.0]))


@pytest.mark.parametrize("staleness", [-1, 1.5, True, "3"])
def test_the_staleness_must_be_an_integer_from_0(staleness: Any) -> None:
    with pytest.raises(ConfigError, match="expected an integer from 0"):
        tf.BoundedStaleness(staleness)


def test_manual_operations_are_refused() -> None:
    with cluster(1) as (strategy, v):
        with pytest.raises(VariableError, match="policy itself decides"):
            v.sync()
        with pytest.raises((VariableError, AttributeError)):
            strategy.run(lambda: v.push(1.0))


# ---------------------------------------------------------------- costs


@pytest.mark.parametrize(("bound", "renewals"), [(0, 12), (3, 3), (100, 0)])
def test_a_write_is_one_message_and_a_renewal_another_one(bound: int, renewals: int) -> None:
    """Without a seed, all replicas run at the same pace."""
    with cluster(bound, 3, value=np.zeros(2, np.float32)) as (strategy, v):

        def step() -> None:
            for _ in range(4):
                v.assign_add([1.0, 1.0], read_value=False)

        strategy.run(step)
        account = statistics(strategy)

    assert 12 == account.writes == account.bounded.writes
    assert renewals == account.bounded.renewals
    assert (12 + renewals, (12 + renewals) * 8) == (account.messages, account.size_bytes)


def test_only_the_first_read_in_a_call_needs_messages() -> None:
    with cluster(2, 1) as (strategy, v):
        for _ in range(2):
            strategy.run(lambda: [v.read_value() for _ in range(5)] and None)

        assert (10, 4) == (statistics(strategy).reads, statistics(strategy).messages)
