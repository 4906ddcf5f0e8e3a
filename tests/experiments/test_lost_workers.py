"""Runs that lose workers, and go on with new ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import varsim as tf
from varsim.cli.main import main
from varsim.errors import ConfigError

pytestmark = pytest.mark.processes

PROGRAM = Path(__file__).with_name("resumable.py")

SCRIPT = """
import varsim as tf

strategy = tf.distribute.MirroredStrategy()
with strategy.scope():
    w = tf.Variable(0.0, name="w", aggregation=tf.VariableAggregation.SUM)


def step():
    w.assign_add(1.0)


for _ in range(4):
    try:
        strategy.run(step)
    except RuntimeError as error:
        print(type(error).__name__, error.recovery.num_replicas)
print(float(w))
"""

DAMAGES = '''"""Damage the last checkpoint."""

from pathlib import Path

import varsim as tf


def run(job: tf.Job) -> None:
    with job.strategy.scope():
        seen = tf.Variable(
            0.0,
            name="seen",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
    for step in job.each_step(6):
        if step == 4:
            file = Path(__file__).parent / "runs/latest/checkpoints/loop-0-step-4.safetensors"
            file.write_bytes(file.read_bytes()[:-1])
        job.strategy.run(lambda: seen.assign_add(1.0))
'''


def written(program: str, tmp_path: Path) -> Path:
    """Return the file of a program, beside the folder of its runs."""
    file = tmp_path / "program.py"
    file.write_text(program)
    return file


def run_of(program: str, tmp_path: Path, **settings: Any) -> tf.FinishedRun:
    """Run a program with two workers, which are started again if one is lost."""
    file = written(program, tmp_path)
    return tf.run_experiment(
        file, workers=2, on_worker_lost="restart", out=tmp_path / "runs", **settings
    )


def texts(run: tf.FinishedRun, text: str) -> list[str]:
    return [one for one in run.summary.warnings if text in one]


@pytest.mark.thorough
def test_a_restarted_run_equals_a_run_without_losses(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"workers": 2, "checkpoint": 2, "steps": 6}
    whole = tf.run_experiment(PROGRAM, out=tmp_path / "whole", trace="off", **settings)
    run = tf.run_experiment(
        PROGRAM,
        out=tmp_path,
        on_worker_lost="restart",
        faults=["kill replica=1 step=4 operation=2", "exit replica=0 step=6"],
        **settings,
    )

    assert ("done", whole.result) == (run.status.value, run.result)
    assert whole.series["last"].values == run.series["last"].values
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == len(run.series.lines)  # repeated steps are not written twice
    first, second = texts(run, "is called again")
    assert (
        "replica 1 was lost in step 4: the workload is called again in incarnation 2 with 2 "
        "replicas, and continues from its checkpoint after step 2. All variables are restored from "
        "it; steps 3 to 4 are repeated"
    ) == first
    assert "replica 0 was lost in step 6: " in second
    assert "after step 4. All variables are restored from it; steps 5 to 6 are" in second
    assert not texts(run, "are lost")
    assert "workers were lost, so no record has the whole run" == run.summary.no_oracle
    parts = [run.summary, *(one.summary for one in run.further)]
    assert [(1, 3), (2, 3), (3, 3)] == [(one.incarnation, one.incarnations) for one in parts]
    assert "" == run.summary.resumed
    names = ["w", "seen", "state", "averaged"]
    assert [names] * 3 == [[one.name for one in part.variables] for part in parts]
    lost = [next(one.lens for one in part.variables if one.name == "seen") for part in parts]
    assert [[0, 1], [1, 0], [1, 1]] == [
        [int(one is not None) for one in lens.components][::-1] if lens else [] for lens in lost
    ]
    assert not texts(run, "did not happen")

    checked = CliRunner().invoke(main, ["check", str(run.path), "--json"])
    told = json.loads(checked.stdout)
    outcomes = [told["outcome"], *(one["outcome"] for one in told["further"])]
    assert ["VALID", "VALID", "VALID"] == outcomes
    ended = [one["text"] for one in told["not_looked_at"] if "its worker was killed" in one["text"]]
    assert ["what replica 1 did after"] == [one[: len("what replica 1 did after")] for one in ended]
    page = CliRunner().invoke(main, ["check", str(run.path)]).stdout
    assert "strategy-3 (incarnation 3 of 3):" in page


@pytest.mark.thorough
def test_a_shrunk_run_begins_again_with_fewer_replicas(tmp_path: Path) -> None:
    run = tf.run_experiment(
        "step_counter",
        workers=3,
        steps=4,
        on_worker_lost="shrink",
        faults=["kill replica=0 step=2", "raise replica=2 step=4"],
        out=tmp_path,
    )
    assert "done" == run.status.value
    (again,) = texts(run, "because the run has no complete checkpoint")
    assert again.startswith(
        "replica 0 was lost in step 2: the workload is called again in incarnation 2 with 2 "
        "replicas, numbered from 0, and begins at its first step with new variables"
    )
    assert not texts(run, "are lost")
    (last,) = run.further
    assert (3, 2) == (len(run.summary.devices), len(last.summary.devices))
    assert texts(run, "did not happen: the run has gone on without replica 2")


def test_a_run_fails_after_its_last_restart_and_says_why(tmp_path: Path) -> None:
    run = tf.run_experiment(
        "step_counter",
        workers=2,
        steps=4,
        on_worker_lost="restart",
        max_restarts=0,
        faults=["kill replica=1 step=2"],
        out=tmp_path,
    )
    assert "failed" == run.status.value
    assert run.failure is not None
    assert run.failure.text.endswith("restarted 0 times, which is its limit (max_restarts=0).")
    assert [] == run.further
    assert run.summary.variables


@pytest.mark.thorough
def test_a_damaged_checkpoint_is_named_after_a_loss(tmp_path: Path) -> None:
    # varsim's own call for the checkpoint has no fault
    run = run_of(DAMAGES, tmp_path, checkpoint=2, faults=["kill replica=1 step=5"])
    file = run.path / "checkpoints" / "loop-0-step-4.safetensors"
    (damaged,) = texts(run, "the checkpoint before it is used")
    assert damaged.startswith(f"checkpoint {file} is damaged: ")
    (again,) = texts(run, "continues from its checkpoint after step 2")
    assert again.endswith("All variables are restored from it; steps 3 to 5 are repeated")


CATCHES = """
import varsim as tf
from varsim.errors import WorkerLost

