"""The results of the digits workload equal those of `digits_model`, bit for bit."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import varsim as tf
from tests.effort import thorough
from tests.workloads.digits_model import train
from tests.workloads.runs import run_workload
from varsim.workloads import digits

STEPS = 2 * 22 + 5  # two epochs, and a part of one


@pytest.mark.parametrize("replicas", [thorough(1), thorough(2), 4, thorough(8)])
@pytest.mark.parametrize("mode", ["on_write", "on_read", "none"])
def test_every_mode_agrees_with_the_model(mode: str, replicas: int) -> None:
    """The test compares loss, accuracies, and every component of weights and bias."""
    expected = train(mode, replicas, STEPS)
    with pytest.warns(tf.VarsimWarning) if mode == "none" else contextlib.nullcontext():
        run = run_workload(digits, mode=mode, replicas=replicas, steps=STEPS)

    assert {
        "steps": STEPS,
        "epochs": STEPS / 22,
        "train_loss": expected.train_loss,
        "train_accuracy": expected.train_accuracy,
        "test_accuracy": expected.test_accuracy,
        "replica_test_accuracy": expected.replica_test_accuracy,
    } == run.result
    for replica, model in enumerate(expected.models):
        np.testing.assert_array_equal(model.weights, run.components["weights"][replica])
        np.testing.assert_array_equal(model.bias, run.components["bias"][replica])


@pytest.mark.processes
@pytest.mark.parametrize("mode", [thorough("on_write"), "on_read"])
def test_real_processes_agree_with_the_model(mode: str) -> None:
    """The loss, the test accuracy and the weights agree bit for bit."""
    expected = train(mode, 4, 25)
    run = run_workload(digits, mode=mode, replicas=4, steps=25, processes=True)

    assert expected.train_loss == run.result["train_loss"]
    assert expected.test_accuracy == run.result["test_accuracy"]
    for replica, model in enumerate(expected.models):
        np.testing.assert_array_equal(model.weights, run.components["weights"][replica])


@pytest.mark.parametrize("replicas", [3, thorough(12), thorough(64)])
def test_a_batch_that_cannot_be_split_evenly_gives_the_models_values(replicas: int) -> None:
    """Then the sizes of the replicas' parts differ by one image, and no part is empty."""
    expected = train("on_write", replicas, 22)
    run = run_workload(digits, mode="on_write", replicas=replicas, steps=22)

    assert expected.train_loss == run.result["train_loss"]
    assert expected.test_accuracy == run.result["test_accuracy"]


def test_a_run_with_auto_equals_a_run_with_on_write() -> None:
    """Without a mode, free variables are AUTO, and have the values of on_write bit for bit."""
    expected = train("on_write", 2, 22)
    run = run_workload(digits, replicas=2, steps=22)

    np.testing.assert_array_equal(expected.models[0].weights, run.components["weights"][0])
    assert expected.test_accuracy == run.result["test_accuracy"]


@pytest.mark.parametrize(
    ("per_execution", "reports"),
    [(22, [22, 25]), (10, [10, 20, 22, 25]), (1, list(range(1, 26)))],
)
def test_steps_per_execution_change_the_progress_but_not_the_results(
    per_execution: int, reports: list[int]
) -> None:
    """With fewer steps per execution the job reports its progress more often."""
    expected = train("on_read", 2, 25)
    run = run_workload(
        digits, mode="on_read", replicas=2, steps=25, steps_per_execution=per_execution
    )

    assert [(step, 25) for step in reports] == run.progress
    assert expected.train_loss == run.result["train_loss"]
    np.testing.assert_array_equal(expected.models[1].weights, run.components["weights"][1])


def test_impossible_params_are_refused() -> None:
    """The workload refuses them before any training."""
    with pytest.raises(ValueError, match="epochs must be at least 1"):
        run_workload(digits, replicas=2, epochs=0)
    with pytest.raises(ValueError, match="steps_per_execution must be at least 1"):
        run_workload(digits, replicas=2, steps_per_execution=0)
    with pytest.raises(ValueError, match="batch_size must be from 1 to 1437"):
        run_workload(digits, replicas=2, batch_size=2000)
