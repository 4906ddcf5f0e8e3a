"""A damaged history is VALID only if a correct run could record it; the judge never crashes."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.build import write
from tests.analysis.corruption import CORRUPTIONS, Corrupted
from tests.analysis.healthy import Healthy
from tests.effort import many
from varsim.analysis.verdict import Outcome, judge, overall
from varsim.errors import HistoryError
from varsim.tracing.history import Event, History, open_history

pytestmark = pytest.mark.thorough

SEEDS = 250
GARBAGE_SEEDS = 200
STORIES = 10


def outcome(story: Healthy, corrupted: Corrupted, folder: Path) -> tuple[Outcome, str]:
    """Return the verdict and its reasons. A history that cannot be opened is UNKNOWN."""
    run = story.run | {"complete": corrupted.complete}
    path = write(folder, run, story.variables.values(), corrupted.events)
    try:
        with open_history(path) as history:
            verdicts = judge(history)
    except HistoryError as error:
        return Outcome.UNKNOWN, error.problem
    return overall(verdicts), "\n".join(f"{one.outcome} {one.reason}" for one in verdicts)


@pytest.mark.parametrize("joins", [False, True])
@pytest.mark.parametrize("seed", range(STORIES))
def test_a_correct_run_is_valid(tmp_path: Path, seed: int, joins: bool):
    with Healthy(seed, joins=joins).history(tmp_path) as history:
        assert {Outcome.VALID} == {verdict.outcome for verdict in judge(history)}


@pytest.mark.parametrize("number", range(STORIES))
def test_a_damaged_history_is_not_valid(tmp_path: Path, number: int):
    """The history is valid only if a correct run could have recorded the damaged events."""
    story = Healthy(number, joins=bool(number % 2))
    harmless = 0
    for seed in range(number, many(SEEDS), STORIES):
        corrupt = CORRUPTIONS[seed // STORIES % len(CORRUPTIONS)]
        corrupted = corrupt(story, random.Random(seed))
        found, reasons = outcome(story, corrupted, tmp_path)
        expected = {Outcome.VALID} if corrupted.harmless else {Outcome.INVALID, Outcome.UNKNOWN}
        assert found in expected, f"seed {seed}: {corrupted.how}\n{corrupted.harmless}\n{reasons}"
        harmless += bool(corrupted.harmless)
    assert harmless <= many(SEEDS) / STORIES / 2, (
        "a correct run could record too many of the damaged histories"
    )


GARBAGE: list[Any] = [None, -1, 0, 1, 2**40, -(2**60), 0.5, "x", "", "[", b"", b"\xff\x00\xff"]
REQUIRED = {"process", "number", "kind"}  # every event in a file has values in these columns
TOLD = [column for column in Event._fields if column not in {"event", "time_s"}]


@pytest.mark.parametrize("number", range(STORIES))
def test_garbage_does_not_crash_the_judge(tmp_path: Path, number: int):
    """Every checker gives a verdict for any value in any column, even if no value was validated."""
    story = Healthy(number, calls=1)
    for seed in range(number, many(GARBAGE_SEEDS), STORIES):
        chance = random.Random(seed)
        events = [*story.events]
        for _ in range(chance.choice([1, 1, 1, 30])):
            index = chance.randrange(len(events))
            column = chance.choice(TOLD)
            garbage = [one for one in GARBAGE if one is not None or column not in REQUIRED]
            events[index] = events[index]._replace(**{column: chance.choice(garbage)})
        path = write(tmp_path, story.run, story.variables.values(), events)
        with closing(sqlite3.connect(path)) as connection:
            found = overall(judge(History(connection)))
        assert isinstance(found, Outcome), f"seed {seed}"
        outcome(story, Corrupted(f"garbage of seed {seed}", events), tmp_path)


@pytest.mark.parametrize("column", ["shape", "dtype", "synchronization", "aggregation", "name"])
@pytest.mark.parametrize("garbage", ["x", "[0.5]", "null", "[[", 7, b"\x00"])
def test_a_history_with_an_impossible_variable_is_not_valid(
    tmp_path: Path, column: str, garbage: Any
):
    story = Healthy(0, calls=1)
    row = story.variables["w"]
    story.variables["w"] = row._replace(**{column: garbage})
    found, _ = outcome(story, Corrupted(f"another {column}", story.events), tmp_path)
    assert found is not Outcome.VALID or column == "name"


@pytest.mark.parametrize("count", [None, "three", -1, 0, 10**9, [3]])
def test_a_run_without_a_number_of_replicas_is_refused(tmp_path: Path, count: Any):
    story = Healthy(0, calls=1)
    story.run["num_replicas"] = count
    with pytest.raises(HistoryError, match=r"'num_replicas' is .*, and must be a number from 1"):
        story.history(tmp_path).__enter__()
