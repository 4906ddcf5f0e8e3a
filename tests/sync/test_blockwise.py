"""A merge piece by piece equals a merge of whole arrays, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dtypes import DTYPES
from tests.effort import many
from varsim.extension_dtypes import kind_of
from varsim.spec import Operation, VariableAggregation
from varsim.sync import blockwise, reduce

Array = np.ndarray[Any, Any]

NUMBERS = [dtype for dtype in DTYPES if dtype.kind != "b"]
SUM, MEAN, FIRST = (a for a in VariableAggregation if a is not VariableAggregation.NONE)
ASSIGN, ADD, SUB = Operation.ASSIGN, Operation.ASSIGN_ADD, Operation.ASSIGN_SUB
PIECE_BYTES = 256
"""The size of a piece in most examples: examples with the real, much larger size are slow."""

SPECIAL = (np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0)


def numbers(dtype: np.dtype[Any], size: int, seed: int) -> Array:
    """Return numbers of every kind. Their sums overflow, wrap around, or are NaN."""
    chance = np.random.default_rng(seed)
    if kind_of(dtype) == "c":
        part = np.dtype(f"f{dtype.itemsize // 2}")
        return numbers(part, 2 * size, seed).view(dtype)
    bits = chance.integers(0, 256, size * dtype.itemsize, np.uint8).view(dtype)
    if kind_of(dtype) != "f":
        return bits
    kinds = chance.integers(0, 4, size)
    with np.errstate(over="ignore"):
        even = chance.normal(0, 10.0 ** chance.integers(-3, 4), size).astype(dtype)
    special = np.array(SPECIAL, dtype)[chance.integers(0, len(SPECIAL), size)]
    made: Array = np.select([kinds == 0, kinds == 1], [bits, special], even)
    return np.asarray(made, dtype)


def bits_of(array: Array) -> bytes:
    """Return the bits of an array, with the same bits for every NaN.

    The sum of two NaNs has the bits of one of the two, with either sign. The choice depends on the
    instructions that NumPy uses at this position of the array.
    """
    kind = kind_of(array.dtype)
    if kind not in "fc":
        return array.tobytes()
    parts = array.reshape(-1).copy()
    if kind == "c":
        parts = parts.view(f"f{parts.itemsize // 2}")
    with np.errstate(invalid="ignore"):  # signaling NaNs in bfloat16 are invalid
        parts[np.isnan(parts)] = np.nan
    return parts.tobytes()


def check(
    values: list[Array],
    aggregation: VariableAggregation,
    operation: Operation,
    mirror: Array | None,
) -> None:
    before = [value.tobytes() for value in (*values, *([] if mirror is None else [mirror]))]
    expected = reduce.merge(values, aggregation, operation, mirror)
    out = np.full_like(values[0], 7)
    ignored = None if operation is ASSIGN else mirror
    blockwise.merge_into(out, values, aggregation, operation, ignored)

    assert (expected.dtype, expected.shape) == (out.dtype, out.shape)
    assert bits_of(expected) == bits_of(out)
    after = [value.tobytes() for value in (*values, *([] if mirror is None else [mirror]))]
    assert before == after


@st.composite
def sizes(draw: st.DrawFn, itemsize: int) -> int:
    """Draw sizes near multiples of the piece size."""
    pieces = draw(st.integers(0, 4))
    return max(0, pieces * PIECE_BYTES // itemsize + draw(st.integers(-2, 2)))


@settings(max_examples=many(200), deadline=None)
@given(
    st.sampled_from(NUMBERS),
    st.data(),
    st.integers(1, 5),
    st.sampled_from([SUM, MEAN, FIRST]),
    st.sampled_from([ASSIGN, ADD, SUB]),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_a_merge_in_pieces_equals_a_merge_of_whole_arrays(
    dtype: np.dtype[Any],
    data: st.DataObject,
    count: int,
    aggregation: VariableAggregation,
    operation: Operation,
    has_mirror: bool,
    seed: int,
) -> None:
    """Warnings are errors in tests, so a merge that causes a warning would fail."""
    if aggregation is MEAN and dtype.kind in "iu":
        aggregation = SUM  # no variable has MEAN of integers
    size = data.draw(sizes(dtype.itemsize))
    values = [numbers(dtype, size, seed + index) for index in range(count)]
    mirror = numbers(dtype, size, seed + count) if has_mirror else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blockwise, "PIECE_BYTES", PIECE_BYTES)
        check(values, aggregation, operation, mirror)


@pytest.mark.thorough
@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("pieces", ["one", "one and an element", "two minus an element"])
def test_a_merge_in_pieces_of_the_real_size_is_right(dtype: np.dtype[Any], pieces: str) -> None:
    piece = blockwise.PIECE_BYTES // dtype.itemsize
    size = {
        "one": piece,
        "one and an element": piece + 1,
        "two minus an element": 2 * piece - 1,
    }[pieces]
    values = [numbers(dtype, size, seed) for seed in range(3)]
    aggregation = SUM if dtype.kind in "iu" else MEAN
    check(values, aggregation, SUB, numbers(dtype, size, 3))


def test_arrays_of_several_dimensions_keep_their_shape() -> None:
    values = [numbers(np.dtype("f4"), 60_000, seed).reshape(3, 20, 1000) for seed in range(3)]
    check(values, MEAN, ADD, values[0][::-1].copy())


def test_a_mirror_may_have_another_memory_layout() -> None:
    values = [np.arange(40_000.0).reshape(200, 200) for _ in range(2)]
    check(values, SUM, ADD, np.asfortranarray(values[0]))


def test_bools_of_the_first_replica_are_copied() -> None:
    values = [np.array([True, False]), np.array([False, False])]
    out = np.empty(2, np.bool_)
    blockwise.merge_into(out, values, FIRST, ASSIGN, None)
    assert [True, False] == list(out)


def test_a_merge_writes_to_the_given_memory() -> None:
    whole = np.zeros(10)
    blockwise.merge_into(whole[2:5], [np.ones(3), np.ones(3)], SUM, ASSIGN, None)
    assert [0, 0, 2, 2, 2, 0, 0, 0, 0, 0] == list(whole)
