"""Collectives combine the replicas' values as NumPy does, in replica order."""

from __future__ import annotations

from functools import reduce as fold
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from varsim.errors import AggregationError, ShapeError
from varsim.protocol.parts import Combination, CombineKind
from varsim.spec import Array, ReduceOp
from varsim.sync.combining import combined, is_valid
from varsim.sync.reduce import UFUNCS, identity, reduce, scan

OF_NUMBERS = (ReduceOp.SUM, ReduceOp.MIN, ReduceOp.MAX, ReduceOp.PROD)
OF_BOOLS = (ReduceOp.ANY, ReduceOp.ALL)

dtypes = st.sampled_from("f2 f4 f8 i1 i4 i8 u1 u8".split()).map(np.dtype)


@st.composite
def values_and_op(draw: st.DrawFn) -> tuple[list[Array], ReduceOp]:
    """Draw one array per replica, of one shape and dtype, with an op that has a meaning."""
    op = draw(st.sampled_from((*OF_NUMBERS, *OF_BOOLS)))
    dtype = np.dtype(bool) if op in OF_BOOLS else draw(dtypes)
    shape = draw(arrays.array_shapes(min_dims=0, max_dims=2, max_side=3))
    count = draw(st.integers(2, 4))
    return [draw(arrays.arrays(dtype, shape)) for _ in range(count)], op


def one(how: Combination, *values: Any, weights: Any = None) -> list[Array]:
    """Return each replica's only leaf of the result."""
    leaves = [(np.asarray(value),) for value in values]
    return [own for (own,) in combined(how, leaves, weights or [None] * len(values))]


def same(expected: Any, result: Array) -> None:
    assert result.dtype == np.asarray(expected).dtype
    np.testing.assert_array_equal(expected, result, strict=True)


@given(values_and_op())
def test_a_reduction_is_numpys_left_fold(case: tuple[list[Array], ReduceOp]) -> None:
    """NaN propagates, and integers wrap around."""
    values, op = case
    with np.errstate(all="ignore"):
        expected = fold(UFUNCS[op], values)
    same(np.asarray(expected, values[0].dtype), reduce(values, op))


@given(values_and_op())
def test_a_scan_has_every_partial_fold(case: tuple[list[Array], ReduceOp]) -> None:
    values, op = case
    with np.errstate(all="ignore"):
        expected = [np.asarray(part) for part in accumulate(values, UFUNCS[op])]
    inclusive, exclusive = (scan(values, op, exclusive=one) for one in (False, True))

    for wanted, got in zip(expected, inclusive, strict=True):
        same(wanted, got)
    for wanted, got in zip(expected[:-1], exclusive[1:], strict=True):
        same(wanted, got)
    assert values[0].dtype == exclusive[0].dtype
    assert values[0].shape == exclusive[0].shape


@given(values_and_op())
def test_the_first_exclusive_element_changes_no_value(case: tuple[list[Array], ReduceOp]) -> None:
    values, op = case
    with np.errstate(all="ignore"):
        for value in values:
            result = UFUNCS[op](identity(op, value.dtype), value)
            np.testing.assert_array_equal(value, result)


@pytest.mark.parametrize(
    ("op", "dtype", "expected"),
    [
        (ReduceOp.SUM, "int32", 0),
        (ReduceOp.PROD, "float32", 1),
        (ReduceOp.MIN, "int8", 127),
        (ReduceOp.MAX, "int8", -128),
        (ReduceOp.MAX, "uint8", 0),
        (ReduceOp.MIN, "float16", np.inf),
        (ReduceOp.MAX, "float64", -np.inf),
        (ReduceOp.ANY, "bool", False),
        (ReduceOp.ALL, "bool", True),
    ],
)
def test_the_identity_of_an_op(op: ReduceOp, dtype: str, expected: Any) -> None:
    same(np.asarray(expected, dtype), identity(op, np.dtype(dtype)))


def test_a_dtype_without_infinity_has_its_largest_number_as_the_identity_of_min() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    assert 448 == float(identity(ReduceOp.MIN, np.dtype(ml_dtypes.float8_e4m3fn)))
    assert np.inf == float(identity(ReduceOp.MIN, np.dtype(ml_dtypes.bfloat16)))


@pytest.mark.parametrize("op", [ReduceOp.MIN, ReduceOp.MAX])
def test_nan_propagates(op: ReduceOp) -> None:
    assert np.isnan(reduce([np.ones(1), np.full(1, np.nan)], op)).all()


def test_a_product_of_integers_wraps_around() -> None:
    values = [np.asarray(number, np.int8) for number in (100, 4)]
    same(np.asarray(-112, np.int8), reduce(values, ReduceOp.PROD))


@pytest.mark.parametrize(
    ("op", "dtype", "remedy"),
    [
        (ReduceOp.ANY, "float32", "Compare the value first"),
        (ReduceOp.ALL, "int32", "Compare the value first"),
        (ReduceOp.MIN, "bool", "Use ANY or ALL"),
        (ReduceOp.PROD, "bool", "Use ANY or ALL"),
        (ReduceOp.MAX, "complex64", "no order"),
    ],
)
def test_an_op_without_meaning_for_the_dtype_is_refused(
    op: ReduceOp, dtype: str, remedy: str
) -> None:
    values = [np.zeros(2, dtype)] * 2
    with pytest.raises(AggregationError, match=remedy):
        reduce(values, op)
    with pytest.raises(AggregationError, match=remedy):
        scan(values, op, exclusive=True)


