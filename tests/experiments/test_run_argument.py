"""A run carries its program, and can be repeated from the carried program."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.analysis.build import parse_history
from varsim.errors import ConfigError
from varsim.experiments import carried_program
from varsim.experiments.loading import Override
from varsim.experiments.run_argument import experiment_again, experiment_of
from varsim.experiments.runner import run_experiment
from varsim.experiments.store import RunDirectory, load_summary
from varsim.report.summary import Summary
from varsim.testing import simulated_cluster

Write = Callable[[str, str], Path]

PROGRAM = """
import beside
import varsim as tf

def run(job, *, times: int = 1):
    with job.strategy.scope():
        v = tf.Variable(0.0, name="v", aggregation=tf.VariableAggregation.SUM)
    for _ in range(times):
        job.strategy.run(lambda: v.assign_add(beside.ONE))
    return {"v": v}
"""


@pytest.fixture(autouse=True)
def _in_one_process(write: Write) -> Iterator[None]:
    write("far/program.py", PROGRAM)
    write("far/beside.py", "ONE = 1.0\n")
    with simulated_cluster():
        yield
    sys.modules.pop("beside", None)


def run(word: str, *overrides: str, trust: bool = False) -> Summary:
    parsed = [Override.parse(text) for text in overrides]
    return run_experiment(experiment_of(word, parsed, trust=trust))


def error_of(word: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as raised:
        run(word, *overrides)
    return str(raised.value)


def moved(folder: str, to: str) -> Path:
    """Copy a run as if to another machine: the original files of its program are removed."""
    path = Path(to)
    shutil.copytree(folder, path, symlinks=True)
    shutil.rmtree("far", ignore_errors=True)
    return path


def test_a_run_carries_its_program_and_versions():
    summary = run("far/program.py", "params.times=2")
    folder = Path(summary.directory)

    assert PROGRAM == (folder / "program/program.py").read_text()
    assert "program/program.py" == summary.experiment["workload"]
    assert summary.carried is not None
    assert ["program.py", "beside.py"] == summary.carried.files
    assert {"varsim", "python", "numpy"} == summary.carried.versions.keys()
    assert summary == load_summary(folder)
    told = (folder / "summary.json").read_text() + (folder / "experiment.yaml").read_text()
    assert str(Path.cwd()) not in told


def test_a_run_killed_at_its_start_can_be_repeated(
    monkeypatch: pytest.MonkeyPatch,
):
    """Nothing that a repetition needs is written after `experiment.yaml`."""
    write_experiment = RunDirectory.write_experiment

    def copied(directory: RunDirectory, text: str) -> None:
        write_experiment(directory, text)
        shutil.copytree(directory.path, "killed")

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "write_experiment", copied)
        run("far/program.py", "params.times=2")

    assert {"v": 4.0} == run("killed").result


def test_the_experiment_is_carried_as_it_was_written(write: Write):
    text = "# my comment\nworkload: program.py\n"
    write("far/mine.yaml", text)
    summary = run("far/mine.yaml")

    assert text == (Path(summary.directory) / "program/mine.yaml").read_text()
    assert summary.carried is not None
    assert ["program.py", "beside.py", "mine.yaml"] == summary.carried.files


def test_a_built_in_workload_needs_no_source():
    summary = run("step_counter", "steps=1")

    assert summary.carried is not None
    assert ([], [], None) == (
        summary.carried.files,
        summary.carried.left_out,
        summary.carried.commit,
    )
    assert 1 == run("latest").step


def test_a_run_is_repeated_from_its_own_files():
    """The run is given by path, file, name, prefix or `latest`. Overrides apply."""
    first = run("far/program.py", "params.times=2", "workers=3", "name=mine")
    shutil.move("far", "gone")
    name = Path(first.directory).name

    for word in (first.directory, f"{first.directory}/experiment.yaml", name, "latest"):
        again = run(word)
        assert first.result == again.result
        assert (first.devices, first.experiment) == (again.devices, again.experiment)
        assert ["program.py", "beside.py"] == again.carried.files  # type: ignore[union-attr]
    assert {"v": 12.0} == run("latest", "params.times=4").result


def test_a_path_takes_precedence_over_a_name():
    first = run("far/program.py")
    shutil.copytree(first.directory, "step_counter")

    assert first.result == run("step_counter").result


def test_a_repeated_run_has_its_directory_in_runs():
    run("far/program.py", "out=elsewhere")

    assert Path(run("elsewhere/latest").directory).parent == Path("runs")


def test_a_program_of_another_user_needs_trust(monkeypatch: pytest.MonkeyPatch):
    """Another user has another key. The program is not executed without --trust."""
    folder = moved(run("far/program.py").directory, "theirs")
    monkeypatch.setattr(carried_program, "_key", lambda: b"another user's")
    (folder / "program/program.py").write_text("raise SystemExit('executed')\ndef run(job): ...\n")

    assert (
        "theirs contains a program that comes from another machine or user, or that was changed "
        "after the run. To run it, look at theirs/program/program.py and the other files in "
        "theirs/program/, then add --trust" == error_of("theirs")
    )
    (folder / "program/program.py").write_text(PROGRAM)
    (folder / "origin.json").unlink()
    assert error_of("theirs").endswith("then add --trust")
    assert {"v": 2.0} == run("theirs", trust=True).result


@pytest.mark.parametrize(
    "change", ["program/beside.py", "program/numpy.py", "program/a.so", "experiment.yaml"]
)
def test_a_changed_program_needs_trust(change: str):
    folder = Path(run("far/program.py").directory)
    with (folder / change).open("a") as file:
        file.write("# other\n")

    assert "was changed after the run" in error_of("latest")


def test_compiled_code_beside_the_sources_is_not_executed():
    """A user cannot read compiled code. Python executes the code if its date is the source's."""
    folder = Path(run("far/program.py").directory)
    cache = folder / "program/__pycache__"
    cache.mkdir()
    (cache / "beside.cpython-311.pyc").write_bytes(b"")

    assert {"v": 2.0} == run("latest").result
    assert not (cache / "beside.cpython-311.pyc").exists() or (
        (cache / "beside.cpython-311.pyc").stat().st_size > 0
    )


