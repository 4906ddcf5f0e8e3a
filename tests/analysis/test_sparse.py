"""The judge recomputes sparse writes with its own arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.analysis.build import in_call, merge, parse_history
from tests.analysis.golden import verdicts
from tests.properties.operation_model import scattered
from varsim.analysis import arithmetic, sparse
from varsim.analysis.notes import not_looked_at
from varsim.analysis.outcome import Outcome
from varsim.analysis.verdict import judge
from varsim.errors import HistoryError
from varsim.spec import SCATTERS, Operation, Rows
from varsim.tracing.history import open_history

ORDERED = {Operation.SCATTER_MIN, Operation.SCATTER_MAX}
REAL = [(one, dtype) for one in SCATTERS for dtype in "float16 float64 int8 uint16 int64".split()]
COMPLEX = [(one, "complex64") for one in SCATTERS if one not in ORDERED]


def outcome(text: str, folder: Path) -> Outcome:
    return max((one.outcome for one in verdicts(text, folder).values()), key=list(Outcome).index)


def merged(aggregation: str, operation: str, rows: list[str], commit: str, then: str) -> str:
    """Return a history that merges the sparse writes of two replicas and reads the result."""
    return in_call(
        f"variable w ON_WRITE {aggregation} float32 [3]\nprogram create w v=0 = [1.0,2.0,3.0]",
        merge("w", [f"{operation} {own}" for own in rows], f"{operation} {commit}"),
        then=f"program read w v=1 = {then}",
    )


JOINED = "at [0,2,0] = [1.0,2.0,3.0]"
EACH = ["at [0] = [1.0]", "at [2,0] = [2.0,3.0]"]


@pytest.mark.parametrize(
    ("aggregation", "operation", "rows", "commit", "then"),
    [
        ("SUM", "scatter_add", EACH, JOINED, "[5.0,2.0,5.0]"),
        ("MEAN", "scatter_sub", EACH, "at [0,2,0] = [0.5,1.0,1.5]", "[-1.0,2.0,2.0]"),
        ("SUM", "scatter_mul", EACH, JOINED, "[3.0,2.0,6.0]"),
        ("ONLY_FIRST_REPLICA", "scatter_update", EACH, "at [0] = [1.0]", "[1.0,2.0,3.0]"),
        ("ONLY_FIRST_REPLICA", "scatter_max", EACH[::-1], EACH[1], "[3.0,2.0,3.0]"),
        ("SUM", "scatter_add", ["at [] = []", EACH[0]], EACH[0], "[2.0,2.0,3.0]"),
    ],
)
def test_rows_of_all_replicas_are_applied_once(
    tmp_path: Path, aggregation: str, operation: str, rows: list[str], commit: str, then: str
):
    assert Outcome.VALID is outcome(merged(aggregation, operation, rows, commit, then), tmp_path)


@pytest.mark.parametrize(
    ("aggregation", "operation", "commit", "then"),
    [
        ("MEAN", "scatter_add", JOINED, "[5.0,2.0,5.0]"),  # the sum was not divided by 2
        (
            "SUM",
            "scatter_add",
            "at [2,0,0] = [2.0,3.0,1.0]",
            "[5.0,2.0,5.0]",
        ),  # the rows are in the wrong order
        ("SUM", "scatter_add", "at [0,2] = [4.0,2.0]", "[5.0,2.0,5.0]"),  # equal rows were added
        ("SUM", "scatter_add", "at [0] = [1.0]", "[2.0,2.0,3.0]"),  # rows of a replica are lost
        ("SUM", "scatter_add", "at [0,2,1] = [1.0,2.0,3.0]", "[2.0,5.0,5.0]"),  # another index
        ("SUM", "scatter_max", JOINED, "[3.0,2.0,3.0]"),  # scatter_max has no merge
        ("ONLY_FIRST_REPLICA", "scatter_add", JOINED, "[5.0,2.0,5.0]"),
        ("SUM", "scatter_add", JOINED, "[4.0,2.0,5.0]"),  # a row of one replica is missing
    ],
)
def test_a_different_commit_or_result_is_invalid(
    tmp_path: Path, aggregation: str, operation: str, commit: str, then: str
):
    text = merged(aggregation, operation, EACH, commit, then)

    assert Outcome.INVALID is outcome(text, tmp_path)


LOCAL = """
variable n NONE NONE float32 [2]
program create n v=0 = [1.0,2.0]
0 write n scatter_update at [1,1] = [7.0,8.0]
0 read n v=0 = {}
1 read n v=0 = [1.0,2.0]
"""


@pytest.mark.parametrize(("read", "expected"), [(8.0, Outcome.VALID), (7.0, Outcome.INVALID)])
def test_the_last_of_equal_indices_determines_a_row(tmp_path: Path, read: float, expected: Outcome):
    assert expected is outcome(LOCAL.format(f"[1.0,{read}]"), tmp_path)


@pytest.mark.parametrize(
    "rows",
    [
        "at [2] = [7.0]",  # the variable has no such row
        "at [-1] = [7.0]",
        "= [7.0,8.0]",  # no indices
    ],
)
def test_rows_that_the_variable_cannot_have_are_invalid(tmp_path: Path, rows: str):
    text = LOCAL.format("[1.0,2.0]").replace("at [1,1] = [7.0,8.0]", rows)

    assert Outcome.INVALID is verdicts(text, tmp_path)["record"].outcome


def test_a_history_with_more_indices_than_rows_is_refused(tmp_path: Path):
    text = LOCAL.format("[1.0,2.0]").replace("at [1,1] = [7.0,8.0]", "at [0,1] = [7.0]")

    with pytest.raises(HistoryError, match="16 bytes of indices, which do not fit the shape"):
        verdicts(text, tmp_path)


def test_a_commit_beyond_an_unknown_dimension_is_invalid(tmp_path: Path):
    text = """
