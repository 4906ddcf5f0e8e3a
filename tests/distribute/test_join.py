"""A replica without rows joins (uneven: join): calls combine the values of the other replicas."""

from __future__ import annotations

import gc
import warnings

import numpy as np
import pytest

import varsim as tf
from tests.distribute.programs import components, create_variable, each


@pytest.fixture
def strategy(simulated):
    """Provide a strategy of three replicas that join."""
    return tf.distribute.MirroredStrategy(["a", "b", "c"], uneven="join")


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tf.VarsimWarning)
        yield


def batch(strategy, *rows):
    """Return a batch of these rows. With fewer rows than replicas, the last replicas have none."""
    (parts,) = strategy.experimental_distribute_dataset([np.array(rows, np.float32)])
    return parts


def context():
    return tf.distribute.get_replica_context()


def run(strategy, function, *rows):
    return strategy.run(function, args=(batch(strategy, *rows),))


# ---------------------------------------------------------------- writes


@pytest.mark.parametrize(
    ("aggregation", "expected"), [("SUM", 9.0), ("MEAN", 4.5), ("ONLY_FIRST_REPLICA", 4.0)]
)
def test_a_write_combines_the_values_of_the_present_replicas(strategy, aggregation, expected):
    v = create_variable(strategy, 0.0, "ON_WRITE", aggregation)
    run(strategy, lambda rows: v.assign_add(rows[0]), 4, 5)

    assert [expected] * 3 == components(v)


def test_a_merge_of_several_variables_combines_present_values(strategy):
    many = [create_variable(strategy, 0.0, "ON_WRITE", "MEAN") for _ in range(3)]

    def step(rows):
        for factor, v in enumerate(many):
            v.assign_add(np.float32(factor) * rows[0])

    run(strategy, step, 2, 4, 6)
    run(strategy, step, 2, 4)

    assert [[7.0 * factor] * 3 for factor in range(3)] == [components(v) for v in many]


def test_the_component_of_a_joined_replica_stays_unchanged(strategy):
    total = create_variable(strategy, 0.0, "ON_READ", "SUM")
    run(strategy, lambda rows: total.assign_add(rows[0]), 1, 2, 4)
    run(strategy, lambda rows: total.assign_add(rows[0]), 8, 16)

    assert [9.0, 18.0, 4.0] == components(total)
    assert 31.0 == total.read_value()


def test_a_sync_leaves_the_component_of_a_joined_replica_unchanged(strategy):
    v = create_variable(strategy, 0.0, "NONE", "MEAN")
    run(strategy, lambda rows: v.assign(rows[0]), 1, 2, 4)
    run(strategy, lambda rows: v.sync(), 8, 16)

    assert [1.5, 1.5, 4.0] == components(v)


def test_a_joined_replica_reads_the_commits_in_its_next_call(strategy):
    v = create_variable(strategy, 0.0, "ON_WRITE", "SUM")
    run(strategy, lambda rows: v.assign_add(rows[0]), 1, 2)
    seen = strategy.run(lambda: v.read_value() + context().replica_id_in_sync_group)

    assert [3.0, 4.0, 5.0] == list(seen.values)


def test_a_sparse_mean_divides_by_the_number_of_present_replicas(strategy):
    v = create_variable(strategy, [0.0, 0.0], "ON_WRITE", "MEAN")
    run(strategy, lambda rows: v.scatter_add(tf.IndexedSlices(rows, [1])), 4, 6)

    assert [[0.0, 5.0]] * 3 == components(v)


def test_a_diverged_mirror_gets_the_mean_on_every_replica(strategy):
    v = create_variable(strategy, 0.0, "ON_WRITE", "MEAN")
    strategy.extended.update(v, lambda own, x: own.assign(x), args=(each(strategy, 1, 2, 3),))
    run(strategy, lambda rows: v.assign_add(rows[0]), 4, 6)

    assert [6.0, 7.0, 8.0] == components(v)


def test_statistics_count_only_the_contributions_of_present_replicas(strategy):
    alone = create_variable(strategy, 0.0, "ON_WRITE", "SUM")
    pair = [create_variable(strategy, 0.0, "ON_WRITE", "SUM") for _ in range(2)]

    def step(rows):
        for v in pair:
            v.assign_add(rows[0])

    for rows in ((1, 2, 3), (1, 2)):
        run(strategy, lambda rows: alone.assign_add(rows[0]), *rows)
        run(strategy, step, *rows)

    for one in strategy.statistics():
        assert (2, 5, 5 + 6) == (one.merges, one.writes, one.messages)
        assert 4 * (5 + 6) == one.size_bytes


