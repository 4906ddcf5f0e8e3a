"""A comparison with one device lists every difference and every value that was not compared."""

from __future__ import annotations

import contextlib
import shlex
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.analysis.findings.on_one_device import (
    DATA,
    Program,
    compared,
    comparison,
    on_each_batch,
    part,
    variable,
)
from tests.replica_context import replica_id
from varsim.analysis.findings.compared import (
    NEVER_COUNTED,
    NOT_WHOLE,
    Access,
    Approximate,
    Compared,
    ValueDifference,
)
from varsim.analysis.findings.remainders import COUNTED_TWICE
from varsim.errors import MismatchError
from varsim.experiments.mode_text import parse_mode
from varsim.report.comparison_text import approximate_text, in_short

Strategy = tf.distribute.MirroredStrategy


def uncompared(program: Program) -> list[str]:
    return [f"{one.variable}: {one.why}" for one in comparison(program).uncompared]


def only(compared: Compared) -> ValueDifference:
    (difference,) = compared.differences
    return difference


def mean_of_maxima(strategy: Strategy) -> None:
    """Assign maxima. A batch's maximum is not the mean of its parts' maxima, so no rule applies."""
    with strategy.scope():
        v = variable(0.0, "ON_WRITE MEAN")
    on_each_batch(strategy, lambda batch: v.assign(part(batch).max()))


def test_an_unexplained_difference_has_step_location_and_both_values():
    compared = comparison(mean_of_maxima)
    one = only(compared)
    halves = np.split(DATA[0], 2)

    assert (8, 1) == (compared.values, compared.locations)
    assert (compared.unexplained, compared.uncompared, compared.own) == ((one,), (), ())
    assert ("v", Access.MERGED, 1, True) == (one.variable, one.access, one.step, one.inside)
    assert one.location.partition(":")[0].endswith("test_comparisons.py")
    assert np.float32(np.mean([half.max() for half in halves], dtype=np.float32)) == one.got
    assert DATA[0].max() == np.float32(one.wanted)
    assert (one.element, one.compared) == (None, 8)


def test_rounding_is_not_a_difference():
    def means(strategy: Strategy) -> None:
        with strategy.scope():
            v = variable(0.0, "ON_WRITE MEAN")
        on_each_batch(strategy, lambda batch: v.assign(part(batch).mean()))

    compared = comparison(means)
    assert (8, ()) == (compared.values, compared.differences)


def test_a_difference_that_a_finding_explains_is_explained():
    def summed(strategy: Strategy) -> None:
        with strategy.scope():
            v = variable(0.0, "ON_WRITE SUM")
        on_each_batch(strategy, lambda batch: v.assign(part(batch).mean()))

    compared = comparison(summed)
    assert (only(compared).count, compared.unexplained) == (8, ())


def test_a_finding_explains_only_the_differences_in_which_it_sees_its_rule():
    """The first loss is N times too large. Later losses differ also because the weights differ."""

    def trained(strategy: Strategy) -> None:
        with strategy.scope():
            w = variable(0.0, "ON_READ MEAN", "w")
            loss = variable(0.0, "ON_READ SUM", "loss")

        def step(batch: Any) -> None:
            own = part(batch)
            loss.assign(((own - w.read_value()) ** 2).mean())
            w.assign_add(0.3 * (own.max() - w.read_value()))

        for batch in DATA:
            strategy.run(step, args=(batch,))
            loss.read_value()

    compared = comparison(trained)
    one = only(compared)
    assert (8, 8, 1, 7) == (one.compared, one.count, one.explained, one.unexplained)
    assert (one,) == compared.unexplained
    assert ["w: it was neither read nor written outside strategy.run"] == uncompared(trained)


def test_a_variable_whose_first_difference_is_shown_is_not_said_to_be_uncompared():
    """The program never reads `best`, but the difference of `w` begins with it."""

    def trained(strategy: Strategy) -> None:
        with strategy.scope():
            best = variable(0.0, "ON_READ ONLY_FIRST_REPLICA", "best")
            w = variable(0.0, "ON_WRITE MEAN", "w")

        def step(batch: Any) -> None:
            best.assign(part(batch).sum())
            w.assign_add(best.read_value())

        for batch in DATA:
            strategy.run(step, args=(batch,))

    compared = comparison(trained)
    assert "best" == compared.differences[0].began.variable
    assert [
        "best: it was neither read nor written outside strategy.run; what replicas wrote to it "
        "was compared"
    ] == uncompared(trained)
    assert "could not be compared" not in in_short(compared)


