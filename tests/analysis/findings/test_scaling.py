"""Wrong values that follow a rule: each kind is found only in programs that have it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.analysis.findings.on_one_device import (
    DATA,
    Program,
    compared,
    in_short,
    on_each_batch,
    part,
    variable,
)
from tests.effort import thorough
from tests.replica_context import replica_id
from varsim.analysis.returned import compare_returned
from varsim.sync.policies.central import Central

ReduceOp = tf.distribute.ReduceOp
Strategy = tf.distribute.MirroredStrategy
PLANTED: list[tuple[str, Program]] = []
CLEAN: list[Program] = []


def planted(expected: str):
    """Return a decorator for a program that has exactly this finding."""
    return lambda program: PLANTED.append((expected, program)) or program


def clean(program: Program) -> Program:
    """Decorate a program that has no findings."""
    CLEAN.append(program)
    return program


# ---------------------------------------------------------------- wrong by a factor N


@planted("scaled by the number of replicas: v")
def a_loss_that_is_summed(strategy: Strategy) -> None:
    with strategy.scope():
        v = variable(0.0, "ON_WRITE SUM")
    on_each_batch(strategy, lambda batch: v.assign(part(batch).mean()))  # here


@planted("scaled by the number of replicas: v")
def an_accuracy_of_more_than_one(strategy: Strategy) -> None:
    """Read the sum once, at the end."""
    with strategy.scope():
        v = variable(0.0, "ON_READ SUM")
    strategy.run(lambda: v.assign((part(DATA[0]) > 2.7).mean(dtype=np.float32)))
    assert np.isfinite(v.numpy())  # here


@planted("scaled by the number of replicas: v")
def an_accuracy_over_unequal_parts(strategy: Strategy) -> None:
    """Sum accuracies: the result is about N times too large for N replicas."""
    with strategy.scope():
        v = variable(0.0, "ON_READ SUM")
    strategy.run(lambda: v.assign((part(DATA[0], uneven=True) > 2).mean(dtype=np.float32)))
    v.read_value()  # here


def one_copy(strategy: Strategy, initial: Any) -> Any:
    with strategy.scope():
        return tf.Variable(
            initial,
            name="table",
            aggregation=tf.VariableAggregation.MEAN,
            synchronization=Central(),
        )


@planted("scaled by the number of replicas: table")
def rows_of_means_in_one_copy(strategy: Strategy) -> None:
    """Add the rows of all replicas, although the aggregation is MEAN."""
    table = one_copy(strategy, np.zeros((4, 1), np.float32))

    def step(batch: np.ndarray) -> None:
        mean = part(batch).mean(dtype=np.float32).reshape(1, 1)
        table.scatter_add(tf.IndexedSlices(mean, [2]))  # here

    on_each_batch(strategy, step)


@clean
def rows_of_shares_in_one_copy(strategy: Strategy) -> None:
    table = one_copy(strategy, np.zeros((4, 1), np.float32))
    count = np.float32(strategy.num_replicas_in_sync)

    def step(batch: np.ndarray) -> None:
        mean = part(batch).mean(dtype=np.float32).reshape(1, 1)
        table.scatter_add(tf.IndexedSlices(mean / count, [2]))
        table.assign_sub(np.full((4, 1), part(batch).mean(dtype=np.float32)))

    on_each_batch(strategy, step)


@planted("scaled by the number of replicas: w")
def gradients_that_are_summed(strategy: Strategy) -> None:
    """Sum gradients. After the first step, the weights differ from those of a single device."""
    with strategy.scope():
        w = variable(0.0, "ON_WRITE SUM", "w")

    def step(batch: np.ndarray) -> None:
        gradient = 0.1 * (part(batch) * (w.read_value() * part(batch) - 1)).mean()
        w.assign_sub(gradient)  # here

    on_each_batch(strategy, step)


@planted("scaled by the number of replicas: w")
def gradients_that_are_divided_twice(strategy: Strategy) -> None:
    """Divide by the size of the whole batch, and then by the number of replicas."""
    with strategy.scope():
        w = variable(np.ones(3, np.float32), "ON_WRITE MEAN", "w")

    def step(batch: np.ndarray) -> None:
        x = part(batch)[:, None] ** np.arange(3)
        gradient = 0.01 * (x.T @ (x @ w.read_value() - 1)).astype(np.float32) / len(batch)
        w.assign_sub(gradient)  # here

    on_each_batch(strategy, step)


@planted("scaled by the number of replicas: w")
def gradients_that_are_summed_by_hand(strategy: Strategy) -> None:
    with strategy.scope():
        w = variable(0.0, "NONE NONE", "w")

    def step(batch: np.ndarray) -> None:
        x = part(batch)
        own = (x * (w.read_value() * x - 1)).mean()
        gradient = tf.distribute.get_replica_context().all_reduce("SUM", own)
        w.assign_sub(0.1 * gradient)  # here

    on_each_batch(strategy, step)


@planted("scaled by the number of replicas: w")
def gradients_that_a_merge_call_sums(strategy: Strategy) -> None:
    with strategy.scope():
        w = variable(0.5, "ON_WRITE MEAN", "w")

    def apply(strategy: Strategy, gradient: tf.distribute.PerReplica) -> None:
        together = strategy.extended.reduce_to(ReduceOp.SUM, gradient, w)
        update = lambda own, by: own.assign_sub(0.01 * by)  # noqa: E731
        strategy.extended.update(w, update, args=(together,))  # here

    def step(batch: np.ndarray) -> None:
        gradient = (part(batch) * (w.read_value() * part(batch) - 1)).mean()
        tf.distribute.get_replica_context().merge_call(apply, args=(gradient,))

    on_each_batch(strategy, step)


@planted("scaled by the number of replicas: w")
def weights_that_do_not_begin_at_zero(strategy: Strategy) -> None:
    """Start from a nonzero value. The first change of the weights is too small."""
    with strategy.scope():
        w = variable(np.linspace(-1, 1, 5, dtype=np.float32), "ON_WRITE MEAN", "w")

    def step(batch: np.ndarray) -> None:
        x = part(batch)[:, None] ** np.linspace(0, 1, 5)
        gradient = x.T @ (x @ w.read_value() - 1) / len(batch)
        w.assign((w.read_value() - 0.05 * gradient).astype(np.float32))  # here

    on_each_batch(strategy, step)


@planted("scaled by the number of replicas: steps")
def steps_that_every_replica_counts(strategy: Strategy) -> None:
    with strategy.scope():
        steps = variable(0, "ON_WRITE SUM", "steps")
    for _ in range(4):
        strategy.run(lambda: steps.assign_add(1))  # here


@planted("scaled by the number of replicas: steps")
def steps_that_every_replica_adds_to_what_it_reads(strategy: Strategy) -> None:
    """Assign a read value plus 1 on every replica. The error factor grows with each step."""
    with strategy.scope():
        steps = variable(0, "ON_WRITE SUM", "steps")
    for _ in range(4):
        strategy.run(lambda: steps.assign(steps.read_value() + 1))  # here


@planted("scaled by the number of replicas: v")
def an_initial_value_that_is_summed(strategy: Strategy) -> None:
    with strategy.scope():
        v = variable(5, "ON_READ SUM")
    v.read_value()  # here


@planted("scaled by the number of replicas: v")
def a_loss_that_the_program_sums(strategy: Strategy) -> None:
    with strategy.scope():
        v = variable(0.0, "ON_WRITE NONE")
    for batch in DATA:
        loss = strategy.run(lambda own: part(own).mean(), args=(batch,))
        v.assign(strategy.reduce(ReduceOp.SUM, loss, axis=None))  # here


@planted("scaled by the number of replicas: v")
def a_sum_that_is_summed_again(strategy: Strategy) -> None:
    with strategy.scope():
        v = variable(0.0, "ON_WRITE SUM")

    def summed(batch: np.ndarray) -> np.float32:
        mean = part(batch).mean()
        return np.float32(tf.distribute.get_replica_context().all_reduce("SUM", mean))

    def step(batch: np.ndarray) -> None:
        v.assign(summed(batch))  # here

    on_each_batch(strategy, step)


# ---------------------------------------------------------------- wrong weights of replicas


@planted("mean of means: v")
def a_loss_of_unequal_shards(strategy: Strategy) -> None:
    with strategy.scope():
        v = variable(0.0, "ON_WRITE MEAN")
    on_each_batch(strategy, lambda batch: v.assign(part(batch, uneven=True).mean()))  # here


@planted("mean of means: v")
def a_last_batch_that_is_smaller(strategy: Strategy) -> None:
    """Compute losses. Only the shards of the last batch are unequal."""
    with strategy.scope():
        seen = variable(0, "ON_WRITE SUM", "seen")
        v = variable(0.0, "ON_WRITE MEAN")

    def step(batch: np.ndarray, uneven: bool) -> None:
        own = part(batch, uneven=uneven)
        seen.assign_add(len(own))
        v.assign(own.mean())  # here

    strategy.run(step, args=(DATA[0], False))
    strategy.run(step, args=(DATA[1][:5], True))


@planted("mean of means: v")
def a_few_losses_with_a_smaller_last_shard(strategy: Strategy) -> None:
    """Compute too few losses to find a weight per replica. Only one shard has another size."""
    with strategy.scope():
        v = variable(0.0, "ON_READ MEAN")
    for batch in DATA[:4]:
        strategy.run(lambda own: v.assign(part(own, uneven=True).mean()), args=(batch,))
        v.read_value()  # here


@planted("first replica only: v")
def a_loss_of_the_first_replica(strategy: Strategy) -> None:
    with strategy.scope():
        v = variable(0.0, "ON_WRITE ONLY_FIRST_REPLICA")
    on_each_batch(strategy, lambda batch: v.assign(part(batch).mean()))  # here


@planted("first replica only: hits")
def hits_of_the_first_replica(strategy: Strategy) -> None:
    """Count hits with ONLY_FIRST_REPLICA. Other replicas' values are neither sent nor recorded."""
    with strategy.scope():
        hits = variable(0, "ON_WRITE ONLY_FIRST_REPLICA", "hits")
    on_each_batch(strategy, lambda own: hits.assign_add(int((part(own) > 3).sum())))  # here


