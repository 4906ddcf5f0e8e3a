"""Sums and means that keep earlier contributions, and whose wrong reads change later values."""

from __future__ import annotations

import numpy as np
import pytest

import varsim as tf
from tests.analysis.findings.on_one_device import DATA, Program, compared, in_short, part, variable
from tests.replica_context import replica_id


def accumulated(aggregation: str, set_back_by: int) -> Program:
    """Return a program that adds up gradients in two calls, trains with them, and begins again.

    Args:
        set_back_by: The number of replicas that set their components back.
    """

    def program(strategy: tf.distribute.MirroredStrategy) -> None:
        with strategy.scope():
            w = variable(0.0, "ON_WRITE MEAN", "w")
            acc = variable(0.0, f"ON_READ {aggregation}", "acc")

        def add(batch: np.ndarray, error: float) -> None:
            size = len(batch) if aggregation == "SUM" else len(part(batch))
            acc.assign_add(np.float32((part(batch) - error).sum() / size))

        def set_back() -> None:
            if replica_id() < set_back_by:
                acc.assign(0.0)  # here

        for number, batch in enumerate(DATA):
            strategy.run(add, args=(batch, float(w.read_value())))
            if number % 2:
                w.assign_add(np.float32(0.1) * acc.read_value())
                strategy.run(set_back)

    return program


@pytest.mark.parametrize("aggregation", ["SUM", "MEAN"])
def test_the_first_wrong_read_shows_a_partial_reset_if_later_ones_depend_on_it(aggregation: str):
    program = accumulated(aggregation, set_back_by=1)
    (finding,) = compared(program, 3)

    assert ["partial reset: acc"] == in_short([finding], program)
    assert 1 == finding.count
    assert "in 1 of 4 comparisons" in finding.what
    assert "The later values differ by other amounts" in finding.what


@pytest.mark.parametrize("aggregation", ["SUM", "MEAN"])
def test_an_accumulator_that_all_replicas_set_back_is_right(aggregation: str):
    assert [] == compared(accumulated(aggregation, set_back_by=3), 3)