@pytest.mark.parametrize("wrong", [np.nan, np.float32(3e38)])
def test_a_finding_about_nan_or_overflow_explains_its_own_values_only(wrong: float):
    def sometimes(strategy: Strategy) -> None:
        with strategy.scope():
            v = variable(0.0, "ON_WRITE SUM")
        alone = strategy.num_replicas_in_sync == 1

        def step(batch: Any, number: int) -> None:
            v.assign(1.0 if alone else wrong if number == 2 else part(batch).max())

        for number, batch in enumerate(DATA):
            strategy.run(step, args=(batch, number))

    one = only(comparison(sometimes))
    assert (8, 1) == (one.count, one.explained)


@pytest.mark.parametrize("settings", ["ON_WRITE SUM", "ON_READ SUM"])
def test_integers_that_wrap_explain_no_difference(settings: str):
    """The replicas add 90 instead of 60. The sums of a single device wrap in the same way."""

    def counted(strategy: Strategy) -> None:
        with strategy.scope():
            c = variable(np.uint8(0), settings)
        rows = np.uint8(60 if strategy.num_replicas_in_sync == 1 else 45)
        for _ in range(6):
            strategy.run(lambda: c.assign_add(rows))
            c.read_value()

    assert "overflow of a sum" in {one.kind.name for one in compared(counted)}
    one = only(comparison(counted))
    assert (one.count, 0) == (one.compared, one.explained)


def _trained(settings: str, factor: float = 1.0) -> Program:
    """Train weights by least squares; each replica uses its part of the batch."""

    def program(strategy: Strategy) -> None:
        mode, aggregation = settings.split()
        with strategy.scope():
            if mode in tf.VariableSynchronization.__members__:
                w = variable(np.zeros(3, np.float32), settings, "w")
            else:
                how = (
                    tf.LocalSGD(4)
                    if mode == "LocalSGD"
                    else tf.Compressed("on_write", by="one_bit")
                )
                how_to_merge = tf.VariableAggregation[aggregation]
                w = tf.Variable(
                    np.zeros(3, np.float32),
                    name="w",
                    synchronization=how,
                    aggregation=how_to_merge,
                )
            loss = variable(0.0, "ON_WRITE MEAN", "loss")
        share = factor if strategy.num_replicas_in_sync > 1 else 1.0

        def step(batch: Any) -> None:
            x = part(batch.reshape(-1, 3)) - 3
            error = x @ np.asarray(w.read_value()) - x @ np.float32([1, -2, 0.5])
            loss.assign((error**2).mean())
            w.assign_sub(np.float32(0.1 * share) * x.T @ error / np.float32(len(x)))

        for batch in DATA:
            strategy.run(step, args=(batch,))
            w.read_value()

    return program


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        ("LocalSGD MEAN", "local_sgd:4"),
        ("Compressed MEAN", "compressed:on_write:one_bit"),
        ("ON_READ MEAN", "ON_READ"),
        ("ON_WRITE MEAN", ""),
    ],
)
def test_a_difference_that_an_approximate_mode_gives_names_the_mode(settings: str, mode: str):
    told = comparison(_trained(settings))

    assert "" == told.not_comparable
    assert ({mode} if mode else set()) == {one.mode for one in told.approximate}
    assert (bool(mode), not mode) == (told.is_approximate, told.rules_tried)
    said = " ".join(in_short(told).split())
    assert bool(mode) == ("Factors were not checked for " in said)
    assert bool(mode) == ("`--mode w=on_write --oracle`" in said)
    assert all(0 < one.largest < 2 for one in told.approximate)


def test_a_variable_that_follows_from_an_approximate_mode_is_named_with_it():
    loss = [one for one in comparison(_trained("LocalSGD MEAN")).approximate if one.follows]
    assert ["loss"] == [one.variable for one in loss]


