"""The records of a run, as the folders of a run show them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.summaries import summary
from varsim.analysis.failures import DONE, UNKNOWN
from varsim.experiments.run_records import RunRecords, records_of
from varsim.experiments.store import EXPERIMENT, RunFiles
from varsim.tracing.trace_format import PROGRAM, file_name


def killed_run(run: Path, *places: tuple[int, int] | None) -> Path:
    """Write the folders of a run that was killed; each further record may have a noted place."""
    for number, place in enumerate([None, *places], start=1):
        files = RunFiles(run if number == 1 else run / f"strategy-{number}")
        files.traces.mkdir(parents=True)
        (files.traces / file_name(PROGRAM)).touch()
        if place is not None:
            files.note_place(*place)
    (run / EXPERIMENT).touch()
    return run


def parts(records: RunRecords) -> list[tuple[int, str]]:
    return [(one.strategy, one.part) for one in records.every]


def test_the_incarnations_of_a_killed_run_are_found_by_the_places_in_their_folders(tmp_path: Path):
    """The third record is of the second strategy, whose workers were started only once."""
    run = killed_run(tmp_path / "run", (1, 2), None, (1, 3))
    records = records_of(run)

    of_first = [(1, f"incarnation {number} of 3") for number in (1, 2, 3)]
    assert [*of_first[:2], (2, ""), of_first[2]] == parts(records)
    assert records.is_whole
    assert [1, 2, 3] == [one.incarnation for one in records.incarnations]
    endings = [one.ending for one in records.every if one.ending is not None]
    assert [UNKNOWN] * 4 == [one.status for one in endings]
    assert [True, True, False, False] == [one.goes_on for one in endings]


@pytest.mark.parametrize("word", ["run/history.db", "run/strategy-2", "run/strategy-2/history.db"])
def test_a_record_that_is_named_is_the_only_one(word: str, tmp_path: Path):
    killed_run(tmp_path / "run", (1, 2))
    records = records_of(tmp_path / word)

    assert not records.is_whole
    assert [records.named] == records.incarnations
    assert tmp_path / word == records.named.path
    assert (1, 2 if "strategy-2" in word else 1) == records.named.place
    assert 2 == len(records.every)


@pytest.mark.parametrize(
    "noted", ["", "[]", '{"strategy": 1}', '{"strategy": "1", "incarnation": 2}']
)
def test_a_damaged_place_is_not_used(noted: str, tmp_path: Path):
    run = killed_run(tmp_path / "run", (1, 2))
    (run / "strategy-2" / "incarnation.json").write_text(noted)
    assert [(1, ""), (2, "")] == parts(records_of(run))


def test_a_start_that_was_killed_has_no_record_but_counts(tmp_path: Path):
    run = killed_run(tmp_path / "run", (1, 2))
    (run / "strategy-2" / "trace" / file_name(PROGRAM)).unlink()
    (record,) = records_of(run).every

    assert "incarnation 1 of 2" == record.part
    assert record.ending is not None
    assert (False, True) == (record.ending.goes_on, record.ending.lacks_successor)


def test_the_summary_has_priority_over_the_noted_place(tmp_path: Path):
    run = killed_run(tmp_path / "run", (1, 2))
    RunFiles(run).save(summary(incarnations=2))
    RunFiles(run / "strategy-2").save(summary(strategy=1, incarnation=2, incarnations=2))
    endings = [one.ending for one in records_of(run).every if one.ending is not None]
    assert [(DONE, True), (DONE, False)] == [(one.status, one.goes_on) for one in endings]


def test_a_summary_of_another_version_leaves_the_ending_unknown(tmp_path: Path):
    run = killed_run(tmp_path / "run")
    (run / "summary.json").write_text('{"version": 99}')
    assert records_of(run).named.ending is None


def test_a_history_outside_a_run_has_no_ending(tmp_path: Path):
    (tmp_path / "mine.db").touch()
    records = records_of(tmp_path / "mine.db")
    assert (tmp_path / "mine.db", None) == (records.named.path, records.named.ending)
    assert not records.is_whole
