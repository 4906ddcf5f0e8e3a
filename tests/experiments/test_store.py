"""The directory of a run, and its summary."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from varsim.errors import ConfigError
from varsim.experiments.store import (
    RunDirectory,
    as_json,
    from_plain,
    load_summary,
    schema,
)
from varsim.report.summary import Digest, Failure, Lens, RunStatus, Sample, Summary, VariableSummary

NOW = datetime(2026, 1, 2, 3, 4, 5).astimezone()
DIGEST = Digest(shape=[2], elements=[1.5, "NaN"], minimum=1.5, mean="NaN", maximum=None)
LENS = Lens(
    components=[DIGEST, DIGEST],
    value=None,
    refused="because",
    apart="Infinity",
    samples=[Sample(index=[0], components=[1.5, 2], value=None)],
)
SUMMARY = Summary(
    status=RunStatus.FAILED,
    failure=Failure(kind="ValueError", text="ä → \n", traceback=""),
    varsim="0.1.0",
    started="2026-01-02T03:04:05+00:00",
    directory="runs/x",
    experiment={"name": "x", "params": {"a": [1, {"b": None}]}},
    devices=["cpu:0", "cpu:1"],
    seconds={"start_up": 0.25},
    step=3,
    total_steps=None,
    metrics={"loss": 0.5},
    result={"a": [[1, 2], [3, 4]], "b": {}, "c": []},
    variables=[
        VariableSummary(
            name="w",
            free=True,
            requested="AUTO",
            synchronization="ON_WRITE",
            aggregation="MEAN",
            shape=[2, None],
            dtype="float32",
            writes=1,
            reads=2,
            merges=3,
            messages=4,
            size_bytes=5,
            waited_s=0.5,
            lens=lens,
        )
        for lens in (LENS, None)
    ],
    warnings=["careful"],
)


def test_a_summary_is_equal_after_saving_and_loading(tmp_path: Path):
    directory = RunDirectory.make(tmp_path / "out", "x", NOW)
    directory.save(SUMMARY)

    assert SUMMARY == load_summary(directory.path) == load_summary(tmp_path / "out" / "latest")
    assert SUMMARY == from_plain(json.loads(as_json(SUMMARY)), "x")
    assert ["summary.json"] == [path.name for path in directory.path.iterdir()]


def test_lists_of_numbers_are_on_one_line():
    assert "      [1, 2],\n      [3, 4]\n" in as_json(SUMMARY)


def test_the_schema_has_every_field():
    assert {"version", *SUMMARY.__dataclass_fields__} == schema()["properties"].keys()


def test_a_directory_is_named_after_time_and_title(tmp_path: Path):
    made = [RunDirectory.make(tmp_path, "x", NOW).path.name for _ in range(3)]

    assert ["20260102-030405-x", "20260102-030405-x-2", "20260102-030405-x-3"] == made


def test_discarding_a_run_removes_only_its_own_files(tmp_path: Path):
    kept = RunDirectory.make(tmp_path / "a", "x", NOW)
    RunDirectory.make(tmp_path / "a", "y", NOW).discard()
    RunDirectory.make(tmp_path / "b" / "c", "x", NOW).discard()

    assert ["a"] == [path.name for path in tmp_path.iterdir()]
    assert kept.path == (tmp_path / "a" / "latest").resolve()


def test_a_folder_that_another_run_creates_at_once_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, exists = tmp_path / "runs", Path.exists
    out.mkdir()
    monkeypatch.setattr(Path, "exists", lambda path: path != out and exists(path))

    RunDirectory.make(out, "x", NOW).discard()
    assert out.is_dir()


def test_a_folder_called_latest_is_not_replaced_by_a_link(tmp_path: Path):
    (tmp_path / "latest").mkdir()
    RunDirectory.make(tmp_path, "x", NOW)

    assert {"latest", "20260102-030405-x"} == {path.name for path in tmp_path.iterdir()}
    assert not (tmp_path / "latest").is_symlink()


def test_a_summary_of_version_1_is_read():
    """In version 1 the location of a failure was named `place`."""
    values = json.loads(as_json(SUMMARY)) | {"version": 1}
    del values["failure"]["location"]
    values["failure"]["place"] = "train.py:7"

    assert SUMMARY.failure is not None
    assert replace(SUMMARY.failure, location="train.py:7") == from_plain(values, "x").failure


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "cannot be read"),
        ("{", "is not valid JSON"),
        ("[]", "it is not an object of JSON"),
        ('{"version": 3}', "a summary of version 3; this varsim reads 2"),
        ('{"version": 1}', "is not the summary of a run"),
        ('{"version": 1, "failure": "none"}', "is not the summary of a run"),
        ('{"version": 1, "status": "sleeping"}', "is not the summary of a run"),
    ],
)
def test_an_invalid_summary_is_refused(tmp_path: Path, text: str | None, problem: str):
    if text is not None:
        (tmp_path / "summary.json").write_text(text)
    with pytest.raises(ConfigError, match=problem):
        load_summary(tmp_path)
