"""Combine replicas' values (SUM, MEAN, MIN, …), and divide one value into shares.

Every reduction is a left fold in replica order, rounded to the dtype at each step. So a result is
the same, bit for bit, in every run, cluster and exchange. If TensorFlow also uses a left fold, its
result is the same bit for bit. If TensorFlow adds in a ring or multiplies by a reciprocal
(difference D8 in docs/semantics.md), the two results differ only by rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from varsim.errors import AggregationError, ShapeError, ValueMismatchError, ValueTypeError
from varsim.extension_dtypes import has_infinity, kind_of, max_of
from varsim.protocol.limits import check_frame
from varsim.spec import Array, Operation, ReduceOp, VariableAggregation

_SILENT = np.errstate(over="ignore", invalid="ignore", divide="ignore")
"""Disables NumPy's warnings: as in TensorFlow, overflow gives inf, and inf - inf gives NaN."""


@_SILENT
def fold(values: Sequence[Array]) -> Array:
    """Return the sum of arrays of one shape and dtype, as a new array of this shape and dtype.

    Integers wrap around. Source: TensorFlow 2.21, behaviour recorded in tests/golden.
    """
    return _fold(values)


def _fold(values: Sequence[Array]) -> Array:
    return _folded(np.add, values)


def _folded(ufunc: np.ufunc, values: Sequence[Array]) -> Array:
    total = np.array(values[0])
    for value in values[1:]:
        ufunc(total, value, out=total)
    return total


@_SILENT
def aggregate(components: Sequence[Array], aggregation: VariableAggregation) -> Array:
    """Combine the components of a variable, or the values written to it, into one value.

    Args:
        components: One array per replica, in replica order, of one shape and dtype. For
            ONLY_FIRST_REPLICA, the first array is sufficient.
        aggregation: Any aggregation except NONE.
    Returns:
        An array of this shape and dtype. The order is fixed, so the result is the same bit for bit
        in every run.
    Raises:
        AggregationError: The result would be a sum or a mean of bools over several replicas.
        ValueMismatchError: The shapes differ, which is possible if the shape of the variable has an
            unknown dimension (None).
    Source: TensorFlow 2.21, behaviour recorded in tests/golden.
    """
    return _aggregate(components, aggregation)


def _aggregate(components: Sequence[Array], aggregation: VariableAggregation) -> Array:
    assert aggregation is not VariableAggregation.NONE
    first = components[0]
    if aggregation is VariableAggregation.ONLY_FIRST_REPLICA or len(components) == 1:
        return first
    require_addable(components)
    total = _fold(components)
    if aggregation is VariableAggregation.MEAN:
        np.divide(total, total.dtype.type(len(components)), out=total)
    return total


def require_one_shape(components: Sequence[Array]) -> None:
    """Check that components have the same shape; a variable's shape can have unknown dimensions.

    Raises:
        ValueMismatchError: The shapes differ.
    """
    shape = components[0].shape
    for component in components:  # every merge asks, so create no generator
        if component.shape != shape:
            shapes = ", ".join(f"replica {i}: {list(c.shape)}" for i, c in enumerate(components))
            raise ValueMismatchError(f"cannot combine components of different shapes: {shapes}")


def require_combinable(values: Sequence[Array], aggregation: VariableAggregation) -> None:
    """Check that `aggregate` can combine these values.

    Raises:
        ValueMismatchError: The shapes differ.
        AggregationError: The result would be a sum or a mean of bools.
    """
    if aggregation is not VariableAggregation.ONLY_FIRST_REPLICA and len(values) > 1:
        require_addable(values)


def require_numbers(values: Sequence[Array], aggregation: VariableAggregation) -> None:
    """Check that `aggregate` can combine values of this dtype. The caller checks the shapes.

    Raises:
        AggregationError: The result would be a sum or a mean of bools.
    """
    if values[0].dtype.kind == "b":
        require_combinable(values, aggregation)


def require_addable(values: Sequence[Array]) -> None:
    """Check that the values can be added.

    Raises:
        ValueMismatchError: The shapes differ.
        AggregationError: The values are bools.
    """
    require_one_shape(values)
    if values[0].dtype.kind == "b":
        raise AggregationError("(value)", "bools have no sum", "Use an integer dtype.")


