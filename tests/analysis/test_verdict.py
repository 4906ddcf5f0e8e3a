"""Verdicts of every checker, on a history that keeps its promise and on a history that does not."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.analysis.build import parse_history
from tests.analysis.golden import FOLDER, MARK, shown, verdicts
from varsim.analysis.checkers.record import WellFormedRecord
from varsim.analysis.outcome import Outcome, Verdict, overall
from varsim.analysis.verdict import CHECKERS, judge
from varsim.tracing.history import open_history

NAMES = [WellFormedRecord.name, *(checker.name for checker in CHECKERS)]


def said(text: str, checker: str, folder: Path) -> tuple[str, str]:
    verdict = verdicts(text, folder)[checker]
    return verdict.outcome.value, verdict.reason


@pytest.mark.parametrize("name", NAMES)
def test_a_kept_promise_is_valid(tmp_path: Path, name: str):
    """The history for one promise also keeps all other promises."""
    text = (FOLDER / f"{name}-valid.txt").read_text("utf-8")

    assert dict.fromkeys(NAMES, Outcome.VALID) == {
        checker: verdict.outcome for checker, verdict in verdicts(text, tmp_path).items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_broken_promise_is_proved(tmp_path: Path, name: str):
    text = (FOLDER / f"{name}-invalid.txt").read_text("utf-8")
    expected = text.partition(MARK)[2]

    assert expected.startswith("INVALID: ")
    assert expected == shown(text, name, tmp_path)


def test_every_recorded_history_is_for_a_checker():
    expected = {f"{name}-{outcome}.txt" for name in NAMES for outcome in ("valid", "invalid")}
    assert expected == {path.name for path in FOLDER.iterdir()}


def test_the_worst_outcome_is_the_outcome_of_all():
    def worst_of(*outcomes: Outcome) -> Outcome:
        return overall(Verdict("x", outcome, "y") for outcome in outcomes)

    assert Outcome.VALID is worst_of(Outcome.VALID)
    assert Outcome.UNKNOWN is worst_of(Outcome.VALID, Outcome.UNKNOWN)
    assert Outcome.INVALID is worst_of(Outcome.UNKNOWN, Outcome.INVALID, Outcome.VALID)


GATHERED = """
variable t ON_READ SUM int32 []
program create t v=0 = 1
0 write t assign v=0
program read t v=0 = 4
"""


def test_a_missing_value_makes_its_checker_unknown(tmp_path: Path):
    """The other checkers give a verdict."""
    found = {name: v.outcome for name, v in verdicts(GATHERED, tmp_path).items()}
    assert Outcome.UNKNOWN is found.pop("gathered-reads")
    assert {Outcome.VALID} == set(found.values())


def test_an_incomplete_record_is_judged_up_to_its_end(tmp_path: Path):
    broken = (FOLDER / "monotonic-reads-invalid.txt").read_text("utf-8").partition(MARK)[0]
    unfinished = f"run complete=false\n{broken}0 read w v=1 = 5\nprogram read w v=1 = 5\n"

    assert ("INVALID", "w: replica 1 reads version 0 after 1") == said(
        unfinished, "monotonic-reads", tmp_path
    )
    assert ("UNKNOWN", "not every process's record ended properly") == said(
        unfinished, "atomic", tmp_path
    )


def test_events_after_a_lost_event_prove_nothing(tmp_path: Path):
    story = parse_history((FOLDER / "versions-invalid.txt").read_text("utf-8").partition(MARK)[0])
    lost = story.events.pop(3)  # replica 0's first install
    with story.history(tmp_path) as history:
        found = judge(history)

    assert (0, 0, "install") == (lost.process, lost.number, lost.kind)
    assert {"event 0 of replica 0 is missing"} == {verdict.reason for verdict in found}
    assert Outcome.UNKNOWN is overall(found)


@pytest.mark.parametrize(
    ("where", "count"),
    [("1", 0), ("process = 1", 10), ("event = (SELECT max(event) FROM events)", 11)],
    ids=["all", "those of replica 1", "the last one"],
)
def test_events_removed_from_a_history_are_noticed(tmp_path: Path, where: str, count: int):
    text = (FOLDER / "versions-valid.txt").read_text("utf-8").partition(MARK)[0]
    file = parse_history(text).write(tmp_path)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"DELETE FROM events WHERE {where}")
        connection.commit()
    with open_history(file) as history:
        found = judge(history)

    assert Outcome.UNKNOWN is overall(found)
    assert {f"the record has {count} events, and had 12 when it was written"} == {
        verdict.reason for verdict in found
    }


def test_a_window_is_judged_without_its_past(tmp_path: Path):
    """The first value in the window is accepted; errors after it are found."""
    begun = (
        "run window=[10,20]\nvariable w ON_WRITE SUM int32 []\nprogram read w v=7 = 3\n"
        "program write w assign = 5\nprogram commit w assign v=8 = 5 as c\n"
        "0 install w v=8 after c\n"
    )
    right, wrong = begun + "0 read w v=8 = 5\n", begun + "0 read w v=8 = 6\n"

    reason = "nothing recorded is wrong, but only a window of steps was recorded"
    assert ("UNKNOWN", reason) == said(right, "versions", tmp_path)
    assert "INVALID" == said(wrong, "read-your-writes", tmp_path)[0]
    assert "INVALID" == said(wrong, "agreement", tmp_path)[0]


MERGE = """
variable v ON_WRITE {aggregation} {dtype} []
program create v v=0 = 0
program call call=1 as start
0 begin call=1 after start
1 begin call=1 after start
0 write v assign call=1 position=0 = {first} as sent0
1 write v assign call=1 position=0 = {second} as sent1
program receive replica=0 after sent0
program receive replica=1 after sent1
program commit v assign call=1 position=0 v=1 = {commit}
"""


@pytest.mark.parametrize(
    ("aggregation", "dtype", "first", "second", "commit"),
    [
        ("SUM", "int8", 100, 100, -56),
        ("SUM", "uint64", 2**63, 2**63, 0),
        ("SUM", "float16", 60000.0, 60000.0, "Infinity"),
        ("MEAN", "float16", 2049.0, 2050.0, 2048.0),
        ("MEAN", "complex64", 1.0, 4.0, 2.5),
        ("SUM", "float64", "Infinity", "-Infinity", "NaN"),
        ("ONLY_FIRST_REPLICA", "bool", "true", "false", "true"),
    ],
)
def test_sums_round_and_wrap_as_the_dtype(
    tmp_path: Path, aggregation: str, dtype: str, first: object, second: object, commit: object
):
    text = MERGE.format(
        aggregation=aggregation, dtype=dtype, first=first, second=second, commit=commit
    )
    assert "VALID" == said(text, "reduction", tmp_path)[0]


def test_a_long_proof_is_cut_where_the_value_was_last_seen(tmp_path: Path):
    """A value that a read has shown need not be proved again."""
    lines = ["variable t ON_READ NONE int32 []", "program create t v=0 = 0"]
    for count in range(1, 2001):
        lines += ["0 write t assign_add = 1"] + [f"0 read t v=0 = {count}"] * (count == 1990)
    found = verdicts("\n".join([*lines, "0 read t v=0 = 7"]), tmp_path)["read-your-writes"]

    assert ["read", *["write"] * 10, "read"] == [event.kind for event in found.events]