@planted("first replica only: moving")
def a_moving_variance_of_the_first_replica(strategy: Strategy) -> None:
    """Keep a variance. The variance of a batch is not the mean of its parts' variances."""
    with strategy.scope():
        moving = variable(1.0, "ON_READ ONLY_FIRST_REPLICA", "moving")

    def step(batch: np.ndarray) -> None:
        moving.assign(0.9 * moving.read_value() + 0.1 * part(batch).var())

    on_each_batch(strategy, step)
    moving.read_value()  # here


@planted("first replica only: seen")
def examples_that_the_first_replica_sees(strategy: Strategy) -> None:
    with strategy.scope():
        seen = variable(0, "ON_WRITE ONLY_FIRST_REPLICA", "seen")
    on_each_batch(strategy, lambda batch: seen.assign_add(len(part(batch))))  # here


@planted("first replica only: seen")
def examples_that_the_first_replica_counts(strategy: Strategy) -> None:
    with strategy.scope():
        seen = variable(0.0, "ON_READ ONLY_FIRST_REPLICA", "seen")
    for batch in DATA:
        strategy.run(lambda own: seen.assign_add(part(own).sum()), args=(batch,))
        seen.read_value()  # here


@clean
def a_loss_that_replica_0_alone_writes(strategy: Strategy) -> None:
    """Keep a log of the first replica: the others have no value to aggregate."""
    with strategy.scope():
        seen = variable(0.0, "ON_READ ONLY_FIRST_REPLICA", "seen")
        right = variable(0.0, "ON_WRITE MEAN", "right")

    def step(batch: np.ndarray) -> None:
        right.assign(part(batch).mean())
        if replica_id() == 0:
            seen.assign(part(batch).mean())

    for batch in DATA:
        strategy.run(step, args=(batch,))
        seen.read_value()


