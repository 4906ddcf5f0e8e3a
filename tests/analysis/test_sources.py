"""Differences from a single device that follow from findings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.analysis.findings.on_one_device import on_each_batch, part, records_of, variable
from varsim.analysis.examination import examine
from varsim.analysis.failures import DONE, Ending
from varsim.analysis.findings.compared import Compared
from varsim.analysis.returned import compare_returned
from varsim.distribute.mirrored import MirroredStrategy


def examined(program: Callable[[MirroredStrategy], None], returned: Any = ({}, {})) -> Compared:
    ending = Ending(status=DONE, returned=compare_returned(*returned))
    with records_of(program) as (history, single):
        compared = examine(history, single, ending=ending).compared
    assert compared is not None
    return compared


def squares_of(settings: str) -> Callable[[MirroredStrategy], None]:
    """Return a program in which replicas write the squares of a variable with such settings."""

    def program(strategy: MirroredStrategy) -> None:
        with strategy.scope():
            first = variable(0.0, settings, "first")
            later = variable(0.0, "ON_WRITE MEAN", "later")

        def step(batch: Any) -> None:
            first.assign_add(part(batch).mean())
            later.assign(first.read_value() ** 2)

        on_each_batch(strategy, step)
        first.read_value()

    return program


@pytest.mark.parametrize(
    ("settings", "follows"),
    [("ON_WRITE NONE", "first"), ("ON_READ MEAN", "first"), ("ON_WRITE MEAN", None)],
    ids=["a conflict", "stale reads", "nothing"],
)
def test_a_value_computed_from_a_variable_with_a_finding_follows_from_it(
    settings: str, follows: str | None
) -> None:
    compared = examined(squares_of(settings))

    found = {one.follows for one in compared.unexplained if one.variable == "later"}
    assert ({follows} if follows else set()) == found
    assert () == compared.leading


def test_what_is_read_after_the_write_is_no_source() -> None:
    def program(strategy: MirroredStrategy) -> None:
        with strategy.scope():
            first = variable(0.0, "ON_WRITE NONE", "first")
            later = variable(0.0, "ON_WRITE MEAN", "later")

        def step(batch: Any) -> None:
            later.assign(np.sin(part(batch).max()))
            later.read_value()  # so the write is sent, and recorded, before the next lines
            first.assign(part(batch).mean())
            first.read_value()

        on_each_batch(strategy, step)
        first.read_value()

    assert [("later", "")] == [(one.variable, one.follows) for one in examined(program).leading]


def test_what_the_program_computes_from_a_scaled_read_follows_from_it() -> None:
    def program(strategy: MirroredStrategy) -> None:
        with strategy.scope():
            total = variable(0.0, "ON_READ SUM", "total")
            later = variable(0.0, "ON_WRITE MEAN", "later")
        for batch in np.ones((3, 8), np.float32):
            strategy.run(lambda batch=batch: total.assign_add(part(batch).mean()) and None)
            later.assign(np.log(1 + total.read_value()))

    compared = examined(program)

    assert {"later"} == {one.variable for one in compared.unexplained}
    assert {"total"} == {one.began.variable for one in compared.unexplained}
    assert () == compared.leading


@pytest.mark.parametrize(
    ("returned", "follows"),
    [
        (({"x": 6.0}, {"x": 3.0}), "total"),  # the value itself
        (({"x": 2.0}, {"x": 1.0}), "total"),  # divided by the number of steps
        (({"x": [4.0, 0.5]}, {"x": [2.0, 0.5]}), "total"),  # a value that it had earlier
        (({"x": 5.0}, {"x": 3.0}), ""),
        (({"x": 4.0}, {"x": 3.0}), ""),
    ],
)
def test_a_returned_value_follows_from_the_finding_about_its_variable(
    returned: Any, follows: str
) -> None:
    def program(strategy: MirroredStrategy) -> None:
        with strategy.scope():
            total = variable(0.0, "ON_READ SUM", "total")
        for batch in np.ones((3, 8), np.float32):
            strategy.run(lambda batch=batch: total.assign_add(part(batch).mean()) and None)
            total.read_value()

    compared = examined(program, returned)

    assert [follows] == [one.follows for one in compared.returned]
    assert compared.differs is not bool(follows)
