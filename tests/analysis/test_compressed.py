"""The judge's verdicts on compressed variables."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.analysis.build import in_call, merge, parse_history
from tests.analysis.golden import FOLDER, verdicts
from varsim.analysis.lens import moments
from varsim.analysis.outcome import Outcome
from varsim.report.lens_calls_page import print_calls

ON_WRITE = in_call(
    """
variable w compressed:on_write:top_k:0.5 SUM float32 [2]
program create w v=0 = [0.0,0.0]
""",
    "0 compress w assign_add call=1 = [1.0,3.0]",
    "1 compress w assign_add call=1 = [4.0,-2.0]",
    merge("w", ["assign_add = [0.0,3.0]", "assign_add = [4.0,0.0]"], "assign = [4.0,3.0]"),
    "0 compress w assign_sub call=1 = [3.0,0.0]",
    "1 compress w assign_sub call=1 = [0.0,0.0]",
    merge("w", ["assign_sub = [2.0,0.0]", "assign_sub = [0.0,2.0]"], "assign = [2.0,1.0]", 1),
)
"""Each replica adds and subtracts; it sends the larger one of its two elements."""

LOCAL = in_call(
    """
variable w compressed:local_sgd:1:top_k:0.5 MEAN float32 [2]
program create w v=0 = [1.0,1.0]
""",
    "0 write w assign_add call=1 = [1.0,0.0]",
    "1 write w assign_add call=1 = [3.0,0.0]",
    merge("w", ["assign = [2.0,1.0]", "assign = [4.0,1.0]"], "assign = [3.0,1.0]"),
    "0 write w assign_add call=1 = [1.0,6.0]",
    "1 write w assign_add call=1 = [0.0,2.0]",
    merge("w", ["assign_add = [0.0,6.0]", "assign_add = [0.0,2.0]"], "assign = [3.0,5.0]", 1),
)
"""The first exchange is whole; the second one has the changes since then."""

ZEROS = "[0.0,0.0,0.0,0.0]"
NOTHING = f"1 compress w assign_add call=1 = {ZEROS}"
NOT_FINITE = in_call(
    f"""
