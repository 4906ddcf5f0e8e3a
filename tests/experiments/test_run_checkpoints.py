"""The checkpoint from which an unfinished run continues, and the command that continues it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.report.summaries import summary
from varsim.cli.main import main
from varsim.distribute.checkpoints import archive, folder
from varsim.experiments.run_checkpoints import Place, continuation, how_to_continue, last_checkpoint
from varsim.experiments.store import CHECKPOINTS, RunFiles, load_summary
from varsim.report.summary import Phase, RunStatus

FAILS = """
import varsim as tf


def run(job: tf.Job) -> None:
    with job.strategy.scope():
        tf.Variable(0.0, name="v")
    for step in job.each_step(4):
        job.strategy.run(lambda: None)
        if step == 2:
            raise OSError("no data")
"""


def saved(run: Path, *places: Place) -> Path:
    """Provide a run with checkpoints; only their names matter."""
    path = run / CHECKPOINTS
    path.mkdir(parents=True)
    for place in places:
        archive.file_of(path / place.name).touch()
    folder.write_list(path, [str(path / place.name) for place in places])
    return run


def test_the_last_checkpoint_whose_file_exists_is_named(tmp_path: Path) -> None:
    run = saved(tmp_path / "a", Place(0, 0), Place(0, 10), Place(1, 5))
    assert (1, 5) == last_checkpoint(run)
    archive.file_of(run / CHECKPOINTS / "loop-1-step-5").unlink()
    assert (0, 10) == last_checkpoint(run)
    archive.file_of(run / CHECKPOINTS / "loop-0-step-10").unlink()
    assert last_checkpoint(run) is None  # no step is saved
    assert last_checkpoint(tmp_path) is None
    assert ["step 5", "step 5 of loop 2"] == [str(Place(0, 5)), str(Place(1, 5))]


@pytest.mark.parametrize(
    ("status", "interrupted", "continues"),
    [
        (RunStatus.FAILED, [], True),
        (RunStatus.INTERRUPTED, [Phase.TRAINING.value], True),
        (RunStatus.INTERRUPTED, [Phase.JUDGING.value], False),  # all steps are done
        (RunStatus.DONE, [], False),
    ],
)
def test_a_run_that_is_not_done_continues(
    tmp_path: Path, status: RunStatus, interrupted: list[str], continues: bool
) -> None:
    run = saved(tmp_path / "a", Place(0, 10))
    RunFiles(run).save(summary(status=status, interrupted=interrupted))

    assert ((0, 10) if continues else None) == continuation(run)


def test_a_killed_run_continues_and_a_running_one_does_not(tmp_path: Path) -> None:
    run = saved(tmp_path / "a", Place(0, 10))
    latest = tmp_path / "latest"
    latest.symlink_to("a")
    said = f"checkpoint after step 10: continue with `varsim run --resume {run}`"

    assert said == how_to_continue(run) == how_to_continue(latest)
    with RunFiles(run).claimed() as ours:
        assert ours
        assert "" == how_to_continue(run)
    listed = CliRunner().invoke(main, ["runs", "--out", str(tmp_path), "--json"])
    assert "[]" == listed.stdout.strip()  # without an experiment, the folder is no run


@pytest.mark.thorough
@pytest.mark.processes
def test_a_failed_run_names_the_command_that_continues_it(tmp_path: Path) -> None:
    program, out = tmp_path / "fails.py", tmp_path / "runs"
    program.write_text(FAILS)

    words = ["workers=1", "checkpoint=2", "--out", str(out)]
    failed = CliRunner().invoke(main, ["run", str(program), *words])

    run = load_summary(out / "latest").directory
    said = f"checkpoint after step 2: continue with `varsim run --resume {run}`\n"
    assert failed.stderr.endswith(said)
    checked = CliRunner().invoke(main, ["check", str(out / "latest")])
    assert checked.stdout.endswith(f"\n\n{said}")
    listed = CliRunner().invoke(main, ["runs", "--out", str(out)])
    assert listed.stdout.endswith(said)
    again = CliRunner().invoke(main, ["run", "--resume", str(run), "--out", str(out)])
    assert "resumed: " in again.stdout
