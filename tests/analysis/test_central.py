"""The judge's verdicts on variables with one copy."""

from __future__ import annotations

import pytest

from tests.analysis.build import in_call, merge
from tests.analysis.golden import verdicts
from varsim.analysis.outcome import Outcome

HISTORY = in_call(
    """
variable w central {aggregation} float32 [2]
program create w v=0 = [1.0,2.0]
""",
    merge("w", ["{operation} {first}", "{operation} {second}"], "{commit} {result}"),
)

ADD = {"operation": "assign_add", "first": "= [1.0,1.0]", "second": "= [3.0,3.0]"}
ROWS = {
    "operation": "scatter_add",
    "first": "at [0] = [10.0]",
    "second": "at [1] = [20.0]",
    "commit": "scatter_add",
    "result": "at [0,1] = [10.0,20.0]",
}


@pytest.mark.parametrize("aggregation", ["NONE", "SUM", "MEAN", "ONLY_FIRST_REPLICA"])
def test_the_rows_of_all_replicas_are_valid_under_every_aggregation(aggregation, tmp_path):
    text = HISTORY.format(aggregation=aggregation, **ROWS)

    assert {Outcome.VALID} == {one.outcome for one in verdicts(text, tmp_path).values()}


def test_an_aggregated_value_is_valid(tmp_path):
    text = HISTORY.format(aggregation="MEAN", commit="assign", result="= [3.0,4.0]", **ADD)

    assert {Outcome.VALID} == {one.outcome for one in verdicts(text, tmp_path).values()}


@pytest.mark.parametrize(
    "case",
    [
        {"aggregation": "MEAN", "commit": "assign", "result": "= [5.0,6.0]", **ADD},  # the sum
        {"aggregation": "NONE", "commit": "assign", "result": "= [2.0,3.0]", **ADD},
        {"aggregation": "MEAN", **ROWS, "result": "at [0,1] = [5.0,10.0]"},  # the mean of the rows
        {"aggregation": "ONLY_FIRST_REPLICA", **ROWS, "result": "at [0] = [10.0]"},
        {"aggregation": "SUM", **ROWS, "result": "at [1,0] = [20.0,10.0]"},  # another order
    ],
)
def test_a_wrong_commit_is_found(case, tmp_path):
    assert Outcome.INVALID is verdicts(HISTORY.format(**case), tmp_path)["reduction"].outcome