HELD = []
ON_READ, SUM = tf.VariableSynchronization.ON_READ, tf.VariableAggregation.SUM


def run(job: tf.Job) -> float:
    with job.strategy.scope():
        if not HELD:
            HELD.append(tf.Variable(0.0, name="held", synchronization=ON_READ, aggregation=SUM))
        seen = tf.Variable(0.0, name="seen", synchronization=ON_READ, aggregation=SUM)

    def step() -> None:
        seen.assign_add(1.0)
        HELD[0].assign_add(1.0)

    for i in job.each_step(4):
        try:
            job.strategy.run(step)
        except WorkerLost:
            if i == 2:
                raise
    return float(seen.numpy())
"""


@pytest.mark.thorough
def test_lost_values_are_reported_if_they_are_missing_at_the_end(tmp_path: Path) -> None:
    """A workload catches the first loss, but not the second one, and holds a global variable."""
    faults = ["kill replica=1 call=2", *(f"kill replica={i} call=3" for i in (0, 1))]
    run = run_of(CATCHES, tmp_path, faults=faults)
    assert ("done", {"result": 8.0}) == (run.status.value, run.result), run.failure
    caught, again = texts(run, "are lost")
    assert "The strategy goes on as incarnation 2 with 2 replicas" in caught
    assert "variable 'seen' (ON_READ, SUM): the writes of replica 1 since the start are" in caught
    assert again.startswith("replicas 0, 1 were lost in step 3: ")
    assert "begins at its first step with new variables" in again
    kept = again.partition("The program still has variables of the first call:")[2]
    assert "variable 'held' (ON_READ, SUM): the writes of replicas 0, 1 since" in kept
    assert "'seen'" not in kept

    lenses = [one.lens for one in run.further[0].summary.variables]
    assert [
        "the components of replicas 0, 1 are lost (replica 0: worker was killed by SIGKILL; "
        "replica 1: worker was killed by SIGKILL)"
    ] * 2 == [one.lost for one in lenses if one is not None]


@pytest.mark.thorough
def test_a_script_that_catches_the_error_goes_on(tmp_path: Path) -> None:
    script = written(SCRIPT, tmp_path)
    words = ["exec", "-n", "3", "--on-worker-lost", "shrink", "--fault", "kill replica=1 call=2"]
    done = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "runs"), str(script)])
    assert 0 == done.exit_code, done.output
    assert "WorkerLost 2\n7.0\n" in done.stdout
    assert "incarnation 1 of 2 · 3 workers · fault: kill replica=1 call=2\n" in done.stdout
    assert "incarnation 2 of 2 · 2 workers · whole run: start-up" in done.stdout

    run = tmp_path / "runs" / "latest"
    label = done.stdout.index("verdict on incarnation 1 of 2\n")
    assert label < done.stdout.index("verdict on incarnation 2 of 2 (strategy-2)\n")
    assert 1 == done.stdout.count("saved in ")
    for words, shown, other in (
        (["whatif", str(run), "--set", "w=on_read"], 2, "latest/history.db (incarnation 1 of 2)"),
        (["whatif", f"{run}/history.db", "--set", "w=on_read"], 1, "strategy-2/ (incarnation 2"),
        (["advise", str(run)], 2, "latest/history.db (incarnation 1 of 2)"),
    ):
        said = CliRunner().invoke(main, words).stdout.partition("\n\n")[0]
        assert said.startswith("This run has 2 records, and only one is shown: incarnation ")
        assert f"shown: incarnation {shown} of 2" in said
        assert other in said.replace("\n", " ")
    lens = CliRunner().invoke(main, ["lens", str(run), "w"]).stdout.split("incarnation ")
    assert ["", "1 of 2\n", "2 of 2\n"] == [one[:7] for one in lens]
    steps = json.loads(CliRunner().invoke(main, ["lens", str(run), "w", "--json"]).stdout)
    assert [(1, 0), (1, 1), (1, 2), (2, 2), (2, 3), (2, 4)] == [
        (one["incarnation"], one["step"]) for one in steps
    ]
    json_only = CliRunner().invoke(main, ["advise", str(run), "--json"])
    assert json.loads(json_only.stdout)["advice"]
    assert "latest/history.db (incarnation 1 of 2)" in json_only.stderr
    checked = " ".join(CliRunner().invoke(main, ["check", str(run)]).stdout.split())
    assert f"{run / 'strategy-2'} (incarnation 2 of 2):" in checked
    assert "The strategy went on with new workers, as incarnation 2 of 2." in checked
    assert "cannot run or write" not in checked
    one = " ".join(CliRunner().invoke(main, ["check", str(run / "strategy-2")]).stdout.split())
    assert one.startswith("This run has 2 records, and only one is shown: incarnation 2 of 2.")


def test_a_wrong_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="on_worker_lost"):
        tf.run_experiment("digits", on_worker_lost="again", out=tmp_path)