@_SILENT
def merge(
    values: Sequence[Array],
    aggregation: VariableAggregation,
    operation: Operation,
    mirror: Array | None,
) -> Array:
    """Combine the values; return the mirror after the operation with the combined value.

    Args:
        values: One array per replica, in replica order, of one shape and dtype. For
            ONLY_FIRST_REPLICA, the first array is sufficient.
        mirror: The value of all components; None to return the combined value itself.
    """
    agreed = _aggregate(values, aggregation)
    return agreed if mirror is None else _apply(operation, mirror, agreed)


@_SILENT
def reduce(
    values: Sequence[Array],
    op: ReduceOp,
    num_replicas: int | None = None,
    weights: Sequence[float] | None = None,
) -> Array:
    """Reduce the replicas' values as `strategy.reduce` and `all_reduce` do.

    Args:
        values: One array per replica, in replica order, of one shape and dtype.
        num_replicas: The number of replicas, including those that have joined and have no value;
            None if every replica has a value. The dtype of the result depends on this number.
        weights: For MEAN, the weight of each value; None for equal weights.
    Returns:
        An array of the values' dtype. Integers wrap around, and NaN in one value gives NaN, also
        for MIN and MAX. A mean of integers over several replicas is float64.
    Raises:
        ValueMismatchError: Shapes or dtypes differ.
        AggregationError: There are several replicas, and the op has no meaning for the dtype; or
            all weights are 0.
    Source: TensorFlow 2.21, recorded in tests/golden (difference D8: the order of a sum).
        TensorFlow has only SUM and MEAN, without weights.
    """
    first = values[0]
    if any(value.shape != first.shape or value.dtype != first.dtype for value in values):
        raise ValueMismatchError(
            f"cannot reduce values of different shape or dtype: {described(values)}\n"
            "  Give every replica a value of the same shape and dtype: pad the value, or sum over "
            "its rows first, as strategy.reduce(…, axis=0) does. Or use strategy.gather, which "
            "accepts different numbers of rows."
        )
    if weights is not None:
        require_meaning(first.dtype, op)
        return _weighted_mean(values, weights)
    if len(values) == 1 and num_replicas in {None, 1}:
        return first
    require_meaning(first.dtype, op)
    total = _folded(UFUNCS[op], values)
    if op is not ReduceOp.MEAN:
        return total
    if total.dtype.kind in "iu":
        return np.asarray(np.divide(total, np.float64(len(values)), dtype=np.float64))
    np.divide(total, total.dtype.type(len(values)), out=total)
    return total


UFUNCS: Final[Mapping[ReduceOp, np.ufunc]] = {
    ReduceOp.SUM: np.add,
    ReduceOp.MEAN: np.add,
    ReduceOp.MIN: np.minimum,
    ReduceOp.MAX: np.maximum,
    ReduceOp.PROD: np.multiply,
    ReduceOp.ANY: np.logical_or,
    ReduceOp.ALL: np.logical_and,
}
"""Op → the function that combines two values; a MEAN is the sum, divided at the end."""

_OF_BOOLS: Final = (ReduceOp.ANY, ReduceOp.ALL)
_OF_ORDERED: Final = (ReduceOp.MIN, ReduceOp.MAX)


def require_meaning(dtype: np.dtype[np.generic], op: ReduceOp) -> None:
    """Check that values of this dtype can be reduced over several replicas.

    Raises:
        AggregationError: The op has no meaning for the dtype.
    """
    kind = kind_of(dtype)
    if op in _OF_BOOLS:
        if kind == "b":
            return
        remedy = "Compare the value first: value != 0 is a bool."
    elif kind == "b":
        remedy = "Use ANY or ALL for bools, or cast the value to a number first."
    elif kind not in "iufc":
        remedy = "Cast the value to a number first."
    elif kind == "c" and op in _OF_ORDERED:
        remedy = "Complex numbers have no order: reduce abs(value), or the real part."
    else:
        return
    raise AggregationError(
        "(value)", f"a {op.name} of dtype {dtype} over several replicas has no meaning", remedy
    )


def _weighted_mean(values: Sequence[Array], weights: Sequence[float]) -> Array:
    """Return the sum of weight · value, divided by the sum of the weights.

    The sums are computed in double precision, and the mean is rounded once to the dtype. A value
    with the weight 0 is left out, even if it is NaN.
    """
    kind, dtype = kind_of(values[0].dtype), values[0].dtype
    wide = np.complex128 if kind == "c" else np.float64
    require_weight(weights)
    used = [(value, weight) for value, weight in zip(values, weights, strict=True) if weight]
    total = _folded(np.add, [value.astype(wide) * weight for value, weight in used])
    divisor = _folded(np.add, [np.asarray(weight, np.float64) for _, weight in used])
    mean = np.asarray(np.divide(total, divisor))
    return mean.astype(dtype) if kind in "fc" else mean