variable w compressed:on_write:top_k:0.5 SUM float32 [4]
program create w v=0 = {ZEROS}
""",
    "0 compress w assign_add call=1 = [1.0,0.0,3.0,4.0]",
    NOTHING,
    merge(
        "w",
        ["assign_add = [0.0,0.0,3.0,4.0]", f"assign_add = {ZEROS}"],
        "assign = [0.0,0.0,3.0,4.0]",
    ),
    "0 compress w assign_add call=1 = [1.0,1.0,BAD,4.0]",
    NOTHING,
    merge(
        "w",
        ["assign_add = [0.0,0.0,BAD,4.0]", f"assign_add = {ZEROS}"],
        "assign = [0.0,0.0,BAD,8.0]",
        1,
    ),
    "0 compress w assign_add call=1 = [6.0,0.0,5.0,0.0]",
    NOTHING,
    merge(
        "w",
        ["assign_add = [8.0,0.0,5.0,0.0]", f"assign_add = {ZEROS}"],
        "assign = [8.0,0.0,BAD,8.0]",
        2,
    ),
)
"""Element 2 is not finite in the second write, while element 0 has a residual."""


@pytest.mark.parametrize("text", [ON_WRITE, LOCAL], ids=["on_write", "local_sgd"])
def test_a_correct_history_is_valid_for_every_checker(text, tmp_path):
    found = verdicts(text, tmp_path)

    assert {Outcome.VALID} == {one.outcome for one in found.values()}
    assert "compression" in found


APPROXIMATION = "sends another value than the top_k:0.5 approximation of its change"


@pytest.mark.parametrize(
    ("text", "right", "forged", "checker", "reason"),
    [
        (
            ON_WRITE,
            "position=0 = [0.0,3.0]",
            "position=0 = [1.0,0.0]",
            "compression",
            APPROXIMATION,
        ),
        (
            ON_WRITE,
            "position=1 = [2.0,0.0]",
            "position=1 = [3.0,0.0]",
            "compression",
            APPROXIMATION,
        ),
        (ON_WRITE, "v=2 = [2.0,1.0]", "v=2 = [2.0,2.0]", "reduction", "the commit differs"),
        (LOCAL, "position=1 = [0.0,6.0]", "position=1 = [0.0,5.0]", "compression", APPROXIMATION),
        (
            LOCAL,
            "position=0 = [2.0,1.0]",
            "position=0 = [2.0,2.0]",
            "compression",
            "sends another value than it has written",
        ),
        (
            LOCAL,
            "v=2 = [3.0,5.0]",
            "v=2 = [4.0,5.0]",
            "compression",
            "the commit differs from the last exchange plus the restored changes",
        ),
        (
            LOCAL.replace("v=2 = [3.0,5.0]", "v=2 = [3.5,5.0]").replace(
                "assign_add call=1 position=1 = [0.0,6.0]", "assign call=1 position=1 = [4.0,7.0]"
            ),
            "assign_add call=1 position=1 = [0.0,2.0]",
            "assign call=1 position=1 = [3.0,3.0]",
            "compression",
            "sends its whole value, although the last exchange counts",
        ),
        (LOCAL, "local_sgd:1", "local_sgd:2", "changing", "exchanges after write 1"),
    ],
)
def test_a_forged_value_is_found(text, right, forged, checker, reason, tmp_path):
    assert right in text

    verdict = verdicts(text.replace(right, forged), tmp_path)[checker]

    assert Outcome.INVALID is verdict.outcome
    assert reason in verdict.reason


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "-Infinity"])
def test_residuals_count_beside_an_element_that_is_not_finite(bad, tmp_path):
    text = NOT_FINITE.replace("BAD", bad)
    forged = text.replace("position=2 = [8.0,0.0,5.0,0.0]", "position=2 = [6.0,0.0,5.0,0.0]")
    for name in ("right", "forged"):
        (tmp_path / name).mkdir()

    right = verdicts(text, tmp_path / "right")
    wrong = verdicts(forged, tmp_path / "forged")["compression"]

    assert {Outcome.VALID} == {one.outcome for one in right.values()}
    assert Outcome.INVALID is wrong.outcome
    assert APPROXIMATION in wrong.reason


def test_the_lens_shows_what_residuals_hold_back(tmp_path):
    """After the second exchange, the mean of the residuals [1, 0] and [0, 0] is held back."""
    with parse_history(LOCAL).history(tmp_path) as history:
        created, after = moments(history, next(iter(history.variables.values())))

    assert 0.0 == created.lacks
    assert 0.5 / np.hypot(3, 5) == pytest.approx(after.lacks)
    file = StringIO()
    print_calls(Console(width=80, file=file), "w", [created, after], None)
    assert "8.57%" in file.getvalue()
    said = " ".join(file.getvalue().split())
    assert "lacks: what the residuals of compressed changes hold back" in said


def test_without_the_written_value_the_verdict_is_unknown(tmp_path):
    text = ON_WRITE.replace("0 compress w assign_add call=1 = [1.0,3.0]\n", "")

    verdict = verdicts(text, tmp_path)["compression"]

    assert Outcome.UNKNOWN is verdict.outcome
    assert "w: not all values of compressed writes were recorded" in verdict.reason


def test_only_histories_with_compressed_variables_are_judged(tmp_path):
    plain = (FOLDER / "reduction-valid.txt").read_text("utf-8")

    assert "compression" not in verdicts(plain, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "compressed",
        "compressed:on_write",
        "compressed:on_read:fp16",
        "compressed:on_write:zip",
        "compressed:local_sgd:0:fp16",
        "compressed:on_write:top_k:1",
    ],
)
def test_impossible_parameters_make_the_verdict_unknown(name: str, tmp_path: Path):
    text = ON_WRITE.replace("compressed:on_write:top_k:0.5", name)

    verdict = verdicts(text, tmp_path)["reduction"]

    assert Outcome.UNKNOWN is verdict.outcome
    assert f"unknown settings: {name}, SUM" in verdict.reason
