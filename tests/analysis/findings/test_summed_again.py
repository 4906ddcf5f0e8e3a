"""A variable with SUM to which all replicas write the sum of an all_reduce."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

import varsim as tf
from tests.analysis.findings.build import ProgramHistory
from tests.analysis.findings.on_one_device import compared, variable
from tests.replica_context import replica_id
from varsim.analysis.findings.model import Finding
from varsim.analysis.findings.summed_again import SUMMED_AGAIN, SummedAgain


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


@pytest.mark.parametrize(("operation", "calls"), [("assign_sub", 1), ("scatter_sub", 2)])
def test_the_rows_of_an_embedding_are_summed_once(operation: str, calls: int) -> None:
    """The right twin has MEAN, whose rows the variable with SUM adds N times, divided by N."""

    def program(strategy: tf.distribute.MirroredStrategy, op: str) -> None:
        with strategy.scope():
            table = variable(np.zeros((5, 2), np.float32), "ON_WRITE SUM", "table")

        def train() -> None:
            context = tf.distribute.get_replica_context()
            rows = np.array([replica_id(), 4])
            slices = tf.IndexedSlices(np.ones((2, 2), np.float32), rows, dense_shape=(5, 2))
            getattr(table, operation)(context.all_reduce(op, slices))

        for _ in range(calls):
            strategy.run(train)

    def found(op: str) -> list[Finding]:
        kinds = SummedAgain.kinds
        return compared(lambda strategy: program(strategy, op), oracle=False, kinds=kinds)

    (finding,) = found("SUM")

    assert (SUMMED_AGAIN, "table", calls) == (finding.kind, finding.variable, finding.count)
    assert [] == found("MEAN")


def test_two_variables_may_be_a_quotient() -> None:
    told = written([[3.0, 3.0], [5.0, 5.0]], names="vw")

    assert [] == told.found()
    assert "whether v and w are used only as a quotient" in str(told.notes()[0])
