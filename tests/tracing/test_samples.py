"""A sample has the same elements whatever made the value; statistics cover all elements."""

from __future__ import annotations

from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from tests.dtypes import DTYPES
from varsim.extension_dtypes import kind_of
from varsim.protocol.codec import MESSAGES
from varsim.protocol.deferral import Delta
from varsim.spec import Rows
from varsim.tracing.recorded_values import _VALUES
from varsim.tracing.samples import MOST_ELEMENTS, in_sample, positions, sample, statistics_of

SAMPLED_BY_PARTS = {"Commit", "Contribution", "CompressedContribution", "Scatter", "ScatterCommit"}
WITHOUT_EVENTS_OF_VALUES = {
    "DeltaReply", "ReduceSlice", "ServedCosts", "ServedScatter", "ServedValue", "ServedWrite",
    "ShownPolicyState", "SyncRequest", "WriteCounts",
}  # fmt: skip
"""Their arrays are no values in a history. The trace of a parameter server has other records."""


def has_arrays(hint: Any) -> bool:
    if hint in (Rows, Delta) or get_origin(hint) is np.ndarray:
        return True
    return any(map(has_arrays, get_args(hint)))


def test_the_values_of_every_message_are_sampled() -> None:
    """A new message with values must be in one of these lists."""
    found = {
        one.__name__
        for one in MESSAGES
        if one not in _VALUES and any(map(has_arrays, get_type_hints(one).values()))
    }

    assert SAMPLED_BY_PARTS | WITHOUT_EVENTS_OF_VALUES == found


@pytest.mark.parametrize("count", [1, MOST_ELEMENTS, MOST_ELEMENTS + 1, 1_000, 40_000])
def test_positions_are_different_and_have_both_ends(count: int) -> None:
    found = positions(count)

    assert (0, count - 1) == (found[0], found[-1])
    assert min(count, MOST_ELEMENTS) == len(np.unique(found)) == len(found)


def test_rows_in_a_sample_are_those_that_change_its_elements() -> None:
    chance = np.random.default_rng(0)
    rows = Rows(chance.integers(0, 500, 300), chance.normal(size=(300, 40)))
    expected = [
        (value[where % 40], number)
        for index, value in zip(rows.indices, rows.values, strict=True)
        for number, where in enumerate(positions(20_000))
        if where // 40 == index
    ]
    elements, ordinals = in_sample(rows, 20_000)

    assert expected == list(zip(elements, ordinals, strict=True))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_statistics_cover_all_elements(dtype: np.dtype[Any]) -> None:
    value = np.ones(1_000, dtype)
    if kind_of(dtype) not in "fc":
        assert (0, 0, 1.0, 1.0, 1_000.0) == statistics_of(value)
        return
    value[3] = np.nan
    found = statistics_of(value)

    assert (1, 0) == (found.nans, found.infinities)
    assert found.total == (None if dtype.kind == "c" else 999.0)
    assert value[positions(1_000)].tobytes() == sample(value).elements