def require_weight(weights: Sequence[float]) -> None:
    """Check that a weighted mean has a value.

    Raises:
        AggregationError: All weights are 0.
    """
    if not any(weights):
        raise AggregationError(
            "(value)",
            "the weights of all replicas are 0, so the weighted mean has no value",
            "Give at least one replica a weight above 0, or skip the mean if no replica has rows.",
        )


@_SILENT
def scan(values: Sequence[Array], op: ReduceOp, *, exclusive: bool) -> list[Array]:
    """Return, for each replica, the reduction of the values of the replicas before it.

    Args:
        values: One array per replica, in replica order, of one shape and dtype.
        exclusive: Whether a replica's own value is left out. The first result is then the identity
            of the op; see `identity`.
    Returns:
        One array of the values' shape and dtype per replica.
    Raises:
        AggregationError: The op has no meaning for the dtype.
    """
    first = values[0]
    require_meaning(first.dtype, op)
    results = [np.array(first)]
    for value in values[1:]:
        results.append(UFUNCS[op](results[-1], value, out=np.empty_like(first)))
    if exclusive:
        return [np.full_like(first, identity(op, first.dtype)), *results[:-1]]
    return results


def identity(op: ReduceOp, dtype: np.dtype[np.generic]) -> Array:
    """Return the value that changes no other value, such as 0 for SUM, or inf for MIN."""
    match op:
        case ReduceOp.SUM | ReduceOp.ANY:
            return np.zeros((), dtype)
        case ReduceOp.PROD | ReduceOp.ALL:
            return np.ones((), dtype)
        case ReduceOp.MIN | ReduceOp.MAX:
            return _extreme(dtype, largest=op is ReduceOp.MIN)
        case _:
            raise AssertionError(f"{op} has no identity")


def _extreme(dtype: np.dtype[np.generic], *, largest: bool) -> Array:
    """Return the largest or the smallest value of a dtype: an infinity, if the dtype has one."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype.name)
        return np.asarray(limits.max if largest else limits.min, dtype)
    value = np.inf if has_infinity(dtype) else max_of(dtype)
    return np.asarray(value if largest else -value).astype(dtype)


def described(values: Sequence[Array]) -> str:
    """Return dtype and shape of every replica's value, for errors."""
    return ", ".join(f"replica {i}: {v.dtype}{list(v.shape)}" for i, v in enumerate(values))


def concatenate(values: Sequence[Array], axis: int) -> Array:
    """Join the replicas' values along an axis, as `strategy.gather` and `all_gather` do.

    Args:
        values: One array per replica, in replica order; sizes along `axis` may differ.
        axis: The axis, counted from 0. As in TensorFlow, it cannot be negative.
    Raises:
        ValueMismatchError: The dtypes differ, or the sizes along another axis differ.
        ValueTypeError: The values are bools, which TensorFlow also refuses.
        ShapeError: The values do not have this axis.
        SizeError: The result is too large to be sent.
    Source: TensorFlow 2.21, recorded in tests/golden (difference D4: empty values).
    """
    first = values[0]
    if not 0 <= axis < first.ndim:
        raise ShapeError(
            "(value)",
            f"cannot gather along axis {axis} of a value of {first.ndim} dimensions",
            "Axes are counted from 0. Give scalars an axis first: value[None].",
        )
    if len(values) == 1:
        return first
    if first.dtype.kind == "b":
        raise ValueTypeError("(value)", "cannot gather bools", "Cast the value to integers.")
    check_frame(sum(v.nbytes for v in values), what="the gathered value")
    kept = [(v.dtype, v.shape[:axis], v.shape[axis + 1 :]) for v in values]
    if any(other != kept[0] for other in kept):
        raise ValueMismatchError(
            f"cannot gather along axis {axis}: {described(values)}\n"
            "  Only the sizes along that axis may differ. Pad or reshape the other dimensions."
        )
    return np.concatenate(values, axis=axis)