@pytest.mark.parametrize(
    ("sources", "mode"),
    [
        (["rate", "loss scale"], "'rate=on_write,loss scale=on_write'"),
        (["a,b[0]"], "'a?b[[]0]=on_write'"),
        (["w0", "w1", "w2", "w3", "w4", "w5"], "on_write,w0=on_write"),
    ],
)
def test_a_run_that_checks_factors_names_the_variables_with_the_mode(sources: list[str], mode: str):
    approximate = tuple(
        Approximate(variable_id=i, variable="v", mode="ON_READ", largest=0.1, source=one)
        for i, one in enumerate(sources)
    )
    told = Compared(
        values=1, locations=1, differences=(), uncompared=(), own=(), approximate=approximate
    )

    said = approximate_text(told)

    assert f"`--mode {mode} --oracle`" in said
    (read,) = shlex.split(mode)
    named = parse_mode(read).named
    assert all(map(fnmatchcase, sources, named))
    assert (len(sources) > 5) == ("Name there each of these variables" in said)


def test_a_value_that_is_not_finite_differs():
    """NaN and infinity are compared, but no rule applies to them."""

    def mean_of_nothing(strategy: Strategy) -> None:
        with strategy.scope():
            v = variable(np.zeros(2, np.float32), "ON_READ SUM")
        alone = strategy.num_replicas_in_sync == 1
        share = np.float32([1, 2]) if alone else np.float32([1, np.nan])
        strategy.run(lambda: v.assign_add(share))
        v.read_value()

    one = only(comparison(mean_of_nothing))
    assert ((1,), True, 2.0) == (one.element, np.isnan(one.got), one.wanted)
    assert (Access.READ, 1, False) == (one.access, one.step, one.inside)


