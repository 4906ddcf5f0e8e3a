"""Findings and comparisons of calls in which replicas have joined."""

from __future__ import annotations

import numpy as np
import pytest

import varsim as tf
from tests.analysis.findings.on_one_device import compared, comparison, variable
from varsim.analysis.findings.overflow import OVERFLOW
from varsim.analysis.findings.redundancy import UNREAD_MERGES

Strategy = tf.distribute.MirroredStrategy

SIZES = (6, 2, 6, 1, 3)
"""The rows of each batch. Three replicas get 2+2+2, 1+1, 2+2+2, 1 and 1+1+1 rows."""


def on_batches(strategy: Strategy) -> None:
    """Sum and average the rows of each batch."""
    with strategy.scope():
        total, mean = variable(0.0, "ON_WRITE SUM", "t"), variable(0.0, "ON_WRITE MEAN", "m")
    strategy.uneven = "join"
    batches = [np.arange(size, dtype=np.float32) + size for size in SIZES]

    def step(rows: np.ndarray) -> None:
        total.assign(rows.sum())
        mean.assign(rows.mean())

    for rows in strategy.experimental_distribute_dataset(batches):
        strategy.run(step, args=(rows,))


def test_writes_are_compared_call_by_call_with_a_single_device():
    found = comparison(on_batches, 3)

    assert (2 * len(SIZES), 2, ()) == (found.values, found.locations, found.differences)
    assert () == found.uncompared


def test_calls_without_some_replicas_give_no_finding_about_values():
    assert [] == compared(on_batches, 3)


def test_a_too_large_sum_of_present_replicas_is_found():
    def too_large(strategy: Strategy) -> None:
        with strategy.scope():
            v = variable(np.float16(0), "ON_WRITE SUM")
        strategy.uneven = "join"
        for rows in strategy.experimental_distribute_dataset([np.float16([6e4, 6e4])]):
            strategy.run(lambda rows: v.assign(rows[0]), args=(rows,))

    (finding,) = compared(too_large, 3, oracle=False)
    assert finding.kind is OVERFLOW


@pytest.mark.parametrize("aggregation", ["SUM", "MEAN"])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_with_join_no_remedy_needs_all_replicas(aggregation: str, is_sparse: bool):
    def remedy(uneven: str) -> str:
        def unread(strategy: Strategy) -> None:
            with strategy.scope():
                v = variable([0.0, 0.0], f"ON_WRITE {aggregation}")
            strategy.uneven = uneven
            batches = [np.ones(size, np.float32) for size in SIZES]

            def step(rows: np.ndarray) -> None:
                if is_sparse:
                    v.scatter_add(tf.IndexedSlices(rows[:1], [0]))
                else:
                    v.assign_add(rows[:1].repeat(2))

            for rows in strategy.experimental_distribute_dataset(batches):
                strategy.run(step, args=(rows,))

        (finding,) = compared(unread, 3, oracle=False, kinds=[UNREAD_MERGES])
        return finding.remedy

    assert "auto=adaptive, which merges at the next read" in remedy("pad")
    with_some = remedy("join")
    assert "which merges at the next read" not in with_some
    assert ("Choose ON_READ" in with_some) == (aggregation == "SUM" and not is_sparse)