def test_an_experiment_of_the_user_needs_no_trust(write: Write):
    run("far/program.py")
    (Path("runs/latest") / "origin.json").unlink()
    own = write("own.py", PROGRAM.replace("beside.ONE", "5.0").replace("import beside", ""))

    assert {"v": 10.0} == run("latest", f"workload={own}").result


def test_a_run_without_its_source_is_refused():
    folder = Path(run("far/program.py").directory)
    shutil.rmtree(folder / "program")

    assert error_of("latest").endswith(
        f"cannot be run again: it does not contain its program, and {folder}/program/program.py "
        "does not exist; give the program as workload=PATH"
    )


def test_a_run_of_a_module_can_be_repeated(write: Write, monkeypatch: pytest.MonkeyPatch):
    write("pack_for_rerun/__init__.py", "")
    write("pack_for_rerun/age.py", "from . import one\n" + PROGRAM.replace("beside", "one", 2))
    write("pack_for_rerun/one.py", "ONE = 3.0\n")
    write("one.py", "ONE = 3.0\n")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    first = run("step_counter", "workload=pack_for_rerun.age")
    Path("pack_for_rerun").rename("gone")
    for module in ("pack_for_rerun.age", "pack_for_rerun.one", "pack_for_rerun", "one"):
        sys.modules.pop(module, None)
    sys.path.remove(str(Path.cwd()))

    assert {"v": 6.0} == first.result == run("latest").result


def test_an_installed_module_is_not_carried_but_imported_again():
    """This holds only for the user's own runs. A run of another user could name any module."""
    first = run("step_counter", "workload=varsim.workloads.step_counter", "steps=2")

    assert first.carried is not None
    assert ["module 'varsim.workloads.step_counter': it is installed"] == first.carried.left_out
    assert first.result == run("latest").result
    (Path("runs/latest") / "origin.json").unlink()
    assert "imports 'varsim.workloads.step_counter' as a program that comes from" in error_of(
        "latest"
    )
    assert first.result == run("latest", trust=True).result


def test_without_a_key_a_run_is_possible_but_not_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "far/program.py"))  # a file, not a folder
    folder = run("far/program.py").directory

    assert None is json.loads((Path(folder) / "origin.json").read_text())["mark"]
    assert "add --trust" in error_of("latest")


def test_the_key_is_private_and_not_in_the_run():
    folder = Path(run("far/program.py").directory)
    key = carried_program._state_directory() / "key"

    assert 0o600 == key.stat().st_mode & 0o777
    assert not any(
        key.read_text() in file.read_text("utf-8", "replace")
        for file in folder.rglob("*")
        if file.is_file()
    )


def test_the_commit_and_whether_the_tree_was_dirty_are_saved():
    def git(*words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.example")
        command = ["git", "-C", "far", *who, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    assert None is run("far/program.py").carried.commit  # type: ignore[union-attr]
    git("add", ".")
    git("commit", "-qm", "one")
    clean = run("far/program.py").carried
    Path("far/beside.py").write_text("ONE = 2.0\n")
    dirty = run("far/program.py").carried

    assert clean is not None
    assert dirty is not None
    assert (git("rev-parse", "HEAD"), False) == (clean.commit, clean.dirty)
    assert (clean.commit, True) == (dirty.commit, dirty.dirty)


def test_a_run_whose_policy_is_not_installed_names_the_package(tmp_path: Path):
    (tmp_path / "experiment.yaml").write_text("workload: digits\nmode: acme:2\n")
    builder = parse_history("variable w acme:2 MEAN float32 []\nprogram create w v=0 = 1.0\n")
    builder.run["policies"] = {"acme": "acme-policies 2.1", "local_sgd": "installed 1.0"}
    builder.write(tmp_path)

    with pytest.raises(ConfigError) as raised:
        experiment_again(tmp_path, [], trust=False)

    assert "'acme:2' is not a mode" in str(raised.value)
    assert str(raised.value).endswith(
        "\n  This run had the policy acme of acme-policies 2.1: install this package."
    )
