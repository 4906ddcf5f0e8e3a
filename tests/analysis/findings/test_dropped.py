"""Contributions that ONLY_FIRST_REPLICA drops, although each replica has values of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.analysis.findings.build import ProgramHistory
from varsim.analysis.findings.dropped import DROPPED
from varsim.analysis.findings.model import OWN_VALUES

Values = Callable[[int], list[float]]


def corners(
    values: Values,
    count: int = 12,
    settings: str = "ON_WRITE ONLY_FIRST_REPLICA",
    operation: str = "assign",
) -> ProgramHistory:
    told = ProgramHistory(2, corner=settings)
    for step in range(count):
        told.call()
        told.merge("corner", values(step), at="crop.py:4", operation=operation)
        told.read(1, "corner", "crop.py:5")
        told.end()
    return told


def drawn(step: int) -> list[float]:
    return [step * 1.5, step * 2.5 + 1]


def test_values_of_the_other_replicas_are_dropped() -> None:
    (finding,) = corners(drawn).findings()

    assert (DROPPED, "corner", 12) == (finding.kind, finding.variable, finding.count)
    assert (("crop.py:4", 12),) == finding.locations
    assert "12 of 12 values that replica 1 contributed differ" in finding.what
    assert OWN_VALUES == finding.settings


def test_few_added_values_show_what_is_dropped() -> None:
    assert ["first replica only: corner ×4 at crop.py:4"] == corners(
        drawn, count=4, operation="assign_add"
    ).found()


@pytest.mark.parametrize(
    "told",
    [
        corners(drawn, count=8),
        corners(lambda step: [step, 7.0]),
        corners(lambda step: [step, step + step % 2]),
        corners(drawn, settings="ON_WRITE SUM"),
        corners(lambda step: [1.0, 2.0], operation="assign_add"),
        corners(drawn, count=3, operation="assign_add"),
    ],
    ids=["few merges", "a constant", "often equal", "a sum", "added constants", "few adds"],
)
def test_a_broadcast_drops_nothing(told: ProgramHistory) -> None:
    assert [] == told.found()