# ---------------------------------------------------------------- sums off by a known amount


@planted("starts at N times its initial value: v")
def a_sum_that_continues_from_an_initial_value(strategy: Strategy) -> None:
    with strategy.scope():
        on_read, total = tf.VariableSynchronization.ON_READ, tf.VariableAggregation.SUM
        v = tf.Variable(100, name="v", synchronization=on_read, aggregation=total)  # here
    for batch in DATA:
        strategy.run(lambda some: v.assign_add(len(part(some))), args=(batch,))
        v.read_value()


@clean
def a_sum_that_continues_from_an_assign(strategy: Strategy) -> None:
    with strategy.scope():
        v = variable(0.0, "ON_READ SUM")
    v.assign(100.0)
    for batch in DATA:
        strategy.run(lambda some: v.assign_add(part(some).sum()), args=(batch,))
        v.read_value()


@planted("partial reset: v")
def a_total_that_replica_0_alone_sets_back(strategy: Strategy) -> None:
    """Set back in the call that adds, so the old components are those before the call."""
    with strategy.scope():
        v = variable(np.zeros(2), "ON_READ SUM")

    def step(batch: np.ndarray) -> None:
        if replica_id() == 0:
            v.assign(np.zeros(2))  # here
        v.assign_add(part(batch).sum() * np.ones(2))

    for batch in DATA:
        strategy.run(step, args=(batch,))
        v.read_value()


