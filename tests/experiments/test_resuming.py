"""Runs that save checkpoints, and runs that continue from a checkpoint."""

from __future__ import annotations

import pickle
import random
import shutil
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import varsim as tf
from varsim.errors import CheckpointError, ConfigError
from varsim.experiments import runner
from varsim.experiments.kept_values import Wrong, decoded, encoded, restore, state_of
from varsim.experiments.loading import Override, load_experiment
from varsim.testing import simulated_cluster
from varsim.workloads.job import Job

PROGRAM = Path(__file__).with_name("resumable.py")


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """Run the program until it fails at step 5, with a checkpoint after every second step."""
    return fail(tmp_path_factory.mktemp("failed"))


def fail(folder: Path) -> tf.FinishedRun:
    flag = folder / "flag"
    flag.touch()
    settings: Any = {"workers": 2, "checkpoint": 2, "out": folder, "params": {"flag": str(flag)}}
    run = tf.run_experiment(PROGRAM, **settings)
    assert "failed" == run.status.value
    flag.unlink()
    return run


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    return tf.run_experiment(PROGRAM, workers=2, checkpoint=2, out=out)


@pytest.mark.processes
def test_a_resumed_run_equals_a_run_without_interruption(failed, undisturbed, tmp_path):
    resumed = tf.run_experiment(resume=failed.path, out=tmp_path)

    assert undisturbed.result == resumed.result
    assert tuple(range(10)) == resumed.series["last"].steps
    assert undisturbed.series["last"].values == resumed.series["last"].values
    lines = (resumed.path / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == len(resumed.series.lines)  # no step is written twice
    assert f"{failed.path.name} after step 4" == resumed.summary.resumed
    (warning,) = resumed.summary.warnings
    assert "iterators, have their values from before the loop: " in warning
    assert "before the loop: last." in warning
    assert "VALID" == resumed.verdict.value
    kept = {file.name for file in (resumed.path / "checkpoints").glob("*.safetensors")}
    assert {"loop-0-step-8.safetensors", "loop-0-step-9.safetensors"} == kept


@pytest.mark.thorough
@pytest.mark.processes
def test_a_resumed_run_may_have_the_continued_runs_name(failed, tmp_path, monkeypatch):
    """The resumed run begins in the same second as the continued run, in another folder."""
    began = datetime.strptime(failed.path.name[:15], "%Y%m%d-%H%M%S").astimezone()
    monkeypatch.setattr(runner, "datetime", SimpleNamespace(now=lambda: began))
    resumed = tf.run_experiment(resume=failed.path, out=tmp_path)

    assert failed.path.name == resumed.path.name
    assert f"{failed.path.name} after step 4" == resumed.summary.resumed


@pytest.mark.slow
@pytest.mark.processes
def test_the_checkpoint_before_a_damaged_one_is_used(failed, undisturbed, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(failed.path, copy)
    last = copy / "checkpoints" / "loop-0-step-4.safetensors"
    last.write_bytes(last.read_bytes()[:-1])

    resumed = tf.run_experiment(resume=copy, out=tmp_path, trust=True)

    assert undisturbed.result == resumed.result
    assert "copy after step 2" == resumed.summary.resumed
    assert any("step-4" in one and "is damaged" in one for one in resumed.summary.warnings)


@pytest.mark.slow
@pytest.mark.processes
def test_a_run_without_a_checkpoint_starts_from_its_first_step(failed, undisturbed, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(failed.path, copy, ignore=shutil.ignore_patterns("checkpoints"))

    resumed = tf.run_experiment(resume=copy, out=tmp_path, trust=True, workers=2)

    assert undisturbed.result == resumed.result
    assert "" == resumed.summary.resumed
    assert any("no complete checkpoint" in one for one in resumed.summary.warnings)
    assert "first steps" not in resumed.summary.no_oracle


def test_a_run_without_checkpoints_cannot_be_resumed(tmp_path):
    with simulated_cluster():
        run = tf.run_experiment("step_counter", workers=1, steps=2, trace="off", out=tmp_path)

    for settings in ({}, {"checkpoint": 1}):
        with pytest.raises(ConfigError, match=r"cannot be resumed: .* varsim run .* checkpoint=10"):
            tf.run_experiment(resume=run.path, out=tmp_path, **settings)


def test_settings_that_change_at_a_resume_are_named(tmp_path):
    settings = {"workers": 1, "checkpoint": 2, "trace": "off", "out": tmp_path}
    with simulated_cluster():
        run = tf.run_experiment("digits", steps=2, params={"learning_rate": 0.5}, **settings)
        same = tf.run_experiment(resume=run.path, steps=3, out=tmp_path)
        other = tf.run_experiment(
            resume=run.path, steps=3, out=tmp_path, seed=7, params={"learning_rate": 0.25}
        )

    assert not any("with other settings" in one for one in same.summary.warnings)
    (told,) = [one for one in other.summary.warnings if "with other settings" in one]
    assert "params.learning_rate=0.25 (was 0.5), seed=7 (was 0)." in told


@pytest.mark.slow
@pytest.mark.processes
def test_a_run_resumed_with_another_number_of_replicas_has_a_warning(failed, tmp_path):
    resumed = tf.run_experiment(resume=failed.path, workers=3, out=tmp_path)

    assert resumed.failure is None
    (told,) = [one for one in resumed.summary.warnings if "saved with 2 replicas" in one]
    assert "restored with 3 replicas" in told
    assert "seen: the sum 12 is divided over 3" in told


def test_checkpoints_need_a_loop_over_steps(tmp_path):
    other = tmp_path / "other.py"
    other.write_text("def run(job):\n    job.progress(1, 2)\n")

    refused = pytest.raises(ConfigError, match=r"iterate with `for step in job.steps\(\):`")
    with simulated_cluster(), refused:
        tf.run_experiment(other, workers=1, checkpoint=1, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("param", "said"),
    [("nest", "one such loop at a time"), ("create", "late was created inside the loop")],
)
def test_a_loop_that_cannot_be_resumed_fails_the_run(tmp_path, param, said):
    with simulated_cluster():
        run = tf.run_experiment(
            PROGRAM, workers=1, checkpoint=1, out=tmp_path, trace="off", params={param: True}
        )

    assert "failed" == run.status.value
    assert said in run.failure.text


def test_a_resumed_run_needs_its_workload_and_more_steps(tmp_path):
    with simulated_cluster():
        failed = fail(tmp_path)
    with pytest.raises(ConfigError, match="with its own workload, so workload='digits' cannot"):
        tf.run_experiment(resume=failed.path, workload="digits")
    with pytest.raises(ConfigError, match="an experiment, or a run to resume"):
        tf.run_experiment("digits", resume=failed.path)
    with pytest.raises(ConfigError, match="there is no run 'nowhere'"):
        tf.run_experiment(resume="nowhere")
    with simulated_cluster(), pytest.raises(ConfigError, match="only 3 steps: give more steps"):
        tf.run_experiment(resume=failed.path, steps=3, out=tmp_path)


# ---------------------------------------------------------------- settings


def test_a_number_as_checkpoint_sets_the_interval(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("workload: digits\ncheckpoint: 5\n")

    assert 5 == load_experiment(file).as_keys()["checkpoint"]
    more = load_experiment(file, [Override.parse("checkpoint.keep=7")])
    assert {"every": 5, "keep": 7} == more.as_keys()["checkpoint"]
    with pytest.raises(ConfigError, match=r"checkpoint has no key 'evry'.*did you mean 'every'"):
        load_experiment(file, [Override.parse("checkpoint.evry=7")])
    file.write_text("workload: digits\ncheckpoint: 0\n")
    with pytest.raises(ConfigError, match=r"x.yaml:2: checkpoint.every: invalid value 0"):
        load_experiment(file)
    file.write_text("workload: digits\ncheckpoint: {evry: 5}\n")
    with pytest.raises(ConfigError, match=r"x.yaml:2: checkpoint has no key 'evry'; did you mean"):
        load_experiment(file)
    file.write_text("script: x.py\ncheckpoint: 3\n")
    with pytest.raises(ConfigError, match=r"not with a script: .*use tf.train.Checkpoint"):
        load_experiment(file)


def test_the_steps_of_a_job_are_a_number_and_a_loop():
    given = Job(None, 0, 3, lambda *_: None)
    without = Job(None, 0, None, lambda *_: None)

    assert given.steps is not None
    assert [0, 1, 2] == list(given.steps()) == list(range(given.steps))
    assert [0, 1, 2] == list(given.each_step(100))
    assert without.steps is None
    assert [0, 1] == list(without.each_step(2))
    sent = pickle.loads(pickle.dumps(given))
    assert (3, [0, 1, 2]) == (sent.steps, list(sent.steps()))


# ---------------------------------------------------------------- objects given as `keep`


@pytest.mark.parametrize(
    "value",
    [
        [1, -(2**200), 0.1, float("-inf"), True, None, "a", (1, [2.5, {}]), {"a": [1], 3: "x"}],
        np.float32(0.1),
        np.arange(6, dtype=np.complex128).reshape(2, 3),
        np.bool_(True),
    ],
)
def test_values_are_equal_after_saving_and_loading(value):
    arrays: dict[str, Any] = {}
    said = encoded(value, arrays)

    again = decoded(said, arrays)

    assert repr(value) == repr(again)


def test_a_restored_generator_draws_the_same_numbers_again():
    kept: list[Any] = [np.random.default_rng(1), np.random.RandomState(2), random.Random(3)]
    for generator in kept:
        arrays: dict[str, Any] = {}
        said = encoded(state_of("rng", generator), arrays)
        draw = generator.normal if hasattr(generator, "normal") else generator.random
        drawn = [draw() for _ in range(3)]

        restore("rng", generator, decoded(said, arrays))

        assert drawn == [draw() for _ in range(3)]


def test_lists_that_json_cannot_hold_are_refused():
    loop: list[Any] = []
    loop.append(loop)
    deep: Any = 1
    for _ in range(5_000):
        deep = [deep]
    doubled: Any = 1
    for _ in range(40):
        doubled = [doubled, doubled]
    for value, reason in (
        (loop, "a list that contains itself cannot"),
        ({"a": deep}, "a dict of 5,001 levels cannot"),
        (doubled, "a list of 2,199,023,255,551 values cannot"),
    ):
        with pytest.raises(Wrong, match=reason):
            encoded(value, {})


def test_objects_are_restored_in_place_or_refused():
    array, kept = np.zeros(2), {"a": 1}
    restore("array", array, np.ones(2))
    restore("kept", kept, {"b": 2})
    assert ([1.0, 1.0], {"b": 2}) == (array.tolist(), kept)

    with pytest.raises(CheckpointError, match=r"'n'.*a int cannot be restored in place"):
        state_of("n", 3)
    with pytest.raises(CheckpointError, match="cannot restore 'array', a ndarray"):
        restore("array", array, np.ones(3))
    with pytest.raises(CheckpointError, match="cannot restore 'rng'"):
        restore("rng", np.random.default_rng(0), {"bit_generator": "MT19937"})
    with pytest.raises(Wrong, match="type set cannot be saved"):
        encoded([{1}], {})
    for said in ({"float": "x"}, {"array": "gone", "dtype": "float32"}, {"list": 3}, [1], {}):
        with pytest.raises(Wrong):
            decoded(said, {})
