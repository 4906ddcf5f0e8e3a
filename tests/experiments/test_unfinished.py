"""Runs that cannot write some results: each later step is done, or its error is shown."""

from __future__ import annotations

import errno
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import varsim
from varsim.cli.main import main
from varsim.errors import VarsimWarning
from varsim.experiments import recording, runner, shadow_runs
from varsim.experiments.run_lookup import find_run
from varsim.experiments.store import RunFiles, load_summary
from varsim.report.summary import Summary
from varsim.testing import simulated_cluster
from varsim.tracing import history_file
from varsim.tracing.history import HISTORY

Patch = pytest.MonkeyPatch

FULL = OSError(errno.ENOSPC, "No space left on device")
NO_ROOM = sqlite3.OperationalError("database or disk is full")

PROGRAM = """
import varsim as tf

def run(job, *, fails: bool = False):
    with job.strategy.scope():
        v = tf.Variable(0.0, name="v", aggregation=tf.VariableAggregation.MEAN)
    for step in range(3):
        job.strategy.run(lambda: v.assign_add(1.0) and None)
        if fails:
            raise KeyError("mine")
    return {"v": v}
"""


@pytest.fixture(autouse=True)
def _in_one_process(tmp_path: Path, monkeypatch: Patch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    Path("program.py").write_text(PROGRAM)
    with simulated_cluster():
        yield


def run(*words: str) -> Result:
    result = CliRunner().invoke(main, ["run", "program.py", "-n", "2", *words])
    assert isinstance(result.exception, SystemExit | None)
    return result


def raises(error: BaseException) -> Callable[..., Any]:
    def raise_it(*_: object, **__: object) -> Any:
        raise new(error)

    return raise_it


def new(error: BaseException) -> BaseException:
    """Return an equal error without a traceback, which would keep a cluster's memory alive."""
    return type(error)(*error.args)


def files_of_run() -> set[str]:
    always = {"experiment.yaml", "logs", "origin.json", "program"}
    return {path.name for path in Path("runs/latest").iterdir()} - always


def failing_from(patch: Patch, nth: int) -> None:
    """Make the n-th save of a summary fail, and all later saves."""
    save, seen = RunFiles.save, []

    def saved(self: RunFiles, summary: Summary) -> None:
        seen.append(summary)
        if len(seen) >= nth:
            raise new(FULL)
        save(self, summary)

    patch.setattr(RunFiles, "save", saved)


# ---------------------------------------------------------------- one step that fails


@pytest.mark.parametrize(
    ("nth", "left", "told"),
    [
        (1, {HISTORY}, "The report above is the only copy of the measurements."),
        (3, {HISTORY, "summary.json"}, "summary.json has the measurements, but not the verdict."),
    ],
)
def test_a_summary_that_cannot_be_written_stops_nothing_else(
    nth: int, left: set[str], told: str, monkeypatch: Patch
):
    failing_from(monkeypatch, nth)
    result = run()

    assert 6 == result.exit_code
    assert "result of the training\nv  3\n" in result.stdout
    assert "varsim kept every promise" in result.stdout
    assert "\nwhat could be saved is in runs/" in result.stdout
    assert 1 == result.stderr.count("Error: the summary of the run was not written into runs/")
    assert told in result.stderr
    assert left == files_of_run()


@pytest.mark.parametrize("error", [NO_ROOM, FULL, MemoryError()])
def test_a_history_that_cannot_be_written_leaves_the_traces(
    error: BaseException, monkeypatch: Patch
):
    """All other steps are done. The error names the command that merges and judges the traces."""
    with monkeypatch.context() as patch:
        patch.setattr(history_file, "_insert", raises(error))
        result = run()

    assert 6 == result.exit_code
    assert result.stdout.startswith("program: 3 calls\n")
    assert "The record was not judged" in result.stdout
    said = "Error: the history of the run was not written into runs/"
    assert 1 == result.stderr.count(said), result.stderr
    assert {"summary.json", "trace"} == files_of_run()
    assert 1 == len(load_summary(Path("runs/latest")).unfinished)
    remedy = result.stderr.split("`varsim ")[1].split("`")[0]
    checked = CliRunner().invoke(main, remedy.split())
    assert 0 == checked.exit_code
    assert checked.stderr.startswith("merging the traces of runs/")
    assert {"summary.json", HISTORY} == files_of_run()


@pytest.mark.parametrize("error", [NO_ROOM, FULL, MemoryError()])
def test_a_history_that_cannot_be_judged_is_not_removed(error: BaseException, monkeypatch: Patch):
    monkeypatch.setattr(recording, "examined", raises(error))
    result = run()

    assert 6 == result.exit_code
    assert 1 == result.stderr.count("was not judged: ")
    assert "The record was not judged" in result.stdout
    assert {"summary.json", HISTORY} == files_of_run()


def test_a_full_disk_is_reported_once_for_each_file(monkeypatch: Patch):
    monkeypatch.setattr(history_file, "_insert", raises(NO_ROOM))
    failing_from(monkeypatch, 1)
    result = run("params.fails=true")

    assert 1 == result.exit_code  # the code of a failed run takes precedence
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert ["the run failed", "the history of the", "the summary of the"] == [
        line.removeprefix("Error: ")[:18].partition(":")[0] for line in lines
    ]
    assert "program: failed after 1 call" in result.stdout


@pytest.mark.parametrize("words", [["-q"], ["--json"]])
def test_the_output_for_scripts_is_complete(words: list[str], monkeypatch: Patch):
    failing_from(monkeypatch, 1)
    result = run(*words)

    assert 6 == result.exit_code
    assert result.stdout.startswith("runs/" if words == ["-q"] else '{\n  "version"')


def test_a_run_without_its_first_files_does_not_begin(monkeypatch: Patch):
    monkeypatch.setattr(runner, "carry", raises(FULL))
    result = run("--out", "elsewhere")

    assert 2 == result.exit_code
    assert "Error: --out elsewhere: the run cannot begin, because its files" in result.stderr
    assert not Path("elsewhere").exists()


def test_without_a_replay_a_pilot_run_gives_no_advice(monkeypatch: Patch):
    monkeypatch.setattr(shadow_runs, "_advice", raises(FULL))
    result = run("--auto", "advised")

    assert 0 == result.exit_code
    assert "advised: AUTO is ON_WRITE: the record of the pilot run" in result.stdout


def test_on_a_full_disk_report_and_errors_are_shown():
    """The disk is full until the run has ended. Then the traces can be merged and judged."""
    result = run("--fault", "disk_full replica=coordinator call=2")

    assert 6 == result.exit_code
    assert "result of the training\nv  3\n" in result.stdout
    for what in ("history", "summary"):
        said = f"Error: the {what} of the run was not written into runs/"
        assert 1 == result.stderr.count(said), result.stderr
    assert 2 == result.stderr.count("No space left on device")
    assert {"trace"} == files_of_run()
    checked = CliRunner().invoke(main, ["check", "runs/latest"])
    assert 0 == checked.exit_code, checked.output
    assert {HISTORY} == files_of_run()


# ---------------------------------------------------------------- the order, and incomplete files


def test_the_failure_and_the_report_come_before_anything_is_written(monkeypatch: Patch):
    """Then the summary and the history are written, and the history is judged."""
    order: list[str] = []
    for module, name in ((runner, "write_history"), (runner, "judged"), (RunFiles, "save")):
        before = getattr(module, name)

        def called(*arguments: Any, _name: str = name, _before: Any = before, **more: Any) -> Any:
            order.append(_name)
            return _before(*arguments, **more)

        monkeypatch.setattr(module, name, called)
    for name in ("failed", "measured", "finished"):

        def told(*_: Any, _name: str = name) -> None:
            order.append(_name)

        monkeypatch.setattr(f"varsim.cli.results.Results.{name}", told)
    run("params.fails=true")

    assert ["failed", "measured", "save", "write_history", "judged", "save", "finished"] == order


def test_a_half_written_history_is_removed(monkeypatch: Patch):
    insert = history_file._insert
    calls: list[object] = []

    def fails_later(*arguments: Any) -> None:
        insert(*arguments)
        calls.append(arguments)
        if len(calls) > 2:
            raise new(NO_ROOM)

    monkeypatch.setattr(history_file, "_insert", fails_later)
    run()

    assert [] == [path.name for path in Path("runs/latest").iterdir() if HISTORY in path.name]


def test_a_half_written_history_of_a_killed_merge_is_replaced(monkeypatch: Patch):
    with monkeypatch.context() as patch:
        patch.setattr(history_file, "_insert", raises(NO_ROOM))
        run()
    Path("runs/latest", f".{HISTORY}").write_bytes(b"SQLite format 3\0 and no more")

    assert 0 == CliRunner().invoke(main, ["check"]).exit_code
    assert {"summary.json", HISTORY} == files_of_run()


def test_from_python_the_results_are_returned_with_a_warning(monkeypatch: Patch):
    failing_from(monkeypatch, 1)
    with pytest.warns(VarsimWarning, match="the summary of the run was not written into"):
        finished = varsim.run_experiment("program.py", workers=2)

    assert {"v": 3} == finished.result
    assert 1 == len(finished.summary.unfinished)
    assert () == finished.findings


def test_the_folder_of_a_later_strategy_belongs_to_its_run():
    run("-q")
    part = find_run("latest") / "strategy-2"
    part.mkdir()

    assert part.parent.resolve() == RunFiles(part).of_run().path.resolve()
    assert Path("runs") == RunFiles(Path("runs")).of_run().path


INTERRUPTS = """
import varsim as tf

ON_READ, SUM = tf.VariableSynchronization.ON_READ, tf.VariableAggregation.SUM


def run(job: tf.Job) -> None:
    with job.strategy.scope():
        seen = tf.Variable(0.0, name="seen", synchronization=ON_READ, aggregation=SUM)

    def step(last: bool) -> None:
        seen.assign_add(1.0)
        if last:
            tf.distribute.get_replica_context().merge_call(interrupt)

    for i in job.each_step(4):
        job.strategy.run(step, args=(i == 2,))


def interrupt(strategy: tf.distribute.Strategy) -> None:
    raise KeyboardInterrupt
"""


@pytest.mark.processes
def test_the_call_that_ctrl_c_has_interrupted_is_named(tmp_path: Path) -> None:
    program = tmp_path / "interrupts.py"
    program.write_text(INTERRUPTS)
    with pytest.raises(KeyboardInterrupt) as raised:
        varsim.run_experiment(program, workers=2, out=tmp_path / "runs")

    (said,) = raised.value.__notes__
    summary = load_summary(tmp_path / "runs" / "latest")
    assert (2, 3, 3) == (summary.step, summary.calls, summary.interrupted_call)
    assert said == summary.interrupted_in
    assert said.startswith("call 3 of strategy.run, step (")
    assert re.search(r"replicas 0, 1: wait in merge_call at .*interrupts\.py:\d+", said)
    (seen,) = summary.variables
    assert seen.lens is not None
    assert seen.lens.value is not None
    assert 6.0 == seen.lens.value.elements  # the local writes of call 3 are in the value
