"""Sums, means and shares are computed in replica order and in the dtype, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from tests.dtypes import DTYPES
from tests.sync.build import ADD, ASSIGN, FIRST, MEAN, SUB, SUM, array
from varsim.errors import AggregationError, ShapeError, ValueMismatchError, ValueTypeError
from varsim.extension_dtypes import kind_of
from varsim.spec import Operation, ReduceOp
from varsim.sync import reduce

NUMBERS = [dtype for dtype in DTYPES if dtype.kind != "b"]

# ---------------------------------------------------------------- fold and aggregate


def test_a_float16_sum_rounds_at_every_step_from_the_left():
    """2048 + 1 is 2048 in float16, so the result depends on the order."""
    values = [array(x, "float16") for x in (2048.0, 1.0, 1.0)]

    assert 2048.0 == reduce.fold(values)
    assert 2050.0 == reduce.fold(values[::-1])
    assert np.dtype("float16") == reduce.fold(values).dtype


def test_a_sum_is_the_left_fold_bit_for_bit():
    generator = np.random.default_rng(1)
    for dtype in [
        dtype for dtype in DTYPES if kind_of(dtype) == "f" and dtype.name != "float8_e4m3fn"
    ]:
        values = [generator.normal(size=257).astype(dtype) for _ in range(5)]
        expected = values[0]
        for value in values[1:]:
            expected = (expected + value).astype(dtype)

        assert expected.tobytes() == reduce.fold(values).tobytes()


def test_integers_wrap():
    assert -128 == reduce.fold([array(127, "int8"), array(1, "int8")])


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (2, 3)])
def test_a_sum_keeps_dtype_and_shape(dtype, shape):
    values = [np.ones(shape, dtype)] * 3
    total = reduce.aggregate(values, SUM)

    assert isinstance(total, np.ndarray)
    assert (shape, dtype) == (total.shape, total.dtype)
    assert np.all(total == 3)


def test_the_values_that_are_summed_do_not_change():
    values = [array([1.0, 2.0]), array([3.0, 4.0])]
    reduce.aggregate(values, MEAN)

    assert [[1.0, 2.0], [3.0, 4.0]] == [value.tolist() for value in values]


def test_a_mean_is_the_sum_divided_in_the_dtype():
    """A sum that overflows before the division stays infinite, as in TensorFlow."""
    values = [array(4e4, "float16")] * 2

    with np.errstate(over="ignore"):
        assert np.isinf(reduce.aggregate(values, MEAN))
    third = reduce.aggregate([array(1.0), array(0.0), array(0.0)], MEAN)
    assert (np.float32(1) / np.float32(3)).tobytes() == third.tobytes()


def test_only_first_replica_uses_the_first_value_only():
    first = array(1.0)

    assert first is reduce.aggregate([first], FIRST)
    assert first is reduce.aggregate([first, array(2.0)], FIRST)


def test_one_value_is_its_own_sum_and_mean():
    for aggregation in (SUM, MEAN):
        assert reduce.aggregate([array(True, "bool")], aggregation)


def test_several_bools_have_no_sum():
    with pytest.raises(AggregationError):
        reduce.aggregate([array(True, "bool")] * 2, SUM)


def test_nan_and_negative_zero_are_kept():
    assert np.isnan(reduce.fold([array(np.nan), array(1.0)]))
    assert np.signbit(reduce.fold([array(-0.0), array(-0.0)]))


# ---------------------------------------------------------------- reduce, as strategy.reduce does


def test_a_mean_of_integers_is_float64():
    mean = reduce.reduce([array(-11, "int32"), array(0, "int32")], ReduceOp.MEAN)

    assert np.dtype("float64") == mean.dtype
    assert -5.5 == mean


def test_a_mean_over_one_replica_is_the_value_itself():
    one = array(3, "int32")

    assert one is reduce.reduce([one], ReduceOp.MEAN)


def test_values_that_differ_in_shape_or_dtype_are_named_by_replica():
    with pytest.raises(
        ValueMismatchError, match=r"replica 0: float32\[\], replica 1: float32\[2\]"
    ):
        reduce.reduce([array(1.0), array([1.0, 2.0])], ReduceOp.SUM)
    with pytest.raises(ValueMismatchError, match=r"replica 1: float64\[\]"):
        reduce.reduce([array(1.0), array(1.0, "float64")], ReduceOp.SUM)


def test_bools_are_not_reduced():
    with pytest.raises(AggregationError, match="SUM of dtype bool"):
        reduce.reduce([array(True, "bool")] * 2, ReduceOp.SUM)


# ---------------------------------------------------------------- concatenate


def test_sizes_may_differ_along_the_gathered_axis():
    parts = [np.ones((1, 2)), np.zeros((0, 2)), np.full((2, 2), 3.0)]

    assert [[1, 1], [3, 3], [3, 3]] == reduce.concatenate(parts, 0).tolist()


def test_other_axes_must_not_differ():
    with pytest.raises(ValueMismatchError, match=r"replica 1: float64\[1, 3\]"):
        reduce.concatenate([np.ones((1, 2)), np.ones((1, 3))], 0)
    with pytest.raises(ValueMismatchError):
        reduce.concatenate([np.ones(2), np.ones((2, 1))], 0)


@pytest.mark.parametrize("axis", [-1, 1])
def test_an_impossible_axis_is_refused(axis):
    with pytest.raises(ShapeError, match=f"axis {axis} of a value of 1 dim"):
        reduce.concatenate([np.ones(2)] * 2, axis)


def test_bools_are_not_gathered():
    with pytest.raises(ValueTypeError):
        reduce.concatenate([np.ones(2, bool)] * 2, 0)


# ---------------------------------------------------------------- shares


@pytest.mark.parametrize(
    ("value", "count", "expected"),
    [
        (7, 2, 3),
        (-7, 2, -3),
        (-10, 3, -3),
        (13, 4, 3),
        (0, 3, 0),
        (-1, 4, 0),
        (2**31 - 1, 2, 2**30 - 1),
        (-(2**31), 2, -(2**30)),
        (-(2**31), 3, -715827882),
    ],
)
def test_an_integer_share_is_truncated_towards_zero(value, count, expected):
    share = reduce.share_of(array(value, "int32"), np.dtype("int32"), count, "w")

    assert expected == share
    assert np.dtype("int32") == share.dtype


@pytest.mark.parametrize(
    ("dtype", "value", "count", "expected"),
    [
        ("int64", 2**63 - 1, 2, 2**62 - 1),
        ("int64", -(2**63), 3, -3074457345618258602),
        ("uint64", 2**64 - 1, 2, 2**63 - 1),
        ("int64", 2**53 + 1, 1, 2**53 + 1),
        ("int8", -128, 3, -42),
        ("uint8", 255, 2, 127),
    ],
)
def test_extreme_integers_are_shared_exactly(dtype, value, count, expected):
    """TensorFlow divides in float64 and loses the last digits of large integers: difference D7."""
    assert expected == reduce.share_of(array(value, dtype), np.dtype(dtype), count, "w")


def test_a_float_share_is_divided_in_its_dtype():
    share = reduce.share_of(array(0.1, "float64"), np.dtype("float64"), 3, "w")

    assert np.float64(0.1) / np.float64(3) == share


def test_a_bool_has_no_share():
    with pytest.raises(ValueTypeError, match="'w': a bool has no share"):
        reduce.share_of(array(True, "bool"), np.dtype("bool"), 2, "w")


# ---------------------------------------------------------------- apply


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
def test_applying_an_operation_gives_an_array_of_the_same_dtype(dtype):
    """A 0-d array does not decay to a NumPy scalar."""
    before, value = np.asarray(5, dtype), np.asarray(3, dtype)

    for operation, expected in ((ASSIGN, 3), (ADD, 8), (SUB, 2)):
        after = reduce.apply(operation, before, value)
        assert isinstance(after, np.ndarray)
        assert (expected, dtype) == (after, after.dtype)
    assert 5 == before


def test_applying_a_read_is_refused():
    with pytest.raises(AssertionError):
        reduce.apply(Operation.READ, array(1.0), array(1.0))