@planted("starts at N times its initial value: v")
def a_total_whose_components_the_program_starts_after_a_step(strategy: Strategy) -> None:
    with strategy.scope():
        v = variable(0.0, "ON_READ SUM")
    for number, batch in enumerate(DATA):
        strategy.run(lambda some: v.assign_add(part(some).sum()), args=(batch,))
        v.read_value()
        if number == 0:
            for one in v.values:
                one.assign(40.0)  # here


@planted("partial reset: v")
def a_mean_of_which_the_program_sets_back_one_component(strategy: Strategy) -> None:
    with strategy.scope():
        v = variable(0.0, "ON_READ MEAN")
    for batch in DATA:
        v.values[0].assign(1.0)  # here
        strategy.run(lambda some: v.assign_add(part(some).mean()), args=(batch,))
        v.read_value()


@planted("partial reset: v")
def a_long_total_that_replica_0_takes_off(strategy: Strategy) -> None:
    with strategy.scope():
        v = variable(np.zeros(300), "ON_READ SUM")

    def step(batch: np.ndarray) -> None:
        if replica_id() == 0:
            v.assign_sub(v.read_value())  # here
        v.assign_add(part(batch).sum() * np.ones(300))

    for batch in DATA:
        strategy.run(step, args=(batch,))
        v.read_value()


@clean
def a_total_that_each_replica_sets_back(strategy: Strategy) -> None:
    with strategy.scope():
        v = variable(0.0, "ON_READ SUM")

    def step(batch: np.ndarray) -> None:
        v.assign(0.0)
        v.assign_add(part(batch).sum())

    for batch in DATA:
        strategy.run(step, args=(batch,))
        v.read_value()


