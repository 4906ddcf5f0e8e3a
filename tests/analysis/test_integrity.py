"""The integrity of a history: only valid rows of its database are accepted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.analysis.healthy import REPLICAS, Healthy
from varsim.analysis.integrity import RowIntegrity
from varsim.analysis.promises import promise_of
from varsim.tracing.history import Event

CHECKED = [
    column for column in Event._fields if column not in {"time_s", "location", "error", "note"}
]
OTHERS: list[Any] = [None, -1, 0, 1, 1.0, 2**40, "x", "read", "assign", "[1]", b"", b"\0\0\0\0"]


@pytest.mark.parametrize("column", CHECKED)
def test_an_event_is_judged_independently_of_earlier_valid_events(column: str):
    story = Healthy(3, calls=1)
    promises = {row.variable: promise_of(row) for row in story.variables.values()}
    known = RowIntegrity(REPLICAS, promises)
    assert {None} == {known.flaw(event) for event in story.events}
    flaws = set()
    for event in {(one.kind, one.variable): one for one in story.events}.values():
        for other in OTHERS:
            row = event._replace(**{column: other})
            flaw = RowIntegrity(REPLICAS, promises).flaw(row)
            assert flaw == known.flaw(row), row
            flaws.add(flaw)
    assert flaws - {None}, "no invalid value in this column was found"
