"""The judge's verdicts on LocalSGD variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.analysis.golden import FOLDER, verdicts
from varsim.analysis.outcome import Outcome

START = """\
variable w local_sgd:2 MEAN float32 []

program create w v=0 = 1.0
program call call=1 as start
0 begin call=1 after start
1 begin call=1 after start
0 write w assign_add call=1 = 1.0
"""
HISTORY = f"""\
{START}\
1 write w assign_add call=1 = 3.0
0 write w assign_add call=1 = 1.0
1 write w assign_add call=1 = 3.0
0 write w assign call=1 position=0 = 3.0 as sent0
1 write w assign call=1 position=0 = 7.0 as sent1
program receive replica=0 after sent0
program receive replica=1 after sent1
program commit w assign call=1 position=0 v=1 = 5.0 as w1
0 install w v=1 call=1 after w1
1 install w v=1 call=1 after w1
0 return call=1 as end0
1 return call=1 as end1
program receive replica=0 after end0
program receive replica=1 after end1
program finish call=1
"""
"""Each replica writes twice. At the second write all components become their mean."""
RIGHT = "v=1 = 5.0"


def verdict_of(text: str, checker: str, folder: Path) -> tuple[Outcome, str]:
    verdict = verdicts(text, folder)[checker]
    return verdict.outcome, verdict.reason


def test_a_correct_average_is_valid_for_every_checker(tmp_path):
    assert {Outcome.VALID} == {one.outcome for one in verdicts(HISTORY, tmp_path).values()}


def test_a_wrong_average_is_found(tmp_path):
    forged = HISTORY.replace(RIGHT, "v=1 = 10.0")
    assert HISTORY != forged

    outcome, reason = verdict_of(forged, "reduction", tmp_path)

    assert Outcome.INVALID is outcome
    assert "w: the commit differs from the reduction of the writes" == reason


@pytest.mark.parametrize(
    ("right", "forged", "reason"),
    [
        ("local_sgd:2", "local_sgd:3", "exchanges after write 2 instead of write 3"),
        ("local_sgd:2", "local_sgd:1", "before its last write was exchanged"),
        (
            "position=0 = 3.0",
            "position=0 = 2.0",
            "exchanges a value that its component does not have",
        ),
    ],
)
def test_an_exchange_with_a_wrong_count_or_value_is_found(right, forged, reason, tmp_path):
    outcome, said = verdict_of(HISTORY.replace(right, forged), "averaging", tmp_path)

    assert Outcome.INVALID is outcome
    assert reason in said


def test_a_function_that_returns_before_an_exchange_is_found(tmp_path):
    """Replica 1 does not contribute its component after its second write."""
    forged = HISTORY.replace("1 write w assign call=1 position=0 = 7.0 as sent1\n", "")
    forged = forged.replace("program receive replica=1 after sent1\n", "")

    outcome, said = verdict_of(forged, "averaging", tmp_path)

    assert Outcome.INVALID is outcome
    assert "replica 1 returns before its last write was exchanged" in said


AFTER_FAILURE = f"""\
{START}\
0 raise call=1 as raised
program receive replica=0 after raised
program abort call=1
1 return call=1 as end1
program receive replica=1 after end1
program finish call=1
program call call=2 as again
0 begin call=2 after again
1 begin call=2 after again
0 write w assign_add call=2 = 1.0
1 write w assign_add call=2 = 3.0
0 return call=2 as end3
1 return call=2 as end4
program receive replica=0 after end3
program receive replica=1 after end4
program finish call=2
"""
"""Replica 0 raises after its first write. Then each replica writes once, and counts from 0."""


@pytest.mark.parametrize(
    ("contribution", "expected"),
    [("", Outcome.VALID), ("0 write w assign call=2 position=0 = 3.0\n", Outcome.INVALID)],
)
def test_after_a_failed_call_the_judge_counts_from_zero(contribution, expected, tmp_path):
    last = "0 write w assign_add call=2 = 1.0\n"
    text = AFTER_FAILURE.replace(last, last + contribution)

    outcome, said = verdict_of(text, "averaging", tmp_path)

    assert (expected, bool(contribution)) == (
        outcome,
        "replica 0 exchanges after write 1 instead of write 2" in said,
    )


SPARSE = (
    HISTORY.replace("float32 []", "float32 [2]")
    .replace("v=0 = 1.0", "v=0 = [1.0,2.0]")
    .replace(
        "0 write w assign_add call=1 = 1.0", "0 write w scatter_add call=1 at [0,0] = [1.0,1.0]", 1
    )
    .replace("1 write w assign_add call=1 = 3.0", "1 write w scatter_max call=1 at [1] = [8.0]", 1)
    .replace("0 write w assign_add call=1 = 1.0", "0 write w assign_add call=1 = [1.0,2.0]")
    .replace("1 write w assign_add call=1 = 3.0", "1 write w scatter_update call=1 at [0] = [2.0]")
    .replace("position=0 = 3.0", "position=0 = [4.0,4.0]")
    .replace("position=0 = 7.0", "position=0 = [2.0,8.0]")
    .replace("v=1 = 5.0", "v=1 = [3.0,6.0]")
)
"""The history above with a variable of two rows; three of the four writes are sparse."""


def test_sparse_writes_are_counted_and_change_the_component(tmp_path):
    assert {Outcome.VALID} == {one.outcome for one in verdicts(SPARSE, tmp_path).values()}


@pytest.mark.parametrize(
    ("right", "forged", "reason"),
    [
        ("at [0] = [2.0]", "at [0] = [3.0]", "exchanges a value that its component does not have"),
        (
            "1 write w scatter_update call=1 at [0] = [2.0]\n",
            "",
            "exchanges after write 1 instead of write 2",
        ),
    ],
)
def test_a_wrong_sparse_write_is_found(right, forged, reason, tmp_path):
    assert right in SPARSE

    outcome, said = verdict_of(SPARSE.replace(right, forged), "averaging", tmp_path)

    assert Outcome.INVALID is outcome
    assert reason in said


def test_without_recorded_rows_the_exchanged_value_is_unknown(tmp_path):
    """Earlier versions of varsim did not record rows."""
    text = SPARSE.replace("scatter_update call=1 at [0] = [2.0]", "scatter_update call=1")

    outcome, said = verdict_of(text, "averaging", tmp_path)

    assert Outcome.UNKNOWN is outcome
    assert "w: not all values of a component were recorded" == said


def test_the_checker_judges_only_histories_with_local_sgd_variables(tmp_path):
    plain = (FOLDER / "reduction-valid.txt").read_text("utf-8")

    assert "averaging" not in verdicts(plain, tmp_path)


@pytest.mark.parametrize("name", ["local_sgd:0", "local_sgd", "local_sgd:x"])
def test_impossible_parameters_of_a_policy_make_the_verdict_unknown(name, tmp_path):
    outcome, reason = verdict_of(HISTORY.replace("local_sgd:2", name), "reduction", tmp_path)

    assert Outcome.UNKNOWN is outcome
    assert f"unknown settings: {name}, MEAN" in reason
