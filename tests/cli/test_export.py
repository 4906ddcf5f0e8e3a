"""The command `varsim export` in this process: the contents of an archive, and what it omits."""

from __future__ import annotations

import getpass
import json
import platform
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.archives import unpack_tar
from varsim.analysis.verdict import judge
from varsim.cli.main import main
from varsim.experiments import recording
from varsim.experiments.metric_series import read_series
from varsim.experiments.store import RunFiles, load_summary
from varsim.testing import simulated_cluster
from varsim.tracing.history import open_history

SECRET = 1234.5678
PROGRAM = f"""
import varsim as tf

def run(job, *, data: str = "", trouble: bool = False):
    with job.strategy.scope():
        v = tf.Variable({SECRET}, name="v", aggregation=tf.VariableAggregation.SUM)
        rows = tf.Variable([[0.0], [0.0]], name="rows", aggregation=tf.VariableAggregation.SUM)
    job.strategy.run(lambda: v.assign_add(1.0))
    rows.scatter_add(tf.IndexedSlices([[{SECRET}]], [1]))
    job.progress(1, 1, loss={SECRET})
    if trouble:
        raise ValueError(f"{{__file__}} has {SECRET}")
    return {{"v": {SECRET}}}
"""


@pytest.fixture(autouse=True)
def _in_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Provide a program outside the directory in which it runs."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(platform, "node", lambda: "my-host.example")
    monkeypatch.setattr(getpass, "getuser", lambda: "myself")
    for name in ("mine", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "mine/program.py").write_text(PROGRAM)
    with simulated_cluster():
        yield