@_SILENT
def share_of(value: Array, dtype: np.dtype[np.generic], num_replicas: int, variable: str) -> Array:
    """Return one replica's share of a value that is assigned to an ON_READ SUM variable.

    The quotient of integers is computed exactly, and then truncated towards zero. For example, 7
    divided over 2 replicas gives the share 3, so a read of the variable gives 6. For an integer
    variable, the share of a value with a fraction is truncated, too.

    Args:
        value: Numbers of any dtype except bool. A quotient is rounded to the dtype of the value
            before it is converted to the dtype of the variable.
        dtype: The dtype of the variable.
    Raises:
        ValueTypeError: The value or the variable is bool, or the value is complex and the variable
            is real.
    Source: TensorFlow 2.21 (difference D7: TensorFlow rounds intermediate results).
    """
    if value.dtype.kind == "b" or dtype.kind == "b":
        raise ValueTypeError(variable, "a bool has no share: it cannot be divided", "Use a number.")
    if value.dtype.kind == "c" and dtype.kind != "c":
        raise ValueTypeError(variable, f"the variable holds {dtype}, but the value is complex")
    if value.dtype.kind in "iu":
        wide = value.astype(np.int64 if value.dtype.kind == "i" else np.uint64)
        count = wide.dtype.type(num_replicas)
        if dtype.kind in "iu":
            return np.asarray((wide - np.fmod(wide, count)) // count).astype(dtype)
        return np.asarray(np.divide(value.astype(dtype), dtype.type(num_replicas)))
    quotient = np.asarray(np.divide(value, value.dtype.type(num_replicas)))
    return quotient.astype(dtype)


@_SILENT
def part_of(value: Array, aggregation: VariableAggregation, num_replicas: int) -> Array:
    """Return what one replica's value adds to a copy to which every replica adds.

    Args:
        aggregation: SUM, for the whole value; or MEAN, for the value divided by `num_replicas`.
    Returns:
        An array of the shape and dtype of `value`, or `value` itself.
    """
    if aggregation is VariableAggregation.SUM or num_replicas == 1:
        return value
    assert aggregation is VariableAggregation.MEAN
    return np.asarray(np.divide(value, value.dtype.type(num_replicas)))


def loses_remainder(
    value: Array, dtype: np.dtype[np.generic], num_replicas: int, variable: str
) -> bool:
    """Return whether the sum of a value's integer shares differs from the value.

    Raises:
        ValueTypeError: See `share_of`.
    """
    share = share_of(value, dtype, num_replicas, variable)
    return share.dtype.kind in "iu" and not np.array_equal(share * num_replicas, value)


@_SILENT
def apply(operation: Operation, component: Array, value: Array) -> Array:
    """Return a component after `operation` with `value` of the same shape and dtype.

    The result is a new array or `value` itself: `component` does not change, because a program may
    have read it.
    """
    return _apply(operation, component, value)


def _apply(operation: Operation, component: Array, value: Array) -> Array:
    match operation:
        case Operation.ASSIGN:
            return value
        case Operation.ASSIGN_ADD:
            return np.add(component, value, out=np.empty_like(component))
        case Operation.ASSIGN_SUB:
            return np.subtract(component, value, out=np.empty_like(component))
        case _:
            raise AssertionError(f"{operation} is not a write")


Limits = tuple[float, float]

_CERTAIN: dict[np.dtype[np.generic], Limits] = {
    np.dtype(name): (
        (np.iinfo(name).min, np.iinfo(name).max)
        if np.dtype(name).kind in "iu"
        else (-float(np.finfo(name).max), float(np.finfo(name).max))
    )
    for name in "i1 i2 i4 i8 u1 u2 u4 u8 f4 f8".split()
}
"""dtype → the range of sums that certainly do not overflow."""


def limits_of(dtype: np.dtype[np.generic]) -> Limits | None:
    """Return the range of sums that certainly do not overflow; None for dtypes without limits."""
    return _CERTAIN.get(dtype)


def apply_in_place(
    operation: Operation, component: Array, value: Array, limits: Limits | None
) -> None:
    """Add to, or subtract from, a component to which no other reference exists.

    Args:
        limits: The limits of the component's dtype; see `limits_of`.
    """
    if limits is not None and component.ndim == 0:
        # A counter in a training loop takes this branch, which needs a quarter of the time of a sum
        # under np.errstate. Python's floats have double precision: a float32 sum that is computed
        # in double precision rounds to the same float32.
        other = value.item()
        total = component.item() + (other if operation is Operation.ASSIGN_ADD else -other)
        if limits[0] < total < limits[1]:
            component[()] = total
            return
    ufunc = np.add if operation is Operation.ASSIGN_ADD else np.subtract
    if component.dtype.kind in "iu":  # integers wrap around without a warning
        ufunc(component, value, out=component)
        return
    with np.errstate(over="ignore", invalid="ignore"):
        ufunc(component, value, out=component)
