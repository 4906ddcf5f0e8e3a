"""Each workload of an experiment in configs/ has the results that the experiment describes."""

from __future__ import annotations

import numpy as np
import pytest

import varsim as tf
from tests.workloads.runs import run_workload
from varsim.workloads import (
    batch_norm,
    digits,
    gradient_accumulation,
    local_state,
    metrics,
    step_counter,
)


def test_a_separately_trained_copy_is_worse_than_the_common_model() -> None:
    """digits_none: the copies drift apart, and none of them reaches the synchronous model."""
    together = run_workload(digits, mode="on_write", replicas=4, epochs=5)
    with pytest.warns(tf.VarsimWarning, match="synchronization=NONE"):
        alone = run_workload(digits, mode="none", replicas=4, epochs=5)

    assert 1 == len({weights.tobytes() for weights in together.components["weights"]})
    assert 4 == len({weights.tobytes() for weights in alone.components["weights"]})
    assert together.result["test_accuracy"] > max(alone.result["replica_test_accuracy"])


def test_the_built_in_job_learns() -> None:
    """The built-in job, with its defaults, reaches the expected accuracy."""
    run = run_workload(digits, mode="on_read", replicas=4)

    assert 440 == run.result["steps"]
    assert 20.0 == run.result["epochs"]
    assert run.result["test_accuracy"] == pytest.approx(0.889, abs=0.001)


def test_a_step_is_counted_once_or_once_per_replica() -> None:
    """step_counter: the count is right with ONLY_FIRST_REPLICA, and N times too large with SUM."""
    with pytest.warns(tf.VarsimWarning, match="loses its remainder"):
        result = run_workload(step_counter, replicas=4, steps=7).result

    assert {
        "steps": 7,
        "steps_lazily": 7,
        "steps_summed": 28,
        "examples": 70,
        "created_with_10": 40,
        "assigned_13": 12,
    } == result


def test_only_sums_and_counts_equal_those_of_a_single_device() -> None:
    """metrics: the mean, the sum and the first one of the replicas' quotients are wrong values."""
    result = run_workload(metrics, replicas=4).result

    for metric in ("loss", "accuracy"):
        values = result[metric]
        assert values["one_device"] == pytest.approx(values["sums_and_counts"], rel=1e-6)
        assert values["mean_of_means"] == pytest.approx(values["sum_of_means"] / 4, rel=1e-6)
        assert abs(values["mean_of_means"] / values["one_device"] - 1) > 0.005
        assert abs(values["first_of_means"] / values["one_device"] - 1) > 0.005
    assert result["accuracy"]["sum_of_means"] > 3


@pytest.mark.parametrize(("by_label", "missing"), [(False, 0.045), (True, 0.172)])
def test_the_mean_of_variances_is_too_small(*, by_label: bool, missing: float) -> None:
    """batch_norm: the mean is right; the variance lacks the variance between replicas' parts."""
    result = run_workload(batch_norm, replicas=4, by_label=by_label).result

    assert result["aggregated"]["mean_off_by_at_most"] < 1e-6
    assert result["aggregated"]["variance_missing"] == pytest.approx(missing, abs=0.001)
    assert result["first_replica"]["mean_off_by_at_most"] > 0.05


def test_synchronized_statistics_are_those_of_the_whole_batch() -> None:
    """batch_norm: an exchange in every step makes every replica's statistics right."""
    result = run_workload(batch_norm, replicas=4, by_label=True, synchronized=True).result

    for kept in ("aggregated", "first_replica"):
        assert result[kept]["mean_off_by_at_most"] < 1e-6
        assert abs(result[kept]["variance_missing"]) < 1e-5


@pytest.mark.parametrize(("every", "exchanges"), [(1, 44), (4, 11), (5, 9)])
def test_accumulated_batches_train_like_one_large_batch(every: int, exchanges: int) -> None:
    """gradient_accumulation: weights are equal within rounding, also after an incomplete group."""
    result = run_workload(gradient_accumulation, replicas=4, steps=44, every=every).result

    assert (44, exchanges, 44 - exchanges) == (
        result["steps"],
        result["exchanges"],
        result["exchanges_saved"],
    )
    assert result["differs_from_large_batches_by"] < 1e-6


def test_replicas_with_different_generators_estimate_better() -> None:
    """local_state: the replicas' estimates differ with seeds, and are equal without seeds."""
    with pytest.warns(tf.VarsimWarning, match="synchronization=NONE"):
        own = run_workload(local_state, replicas=4).result
    with pytest.warns(tf.VarsimWarning, match="synchronization=NONE"):
        same = run_workload(local_state, replicas=4, forget_to_seed=True).result

    assert 4 == len(set(own["pi_of_each_replica"]))
    assert 1 == len(set(same["pi_of_each_replica"]))
    assert own["pi"] == pytest.approx(np.pi, abs=0.01)
    assert [own["pi"]] * 4 == pytest.approx(own["pi_agreed_on"])
    assert "cannot be read in cross-replica context" in own["read_from_outside"]
