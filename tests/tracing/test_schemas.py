"""Histories with earlier schemas can be read, are judged as before, and can be upgraded."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from varsim.analysis.examination import Examination, examine
from varsim.analysis.outcome import Outcome
from varsim.errors import ConfigError
from varsim.report.findings_text import in_lines
from varsim.tracing.history import HISTORY, SCHEMA, SCHEMA_VERSION, open_history, upgrade

RECORDED = Path(__file__).parent / "recorded"
OLD = sorted(RECORDED.glob("schema-*.sql"))


def restored(dump: Path, folder: Path) -> Path:
    """Create a history in a folder from the SQL of a dump."""
    file = folder / HISTORY
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(dump.read_text("utf-8"))
    return file


def examined(file: Path) -> Examination:
    with open_history(file) as history:
        return examine(history)


@pytest.fixture(params=OLD, ids=lambda dump: dump.stem)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return restored(request.param, tmp_path)


@pytest.fixture
def now(old: Path) -> Iterator[Path]:
    """Upgrade an old history to the current schema, and return its file."""
    with closing(sqlite3.connect(old)) as connection:
        upgrade(connection)
        connection.commit()
    yield old
    shutil.rmtree(old.parent)


def test_every_earlier_schema_has_a_recorded_history():
    assert [f"schema-{number}" for number in range(1, SCHEMA_VERSION)] == [one.stem for one in OLD]


def test_an_old_history_is_judged_as_before(old: Path):
    found = examined(old)

    unknown = [one for one in found.verdicts if one.outcome is not Outcome.VALID]
    assert [("collectives", Outcome.UNKNOWN)] == [(one.checker, one.outcome) for one in unknown]
    assert "without the values of collectives: record it again" in unknown[0].reason
    assert [
        "failed call, program.py:35",
        "failed call, program.py:42",
        "reads with nothing changed: seen, program.py:31",
    ] == in_lines(found.findings)
    assert [1, 1, 12] == [finding.count for finding in found.findings]
    assert (("program.py:42", 1), ("program.py:40", 1)) == found.findings[1].locations


def test_an_old_history_has_fields_from_its_texts(old: Path):
    with open_history(old) as history:
        events = list(history.events())

    assert {("all_reduce", "total of all"), ("all_reduce", None), ("merge_call", None)} == {
        (one.operation, one.note) for one in events if one.kind == "arrive"
    }
    assert {("reduced", None), ("merged", None)} == {
        (one.operation, one.note) for one in events if one.kind == "answer"
    }
    assert {1, 3} == {one.occurrences for one in events if one.kind == "read"}
    assert [None] * 3 + ["ValueError", "MismatchError"] == [
        one.error for one in events if one.kind == "finish"
    ]


def test_an_upgraded_history_has_the_same_verdict_and_events(old: Path, tmp_path: Path):
    with open_history(old) as history:
        before = list(history.events()), history.variables, {**history.run, "schema": 0}
        judged = examine(history)
    with closing(sqlite3.connect(old)) as connection:
        upgrade(connection)
        upgrade(connection)  # a second upgrade changes nothing
        connection.commit()
    with open_history(old) as history:
        after = list(history.events()), history.variables, {**history.run, "schema": 0}
        assert SCHEMA_VERSION == history.run["schema"]
        assert judged == examine(history)

    assert before == after


def test_an_upgraded_history_has_the_current_tables(now: Path, tmp_path: Path):
    def tables(connection: sqlite3.Connection) -> set[tuple[str, str]]:
        rows = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
        return {(name, " ".join(sql.split())) for name, sql in rows}

    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA)
        expected = tables(connection)
    with closing(sqlite3.connect(now)) as connection:
        assert expected == tables(connection)


def test_a_history_of_a_later_version_is_refused(now: Path):
    with closing(sqlite3.connect(now)) as connection:
        connection.execute("UPDATE run SET value = 99 WHERE key = 'schema'")
        connection.commit()

    with pytest.raises(ConfigError, match="schema 99: this version of varsim reads 1, 2, 3"):
        examined(now)