variable w ON_WRITE NONE float32 [null]
program create w v=0 = [1.0,2.0]
program write w scatter_add at [5] = [1.0]
program commit w scatter_add v=1 at [5] = [1.0]
"""
    found = verdicts(text, tmp_path)["reduction"]

    assert Outcome.INVALID is found.outcome
    assert "w: a commit does not fit the value that it changes" == found.reason


def test_rows_of_an_earlier_version_are_unknown(tmp_path: Path):
    """The note names the remedy."""
    text = """
variable w ON_WRITE SUM float32 [3]
program create w v=0 = [1.0,2.0,3.0]
program write w scatter_add
program commit w scatter_add v=1
program read w v=1 = [1.0,2.0,4.0]
"""
    with open_history(parse_history(text).write(tmp_path)) as history:
        found = {one.checker: one for one in judge(history)}
        notes = [
            one.text for one in not_looked_at(history, list(found.values()), "", compared=False)
        ]

    assert {"reduction", "read-your-writes"} == {
        name for name, one in found.items() if one.outcome is Outcome.UNKNOWN
    }
    assert Outcome.INVALID not in {one.outcome for one in found.values()}
    assert "record it again" in found["reduction"].reason
    assert [
        "the rows of 2 sparse writes of w: an earlier version of varsim recorded this run without "
        "them; record it again"
    ] == [text for text in notes if "sparse" in text]


@pytest.mark.parametrize(("operation", "dtype"), [*REAL, *COMPLEX])
def test_the_result_is_that_of_a_loop_over_the_rows(operation: Operation, dtype: str):
    """A duplicate index is applied again, in order. The result is rounded after every row."""
    chance = np.random.default_rng(7)
    before = (chance.integers(-90, 90, (9, 3)) / 7).astype(dtype)
    values = chance.integers(1, 90, (40, 3)).astype(dtype)
    if dtype == "complex64":
        before, values = before * (1 + 2j), values * np.complex64(3 - 1j)
    indices = chance.integers(0, 9, 40)

    with arithmetic.quiet():
        expected = scattered(before, operation, (tuple(indices.tolist()), values))
        after = sparse.changed(before.reshape(-1), operation.value, Rows(indices, values))

    assert after is not None
    assert expected.tobytes() == after.tobytes()
    assert expected.dtype == after.dtype


def test_the_lowest_integer_divided_by_minus_one_is_unchanged():
    """The quotient does not fit into the dtype."""
    before = np.array([-128, 127], np.int8)
    rows = Rows(np.array([0, 1]), np.array([[-1], [-1]], np.int8))

    with arithmetic.quiet():
        after = sparse.changed(before, "scatter_div", rows)

    assert after is not None
    assert [-128, -127] == after.tolist()