# ---------------------------------------------------------------- collectives and results


def test_collectives_combine_the_values_of_the_present_replicas(strategy):
    def step(rows):
        return (
            context().all_reduce("MEAN", rows[0]),
            context().all_gather(rows, axis=0),
            context().all_reduce("MEAN", tf.IndexedSlices(rows, [0])).values,
        )

    mean, gathered, slices = run(strategy, step, 2, 4)

    assert [3.0, 3.0] == list(mean.values)
    assert [[2.0, 4.0]] * 2 == [one.tolist() for one in gathered.values]
    assert [[1.0, 2.0]] * 2 == [one.tolist() for one in slices.values]


def test_a_merge_call_uses_values_of_the_present_replicas(strategy):
    v = create_variable(strategy, 0.0, "ON_WRITE", "MEAN")

    def merge(strategy, value):
        assert 2 == len(value.values)
        mean = strategy.extended.reduce_to("MEAN", value, v)
        strategy.extended.update(v, lambda own, x: own.assign(x), args=(mean,))
        return value

    returned = run(strategy, lambda rows: context().merge_call(merge, args=(rows[0],)), 2, 4)

    assert [3.0] * 3 == components(v)
    assert [2.0, 4.0] == list(returned.values)


def test_results_have_no_value_for_a_joined_replica(strategy):
    returned = run(strategy, lambda rows: rows[0], 2, 4)

    assert 1 == returned.joined
    assert (2.0, 4.0) == strategy.experimental_local_results(returned)
    assert "2: joined, no value" in repr(returned)
    assert 3.0 == strategy.reduce("MEAN", returned, axis=None)
    assert 6.0 == strategy.reduce("SUM", returned, axis=None)


def test_results_of_rows_are_reduced_and_gathered_without_a_joined_replica(strategy):
    returned = run(strategy, lambda rows: {"x": rows}, 1, 2, 3, 4)

    assert 1 == returned["x"].joined  # replicas 0 and 1 have two rows each
    assert 2.5 == strategy.reduce("MEAN", returned["x"], axis=0)
    assert [6.0, 8.0] == list(strategy.reduce("SUM", (returned["x"], np.ones(2)), axis=0))
    assert [1.0, 2.0, 3.0, 4.0] == strategy.gather(returned["x"], axis=0).tolist()
    assert 2 == len(strategy.experimental_local_results(returned))


@pytest.mark.parametrize("result", [2.0, 2, np.float32(2.0)])
def test_a_scalar_result_of_one_present_replica_can_be_reduced(strategy, result):
    returned = run(strategy, lambda _: result, 1)

    assert [2.0] == list(returned.values)
    assert 2.0 == strategy.reduce("SUM", returned, axis=None)


def test_a_mean_of_one_present_replica_has_the_usual_dtype(strategy):
    def step(rows):
        return len(rows), context().all_reduce("MEAN", len(rows))

    for rows in ((1, 2, 3), (1, 2), (1,)):
        sizes, means = run(strategy, step, *rows)
        assert {np.float64} == {mean.dtype.type for mean in means.values}
    assert np.float64 is strategy.reduce("MEAN", sizes, axis=None).dtype.type
    with pytest.raises(ValueError, match="a SUM of dtype bool over several replicas"):
        run(strategy, lambda _: context().all_reduce("SUM", np.array(True)), 1)


def test_equal_results_without_numbers_are_returned_once(strategy):
    assert run(strategy, lambda _: None, 1) is None
    assert run(strategy, lambda _: "done", 1) == "done"
    v = create_variable(strategy, 0.0, "ON_READ", "SUM")
    assert run(strategy, lambda _: v, 1, 2) is v


def test_results_of_present_replicas_are_arguments_for_these_replicas(strategy):
    gradients = run(strategy, lambda rows: rows[0], 2, 4)
    v = create_variable(strategy, 0.0, "ON_WRITE", "MEAN")
    strategy.run(v.assign, args=(gradients,), kwargs={"read_value": False})

    assert [3.0] * 3 == components(v)