def varsim(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def ran(*arguments: str) -> Path:
    return Path(varsim("run", "../mine/program.py", "-q", *arguments).stdout.strip())


def unpacked(*options: str, file: str = "sent.tar.gz") -> Path:
    result = varsim("export", "latest", file, *options)
    assert 0 == result.exit_code, result.output
    if file.endswith("gz"):
        unpack_tar(file, "sent")
    else:
        with zipfile.ZipFile(file) as archive:
            archive.extractall("sent")
    (folder,) = Path("sent").iterdir()
    return folder


def everything_in(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.mark.parametrize("file", ["sent.tar.gz", "sent.zip"])
def test_an_exported_run_can_be_examined_and_run_again(file: str):
    run = ran()
    folder = unpacked(file=file)
    again = varsim("run", str(folder), "--trust", "-q")

    assert run.name == folder.name
    names = {"experiment.yaml", "summary.json", "history.db", "metrics.jsonl", "program"}
    assert names == {path.name for path in folder.iterdir()}
    assert read_series(run) == read_series(folder)
    assert load_summary(run).variables == load_summary(folder).variables
    with open_history(folder) as history:
        assert {"VALID"} == {one.outcome.value for one in judge(history)}
    assert 0 == again.exit_code
    assert load_summary(run).result == load_summary(Path(again.stdout.strip())).result


def test_an_exported_run_is_not_trusted():
    ran()

    assert "then add --trust" in varsim("run", str(unpacked())).stderr


def test_an_exported_run_does_not_name_the_machine(tmp_path: Path):
    """Texts, free pages of the database and tar headers have no path, user name or host name."""
    run = ran("params.trouble=true", f"params.data={Path.home()}/data.csv", f"out={tmp_path}/runs")
    (run / "logs").mkdir()
    log = f"{tmp_path}/mine/program.py said myself@my-host.example in {sys.prefix}/x.py\n"
    (run / "logs/worker-0.log").write_text(log)
    result = varsim("export", str(run), "sent.tar")
    assert "the name must end in .tar.gz, .tgz, .zip" in result.stderr
    assert 0 == varsim("export", str(run), "sent.tgz").exit_code
    unpack_tar("sent.tgz", "sent")
    with tarfile.open("sent.tgz") as archive:
        assert {("", "", 0, 0)} == {(m.uname, m.gname, m.uid, m.gid) for m in archive.getmembers()}
    folder = Path("sent") / run.name
    found = everything_in(folder)

    for told in (str(tmp_path), str(Path.home()), "myself", "my-host", sys.prefix):
        assert told.encode() not in found, told
    failure = load_summary(folder).failure
    assert failure is not None
    assert f"program.py has {SECRET}" == failure.text
    assert 'File "program.py", line 12, in run' in failure.traceback
    assert (
        "program.py said user@host in python/x.py\n" == (folder / "logs/worker-0.log").read_text()
    )
    assert "~/data.csv" == load_summary(folder).experiment["params"]["data"]
    assert run.name == load_summary(folder).directory


def test_a_run_names_files_relative_to_their_import_folder():
    """Paths are relative even before the export. The program is outside the working directory."""
    run = ran("params.trouble=true")
    failure = load_summary(run).failure

    assert failure is not None
    assert "program.py:12" == failure.location
    assert 'File "program.py", line 12, in run' in failure.traceback
    with open_history(run) as history:
        writes = {event.location for event in history.events("kind = 'write'")}
        assert {"program.py:8", "program.py:9"} == writes


def test_no_source_leaves_out_the_program():
    ran()
    folder = unpacked("--no-source")
    carried = load_summary(folder).carried

    assert not (folder / "program").exists()
    assert carried is not None
    assert ([], ["program.py: left out of the export"]) == (carried.files, carried.left_out)
    assert "again: it does not contain its program" in varsim("run", str(folder)).stderr


@pytest.mark.parametrize("words", [["params.trouble=true"], ["oracle=true"]])
def test_no_values_leaves_out_values(words: list[str]):
    """Digests are left out, too, because values could be guessed from them. Operations are kept."""
    run = ran(*words)
    folder = unpacked("--no-values", "--no-source")
    found = everything_in(folder)
    summary = load_summary(folder)

    assert np.float32(SECRET).tobytes() in everything_in(run)
    for told in (str(SECRET).encode(), np.float32(SECRET).tobytes()):
        assert told not in found
    assert ({}, {}, None) == (summary.result, summary.metrics, summary.variables[0].lens)
    assert None is summary.failure or "ValueError" == summary.failure.kind
    assert (run / "oracle").exists() == (folder / "oracle").exists()
    with open_history(folder) as history, open_history(run) as before:
        kinds = "SELECT kind, location FROM events ORDER BY event"
        assert [kind for kind, _ in before.connection.execute(kinds).fetchall()] == [
            kind for kind, _ in history.connection.execute(kinds).fetchall()
        ]
        count = "SELECT COUNT(indices), COUNT(digest), COUNT(value) FROM events"
        assert 0 not in before.connection.execute(count).fetchone()
        assert (0, 0, 0) == history.connection.execute(count).fetchone()
    checked = varsim("check", str(folder)).stdout
    assert "values: they were left out when the run was exported" in checked


def test_export_lists_what_an_archive_contains_and_omits(tmp_path: Path):
    run = ran()
    (run / "notes.txt").write_text("")
    program = run / "program/program.py"
    program.write_text(program.read_text() + f"# see {tmp_path}/mine\n")
    result = varsim("export", run.name[:15], "--no-values")
    lines = result.stdout.splitlines()

    assert lines[0].startswith(f"{run.name}.tar.gz: ")
    assert "included: experiment.yaml, history.db, program/program.py, summary.json" == lines[1]
    assert [
        "left out: values: values of variables, results, metrics, findings, logs, texts",
        "  of errors",
        "left out: notes.txt",
    ] == lines[2:]
    assert (
        "warning: the program is exported unchanged, and it names this machine or its user: "
        "program/program.py:14\n" == result.stderr
    )


def test_a_failed_export_leaves_no_file():
    ran()

    assert "there is no run 'xyz'" in varsim("export", "xyz").stderr
    assert 6 == varsim("export", "latest", "nowhere/x.zip").exit_code
    (Path("runs/latest") / "summary.json").write_text("{}")
    assert 0 != varsim("export", "latest", "x.zip").exit_code
    assert [] == list(Path().glob("*.zip")) + list(Path().glob(".x*"))


def test_summaries_of_earlier_versions_can_be_exported():
    """These summaries have no list of carried files."""
    run = ran()
    values = json.loads((run / "summary.json").read_text())
    del values["carried"]
    (run / "summary.json").write_text(json.dumps(values))
    (run / "origin.json").unlink()

    assert load_summary(unpacked()).carried is None


@pytest.mark.parametrize("file", ["summary.json", "history.db"])
@pytest.mark.parametrize("text", ["", "{}", "null", "garbage"])
def test_the_error_for_a_broken_file_names_the_file(file: str, text: str):
    run = ran()
    (run / file).write_text(text)
    result = varsim("export", str(run), "x.zip")

    assert (2, True) == (result.exit_code, str(run / file) in result.stderr)


def test_an_export_without_values_can_be_exported():
    ran()
    folder = unpacked("--no-values")

    assert 0 == varsim("export", str(folder), "again.zip").exit_code


# ---------------------------------------------------------------- runs that were killed


def killed(*arguments: str) -> Path:
    """Return a run that was killed before its traces were merged."""
    with mock.patch.object(recording, "merge", side_effect=OSError):
        varsim("run", "../mine/program.py", "-q", *arguments)
    (run,) = (one for one in Path("runs").iterdir() if not one.is_symlink())
    assert (run / "trace").is_dir()
    (run / "summary.json").unlink()
    return run


def test_a_killed_run_is_exported_with_its_merged_record():
    run = killed()
    result = varsim("export", "latest", "sent.tar.gz")

    assert 0 == result.exit_code, result.output
    assert (
        "included: experiment.yaml, history.db, metrics.jsonl, program/program.py" in result.stdout
    )
    assert (
        f"not whole: {run} has no summary.json, because the run was killed or could not write "
        "the file; the archive has its experiment, and the record as far as it was written"
    ) in " ".join(result.stdout.split())
    folder = unpacked()
    assert run.name == folder.name
    checked = varsim("check", str(folder))
    assert "The run has no summary.json" in checked.output
    assert str(Path().absolute().parent).encode() not in everything_in(folder)


def test_a_killed_run_without_values_has_none():
    killed()
    folder = unpacked("--no-values", "--no-source")

    assert str(SECRET).encode() not in everything_in(folder)
    with open_history(folder) as history:
        assert {None} == {event.value for event in history.events()}


def test_a_run_that_was_killed_at_its_start_is_exported_without_a_record():
    run = killed()
    shutil.rmtree(run / "trace")
    result = varsim("export", str(run), "sent.zip")

    assert 0 == result.exit_code, result.output
    assert "included: experiment.yaml, metrics.jsonl, program/program.py" in result.stdout


def test_a_record_that_cannot_be_merged_is_named():
    run = killed()
    for trace in run.glob("trace/*"):
        trace.write_bytes(b"garbage")
    result = varsim("export", str(run), "sent.zip")

    assert 0 == result.exit_code, result.output
    assert "not whole: there is no record, because it could not be merged: " in (
        " ".join(result.stdout.split())
    )
    assert "history.db" not in result.stdout.splitlines()[1]


def test_a_run_that_has_not_ended_is_not_exported():
    run = killed()
    with RunFiles(run).claimed():
        result = varsim("export", str(run), "sent.zip")

    assert 2 == result.exit_code
    assert "the run has not ended" in result.stderr
    assert not Path("sent.zip").exists()
