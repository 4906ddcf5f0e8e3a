"""Combine values in the program's own process, for `strategy.reduce` and `strategy.gather`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

import numpy as np

from varsim.distribute.cluster_variable import ClusterVariable
from varsim.distribute.conversion import as_tensor
from varsim.distribute.distributed import DistributedVariable, MirroredVariable
from varsim.distribute.indexed_slices import IndexedSlices
from varsim.distribute.ports import StrategyPort
from varsim.distribute.sparse import rows_alike
from varsim.distribute.structure_walks import leaves_of, map_structure
from varsim.distribute.values import DistributedValues, present_of
from varsim.errors import (
    AggregationError,
    DistributedValueError,
    ShapeError,
    SizeError,
    UnsupportedError,
    ValueMismatchError,
    ValueTypeError,
)
from varsim.extension_dtypes import is_extension, kind_of
from varsim.location import user_location
from varsim.spec import Array, ReduceOp
from varsim.sync import reduce
from varsim.texts.facts import name_replicas


def require_own(value: Any, strategy: StrategyPort, operation: str) -> None:
    """Check that the distributed values in a structure fit a strategy.

    Raises:
        ContextError: A variable belongs to another strategy.
        DistributedValueError: A value does not have a component for each replica.
    """
    leaves = []
    with suppress(SizeError):  # the operation raises a better error
        leaves = leaves_of(value)
    for leaf in leaves:
        if isinstance(leaf, ClusterVariable):
            leaf.require_strategy(strategy, operation)
        elif isinstance(leaf, DistributedValues):
            leaf.require(strategy.num_replicas_in_sync)


def components_of(value: DistributedValues) -> list[Array]:
    """Return the components of a distributed value as arrays, in replica order."""
    if isinstance(value, DistributedVariable):
        count = value.strategy.num_replicas_in_sync
        return list(value.strategy.cross.components(value, range(count)))
    return [as_tensor(component) for component in value.values]


def reduce_over_replicas(op: ReduceOp, value: Any, num_replicas: int, weight: Any = None) -> Any:
    """Return the result of `strategy.reduce(op, value, axis=None, weight=weight)`.

    Raises:
        DistributedValueError: The value is not a per-replica value, and the op would combine copies
            of it, for example SUM; or the weights are not valid.
    """
    weights = None if weight is None else _weights_of(op, weight)
    return map_structure(lambda leaf: _reduce_leaf(op, leaf, num_replicas, weights), value)


def checked_weight(weight: Any, op: ReduceOp | None) -> float | None:
    """Return the weight of a replica's value as a float, or None.

    Raises:
        DistributedValueError: The weight is not a finite number from 0, or the op is not MEAN.
    """
    if weight is None:
        return None
    if op is not ReduceOp.MEAN:
        raise DistributedValueError(f"weight={weight!r}: only a MEAN has weights; use MEAN")
    try:
        number = float(weight)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise DistributedValueError(
            f"weight={weight!r}: the weight of a replica must be one finite number from 0, such as "
            "its number of rows"
        )
    return number


def _weights_of(op: ReduceOp, weight: Any) -> list[float]:
    """Return the weights of the replicas that take part; one number is the weight of all."""
    each = components_of(weight) if isinstance(weight, DistributedValues) else [weight]
    numbers = (checked_weight(own, op) for own in each)
    weights = [number for number in numbers if number is not None]
    reduce.require_weight(weights)
    return weights


_OF_COPIES: Final = (ReduceOp.MEAN, ReduceOp.MIN, ReduceOp.MAX, ReduceOp.ANY, ReduceOp.ALL)
"""The ops whose reduction of copies of one value is this value."""


def _reduce_leaf(op: ReduceOp, leaf: Any, num_replicas: int, weights: list[float] | None) -> Any:
    if isinstance(leaf, MirroredVariable):
        if op not in _OF_COPIES:
            what = "sum" if op is ReduceOp.SUM else "product"
            raise DistributedValueError(
                f"variable {leaf.spec.name!r} is mirrored: its components are copies of one value, "
                f"and their {what} has no meaning; read it with v.read_value()"
            )
        if op is not ReduceOp.MEAN:
            reduce.require_meaning(leaf.spec.dtype, op)
        return leaf.values[0]
    if holds_slices(leaf):
        require_joining(op, weights)
        if isinstance(leaf, DistributedValues):
            dense = [i for i, one in enumerate(leaf.values) if not isinstance(one, IndexedSlices)]
            if dense:
                raise ValueMismatchError(
                    "cannot reduce IndexedSlices together with other values: no IndexedSlices on "
                    f"{name_replicas(dense)}"
                )
            return joined(op, leaf.values)
        if num_replicas == 1:
            return leaf
    if isinstance(leaf, DistributedValues):
        components = components_of(leaf)
        if weights is not None and len(weights) == 1:
            weights = weights * len(components)
        if weights is not None and len(weights) != len(components):
            raise DistributedValueError(
                f"strategy.reduce got {len(weights)} weights for {len(components)} values: give "
                "one weight for each replica that has a value"
            )
        return reduce.reduce(components, op, num_replicas, weights)
    if op in _OF_COPIES or (op is ReduceOp.SUM and _is_zero(leaf)):
        return leaf
    if num_replicas == 1:
        return as_tensor(leaf)
    raise DistributedValueError(
        f"cannot {op.name} {leaf!r} over {num_replicas} replicas: it is one value, not one per "
        "replica. Return it from strategy.run, or multiply it yourself."
    )


def holds_slices(value: Any) -> bool:
    """Return whether a value is IndexedSlices, or a distributed value of IndexedSlices."""
    if isinstance(value, DistributedValues) and not isinstance(value, DistributedVariable):
        return any(isinstance(part, IndexedSlices) for part in value.values)
    return isinstance(value, IndexedSlices)


def joined(op: ReduceOp, parts: Sequence[IndexedSlices]) -> IndexedSlices:
    """Return the rows of all replicas in one IndexedSlices, in replica order.

    For MEAN, the values are divided by the number of parts. Rows with the same index stay
    separate rows.

    Raises:
        ValueMismatchError: The rows of the replicas differ in shape or dtype.
        ShapeError: The number of rows of values is not the number of indices.
    """
    each = [rows_alike(part) for part in parts]
    values, indices = (_in_one_array(columns) for columns in zip(*each, strict=True))
    return IndexedSlices(divided(op, values, len(parts)), indices, parts[0].dense_shape)


def _in_one_array(columns: Sequence[Array]) -> Array:
    if len({(one.dtype, one.shape[1:]) for one in columns}) > 1:
        raise ValueMismatchError(
            f"cannot join the rows of IndexedSlices: {reduce.described(columns)}\n"
            "  The dtypes, and all sizes but the number of rows, must be equal on every replica."
        )
    return reduce.concatenate(columns, axis=0)


def divided(op: ReduceOp, values: Array, num_replicas: int) -> Array:
    """Return the values of joined rows; for MEAN, divided by the number of replicas."""
    if op is ReduceOp.SUM or num_replicas == 1:
        return values
    kind = values.dtype.type if kind_of(values.dtype) in "fc" else np.float64
    return np.asarray(np.divide(values, kind(num_replicas)))


def require_joining(op: ReduceOp, weight: Any = None) -> None:
    """Check that a reduction of IndexedSlices joins their rows.

    Raises:
        UnsupportedError: The op is neither SUM nor MEAN, or the mean is weighted.
    """
    if op not in (ReduceOp.SUM, ReduceOp.MEAN) or weight is not None:
        what = op.name if weight is None else "a weighted MEAN"
        raise UnsupportedError(
            f"IndexedSlices can be reduced only with SUM or MEAN, which join their rows, and not "
            f"with {what}: reduce tf.convert_to_tensor(slices), which has a value for every row"
        )


def refuse_slices(method: str, values: Iterable[Any]) -> None:
    """Refuse to gather IndexedSlices, as TensorFlow does.

    Raises:
        UnsupportedError: One of the values is or contains IndexedSlices.
    """
    if any(holds_slices(value) for value in values):
        raise UnsupportedError(
            f"{method} does not accept IndexedSlices: give it slices.values and slices.indices, or "
            "reduce the IndexedSlices with SUM or MEAN"
        )


def _is_zero(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray | np.generic | int | float) and not np.any(leaf)


def reduced(
    op: ReduceOp,
    value: Any,
    axis: Any,
    num_replicas: int,
    weight: Any,
    warn_once: Callable[[str, str, str], None],
) -> Any:
    """Return the result of `strategy.reduce`."""
    if axis is None:
        return reduce_over_replicas(op, value, num_replicas, weight)
    if weight is not None:
        raise DistributedValueError(
            "strategy.reduce: weight= needs axis=None; with an axis, a MEAN weighs each replica by "
            "its number of rows"
        )
    return reduce_along(op, value, axis, num_replicas, warn_once)


def reduce_along(
    op: ReduceOp,
    value: Any,
    axis: Any,
    num_replicas: int,
    warn_once: Callable[[str, str, str], None],
) -> Any:
    """Reduce over an axis of every replica's value, then over the replicas.

    A MEAN divides the sum of all rows by the number of all rows, so replicas with more rows have
    more weight. The MEAN of no rows is NaN, as in TensorFlow, and causes a warning. MIN and MAX
    need at least one row.

    Raises:
        ShapeError: A value does not have this axis.
        ValueMismatchError: Dimensions other than `axis` differ between replicas.
        TypeError: The axis is neither an integer nor a tuple of integers.
        UnsupportedError: The value is IndexedSlices.
    """
    if holds_slices(value):
        raise UnsupportedError(
            "strategy.reduce cannot reduce IndexedSlices along an axis: use axis=None, which "
            "joins the rows of all replicas"
        )
    if isinstance(axis, list):
        raise TypeError("axis must be an integer or a tuple of integers, not a list")
    axes = tuple(int(one) for one in (axis if isinstance(axis, tuple) else (axis,)))
    if isinstance(value, tuple):
        if op is ReduceOp.MEAN:
            raise ValueTypeError("(value)", "cannot take the mean of a tuple along an axis")
        present = present_of(value, num_replicas, value=value)
        parts = [_of_each_replica(member, present)[:present] for member in value]
        per_replica = [np.stack(members) for members in zip(*parts, strict=True)]
    else:
        per_replica = _of_each_replica(value, num_replicas)
    _check_axes(per_replica, axes)
    if op not in (ReduceOp.SUM, ReduceOp.MEAN):
        return _reduce_axes(op, per_replica, axes)
    sums = [_sum_axes(array, axes) for array in per_replica]
    total = reduce.reduce(sums, ReduceOp.SUM)
    if op is ReduceOp.SUM:
        return total
    count = sum(int(np.prod([array.shape[one] for one in axes])) for array in per_replica)
    if not count and total.size:
        text = _MEAN_OF_NOTHING.format(axis=axis, values=reduce.described(per_replica))
        location = user_location()
        warn_once(text, location, f"no rows: {location}")
    if total.dtype.kind in "iu":
        total = total.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.divide(total, total.dtype.type(count)))


def _reduce_axes(op: ReduceOp, values: Sequence[Array], axes: tuple[int, ...]) -> Array:
    """Reduce every replica's value over axes, then the results over the replicas."""
    dtype = values[0].dtype
    reduce.require_meaning(dtype, op)
    start = reduce.identity(op, dtype)  # the result of a replica without rows
    parts = [reduce.UFUNCS[op].reduce(one, axis=axes, initial=start) for one in values]
    rows = sum(one.size for one in values)
    if not rows and op in (ReduceOp.MIN, ReduceOp.MAX) and np.size(parts[0]):
        raise ShapeError(
            "(value)",
            f"the {op.name} of no rows has no value ({reduce.described(values)})",
            "Skip empty batches.",
        )
    return reduce.reduce([np.asarray(part, dtype) for part in parts], op)