@pytest.mark.parametrize("rows", [(1, 2), (1, 2, 3)])
def test_values_of_one_call_must_have_rows_for_the_same_replicas(strategy, rows):
    """Otherwise the rows of a replica that takes no part in the call would not be used."""
    more, one = batch(strategy, *rows), batch(strategy, 5)
    has = f"has rows for replicas {'0, 1' if len(rows) == 2 else '0–2'}"

    with pytest.raises(ValueError, match=r"args\[1\]\['x'\] " + has) as caught:
        strategy.run(lambda i, x, y: None, args=(0, {"x": more}), kwargs={"y": one})
    assert "and kwargs['y'] has rows for replica 0: " in str(caught.value)
    with pytest.raises(ValueError, match=r"value\[0\] " + has):
        strategy.experimental_local_results([more, one])
    with pytest.raises(ValueError, match=r"value\[0\] " + has):
        strategy.reduce("SUM", (more, one), axis=0)


def test_arguments_without_rows_may_have_values_for_all_replicas(strategy):
    own = each(strategy, 0, 1, 2)
    returned = strategy.run(lambda x, y: x + y, args=(batch(strategy, 1, 2), own))

    assert [[1.0], [3.0]] == [value.tolist() for value in returned.values]


def test_a_function_knows_the_number_of_present_replicas(strategy):
    def step(rows):
        return context().num_replicas_present, context().num_replicas_in_sync

    assert (2, 3) == run(strategy, step, 1, 2)
    assert (3, 3) == run(strategy, step, 1, 2, 3)


def test_a_call_inside_a_merge_call_can_have_other_replicas(strategy):
    v = create_variable(strategy, 0.0, "ON_WRITE", "SUM")
    w = create_variable(strategy, 0.0, "ON_WRITE", "SUM")

    def merge(strategy):
        strategy.run(lambda: v.assign_add(np.float32(context().num_replicas_present)))
        run(strategy, lambda rows: v.assign_add(rows[0]), 10)

    def step(rows):
        context().merge_call(merge)
        w.assign_add(rows[0])
        return context().num_replicas_present

    assert 2 == run(strategy, step, 1, 2)
    assert [19.0] * 3 == components(v)
    assert [3.0] * 3 == components(w)


# ---------------------------------------------------------------- errors


def test_a_mismatch_names_the_present_replicas_only(strategy):
    v = create_variable(strategy, 0.0, "ON_WRITE", "SUM")

    def step(rows):
        if context().replica_id_in_sync_group == 0:
            v.assign_add(rows[0])

    with pytest.raises(tf.VarsimError, match="replica 1") as caught:
        run(strategy, step, 1, 2)
    assert "replica 2" not in str(caught.value)
    run(strategy, lambda rows: v.assign_add(rows[0]), 1, 2, 3)
    assert [6.0] * 3 == components(v)


