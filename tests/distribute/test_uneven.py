"""Parts of a batch with different sizes: an empty part causes a warning; errors change nothing."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest

import varsim as tf
from tests.distribute.programs import components, create_variable, each


@pytest.fixture
def caught():
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield found


def texts(caught):
    return [str(one.message) for one in caught]


def ragged(strategy, *sizes):
    return each(strategy, *(np.ones(size) for size in sizes))


# ---------------------------------------------------------------- warnings


def test_a_batch_without_rows_for_a_replica_warns_once(strategy, caught):
    batches = [np.ones(2), np.ones(2), np.ones(1), np.ones(1)]
    line = inspect.currentframe().f_lineno + 1  # type: ignore[union-attr]
    for part in strategy.experimental_distribute_dataset(batches):
        strategy.run(len, args=(part,))

    (warning,) = [one for one in caught if issubclass(one.category, tf.VarsimWarning)]
    assert line == warning.lineno
    text = str(warning.message)
    assert text.startswith("batch 3 has 1 row for 2 replicas: replica 1 gets none. The mean of no ")
    for remedy in ("Drop the remainder", "a multiple of 2", "weight by rows"):
        assert remedy in text


def test_a_second_loop_at_another_line_warns_again(strategy, caught):
    list(strategy.experimental_distribute_dataset([np.ones(1)]))
    list(strategy.experimental_distribute_dataset([np.ones(1)]))

    assert 2 == len(caught)


def test_an_empty_batch_warns(strategy, caught):
    list(strategy.experimental_distribute_dataset([np.ones((0, 3))]))

    assert texts(caught)[0].startswith("batch 1 has 0 rows for 2 replicas: replicas 0, 1 get none")


def test_a_replica_whose_own_dataset_has_ended_causes_a_warning(strategy, caught):
    list(strategy.distribute_datasets_from_function(lambda _: [np.ones(4)]))

    assert texts(caught)[0].startswith("batch 1 has 4 rows for 2 replicas: replica 1 gets none")


def test_arguments_with_rows_on_some_replicas_only_warn_once(strategy, caught):
    for _ in range(2):
        strategy.run(lambda x, y: None, args=({"x": ragged(strategy, 3, 0)}, 1.0))
        strategy.run(lambda x: None, kwargs={"x": ragged(strategy, 3, 0)})

    assert 2 == len(caught)
    assert (
        "an argument of strategy.run has 3 rows for 2 replicas: replica 1 gets none"
        in (texts(caught)[0])
    )


@pytest.mark.parametrize("sizes", [(3, 1), (0, 0), (2, 2)])
def test_rows_on_all_or_no_replicas_cause_no_warning(strategy, caught, sizes):
    strategy.run(lambda x: None, args=(ragged(strategy, *sizes),))
    strategy.run(lambda x: None, args=(each(strategy, 1.0, 2.0),))

    assert not caught


def test_a_mean_over_no_rows_at_all_is_nan_and_warns(strategy, caught):
    for _ in range(2):
        value = strategy.reduce("MEAN", ragged(strategy, (0, 2), (0, 2)), axis=0)

    assert np.isnan(value).all()
    (text,) = texts(caught)
    assert "the MEAN over axis 0 is NaN" in text
    assert "replica 0: float32[0, 2], replica 1: float32[0, 2]" in text


def test_replicas_without_rows_have_no_weight_in_a_mean(strategy, caught):
    value = each(strategy, [1.0, 3.0], [])

    assert 2.0 == strategy.reduce("MEAN", value, axis=0)
    assert 0.0 == strategy.reduce("SUM", ragged(strategy, 0, 0), axis=0)
    assert (0, 3) == strategy.reduce("MEAN", ragged(strategy, (0, 3), (0, 3)), axis=None).shape
    assert not caught


# ---------------------------------------------------------------- settings of `uneven`

BATCHES = [np.array([1.0, 2.0]), np.array([3.0]), np.array([5.0, 6.0])]


def passes(strategy, batches):
    return [
        [list(map(float, rows)) for rows in strategy.experimental_local_results(parts)]
        for parts in strategy.experimental_distribute_dataset(batches)
    ]


def test_pad_repeats_the_rows_of_the_batch_before(strategy, caught):
    strategy.uneven = "pad"

    assert passes(strategy, BATCHES) == [[[1], [2]], [[3], [2]], [[5], [6]]]
    (text,) = texts(caught)
    assert text.startswith(
        "batch 2 has 1 row for 2 replicas: replica 1 gets none. The rows of the previous batch are "
        "used again on replica 1 (uneven: pad), so they count twice.\n"
    )


def test_pad_repeats_the_last_batch_of_a_replica(strategy, caught):
    strategy.uneven = "pad"
    datasets = strategy.distribute_datasets_from_function(
        lambda _: [{"x": np.ones(1) * i} for i in range(3)]
    )

    assert [
        [float(one["x"][0]) for one in strategy.experimental_local_results(parts)]
        for parts in datasets
    ] == [[0, 1], [2, 1]]


def test_a_first_batch_cannot_be_padded(strategy):
    strategy.uneven = "pad"

    with pytest.raises(ValueError, match="There is no previous batch to repeat"):
        passes(strategy, [np.ones(1)])


def test_drop_ends_the_pass_before_the_batch(strategy, caught):
    strategy.uneven = "drop"

    assert passes(strategy, BATCHES) == [[[1], [2]]]
    assert (
        "The pass ends before this batch (uneven: drop), so its rows are not used."
        in texts(caught)[0]
    )


def test_fail_names_the_replica_and_the_remedy(strategy, caught):
    strategy.uneven = "fail"

    with pytest.raises(
        ValueError, match=r"batch 2 has 1 row for 2 replicas: replica 1 gets none\."
    ) as refused:
        passes(strategy, BATCHES)
    assert "Drop the remainder, and use a batch size that is a multiple of 2" in str(refused.value)
    assert not caught


def test_an_unknown_setting_of_uneven_is_refused():
    problem = "uneven='skip': expected one of empty, fail, drop, pad, join"
    with pytest.raises(ValueError, match=problem):
        tf.distribute.MirroredStrategy(["a"], uneven="skip")
    strategy = tf.distribute.MirroredStrategy(["a"], uneven="drop")
    with pytest.raises(ValueError, match=problem):
        strategy.uneven = "skip"
    assert "drop" == strategy.uneven


# ---------------------------------------------------------------- ragged values


def context():
    return tf.distribute.get_replica_context()


def test_ragged_values_are_gathered(strategy, caught):
    value = ragged(strategy, (2, 3), (0, 3))

    assert (2, 3) == strategy.gather(value, axis=0).shape
    gathered = strategy.run(lambda x: context().all_gather(x, axis=0), args=(value,))
    assert [(2, 3), (2, 3)] == [one.shape for one in gathered.values]
    assert [(2, 3), (0, 3)] == [one.shape for one in strategy.experimental_local_results(value)]
    empty = strategy.gather(ragged(strategy, (0, 3), (0, 3)), axis=0)  # TensorFlow crashes here
    assert (0, 3) == empty.shape


BOTH = "replica 0: float32[2, 3], replica 1: float32[2, 4]"


@pytest.mark.parametrize(
    "operation",
    [
        lambda strategy, value: strategy.reduce("MEAN", value, axis=None),
        lambda strategy, value: strategy.reduce("SUM", value, axis=0),
        lambda strategy, value: strategy.gather(value, axis=0),
    ],
)
def test_the_error_for_a_ragged_value_shows_each_shape(strategy, operation):
    with pytest.raises(tf.VarsimError) as caught:
        operation(strategy, ragged(strategy, (2, 3), (2, 4)))

    assert isinstance(caught.value, ValueError)
    assert BOTH in str(caught.value)
    assert "pad the value" in str(caught.value) or "Pad or reshape" in str(caught.value)
    assert 3.0 == strategy.reduce("SUM", each(strategy, 1.0, 2.0), axis=None)


def test_a_read_that_cannot_combine_components_names_variable_and_remedy(strategy, caught):
    v = create_variable(strategy, [0.0], "ON_READ", "SUM", name="ids", shape=[None])
    strategy.run(lambda x: v.assign(x, read_value=False), args=(ragged(strategy, 2, 0),))

    with pytest.raises(ValueError, match=r"'ids': cannot combine .* replica 1: \[0\]") as refused:
        v.read_value()
    assert "strategy.gather(v, axis=0)" in str(refused.value)
    assert [1.0, 1.0] == strategy.gather(v, axis=0).tolist()
    assert 1.0 == strategy.reduce("MEAN", v, axis=0)
    assert [[1.0, 1.0], []] == components(v)


def test_the_error_for_values_of_different_ranks_names_their_replicas(strategy):
    with pytest.raises(ValueError, match=r"replica 0: float32\[2, 3\], replica 1: float32\[3\]"):
        strategy.reduce("SUM", ragged(strategy, (2, 3), 3), axis=1)


def test_a_refused_ragged_all_reduce_names_replicas_and_changes_nothing(strategy, caught):
    total = create_variable(strategy, 0.0, "ON_WRITE", "SUM")

    def step(x):
        mean = context().all_reduce("MEAN", x)
        total.assign_add(np.float32(1.0))
        return mean

    with pytest.raises(ValueError, match=r"replica 0: all_reduce\(MEAN, float32\[2\]\)"):
        strategy.run(step, args=(ragged(strategy, 2, 0),))
    assert [0.0, 0.0] == components(total)
    assert 1.5 == strategy.run(step, args=(each(strategy, 1.0, 2.0),)).values[1]
    assert [2.0, 2.0] == components(total)


# ---------------------------------------------------------------- cross-replica writes


@pytest.mark.parametrize("synchronization", ["ON_WRITE", "NONE"])
@pytest.mark.filterwarnings("ignore::varsim.VarsimWarning")
def test_a_ragged_value_is_written_into_a_variable_of_any_length(strategy, synchronization):
    v = create_variable(strategy, [0.0], synchronization, shape=[None])
    v.assign(ragged(strategy, 2, 0), read_value=False)

    assert [[1.0, 1.0], []] == components(v)


def test_a_ragged_write_that_does_not_fit_changes_no_copy(strategy):
    v = create_variable(strategy, [0.0, 0.0], "ON_WRITE", "SUM")

    with pytest.raises(ValueError, match="shapes must be equal") as caught:
        v.assign(ragged(strategy, 2, 0))
    assert "the PerReplica has replica 0: float32[2], replica 1: float32[0]" in str(caught.value)
    assert [[0.0, 0.0], [0.0, 0.0]] == components(v)