_MEAN_OF_NOTHING = (
    "strategy.reduce: the MEAN over axis {axis} is NaN, because no replica has a row ({values}). "
    "Skip empty batches, or reduce the SUM and the number of rows, and divide if there are rows."
)


def _check_axes(values: Sequence[Array], axes: tuple[int, ...]) -> None:
    """Check that all values have these axes, and that their other dimensions are equal."""
    for one in axes:
        if not all(-array.ndim <= one < array.ndim for array in values):
            raise ShapeError(
                "(value)", f"cannot reduce along axis {one}: {reduce.described(values)}"
            )
    kept = {(array.dtype, np.delete(array.shape, axes).tobytes()) for array in values}
    if len(kept) > 1:
        raise ValueMismatchError(
            f"cannot reduce along axis {axes[0] if len(axes) == 1 else axes}: "
            f"{reduce.described(values)}\n"
            "  Only the sizes along that axis may differ. Pad or reshape the other dimensions."
        )


def _of_each_replica(value: Any, num_replicas: int) -> list[Array]:
    if isinstance(value, DistributedValues):
        return components_of(value)
    return [as_tensor(value)] * num_replicas


def _sum_axes(array: Array, axes: tuple[int, ...]) -> Array:
    if array.dtype.kind == "b":
        raise AggregationError("(value)", "bools have no sum", "Cast them to an integer dtype.")
    if array.dtype == np.float16 and array.size:  # NumPy would sum in float32
        summed = tuple(one % array.ndim for one in axes)
        kept = [size for one, size in enumerate(array.shape) if one not in summed]
        rows = np.moveaxis(array, summed, range(len(summed))).reshape(-1, *kept)
        return reduce.fold(list(rows[:, ...]))
    if is_extension(array.dtype):  # TensorFlow also sums bfloat16 in float32
        return np.asarray(np.sum(array, axis=axes, dtype=np.float32)).astype(array.dtype)
    return np.asarray(np.sum(array, axis=axes, dtype=array.dtype))
