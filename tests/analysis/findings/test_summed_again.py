"""A variable with SUM to which all replicas write the sum of an all_reduce."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.analysis.findings.build import ProgramHistory
from varsim.analysis.findings.summed_again import SUMMED_AGAIN


def written(
    values: Sequence[Sequence[float]],
    results: Sequence[float] = (3.0, 5.0),
    settings: str = "ON_WRITE SUM",
    op: str = "SUM",
    names: str = "v",
) -> ProgramHistory:
    """Return a history whose replicas write values after an all_reduce, in each call."""
    told = ProgramHistory(2, **dict.fromkeys(names, settings))
    for own, result in zip(values, results, strict=True):
        told.call()
        told.collective(given=[1.0, result - 1.0], op=op, result=result)
        for name in names:
            told.merge(name, own, at="step.py:12")
        told.end()
    return told


def test_both_sums_are_named() -> None:
    (finding,) = written([[3.0, 3.0], [5.0, 5.0]]).findings()

    assert (SUMMED_AGAIN, "v", 2) == (finding.kind, finding.variable, finding.count)
    assert (("step.py:12", 2), ("step.py:9", 2)) == finding.locations
    assert "the sum that the all_reduce at step.py:9 has returned" in finding.what


@pytest.mark.parametrize(
    "told",
    [
        written([[3.0, 0.0], [5.0, 0.0]]),
        written([[3.0, 3.0], [5.0, 4.0]]),
        written([[3.0, 3.0], [5.0, 5.0]], settings="ON_WRITE MEAN"),
        written([[3.0, 3.0], [5.0, 5.0]], op="MEAN"),
        written([[0.0, 0.0], [0.0, 0.0]], (0.0, 0.0)),
        written([[3.0, 3.0]], (3.0,)),
    ],
    ids=["one replica", "another value", "a mean", "after a mean", "zeros", "once"],
)
def test_a_sum_that_is_used_once_is_no_finding(told: ProgramHistory) -> None:
    assert [] == told.found()


def test_one_call_is_enough_for_a_sum_that_is_not_equal_by_chance() -> None:
    (finding,) = written([[3.25, 3.25]], (3.25,)).findings()

    assert (SUMMED_AGAIN, 1) == (finding.kind, finding.count)


def test_two_variables_may_be_a_quotient() -> None:
    told = written([[3.0, 3.0], [5.0, 5.0]], names="vw")

    assert [] == told.found()
    assert "whether v and w are used only as a quotient" in str(told.notes()[0])
