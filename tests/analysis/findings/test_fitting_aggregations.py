"""For conflicting writes, the aggregation is proposed that gives the single device's value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.analysis.findings.on_one_device import Program, compared, on_each_batch, part, variable
from varsim.analysis.findings.conflicts import WRITE_WRITE

Strategy = tf.distribute.MirroredStrategy


def written(value: Callable[[np.ndarray], Any]) -> Program:
    """Return a program whose replicas write a value of their parts without an aggregation."""

    def program(strategy: Strategy) -> None:
        with strategy.scope():
            v = variable(1.0, "ON_WRITE NONE")
        on_each_batch(strategy, lambda batch: v.assign(np.float32(value(part(batch)))))

    return program


@pytest.mark.parametrize(
    ("value", "proposed", "says"),
    [
        (np.sum, "SUM", "SUM gives the single device's value."),
        (np.mean, "MEAN", "MEAN gives the single device's value."),
        (lambda own: own[0], "ONLY_FIRST_REPLICA", "ONLY_FIRST_REPLICA gives the single device's"),
        (np.std, "", "Reduce what the value is computed from (all_reduce) before each replica"),
    ],
    ids=["sum", "mean", "first", "deviation"],
)
def test_the_proposed_aggregation_gives_the_single_devices_value(
    value: Callable[[np.ndarray], Any], proposed: str, says: str
):
    (finding,) = compared(written(value), kinds={WRITE_WRITE})

    assert proposed == ("" if finding.settings is None else finding.settings.aggregation.name)
    assert bool(proposed) == finding.mended_by_settings
    assert says in finding.remedy


def test_several_aggregations_that_fit_are_all_named():
    """The second replica writes 0 whenever the values differ."""

    def program(strategy: Strategy) -> None:
        with strategy.scope():
            v = variable(1.0, "ON_WRITE NONE")
        for batch in (np.array([3.0, 0.0]), np.array([4.0, 0.0])):
            strategy.run(lambda batch: v.assign(np.float32(part(batch).sum())), args=(batch,))

    (finding,) = compared(program, kinds={WRITE_WRITE})
    assert "SUM gives the single device's value; ONLY_FIRST_REPLICA would in this run, too." in (
        finding.remedy
    )


def test_without_a_single_device_the_aggregation_is_an_example():
    (finding,) = compared(written(np.sum), oracle=False, kinds={WRITE_WRITE})

    assert "MEAN is an example: SUM and ONLY_FIRST_REPLICA combine the writes, too." in (
        finding.remedy
    )
