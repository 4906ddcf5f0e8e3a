"""A value that is the first replica's alone: what mends it, and from what it follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.analysis.findings.on_one_device import (
    Program,
    compared,
    on_each_batch,
    part,
    records_of,
    variable,
)
from varsim.analysis.causes import leading, with_causes
from varsim.analysis.search import find_and_compare

Strategy = tf.distribute.MirroredStrategy


def written(value: Callable[[np.ndarray], Any], *, uneven: bool = False) -> Program:
    """Return a program whose replicas write a value of their parts with ONLY_FIRST_REPLICA."""

    def program(strategy: Strategy) -> None:
        with strategy.scope():
            v = variable(0.0, "ON_WRITE ONLY_FIRST_REPLICA")
            right = variable(0.0, "ON_WRITE SUM", "right")

        def step(batch: np.ndarray) -> None:
            v.assign(value(part(batch, uneven=uneven)))
            right.assign(part(batch).sum())

        on_each_batch(strategy, step)

    return program


@pytest.mark.parametrize(
    ("program", "proposed", "paste", "what"),
    [
        (written(np.sum), "SUM", "", "has the sum of all replicas' values"),
        (written(np.mean), "MEAN", "", "has a mean over all replicas"),
        (written(np.mean, uneven=True), "", '"MEAN"{}, weight=examples', "has a weighted mean"),
        (written(np.std), "", '"MEAN"{}', "no aggregation of them gives the single device's"),
    ],
    ids=["sum", "mean", "mean of unequal parts", "deviation"],
)
def test_only_an_aggregation_that_gives_the_right_value_is_proposed(
    program: Program, proposed: str, paste: str, what: str
) -> None:
    (finding,) = compared(program)

    assert "first replica only" == finding.kind.name
    assert proposed == ("" if finding.settings is None else finding.settings.aggregation.name)
    assert bool(proposed) == finding.mended_by_settings == ("Aggregate with" in finding.remedy)
    if paste:
        line = paste.format(', np.asarray(value, "float32")')
        assert (f"value = context.all_reduce({line})",) == finding.paste
    assert what in finding.what


def test_a_change_that_is_averaged_is_not_mended_by_the_sum_of_the_values() -> None:
    def program(strategy: Strategy) -> None:
        with strategy.scope():
            w = variable(5.0, "ON_WRITE MEAN", "w")
        on_each_batch(strategy, lambda batch: w.assign(w.read_value() + 0.1 * part(batch).sum()))

    (finding,) = compared(program)

    assert ("scaled by the number of replicas", None) == (finding.kind.name, finding.settings)
    assert finding.what.startswith("The change is 1/2 of the single device's")


def test_a_value_that_replicas_compute_from_stale_reads_follows_from_these() -> None:
    """Each replica lowers its own rate when its own error does not fall."""

    def program(strategy: Strategy) -> None:
        with strategy.scope():
            rate = variable(0.4, "ON_READ ONLY_FIRST_REPLICA", "rate")
            error = variable(0.0, "ON_WRITE MEAN", "error")

        def step(batch: np.ndarray) -> None:
            own = part(batch)
            now = rate.read_value()
            error.assign(now * own.mean())
            if own.std() > 1:
                rate.assign(0.5 * now)

        on_each_batch(strategy, step)
        rate.read_value()

    with records_of(program, 4) as (history, single):
        found, _ = find_and_compare(history, single)
        (lead, followers), *_ = leading(with_causes(history, found))

    assert ("stale read", "rate") == (lead.kind.name, lead.variable)
    assert [("first replica only", "rate")] == [(one.kind.name, one.variable) for one in followers]
