"""Perform sparse writes, which change some rows of a component.

If an index occurs several times, its row is changed several times, in the order of the values. The
result is rounded to the dtype at each step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np

from varsim.errors import OperationError, ShapeError, ValueTypeError
from varsim.spec import Array, Operation, Rows, VariableAggregation, VariableSpec
from varsim.texts.facts import rows_text, shape_text

_SILENT: Final = np.errstate(over="ignore", invalid="ignore", divide="ignore")


def _truncating(before: Any, value: Any, out: Any = None) -> Any:
    """Divide integers as TensorFlow does: the quotient is rounded towards zero."""
    quotient = np.floor_divide(before, value)
    inexact = (quotient * value != before) & ((before < 0) != (value < 0))
    return np.add(quotient, inexact.astype(quotient.dtype), out=out)


def _complex_product(before: Any, value: Any, out: Any) -> Any:
    """Multiply complex numbers so that the result does not depend on the number of rows.

    NumPy's product depends on the length of the array: the code for long arrays rounds less often.
    """
    real = before.real * value.real - before.imag * value.imag
    out.imag = before.real * value.imag + before.imag * value.real
    out.real = real
    return out


_UFUNCS: Final[Mapping[Operation, np.ufunc]] = {
    Operation.SCATTER_ADD: np.add,
    Operation.SCATTER_SUB: np.subtract,
    Operation.SCATTER_MUL: np.multiply,
    Operation.SCATTER_DIV: np.divide,
    Operation.SCATTER_MIN: np.minimum,
    Operation.SCATTER_MAX: np.maximum,
}

PIECE_BYTES: Final = 256 * 1024
"""Rows are changed in pieces of this size, which stay in a core's own cache."""

FEW_REPEATS: Final = 16
"""Up to this number, repeated rows are changed one by one: this is faster than changing groups."""

_ORDERS: Final = (Operation.SCATTER_MIN, Operation.SCATTER_MAX)


def check_rows(
    spec: VariableSpec, operation: Operation, shape: tuple[int, ...], rows: Rows
) -> None:
    """Check that an operation can write these rows to a component.

    Args:
        shape: The shape of the component before the write.
    Raises:
        ShapeError: The values have a wrong shape, or an index is out of range.
        ValueTypeError: The dtype does not support the operation.
        OperationError: The operation divides an integer by zero.
    """
    indices, values = rows.indices, rows.values
    if not shape:
        raise ShapeError(
            spec.name, f"{operation.value} needs rows, and the variable is a scalar", "Use assign."
        )
    row = shape[1:]
    if values.shape != (indices.size, *row):
        raise ShapeError(
            spec.name,
            f"{operation.value} got values of shape {shape_text(values.shape)} for {indices.size} "
            f"indices: a variable of shape {shape_text(shape)} needs values of shape "
            f"{shape_text((indices.size, *row))}",
        )
    kind = values.dtype.kind
    no_arithmetic = kind == "b" and operation is not Operation.SCATTER_UPDATE
    if no_arithmetic or (kind == "c" and operation in _ORDERS):
        raise ValueTypeError(
            spec.name,
            f"dtype {values.dtype} does not support {operation.value}",
            "Use a dtype of integers or floats for the variable.",
        )
    if not indices.size:
        return
    if indices.view(np.uint64).max() >= shape[0]:  # as uint64, a negative index is very large
        low, high = int(indices.min()), int(indices.max())
        raise ShapeError(
            spec.name,
            f"{operation.value} cannot write row {low if low < 0 else high}: the variable has "
            f"{rows_text(shape[0])}",
        )
    if operation is Operation.SCATTER_DIV and kind in "iu" and not values.all():
        raise OperationError(spec.name, "scatter_div divides an integer by zero")


@_SILENT
def apply_rows(operation: Operation, component: Array, rows: Rows) -> None:
    """Change rows of a component in place. The rows have been checked with `check_rows`."""
    indices, values = rows.indices, rows.values
    if operation is Operation.SCATTER_UPDATE:
        component[indices] = values  # if an index occurs several times, its last value remains
        return
    ufunc: Callable[..., Any] = _UFUNCS[operation]
    if operation is Operation.SCATTER_DIV and component.dtype.kind in "iu":
        ufunc = _truncating
    elif operation is Operation.SCATTER_MUL and component.dtype.kind == "c":
        ufunc = _complex_product
    step = max(1, PIECE_BYTES // max(1, values[:1].nbytes))
    for start in range(0, len(indices), step):
        own, operand = indices[start : start + step], values[start : start + step]
        changed = component.take(own, axis=0)  # faster than component[own]
        ufunc(changed, operand, out=changed)
        for previous, later in _repeats(own):
            changed[later] = ufunc(changed[previous], operand[later], out=changed[later])
        component[own] = changed  # if an index occurs several times, its last row remains


def _repeats(indices: Array) -> Iterator[tuple[slice | Array, slice | Array]]:
    """Yield pairs: the position of an index, and the position of its next occurrence.

    The pairs are in the order in which their second positions must be changed.
    """
    grouped = np.sort(indices)
    (repeats,) = (grouped[1:] == grouped[:-1]).nonzero()
    if not len(repeats):
        return
    if len(repeats) <= FEW_REPEATS:
        for index in dict.fromkeys(grouped[repeats].tolist()):
            (places,) = (indices == index).nonzero()
            for previous, later in pairwise(places.tolist()):
                yield slice(previous, previous + 1), slice(later, later + 1)
        return
    order = np.argsort(indices, kind="stable")
    # The n-th occurrences of all indices are changed together, for n = 2, 3, …
    starts = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]])
    occurrence = np.arange(len(grouped)) - np.repeat(starts, np.diff(np.r_[starts, len(grouped)]))
    by_occurrence = np.argsort(occurrence, kind="stable")
    for places in np.split(by_occurrence, np.cumsum(np.bincount(occurrence)))[1:-1]:
        yield order[places - 1], order[places]


def summed(rows: Rows) -> Rows:
    """Return rows in which each index occurs only once: values with the same index are summed."""
    indices, first, inverse = np.unique(rows.indices, return_index=True, return_inverse=True)
    if len(indices) == len(rows.indices):
        return rows
    values = rows.values[first]
    others = np.ones(len(rows.indices), bool)
    others[first] = False
    apply_rows(Operation.SCATTER_ADD, values, Rows(inverse[others], rows.values[others]))
    return Rows(indices, values)


def applied(operation: Operation, component: Array, rows: Rows) -> Array:
    """Return a component after a sparse write as a new array; see `apply_rows`."""
    after = np.array(component, order="C")
    apply_rows(operation, after, rows)
    return after


@_SILENT
def joined(parts: Sequence[Rows], aggregation: VariableAggregation) -> Rows:
    """Return the rows of all replicas in one `Rows`, in replica order.

    For MEAN, the values are divided by the number of replicas.

    Args:
        aggregation: Any except NONE. For ONLY_FIRST_REPLICA, only the rows of replica 0 are used.
    Source: TensorFlow 2.21, behaviour recorded in tests/golden.
    """
    assert aggregation is not VariableAggregation.NONE
    if aggregation is VariableAggregation.ONLY_FIRST_REPLICA or len(parts) == 1:
        return parts[0]
    values = np.concatenate([part.values for part in parts])
    if aggregation is VariableAggregation.MEAN:
        np.divide(values, values.dtype.type(len(parts)), out=values)
    return Rows(np.concatenate([part.indices for part in parts]), values)
