"""Each note names what was not examined, and the option that examines it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.analysis.build import parse_history
from varsim.analysis.examination import examine
from varsim.analysis.failures import DONE, Ending
from varsim.analysis.findings.amounts import PARTIAL_RESET, SUMMED_START
from varsim.analysis.findings.compared import Compared
from varsim.analysis.findings.remainders import COUNTED_TWICE
from varsim.analysis.findings.scaling_messages import (
    FIRST_REPLICA_ONLY,
    MEAN_OF_MEANS,
    TRUNCATION,
    WRONG_FACTOR,
)
from varsim.analysis.notes import EVERYTHING, LIMIT, ORACLE, WHOLE
from varsim.analysis.outcome import Note
from varsim.analysis.search import SEARCHED_KINDS
from varsim.report.verdict_text import nothing_found

CALL = """
replicas 2
variable v ON_WRITE MEAN float32 []
variable w ON_WRITE MEAN float32 []
program create v v=0 = 0
program create w v=0 = 0
program call call=1                                         as start
0 begin call=1                                              after start
1 begin call=1                                              after start
0 read v v=0 = 0
1 read v v=0 = 0
0 return call=1                                             as done-0
1 return call=1                                             as done-1
program receive replica=0                                   after done-0
program receive replica=1                                   after done-1
program finish call=1
"""


def notes(text: str, folder: Path, no_oracle: str = "", **run: object) -> list[Note]:
    """Return all notes except the last: every run has a last note on values outside variables."""
    story = parse_history(text)
    story.run |= run
    with story.history(folder) as history:
        *found, last = examine(
            history, ending=Ending(status=DONE), no_oracle=no_oracle
        ).not_looked_at
    assert last.text.startswith("values outside variables")
    return found


def said(found: list[Note]) -> list[tuple[str, str]]:
    return [(one.text, one.option) for one in found]


WITHOUT = ("whether values equal those of a single device", ORACLE)


def test_without_an_oracle_nothing_was_compared(tmp_path: Path):
    assert [WITHOUT] == said(notes(CALL, tmp_path))


def test_the_note_on_a_failed_oracle_has_the_reason(tmp_path: Path):
    assert [(f"{WITHOUT[0]}: the oracle was interrupted", "")] == said(
        notes(CALL, tmp_path, "the oracle was interrupted")
    )


def test_one_replica_needs_no_oracle(tmp_path: Path):
    assert [] == notes("replicas 1\nprogram call call=1\n", tmp_path)


def test_values_with_only_a_checksum_are_counted(tmp_path: Path):
    text = CALL.replace("read v v=0 = 0", "read v v=0 ~ 0")
    assert (
        "2 values of v: these values are larger than 1 KiB, so only checksums were recorded, which "
        "show only whether values are equal",
        EVERYTHING,
    ) in said(notes(text, tmp_path))


def test_values_that_were_not_recorded_are_counted(tmp_path: Path):
    story = parse_history(CALL)
    story.events = [
        one._replace(value=None, digest=None) if one.kind == "create" else one
        for one in story.events
    ]
    with story.history(tmp_path) as history:
        found = list(examine(history).not_looked_at)
    assert (
        "2 values of v, w: alone or with other values of the same message, these values are larger "
        "than 64 KiB, so they were not recorded",
        EVERYTHING,
    ) in said(found)


def test_a_window_says_which_calls_were_not_recorded(tmp_path: Path):
    text = "the calls of strategy.run before number 1 and after number 4, and findings"
    assert [(f"{text}: only this window was recorded", WHOLE), WITHOUT] == said(
        notes(CALL, tmp_path, window=[1, 5])
    )


@pytest.mark.parametrize(
    ("why", "option"),
    [("the record of replica 1 reached its limit", LIMIT), ("replica 1 was killed", "")],
)
def test_an_incomplete_record_is_not_searched_for_findings(why: str, option: str, tmp_path: Path):
    text = f"findings: the record is not whole: {why}"
    run = {"complete": False, "missing": [why], "limited": option == LIMIT}
    assert [(text, option), WITHOUT] == said(notes(CALL, tmp_path, **run))


def test_a_note_names_the_option():
    assert "a; use --b" == str(Note(text="a", option="--b"))
    assert "a" == str(Note(text="a"))


def test_kinds_that_cannot_be_searched_for_are_not_counted(tmp_path: Path):
    """Some kinds need an oracle and rules. Integer truncation needs only the oracle."""
    with parse_history(CALL).history(tmp_path) as history:
        found = examine(history)
    nothing = Compared(values=1, locations=1, differences=(), uncompared=(), own=())
    untried = replace(found, compared=replace(nothing, not_comparable="it had other data"))

    of_sums = {SUMMED_START, PARTIAL_RESET, COUNTED_TWICE}
    of_batches = {WRONG_FACTOR, MEAN_OF_MEANS, FIRST_REPLICA_ONLY, *of_sums}
    assert of_batches | {TRUNCATION} == found.kinds_left_out
    assert set() == replace(found, compared=nothing).kinds_left_out
    assert of_batches == untried.kinds_left_out
    said = f"{len(SEARCHED_KINDS) - 6} kinds of findings that need no oracle with the whole batch"
    assert said in nothing_found(untried)
