"""NaN and overflow of what `strategy.reduce` combines and merge functions get, from notices."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.analysis.findings.build import ProgramHistory
from varsim.analysis.findings.not_finite import NOT_FINITE
from varsim.analysis.findings.overflow import OVERFLOW


def noticed(
    kind: str, about: dict[str, str] | None = None, then: float | None = None
) -> ProgramHistory:
    """Return a history with a notice of the program, and then a result at the same line."""
    told = ProgramHistory(3)
    told.call()
    told.end()
    columns: dict[str, Any] = {"location": "train.py:20"}
    told.event(-1, "notice", operation=kind, note=json.dumps(about or {}), **columns)
    if then is not None:
        told.event(-1, "take", operation="reduce", value=then, **columns)
    return told


@pytest.mark.parametrize(("then", "count"), [(None, 1), (np.inf, 1), (2.0, 0)])
def test_an_infinite_result_counts_unless_it_is_finite_again(then: float | None, count: int):
    about = {"operation": "the SUM of strategy.reduce", "replicas": "0,2", "what": "infinity"}
    found = noticed("not_finite", about, then).findings()

    assert [(NOT_FINITE, (("train.py:20", 1),))] * count == [
        (one.kind, one.locations) for one in found
    ]
    for one in found:
        assert "Replicas 0, 2 gave the first infinity to the SUM of strategy.reduce" in one.what
        assert "in call 1 of strategy.run at train.py:20." in one.what


def test_a_sum_of_small_integers_that_wraps_is_found():
    about = {"op": "SUM", "dtype": "uint8", "exact": "363.0", "got": "107.0"}
    (finding,) = noticed("overflow", about).findings()

    assert (OVERFLOW, (("train.py:20", 1),)) == (finding.kind, finding.locations)
    assert "add up to 363, which uint8 cannot hold: the result is 107" in finding.what
    assert ("return value.astype(np.int64)",) == finding.paste


def test_a_notice_without_its_details_is_ignored():
    for operation in ("not_finite", "overflow"):
        assert [] == noticed(operation).found()