def test_a_different_number_of_writes_is_listed_as_not_compared():
    def more_steps(strategy: Strategy) -> None:
        with strategy.scope():
            v = variable(0.0, "ON_WRITE MEAN")
        for _ in range(4 // strategy.num_replicas_in_sync):
            strategy.run(lambda: v.assign_add(1.0) and None)

    assert 0 == comparison(more_steps).values
    assert ["v: written by all replicas 2 times, and on a single device 4 times"] == uncompared(
        more_steps
    )


def test_a_variable_with_another_initial_value_is_listed_as_not_compared():
    def scaled(strategy: Strategy) -> None:
        with strategy.scope():
            v = variable(0.5 * strategy.num_replicas_in_sync, "ON_WRITE MEAN")
            variable(np.zeros(strategy.num_replicas_in_sync), "ON_WRITE MEAN", "w")
        strategy.run(lambda: v.assign_add(1.0) and None)

    assert [
        "v: it begins with 1, and on a single device with 0.5",
        "w: a single device has no variable of that name, shape and dtype",
    ] == uncompared(scaled)


def test_an_unread_sum_is_listed_as_not_compared():
    def unread(strategy: Strategy) -> None:
        with strategy.scope():
            v = variable(0.0, "ON_READ SUM")
        strategy.run(lambda: v.assign_add(1.0) and None)

    assert ["v: it was neither read nor written outside strategy.run"] == uncompared(unread)


def test_large_values_are_compared_in_a_sample():
    def large(strategy: Strategy) -> None:
        with strategy.scope():
            v = variable(np.zeros(20_000, np.float32), "ON_READ SUM")
        strategy.run(lambda: v.assign_add(np.ones(20_000, np.float32)))
        v.read_value()

    difference = only(comparison(large))
    assert ([], 2.0, 1.0) == (uncompared(large), difference.got, difference.wanted)


def test_local_state_is_not_compared():
    def own(strategy: Strategy) -> None:
        with strategy.scope():
            v = variable(0.0, "NONE NONE")
        strategy.run(lambda: v.assign(float(replica_id())) and None)

    compared = comparison(own)
    assert (0, (), ("v",)) == (compared.values, compared.uncompared, compared.own)


@pytest.mark.parametrize(("factor", "differing"), [(1.0, 0), (2.0, 1)])
def test_of_bounded_staleness_the_copy_is_compared_without_a_rule(factor, differing):
    """Replicas write values of other ages than on a single device, so their writes may differ."""

    def added(strategy: Strategy) -> None:
        bounded, total = tf.BoundedStaleness(2), tf.VariableAggregation.SUM
        with strategy.scope():
            v = tf.Variable(0.0, name="v", synchronization=bounded, aggregation=total)
        scale = factor if strategy.num_replicas_in_sync > 1 else 1.0
        on_each_batch(strategy, lambda batch: v.assign_add(scale * part(batch).sum()) and None)
        v.read_value()

    compared = comparison(added)

    assert (1, ()) == (compared.values, compared.uncompared)
    assert differing == len(compared.unexplained)
    assert (("v",), ()) == (compared.copies, compared.own)


def test_a_copy_that_the_program_never_reads_is_listed():
    def unread(strategy: Strategy) -> None:
        bounded, total = tf.BoundedStaleness(2), tf.VariableAggregation.SUM
        with strategy.scope():
            v = tf.Variable(0.0, name="v", synchronization=bounded, aggregation=total)
        strategy.run(lambda: v.assign_add(1.0, read_value=False))

    assert ["v: it was neither read nor written outside strategy.run"] == uncompared(unread)


def test_a_single_device_with_a_part_of_the_batch_is_detected():
    """The comparison says that no rule was tried."""

    def always_two_shards(strategy: Strategy) -> None:
        with strategy.scope():
            v = variable(0.0, "ON_WRITE SUM")
        halves = [np.split(batch, 2) for batch in DATA]
        for shards in halves:
            strategy.run(lambda some: v.assign(some[replica_id()].sum()), args=(shards,))

    compared = comparison(always_two_shards)
    assert (NOT_WHOLE, 8) == (compared.not_comparable, only(compared).count)
    assert compared.unexplained


@pytest.mark.parametrize("counts", [True, False])
def test_without_the_number_of_replicas_factors_are_not_checked(counts: bool):
    """The replicas count examples of batches of a fixed size: the sum is right."""

    def local_batches(strategy: Strategy) -> None:
        with strategy.scope():
            seen = variable(0, "ON_READ SUM", "seen")
        for _ in range(3):
            strategy.run(lambda: seen.assign_add(8) and None)
        seen.read_value()

    compared = comparison(local_batches, counts=counts)
    assert ("" if counts else NEVER_COUNTED) == compared.not_comparable
    assert (not counts) == bool(compared.unexplained)


def test_a_write_by_only_some_replicas_is_listed_as_not_compared():
    """The program catches the error of the failed call. On a single device the call succeeds."""

    def only_the_first(strategy: Strategy) -> None:
        with strategy.scope():
            v = variable(0.0, "ON_WRITE MEAN")
        with contextlib.suppress(MismatchError):
            strategy.run(lambda: v.assign(1.0).read_value() if replica_id() == 0 else None)

    assert ["v: some replicas write it there more often than others"] == uncompared(only_the_first)


def test_results_of_collectives_are_compared_line_by_line():
    """The sum of means is N times the single device's mean, and the mean of means is right."""

    def losses(strategy: Strategy) -> None:
        def step(batch: np.ndarray) -> None:
            context = tf.distribute.get_replica_context()
            context.all_reduce("SUM", part(batch).mean())
            context.all_reduce("MEAN", part(batch).mean(keepdims=True))

        on_each_batch(strategy, step)

    wrong, right = comparison(losses, 4).collectives
    assert (8, 8, 1, None) == (wrong.compared, wrong.count, wrong.step, wrong.element)
    assert wrong.got == pytest.approx(4 * wrong.wanted, rel=1e-5)
    assert ("all_reduce", 8, 0) == (right.operation, right.compared, right.count)


def test_collectives_that_a_single_device_makes_more_often_are_not_compared():
    def own_steps(strategy: Strategy) -> None:
        for _ in range(8 // strategy.num_replicas_in_sync):
            strategy.run(lambda: tf.distribute.get_replica_context().all_reduce("SUM", 1.0))

    assert () == comparison(own_steps).collectives


def test_results_of_calls_are_compared():
    """A reduced loss is N times too large. Results that differ between replicas are left out."""

    def losses(strategy: Strategy) -> None:
        step = lambda some: {"n": len(some), "x": part(some).mean()}  # noqa: E731
        for batch in DATA[:3]:
            each = strategy.run(step, args=(batch,))
            strategy.reduce("SUM", each["x"], axis=None)

    same, reduced = comparison(losses, 4).collectives
    assert ("run", 3, 0) == (same.operation, same.compared, same.count)
    assert ("reduce", 3, 3) == (reduced.operation, reduced.compared, reduced.count)
    assert reduced.got == pytest.approx(4 * reduced.wanted, rel=1e-5)


def test_the_first_write_that_differs_is_the_origin_of_a_read():
    """The read shows the maximum later: the components part from the single device at the write."""

    def maxima(strategy: Strategy) -> None:
        with strategy.scope():
            v = variable(0.0, "ON_READ MEAN")
        on_each_batch(strategy, lambda batch: v.assign(part(batch).max()))
        v.read_value()

    one = only(comparison(maxima))

    assert (Access.READ, Access.MERGED) == (one.access, one.began.access)
    assert one.location != one.began.location
    assert 1 == one.began.step


def test_a_variable_that_is_computed_from_a_wrong_one_follows_from_it():
    """What a replica reads before a write is a source; what it reads afterwards is none."""

    def chained(strategy: Strategy) -> None:
        with strategy.scope():
            first = variable(0.0, "ON_WRITE MEAN", "first")
            later = variable(0.0, "ON_WRITE MEAN", "later")
            other = variable(0.0, "ON_WRITE MEAN", "other")

        def step(batch: Any) -> None:
            later.assign(first.read_value() + part(batch).mean())
            other.assign(part(batch).max())
            first.assign(part(batch).max())
            first.read_value()

        on_each_batch(strategy, step)

    compared = comparison(chained)

    assert {"first", "other"} == {one.variable for one in compared.leading}
    assert {"first"} == {
        one.began.variable for one in compared.differences if one.variable == "later"
    }


def test_sums_over_the_same_repeated_rows_are_explained_by_the_finding_about_the_counter():
    """The last batch is padded: the rows are counted twice, and so are their hits."""

    def padded(strategy: Strategy) -> None:
        with strategy.scope():
            hits = variable(0, "ON_READ SUM", "hits")
            rows = variable(0, "ON_READ SUM", "rows")

        def step(batch: Any) -> None:
            count = tf.distribute.get_strategy().num_replicas_in_sync
            own = part(np.concatenate([batch, batch[: len(batch) % count]]))
            hits.assign_add(int((own > 2).sum()))
            rows.assign_add(len(own))

        for batch in (DATA[0], DATA[1, :-1]):
            strategy.run(step, args=(batch,))
        assert 0 < int(hits.read_value()) < int(rows.read_value())

    found = compared(padded)
    (one,) = [finding for finding in found if finding.kind is COUNTED_TWICE]

    assert ("rows", True) == (
        one.variable,
        "hits is wrong only in these calls, probably" in one.what,
    )
    assert not comparison(padded).unexplained


def test_a_value_follows_from_a_counter_that_ends_the_loop_too_early():
    """Only the first values of both are compared: the single device makes twice as many steps."""

    def decays(strategy: Strategy) -> None:
        with strategy.scope():
            steps = variable(0, "ON_WRITE SUM", "steps")
            weight = variable(0.0, "ON_WRITE MEAN", "weight")

        def step(batch: Any) -> None:
            weight.assign_add(part(batch).mean() / (1 + int(steps.read_value())))
            steps.assign_add(1)

        while int(steps.read_value()) < 8:
            strategy.run(step, args=(DATA[0],))

    (finding,) = compared(decays)
    result = comparison(decays)
    (_, weight) = result.differences

    assert "made this write 4 times, and a single device 8 times" in finding.what
    assert ("weight", "steps") == (weight.variable, weight.began.variable)
    assert () == result.leading


def test_the_nan_of_a_read_is_explained_by_the_finding_about_the_write():
    def empty_share(strategy: Strategy) -> None:
        with strategy.scope():
            loss = variable(0.0, "ON_READ SUM", "loss")
        strategy.run(lambda: loss.assign_add(np.nan if part(DATA[0, :1]).size == 0 else 1.0))
        loss.read_value()

    assert (1, ()) == ((result := comparison(empty_share)).values, result.unexplained)