@planted("counted twice: v")
def a_count_of_padded_parts(strategy: Strategy) -> None:
    """Pad each batch of 23 to parts of equal size."""
    with strategy.scope():
        v = variable(0, "ON_READ SUM")
    count = strategy.num_replicas_in_sync
    for _ in DATA:
        strategy.run(lambda: v.assign_add(-(-23 // count)) and None)  # here
    v.read_value()


@pytest.mark.parametrize("averages", ["variable", "all_reduce", ""])
def test_the_remedy_of_a_remainder_names_the_means_that_then_need_weights(averages: str):
    def program(strategy: Strategy) -> None:
        with strategy.scope():
            v = variable(0, "ON_READ SUM")
            loss = variable(0.0, "ON_WRITE MEAN", "loss")

        def step(batch: np.ndarray) -> None:
            v.assign_add(23 // strategy.num_replicas_in_sync)
            if averages == "variable":
                loss.assign(part(batch).mean())
            if averages == "all_reduce":
                tf.distribute.get_replica_context().all_reduce("MEAN", part(batch).mean())

        on_each_batch(strategy, step)
        v.read_value()

    (finding,) = (one for one in compared(program) if one.variable == "v")
    assert bool(averages) == ("need weights" in finding.remedy)
    named = {"variable": "(loss)", "all_reduce": "(the all_reduce at ", "": ""}[averages]
    assert named in finding.remedy


@planted("integer truncation: v")
def a_count_without_the_remainder(strategy: Strategy) -> None:
    with strategy.scope():
        v = variable(0, "ON_READ SUM")
    count = strategy.num_replicas_in_sync
    for _ in DATA:
        strategy.run(lambda: v.assign_add(23 // count) and None)  # here
    v.read_value()


def cut(batch: np.ndarray, beyond: int) -> np.ndarray:
    """Return this replica's part of 20 or more rows, whose end is wrong except for the last one."""
    count = tf.distribute.get_strategy().num_replicas_in_sync
    size, last = len(batch) // count, replica_id() == count - 1
    end = len(batch) if last else (replica_id() + 1) * size + beyond
    return batch[replica_id() * size : end]


@planted("counted twice: v")
def squares_of_parts_that_overlap(strategy: Strategy) -> None:
    with strategy.scope():
        v = variable(0.0, "ON_WRITE SUM")
    on_each_batch(strategy, lambda x: v.assign_add((cut(x, 1) ** 2).sum()))  # here


@planted("integer truncation: v")
def large_values_with_rows_between_the_parts(strategy: Strategy) -> None:
    with strategy.scope():
        v = variable(np.zeros(2, np.int32), "ON_READ SUM")
    for batch in (*DATA, *DATA[:, ::-1]):

        def step(some: np.ndarray) -> None:
            own = cut(some, -1) > 2
            v.assign_add(np.array([own.sum(), (~own).sum()], np.int32))  # here

        strategy.run(step, args=(batch,))
    v.read_value()


@clean
def squares_from_the_mean_of_a_part(strategy: Strategy) -> None:
    """They add up to less than those of the batch, but no rows are left out."""
    with strategy.scope():
        v = variable(0.0, "ON_READ SUM")
    for batch in DATA:
        strategy.run(lambda some: v.assign_add(part(some).var() * len(part(some))), (batch,))
        v.read_value()


@clean
def errors_of_copies_that_are_trained_separately(strategy: Strategy) -> None:
    with strategy.scope():
        v = variable(0, "ON_READ SUM")
        w = variable(0.0, "ON_READ NONE", "w")

    def step(batch: np.ndarray) -> None:
        v.assign_add(int((part(batch) > w.read_value()).sum()))
        w.assign(part(batch).min())

    for batch in DATA:
        strategy.run(step, args=(batch,))
        v.read_value()


# ---------------------------------------------------------------- extremes


@planted("mean of means: v")
def a_running_minimum_that_is_averaged(strategy: Strategy) -> None:
    with strategy.scope():
        v = variable(100.0, "ON_WRITE MEAN")
    on_each_batch(strategy, lambda x: v.assign(min(v.read_value(), part(x).min())))  # here


@planted("mean of means: v")
def a_minimum_that_is_averaged_at_the_read(strategy: Strategy) -> None:
    with strategy.scope():
        v = variable(0.0, "ON_READ MEAN")
    for batch in DATA:
        strategy.run(lambda some: v.assign(part(some).min()), args=(batch,))
        v.read_value()  # here


# ---------------------------------------------------------------- quotients


def a_mean_metric(strategy: Strategy, settings: str, *, one: float) -> None:
    """Add means to a total, and `one` to a count on each replica; divide them after each step."""
    with strategy.scope():
        total, count = variable(0.0, settings, "total"), variable(0.0, settings, "count")

    def step(batch: np.ndarray) -> None:
        total.assign_add(part(batch).mean())  # here
        count.assign_add(one)

    for batch in DATA:
        strategy.run(step, args=(batch,))
        float(total.read_value() / count.read_value())  # here


@clean
def a_mean_of_sums_that_are_both_too_large(strategy: Strategy) -> None:
    a_mean_metric(strategy, "ON_READ SUM", one=1.0)


@clean
def a_mean_of_merged_sums_that_are_both_too_large(strategy: Strategy) -> None:
    a_mean_metric(strategy, "ON_WRITE SUM", one=1.0)


@planted("scaled by the number of replicas: total")
def a_mean_with_a_right_count(strategy: Strategy) -> None:
    with strategy.scope():
        total, count = (variable(0.0, "ON_READ SUM", name) for name in ("total", "count"))
    one = 1 / strategy.num_replicas_in_sync
    on_each_batch(strategy, lambda x: (total.assign_add(part(x).mean()), count.assign_add(one)))
    float(total.read_value() / count.read_value())  # here


def whole_batch_on_every_replica(strategy: Strategy) -> None:
    """Each replica evaluates the whole batch, so both sums are N times too large."""
    with strategy.scope():
        correct, seen = (variable(0, "ON_READ SUM", name) for name in ("correct", "seen"))
    for batch in DATA:
        strategy.run(lambda some: correct.assign_add(int((some > 3).sum())), args=(batch,))
        strategy.run(lambda some: seen.assign_add(len(some)), args=(batch,))
    float(correct.read_value() / seen.read_value())


@pytest.mark.parametrize(
    ("returned", "count"),
    [({}, 2), ({"accuracy": (0.5, 0.5)}, 0), ({"accuracy": (0.5, 0.5), "seen": (6, 3)}, 2)],
)
def test_returned_values_decide_whether_a_quotient_is_right(
    returned: dict[str, tuple[float, float]], count: int
) -> None:
    got, wanted = ({name: one[i] for name, one in returned.items()} for i in (0, 1))
    found = compared(whole_batch_on_every_replica, returned=compare_returned(got, wanted))
    assert count == len(found)


@pytest.mark.parametrize(
    ("returned", "count"),
    [
        ({"mean": (2.517, 2.517)}, 0),
        ({"means": ([2.0, 2.517], [2.0, 2.517])}, 0),
        ({"means": ([3.5, 7.0], [3.5, 7.0])}, 0),
        ({"mean": (3.5, 3.5)}, 1),  # too short a value, which is equal by chance
        ({"mean": (2.517, 2.517), "other": (4.0, 3.0)}, 1),
        ({"mean": (4.0, 4.0)}, 1),
        ({}, 1),
    ],
)
def test_a_variable_is_right_if_the_program_returns_the_single_devices_value(
    returned: dict[str, tuple[object, object]], count: int
) -> None:
    """The values are 2.517, 3.5 and 7 on a single device, and N times as large as a sum."""

    def program(strategy: Strategy) -> None:
        with strategy.scope():
            total = variable(0.0, "ON_READ SUM", "total")
        strategy.run(lambda: total.assign_add(2.517))
        total.read_value()
        strategy.run(lambda: total.assign_add(0.983))
        total.read_value()
        strategy.run(lambda: total.assign_add(3.5))
        total.read_value()

    got, wanted = ({name: one[i] for name, one in returned.items()} for i in (0, 1))
    assert count == len(compared(program, returned=compare_returned(got, wanted)))


# ---------------------------------------------------------------- limits of dtypes


@planted("integer truncation: v")
def a_remainder_that_is_lost(strategy: Strategy) -> None:
    with strategy.scope():
        v = variable(0, "ON_READ SUM")
    v.assign(7)  # here
    v.read_value()


@planted("integer truncation: v")
def a_remainder_that_replicas_lose(strategy: Strategy) -> None:
    with strategy.scope():
        v = variable(0, "ON_WRITE SUM")
    count = strategy.num_replicas_in_sync
    for number in range(5):
        strategy.run(lambda whole: v.assign_add(whole // count), args=(10 + number,))  # here


@planted("overflow of a sum: v")
def a_counter_that_wraps(strategy: Strategy) -> None:
    with strategy.scope():
        v = variable(np.int8(0), "ON_WRITE SUM")
    on_each_batch(strategy, lambda batch: v.assign_add(np.int8(len(part(batch)))))  # here


@planted("overflow of a sum: v")
def a_sum_of_halves(strategy: Strategy) -> None:
    with strategy.scope():
        v = variable(np.float16(0), "ON_READ SUM")
    strategy.run(lambda: v.assign(np.float16(40_000 + 10 * replica_id())))
    v.read_value()  # here


# ---------------------------------------------------------------- correct programs


@clean
def synchronous_training(strategy: Strategy) -> None:
    with strategy.scope():
        w = variable(0.0, "ON_WRITE MEAN")
        momentum = variable(0.0, "ON_WRITE MEAN", "momentum")
        steps = variable(0, "ON_WRITE ONLY_FIRST_REPLICA", "steps")

    def step(batch: np.ndarray) -> None:
        x = part(batch)
        momentum.assign(0.9 * momentum.read_value() + (x * (w.read_value() * x - 1)).mean())
        w.assign_sub(0.01 * momentum.read_value())
        steps.assign_add(1)

    on_each_batch(strategy, step)


@clean
def sums_and_counts_of_unequal_shards(strategy: Strategy) -> None:
    with strategy.scope():
        total = variable(0.0, "ON_READ SUM", "total")
        seen = variable(0, "ON_READ SUM", "seen")

    def count(batch: np.ndarray) -> None:
        own = part(batch, uneven=True)
        total.assign_add(own.sum())
        seen.assign_add(len(own))

    for batch in DATA:
        strategy.run(count, args=(batch,))
        float(total.read_value() / seen.read_value())


@clean
def shards_that_differ_by_one_example(strategy: Strategy) -> None:
    with strategy.scope():
        v = variable(0.0, "ON_WRITE MEAN")
    on_each_batch(strategy, lambda batch: v.assign(part(batch[:23]).mean()))


@clean
def local_training(strategy: Strategy) -> None:
    """Train copies separately. These copies differ from a single device's weights on purpose."""
    with strategy.scope():
        w = variable(0.0, "ON_READ MEAN")

    def step(batch: np.ndarray) -> None:
        w.assign_sub(0.1 * (part(batch) * (w.read_value() * part(batch) - 1)).mean())

    for _ in range(3):
        for batch in DATA:
            strategy.run(step, args=(batch,))
        w.assign(w.read_value())


@clean
def a_learning_rate_that_depends_on_the_number_of_replicas(strategy: Strategy) -> None:
    count = strategy.num_replicas_in_sync
    with strategy.scope():
        rate = variable(0.1 * count, "ON_WRITE NONE", "rate")
        decayed = variable(0.0, "ON_WRITE MEAN", "decayed")
        warm = variable(0.0, "ON_WRITE ONLY_FIRST_REPLICA", "warm")
    for step in range(6):
        decayed.assign(0.1 * count * 0.9**step)
        strategy.run(lambda now: warm.assign(now * rate.read_value()), args=(0.1 * step,))
        strategy.run(decayed.read_value)


@clean
def the_number_of_replicas(strategy: Strategy) -> None:
    count = strategy.num_replicas_in_sync
    with strategy.scope():
        counted = variable(0.0, "ON_WRITE SUM", "counted")
        weight = variable(0.0, "ON_WRITE MEAN", "weight")
        scaled = variable(0.0, "ON_WRITE MEAN", "scaled")

    def step(batch: np.ndarray) -> None:
        counted.assign(1.0)
        weight.assign(0.3 / count)
        scaled.assign_sub(0.01 * count * part(batch).mean())

    on_each_batch(strategy, step)


@clean
def statistics_that_are_not_means(strategy: Strategy) -> None:
    with strategy.scope():
        variance = variable(0.0, "ON_READ MEAN", "variance")

    def step(batch: np.ndarray) -> None:
        variance.assign(part(batch).var())

    for batch in DATA:
        strategy.run(step, args=(batch,))
        variance.read_value()


@clean
def numbers_that_each_replica_draws(strategy: Strategy) -> None:
    with strategy.scope():
        seed = variable(0, "NONE NONE", "seed")
        drawn = variable(0.0, "ON_READ SUM", "drawn")
    strategy.run(lambda: seed.assign(replica_id()))

    def draw() -> None:
        seed.assign_add(10)
        drawn.assign_add(np.float32(np.random.default_rng(int(seed.read_value())).random()))

    for _ in range(5):
        strategy.run(draw)
        drawn.read_value()


@clean
def a_batch_for_each_replica(strategy: Strategy) -> None:
    """Use one batch per replica. A single device gets only one of these batches."""
    with strategy.scope():
        total = variable(0.0, "ON_WRITE SUM", "total")
        seen = variable(0, "ON_WRITE SUM", "seen")

    def step(number: int) -> None:
        batch = DATA[(number + replica_id()) % len(DATA)]
        total.assign_add(batch.sum())
        seen.assign_add(len(batch))

    for number in range(4):
        strategy.run(step, args=(number,))


@clean
def examples_that_each_replica_draws_for_itself(strategy: Strategy) -> None:
    """Draw as many examples as a single device, but different examples."""
    chance = np.random.default_rng(strategy.num_replicas_in_sync)
    drawn = chance.normal(3, 1, (6, strategy.num_replicas_in_sync, 8)).astype(np.float32)
    with strategy.scope():
        total = variable(0.0, "ON_READ SUM", "total")
        loss = variable(0.0, "ON_WRITE SUM", "loss")
        seen = variable(0, "ON_WRITE SUM", "seen")

    def step(batches: np.ndarray) -> None:
        batch = batches[replica_id()]
        total.assign_add(batch.sum())
        loss.assign(batch.mean())
        seen.assign_add(len(batch))

    for batches in drawn:
        strategy.run(step, args=(batches,))
        total.read_value()


@clean
def a_share_of_the_examples_for_each_replica(strategy: Strategy) -> None:
    """Do fewer steps than a single device, so the values of step k do not correspond."""
    with strategy.scope():
        seen = variable(0, "ON_WRITE SUM", "seen")
    for _ in range(12 // strategy.num_replicas_in_sync):
        strategy.run(lambda: seen.assign_add(3))


@clean
def a_sum_that_fits_in_the_end(strategy: Strategy) -> None:
    count = strategy.num_replicas_in_sync
    with strategy.scope():
        v = variable(np.int8(0), "ON_WRITE SUM")
    strategy.run(lambda: v.assign(np.int8(100 if 2 * replica_id() < count else -100)))


@pytest.mark.parametrize(
    ("expected", "program"), [pytest.param(*one, id=one[1].__name__) for one in PLANTED]
)
@pytest.mark.parametrize("count", [2, thorough(4)])
def test_a_wrong_value_is_found_with_variable_and_location(
    expected: str, program: Program, count: int
) -> None:
    assert [expected] == in_short(compared(program, count), program)


@pytest.mark.parametrize("program", CLEAN, ids=lambda program: program.__name__)
@pytest.mark.parametrize("count", [thorough(2), 3, thorough(4)])
def test_a_right_program_has_no_findings(program: Program, count: int) -> None:
    assert [] == in_short(compared(program, count), program)
