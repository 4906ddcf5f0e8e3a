"""Resumed and restarted runs continue with the batches of a run without interruption."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import varsim as tf
from varsim.testing import simulated_cluster

PROGRAM = Path(__file__).with_name("resumable_datasets.py")
EXACT = ["zip", "loops", "iter", "keep", "peek", "function", "two", "nested"]
"""The ways to read datasets after which a resumed run equals a run without interruption."""

LATE = 40
"""So many sends and waits of a worker are after the first checkpoint and before the last step."""


SETTINGS: dict[str, Any] = {"workers": 2, "checkpoint": 3, "trace": "off"}


@contextmanager
def failing(folder: Path) -> Iterator[dict[str, str]]:
    """Yield the params with which the workload fails at step 7, within the block."""
    flag = folder / "flag"
    flag.touch()
    yield {"flag": str(flag)}
    flag.unlink()


def whole(way: str, out: Path) -> tf.FinishedRun:
    with simulated_cluster():
        return tf.run_experiment(PROGRAM, params={"way": way}, out=out / "whole", **SETTINGS)


def resumed(way: str, out: Path, **settings: Any) -> tf.FinishedRun:
    """Run the workload until it fails, and resume the run."""
    with simulated_cluster():
        with failing(out) as params:
            run = tf.run_experiment(PROGRAM, params={"way": way} | params, out=out, **SETTINGS)
        assert run.failure is not None
        assert "a failure at step 7" in run.failure.text
        return tf.run_experiment(resume=run.path, out=out / "resumed", **settings)


def restarted(way: str, out: Path) -> tf.FinishedRun:
    with simulated_cluster(deaths={1: LATE}):
        run = tf.run_experiment(
            PROGRAM, params={"way": way}, on_worker_lost="restart", out=out, **SETTINGS
        )
    (again,) = texts(run, "continues from its checkpoint after step")
    assert re.search("after step [369]", again)
    return run


def texts(run: tf.FinishedRun, text: str) -> list[str]:
    return [one for one in run.summary.warnings if text in one]


@pytest.mark.parametrize(
    "continued", [resumed, pytest.param(restarted, marks=pytest.mark.thorough)]
)
@pytest.mark.parametrize(
    "way", [EXACT[0], *(pytest.param(way, marks=pytest.mark.thorough) for way in EXACT[1:])]
)
def test_the_batches_continue_as_without_interruption(way: str, continued: Any, tmp_path: Path):
    run = continued(way, tmp_path)

    assert "done" == run.status.value
    assert whole(way, tmp_path).result == run.result
    assert [] == texts(run, "distributed dataset")
    for changed in texts(run, "values from before the loop: "):
        names = changed.partition("before the loop: ")[2].partition(". To")[0].split(", ")
        assert not {"it", "source", "dataset", "number", "x", "SHARED"} & {*names}


@pytest.mark.thorough
@pytest.mark.parametrize("continued", [resumed, restarted])
def test_an_iterator_that_the_loop_creates_is_named(continued: Any, tmp_path: Path):
    run = continued("inside", tmp_path)

    (told,) = texts(run, "were created inside the loop start again at their first batch: ")
    assert "resumable_datasets.py:" in told
    assert texts(run, "before the loop: it.")


def test_an_iterator_that_is_not_a_distributed_dataset_is_a_warning(tmp_path: Path):
    run = resumed("undistributed", tmp_path)

    (told,) = texts(run, "start again at their first item, because they are not distributed")
    assert "datasets: iterator. Use job.strategy." in told


@pytest.mark.parametrize(
    "continued", [resumed, pytest.param(restarted, marks=pytest.mark.thorough)]
)
def test_an_iterator_in_an_object_of_the_program_is_named(continued: Any, tmp_path: Path):
    run = continued("attribute", tmp_path)

    assert texts(run, "have their values from before the loop: reader.rows. ")


@pytest.mark.thorough
@pytest.mark.parametrize(("way", "kind"), [("counted", "enumerate"), ("primed", "generator")])
def test_an_iterator_that_reads_datasets_is_not_said_to_start_again(
    way: str, kind: str, tmp_path: Path
):
    run = resumed(way, tmp_path)

    (told,) = texts(run, "the distributed datasets beside job.steps() continue, but")
    assert f"but {kind} that reads them has its values from before the loop" in told
    assert [] == texts(run, "start again")


def test_other_batches_than_before_are_a_warning(tmp_path: Path):
    """The second call of the workload continues with the iterator of the first call."""
    run = restarted("shared", tmp_path)

    (told,) = texts(run, "does not give the same batches as in the run that saved")
    assert "resumable_datasets.py:" in told


@pytest.mark.thorough
def test_a_dataset_that_ends_too_early_is_a_warning(tmp_path: Path):
    run = resumed("ends", tmp_path)

    assert texts(run, "should continue after batch 6, as in the run")
    assert texts(run, "but it is at batch 3.")


def test_another_number_of_iterators_is_refused(tmp_path: Path):
    run = resumed("more", tmp_path)

    assert run.failure is not None
    assert "the positions of 2 iterators" in run.failure.text
    assert "has created 3 before its loop: it is not the same program" in run.failure.text


@pytest.mark.thorough
def test_other_replicas_continue_at_the_same_position(tmp_path: Path):
    run = resumed("zip", tmp_path, workers=1)

    assert "done" == run.status.value
    assert [] == texts(run, "distributed dataset")


def test_a_batch_that_is_taken_before_its_step_is_refused(tmp_path: Path):
    run = whole("second", tmp_path)

    assert run.failure is not None
    assert "as in zip(job.steps(), dataset)" in run.failure.text


@pytest.mark.thorough
@pytest.mark.processes
@pytest.mark.parametrize("way", ["zip", "function"])
def test_batches_continue_with_processes(way: str, tmp_path: Path):
    run = tf.run_experiment(
        PROGRAM,
        params={"way": way},
        faults=["kill replica=1 step=8"],
        on_worker_lost="restart",
        out=tmp_path,
        **SETTINGS,
    )

    assert texts(run, "continues from its checkpoint after step 6")
    assert whole(way, tmp_path).result == run.result