# ---------------------------------------------------------------- weighted means

MEAN = Combination(CombineKind.ALL_REDUCE, ReduceOp.MEAN)


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=4).filter(any),
    st.sampled_from(["f2", "f4", "f8"]),
)
def test_a_weighted_mean_of_means_is_the_mean_of_all_rows(rows: list[int], dtype: str) -> None:
    """Replicas without rows are left out, although their mean is NaN."""
    shards = [np.arange(count, dtype=np.float64) + i for i, count in enumerate(rows)]
    with np.errstate(invalid="ignore"):
        means = [np.asarray(s.sum() / np.float64(len(s)) if len(s) else np.nan) for s in shards]
    wanted = np.average(
        [mean for mean, count in zip(means, rows, strict=True) if count],
        weights=[count for count in rows if count],
    )
    (result, *_) = one(MEAN, *[mean.astype(dtype) for mean in means], weights=rows)

    assert np.dtype(dtype) == result.dtype
    np.testing.assert_allclose(wanted, result, rtol=4 * float(np.finfo(dtype).eps))


def test_a_weighted_mean_of_integers_is_float64() -> None:
    same(np.asarray(1.75), one(MEAN, 1, 2, weights=[1, 3])[0])


def test_a_weighted_mean_of_complex_numbers_keeps_the_dtype() -> None:
    first, second = np.complex64(1 + 2j), np.complex64(3)
    same(np.asarray(2 + 1j, np.complex64), one(MEAN, first, second, weights=[2, 2])[0])


def test_a_weighted_mean_without_weight_is_refused() -> None:
    with pytest.raises(AggregationError, match="weights of all replicas are 0"):
        one(MEAN, 1.0, 2.0, weights=[0.0, 0.0])


# ---------------------------------------------------------------- parts and exchanges


@given(st.integers(1, 4), st.integers(0, 3), st.booleans())
def test_a_reduce_scatter_is_a_part_of_the_all_reduce(count: int, rows: int, second: bool) -> None:
    shape, axis = ((2, rows * count), 1) if second else ((rows * count, 2), 0)
    values = [np.arange(np.prod(shape), dtype=np.int64).reshape(shape) * i for i in range(count)]
    results = one(Combination(CombineKind.REDUCE_SCATTER, ReduceOp.SUM, axis=axis), *values)

    same(sum(values), np.concatenate(results, axis=axis))
    assert [rows] * count == [part.shape[axis] for part in results]


def test_a_size_that_cannot_be_split_is_refused_with_the_sizes() -> None:
    how = Combination(CombineKind.REDUCE_SCATTER, ReduceOp.SUM, axis=0)
    with pytest.raises(ShapeError, match="5 = 2 · 2 \\+ 1\n  Pad the value to 6 rows"):
        one(how, np.zeros(5), np.zeros(5))
    with pytest.raises(ShapeError, match="a value of 0 dimensions"):
        one(how, 1.0, 2.0)


def test_an_all_to_all_transposes_uneven_parts() -> None:
    sent = [[np.full(i + j, 10 * i + j) for j in range(3)] for i in range(3)]
    got = combined(Combination(CombineKind.ALL_TO_ALL), [*map(tuple, sent)], [None] * 3)

    for receiver, parts in enumerate(got):
        for sender, part in enumerate(parts):
            same(sent[sender][receiver], part)


def test_a_broadcast_gives_the_roots_value() -> None:
    same(np.asarray(2.0), one(Combination(CombineKind.BROADCAST, root=1), 1.0, 2.0, 3.0)[0])


@pytest.mark.parametrize(
    ("how", "weight", "leaves"),
    [
        (Combination(CombineKind.ALL_REDUCE), None, 1),
        (Combination(CombineKind.ALL_REDUCE, ReduceOp.SUM, axis=0), None, 1),
        (Combination(CombineKind.ALL_REDUCE, ReduceOp.SUM), 1.0, 1),
        (Combination(CombineKind.ALL_REDUCE, ReduceOp.MEAN), -1.0, 1),
        (Combination(CombineKind.ALL_REDUCE, ReduceOp.MEAN), float("inf"), 1),
        (Combination(CombineKind.ALL_GATHER), None, 1),
        (Combination(CombineKind.REDUCE_SCATTER, ReduceOp.SUM), None, 1),
        (Combination(CombineKind.BROADCAST, root=2), None, 1),
        (Combination(CombineKind.BROADCAST), None, 1),
        (Combination(CombineKind.SCAN, ReduceOp.MEAN), None, 1),
        (Combination(CombineKind.ALL_REDUCE, ReduceOp.SUM, exclusive=True), None, 1),
        (Combination(CombineKind.ALL_TO_ALL), None, 3),
    ],
)
def test_a_collective_needs_exactly_its_arguments(
    how: Combination, weight: float | None, leaves: int
) -> None:
    assert not is_valid(how, weight, leaves, range(2))
