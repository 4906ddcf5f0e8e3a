"""Disk space for runs: sizes, tags, and the removal of the oldest runs."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from varsim.cli.main import main
from varsim.errors import ConfigError
from varsim.experiments import room, run_list
from varsim.experiments.run_files import foreign_files
from varsim.experiments.store import EXPERIMENT, RunFiles
from varsim.testing import simulated_cluster

KIB = 1024
PROGRAM = """
import varsim as tf

def run(job):
    with job.strategy.scope():
        v = tf.Variable(0.0, name="v", aggregation=tf.VariableAggregation.SUM)
    job.strategy.run(lambda: v.assign_add(1.0))
"""


def stored(out: Path, day: int, size_bytes: int = KIB, title: str = "x") -> Path:
    """Make a directory that looks like a run of this size."""
    run = out / f"202601{day:02}-030405-{title}"
    (run / "logs").mkdir(parents=True)
    (run / EXPERIMENT).write_text("name: x\n")
    (run / "logs/worker.log").write_bytes(bytes(size_bytes - (run / EXPERIMENT).stat().st_size))
    return run


def names(out: Path) -> list[str]:
    return sorted(one.name[6:8] for one in out.iterdir())


def varsim(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_the_oldest_runs_are_removed_until_the_limit_is_met(tmp_path: Path) -> None:
    for day in (3, 1, 4, 2):
        stored(tmp_path, day)
    removed = room.make_room(tmp_path, 2 * KIB)
    assert [run.path.name[6:8] for run in removed.removed] == ["01", "02"]
    assert removed.left_bytes == 2 * KIB
    assert names(tmp_path) == ["03", "04"]


def test_tagged_running_and_newest_runs_are_not_removed(tmp_path: Path) -> None:
    tagged, running, kept, other = (stored(tmp_path, day) for day in (1, 2, 3, 4))
    room.set_tag(tagged, "baseline")
    with RunFiles(running).claimed():
        assert [one.path for one in room.make_room(tmp_path, 0, kept).removed] == [other]
    room.set_tag(tagged, "")
    assert [one.path for one in room.make_room(tmp_path, 0, kept).removed] == [tagged, running]


def test_a_run_that_another_process_removes_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [stored(tmp_path, day) for day in (1, 2)]
    found = room.stored_runs(tmp_path)
    files = list(os.scandir(runs[0]))

    def meanwhile(run: Path) -> list[str]:
        shutil.rmtree(run)
        return foreign_files(run)

    monkeypatch.setattr(room, "foreign_files", meanwhile)
    assert room.make_room(tmp_path, 0) == room.Room(removed=(), left_bytes=0)
    assert [room.bytes_of(one) for one in files if one.is_file()] == [0]
    monkeypatch.setattr(run_list, "stored_runs", lambda _: found)
    assert run_list.listed_runs(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        room.remove_run(runs[0])


def test_a_directory_that_varsim_did_not_make_is_never_removed(tmp_path: Path) -> None:
    mine = tmp_path / "my_project"
    mine.mkdir()
    (mine / EXPERIMENT).write_text("name: x\n")
    assert not room.make_room(tmp_path, 0).removed
    assert mine.is_dir()


def test_targets_of_links_are_not_counted_or_removed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "data").write_bytes(bytes(50 * KIB))
    run = stored(tmp_path / "runs", 1)
    (run / "logs/data").symlink_to(elsewhere)
    (only,) = room.stored_runs(tmp_path / "runs")
    assert only.size_bytes < 2 * KIB
    room.make_room(tmp_path / "runs", 0)
    assert not run.exists()
    assert (elsewhere / "data").exists()


def test_a_run_with_files_of_the_user_is_removed_only_by_force(tmp_path: Path) -> None:
    run = stored(tmp_path, 1)
    for name in (
        ".summary.json",
        "history.db-journal",
        "server-0.trace",
        "server-0.trace-tail",
        "report.html",
    ):
        (run / name).touch()
    assert [] == foreign_files(run)
    (run / "notes.md").touch()
    (run / "strategy-2" / "plots").mkdir(parents=True)
    (run / "points" / "1-x").mkdir(parents=True)
    (run / "points" / "1-x" / "mine.txt").touch()

    assert ["notes.md", "points/1-x/mine.txt", "strategy-2/plots/"] == foreign_files(run)
    assert () == room.make_room(tmp_path, 0).removed
    with pytest.raises(ConfigError, match=r"varsim did not write notes.md, .* in it.*--force"):
        room.remove_run(run)
    room.remove_run(run, force=True)
    assert not run.exists()


@pytest.mark.parametrize("tag", ["two\nlines", "x" * 81, "\x1b[31m"])
def test_a_tag_is_one_short_line(tmp_path: Path, tag: str) -> None:
    with pytest.raises(ConfigError, match="not one line"):
        room.set_tag(stored(tmp_path, 1), tag)


def test_a_large_folder_is_mentioned_only_without_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [stored(tmp_path, day) for day in (1, 2, 3)]
    assert not room.room_after(runs[-1])
    monkeypatch.setattr(room, "LARGE_BYTES", 3 * KIB)
    assert "has 3 runs with 3.00 KiB" in room.room_after(runs[-1])
    monkeypatch.setenv("VARSIM_RUNS_LIMIT", "2KiB")
    assert "removed the oldest run without a tag (1.00 KiB)" in room.room_after(runs[-1])
    assert names(tmp_path) == ["02", "03"]
    monkeypatch.setenv("VARSIM_RUNS_LIMIT", "1B")
    assert "still has 1.00 KiB" in room.room_after(runs[-1])
    assert names(tmp_path) == ["03"]


def test_a_run_applies_the_limit_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("program.py").write_text(PROGRAM)
    old = stored(Path("runs"), 1)
    monkeypatch.setenv("VARSIM_RUNS_LIMIT", "many")
    with simulated_cluster():
        refused = varsim("run", "program.py")
        assert refused.exit_code == 2
        assert "VARSIM_RUNS_LIMIT='many': expected a size, such as 2GiB" in refused.stderr
        assert [one.name for one in Path("runs").iterdir()] == [old.name]
        monkeypatch.setenv("VARSIM_RUNS_LIMIT", "1B")
        done = varsim("run", "program.py")
    assert done.exit_code == 0
    assert "removed the oldest run without a tag" in done.stderr
    assert not old.exists()
    assert len(room.stored_runs(Path("runs"))) == 1


def test_the_command_lists_tags_and_removes_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert varsim("runs").output == "runs/: 0 runs, 0 B\n"
    for day in (1, 2):
        stored(Path("runs"), day)
    listed = varsim("runs", "20260101", "--tag", "baseline").output
    assert listed.startswith("runs/: 2 runs, 2.0")
    (line,) = (line for line in listed.splitlines() if line.startswith("20260101"))
    assert line.split() == ["20260101-030405-x", "no", "summary", "auto", "1.01", "KiB", "baseline"]
    assert varsim("runs", "--limit", "1").output.startswith("removed 20260102-030405-x\n")
    (left,) = json.loads(varsim("runs", "--json").stdout)
    assert left["tag"] == "baseline"
    assert varsim("runs", "20260101", "--untag", "--limit", "1", "--json").stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--limit", "lots"], "--limit lots: expected a size, such as 2GiB or 500MiB"),
        (["latest"], "there is no run 'latest'"),
        (["--untag"], "--untag and --remove need a RUN"),
        (["nothing", "--tag", "x"], "there is no run 'nothing'"),
    ],
)
def test_wrong_uses_of_the_command_are_errors(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    result = varsim("runs", *arguments, "--out", str(tmp_path))
    assert result.exit_code == 2
    assert said in result.stderr
