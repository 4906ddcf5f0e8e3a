"""The rows of sparse writes, and the values that they change, as docs/semantics.md defines them.

In the rows here, `values` has one flat row for each index: its shape is (n, size of a row).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from varsim.extension_dtypes import kind_of
from varsim.spec import SCATTERS, Rows
from varsim.tracing.history import Event

Flat = np.ndarray[tuple[int], np.dtype[Any]]
"""A value without its shape."""

OPERATIONS: Final = frozenset(one.value for one in SCATTERS)
"""The operations of sparse writes, as the column `operation` names them."""

COMBINED: Final = frozenset({"scatter_add", "scatter_sub", "scatter_mul", "scatter_div"})
"""The sparse writes that SUM and MEAN allow."""

INDEX: Final = np.dtype(np.int64)
"""The dtype of the column `indices`."""

_IN_ORDER: Final = {
    "scatter_add": np.add,
    "scatter_sub": np.subtract,
    "scatter_mul": np.multiply,
    "scatter_div": np.divide,
    "scatter_min": np.minimum,
    "scatter_max": np.maximum,
}
"""Functions whose method `at` changes an element again each time its index occurs."""


def rows_of(event: Event, dtype: np.dtype[Any]) -> Rows | None:
    """Return the rows that an event recorded; None if it recorded no rows."""
    if event.indices is None or event.value is None:
        return None
    indices = np.frombuffer(event.indices, INDEX) if event.indices else np.empty(0, INDEX)
    values = np.frombuffer(event.value, dtype) if event.value else np.empty(0, dtype)
    sizes = json.loads(event.shape or "[0]")
    return Rows(indices, values.reshape(len(indices), int(np.prod(sizes[1:], dtype=INDEX))))


def joined(parts: Sequence[Rows], operation: str | None, aggregation: str) -> Rows | None:
    """Return the rows of one write of all replicas, in replica order.

    Args:
        aggregation: For ONLY_FIRST_REPLICA the result has the rows of replica 0. For MEAN all
            values are divided by the number of replicas.
    Returns:
        None if the rows cannot be combined.
    """
    first = parts[0]
    if aggregation == "ONLY_FIRST_REPLICA":
        return first
    if operation not in COMBINED or first.values.dtype.kind == "b" or aggregation == "NONE":
        return None
    rows = in_turn(parts)
    if rows is None or aggregation != "MEAN" or len(parts) == 1:
        return rows
    values = rows.values
    if kind_of(values.dtype) not in "fc":
        return None
    return Rows(rows.indices, np.divide(values, np.asarray(len(parts)).astype(values.dtype)))


def in_turn(parts: Sequence[Rows]) -> Rows | None:
    """Return the rows of all replicas in replica order; None if their sizes differ."""
    if len({part.values.shape[1] for part in parts}) != 1:
        return None
    indices = [index for part in parts for index in part.indices.tolist()]
    return Rows(np.array(indices, INDEX), np.concatenate([part.values for part in parts]))


def changed(before: Flat, operation: str | None, rows: Rows) -> Flat | None:
    """Return a component after a sparse write; None if the write does not fit the component.

    The rows change the component one after the other, also if several have the same index.
    """
    width = rows.values.shape[1]
    kind = before.dtype.kind
    if operation not in OPERATIONS or before.dtype != rows.values.dtype:
        return None
    if (kind == "b" and operation != "scatter_update") or (width and len(before) % width):
        return None
    if not len(rows.indices) or not width:
        return before
    if rows.indices.min() < 0 or rows.indices.max() >= len(before) // width:
        return None
    after = before.reshape(-1, width).copy()
    if operation == "scatter_update":
        for index, row in _last_of_each(rows).items():
            after[index] = rows.values[row]
    elif operation == "scatter_div" and kind in "iu":
        if not rows.values.all():
            return None
        for index, row in zip(rows.indices.tolist(), rows.values, strict=True):
            after[index] = (after[index] - np.fmod(after[index], row)) // row
    elif operation == "scatter_mul" and kind == "c":
        for index, row in zip(rows.indices.tolist(), rows.values, strict=True):
            after[index] = _product(after[index], row)
    else:
        _IN_ORDER[operation or ""].at(after, rows.indices, rows.values)
    return after.reshape(-1)


def _last_of_each(rows: Rows) -> dict[int, int]:
    """For each index, return the number of the last row with this index."""
    return {index: row for row, index in enumerate(rows.indices.tolist())}


def _product(one: Flat, other: Flat) -> Flat:
    """Return the product of complex numbers, and round each real operation.

    NumPy's product rounds differently in arrays of different lengths.
    """
    product = np.empty_like(one)
    product.real = one.real * other.real - one.imag * other.imag
    product.imag = one.real * other.imag + one.imag * other.real
    return product