def test_the_error_of_a_present_replica_ends_the_call(strategy):
    with pytest.raises(ZeroDivisionError):
        run(strategy, lambda rows: 1 // 0, 1, 2)
    assert 3 == len(run(strategy, lambda rows: rows[0], 1, 2, 3).values)


def test_a_missing_component_is_refused_if_all_are_needed(strategy):
    local = create_variable(strategy, 0.0, "NONE")
    value = run(strategy, lambda rows: rows[0], 2, 4)

    with pytest.raises(ValueError, match=r"no value for replica 2, which has joined"):
        local.assign(value)
    with pytest.raises(ValueError, match=r"no value for replica 2, which has joined"):
        strategy.run(lambda: np.asarray(value))
    assert [0.0] * 3 == components(local)


@pytest.mark.parametrize("synchronization", ["AUTO", "local_sgd:2"])
def test_policies_that_count_writes_refuse_a_call_without_some_replicas(simulated, synchronization):
    strategy = tf.distribute.MirroredStrategy(["a", "b"], auto="adaptive", uneven="join")
    chosen = tf.LocalSGD(2) if ":" in synchronization else tf.VariableSynchronization.AUTO
    with strategy.scope():
        v = tf.Variable(0.0, synchronization=chosen, aggregation=tf.VariableAggregation.MEAN)

    run(strategy, lambda rows: v.assign_add(rows[0]), 1, 3)
    with pytest.raises(ValueError, match="needs the same number of writes on every") as caught:
        run(strategy, lambda rows: v.assign_add(rows[0]), 1)
    assert "uneven: drop or pad" in str(caught.value)
    run(strategy, lambda rows: v.assign_add(rows[0]), 1, 3)
    assert 4.0 == v.read_value()


def test_a_compressed_on_write_variable_combines_the_present_replicas(simulated):
    """Each write is a merge of its own, and a replica keeps its residual while it is absent."""
    strategy = tf.distribute.MirroredStrategy(["a", "b"], uneven="join")
    with strategy.scope():
        v = tf.Variable(
            np.zeros(2, "f"),
            synchronization=tf.Compressed("on_write", by="top_k:0.5"),
            aggregation=tf.VariableAggregation.MEAN,
        )
    change = np.array([1.0, 2.0], "f")

    run(strategy, lambda rows: v.assign_add(rows[0] * change), 1, 3)
    assert [0.0, 4.0] == v.numpy().tolist()
    run(strategy, lambda rows: v.assign_add(rows[0] * change), 1)
    assert [2.0, 4.0] == v.numpy().tolist()  # the residual 1 and the change 1 of replica 0
    run(strategy, lambda rows: v.assign_add(rows[0] * change), 0, 0)
    assert [3.5, 5.0] == v.numpy().tolist()  # the residuals of both replicas, [0, 2] and [3, 0]


def test_a_freed_local_sgd_variable_does_not_refuse_calls(strategy):
    mean = tf.VariableAggregation.MEAN
    with strategy.scope():
        v = tf.Variable(0.0, synchronization=tf.LocalSGD(2), aggregation=mean)
    with pytest.raises(ValueError, match="needs the same number of writes on every"):
        run(strategy, lambda rows: None, 1)
    del v
    gc.collect()

    assert 1 == run(strategy, lambda rows: context().num_replicas_present, 1).values[0]


def test_a_call_without_some_replicas_creates_no_adaptive_variable(simulated):
    strategy = tf.distribute.MirroredStrategy(["a", "b"], auto="adaptive", uneven="join")
    mean = tf.VariableAggregation.MEAN

    with pytest.raises(ValueError, match="needs the same number of writes on every"):
        run(strategy, lambda rows: tf.Variable(0.0, aggregation=mean), 1)


def test_a_variable_created_in_a_call_is_on_every_replica(strategy):
    made = []

    def step(rows):
        v = tf.Variable(rows[0], aggregation=tf.VariableAggregation.SUM)
        v.assign_add(rows[0])
        made.append(v)

    run(strategy, step, 1, 2)
    assert [4.0] * 3 == components(made[0])


# ---------------------------------------------------------------- batches


def test_the_warning_names_the_present_replicas(strategy):
    with pytest.warns(tf.VarsimWarning, match="batch 2 has 1 row for 3 replicas") as caught:
        parts = list(strategy.experimental_distribute_dataset([np.ones(3), np.ones(1), np.ones(2)]))

    assert [0, 2, 1] == [one.joined for one in parts]
    assert (
        "Only replica 0 takes part in a call with this batch (uneven: join), so a MEAN divides by 1"
        in str(caught[0].message)
    )
    assert 1 == len(caught)


def test_a_replica_whose_batches_have_ended_has_joined(strategy):
    dataset = strategy.distribute_datasets_from_function(lambda _: [np.ones(2)] * 4)

    assert [0, 2] == [one.joined for one in dataset]


@pytest.mark.parametrize(
    ("batches", "problem"),
    [
        ([np.ones(2), np.ones(0), np.ones(2)], "the replicas without rows must be the last ones"),
        ([np.ones(0)], "no replica has rows"),
    ],
)
def test_a_batch_without_rows_on_the_first_replicas_is_refused(strategy, batches, problem):
    with pytest.raises(ValueError, match=problem) as caught:
        list(strategy.distribute_datasets_from_function(lambda _: batches))
    assert "Leave empty batches out of the dataset." in str(caught.value)


def test_a_fault_of_a_joined_replica_does_not_happen(simulated):
    strategy = tf.distribute.MirroredStrategy(
        ["a", "b"], uneven="join", faults=["raise replica=1 call=1", "raise replica=1 step=1"]
    )
    run(strategy, lambda rows: rows, 1)
    for missed in strategy.faults.missed():
        assert missed.endswith("replica 1 took no part in call 1, because of uneven: join")

    # a later call can still reach the step
    with pytest.raises(tf.VarsimError, match="raise replica=1 step=1"):
        run(strategy, lambda rows: rows, 1, 2)
