"""Sums, means and updates as docs/semantics.md defines them, in plain NumPy.

All arrays here are one-dimensional: they have the elements of a value, without its shape.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np

from varsim.analysis import sparse
from varsim.analysis.sparse import Flat as Flat  # noqa: PLC0414  # modules import it from here
from varsim.extension_dtypes import kind_of
from varsim.spec import Rows
from varsim.tracing.history import Event

FlatOperand = Flat | Rows
"""What a write or a commit applies: a value, or the rows of a sparse write."""

_FEW: Final = 16
"""Largest number of elements that Python checks faster than NumPy."""


def quiet() -> np.errstate:
    """Return a context without NumPy warnings, because overflow to infinity is an expected result.

    Use the context around a whole pass, because entering it takes longer than one sum.
    """
    return np.errstate(all="ignore")


def value_of(event: Event, dtype: np.dtype[Any]) -> Flat | None:
    """Return the value that an event recorded; None if the event has no value, or only rows."""
    content = event.value
    if content is None or event.indices is not None:
        return None
    return np.frombuffer(content, dtype) if content else np.empty(0, dtype)


def operand_of(event: Event, dtype: np.dtype[Any]) -> FlatOperand | None:
    """Return the recorded value or rows of a write or a commit; None if nothing was recorded."""
    return value_of(event, dtype) if event.indices is None else sparse.rows_of(event, dtype)


def flat(content: bytes, dtype: np.dtype[Any]) -> Flat:
    """Return bytes as a flat value."""
    return np.frombuffer(content, dtype) if content else np.empty(0, dtype)


def total(values: Sequence[Flat]) -> Flat:
    """Return the sum from the first replica to the last, rounded to the dtype at each step."""
    result = values[0]
    for value in values[1:]:
        result = np.add(result, value)  # all values of a variable have one dtype
    return result


def committed(
    operands: Sequence[FlatOperand],
    operation: str | None,
    aggregation: str,
    *,
    in_turn: bool = False,
) -> FlatOperand | None:
    """Return the operand that the commit of a merge applies; None if operands cannot be combined.

    Args:
        operands: The operands of one write by each replica, in replica order.
        in_turn: Whether the rows of all replicas are written under every aggregation.
    """
    values = [one for one in operands if not isinstance(one, Rows)]
    if operation not in sparse.OPERATIONS:
        return combined(values, aggregation) if len(values) == len(operands) else None
    rows = [one for one in operands if isinstance(one, Rows)]
    if values:
        return None
    return sparse.in_turn(rows) if in_turn else sparse.joined(rows, operation, aggregation)


def combined(values: Sequence[Flat], aggregation: str) -> Flat | None:
    """Return the aggregate of the replicas' values; None if they cannot be combined.

    Args:
        values: In replica order. The result for ONLY_FIRST_REPLICA is the first value.
        aggregation: The name of the aggregation. For NONE the result is None.
    """
    first = values[0]
    if aggregation == "ONLY_FIRST_REPLICA" or len(values) == 1:
        return first
    size = len(first)
    for value in values:
        if len(value) != size:
            return None
    if first.dtype.kind == "b":
        return None
    if aggregation == "SUM":
        return total(values)
    if aggregation == "MEAN" and kind_of(first.dtype) in "fc":
        mean: Flat = np.divide(total(values), _count(len(values), first.dtype))
        return mean
    return None


def is_finite(value: Flat) -> bool:
    """Return whether no element is an infinity or NaN."""
    if len(value) <= _FEW and kind_of(value.dtype) == "f":
        return all(map(math.isfinite, value.tolist()))
    return bool(np.isfinite(value).all())


@lru_cache(256)
def _count(number: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    return np.asarray(number).astype(dtype)


def updated(before: Flat, operation: str | None, operand: FlatOperand) -> Flat | None:
    """Return a component's value after a write; None if the operation cannot be applied."""
    if isinstance(operand, Rows):
        return sparse.changed(before, operation, operand)
    if operation == "assign":
        return operand
    if before.dtype.kind == "b" or len(before) != len(operand):
        return None
    if operation == "assign_add":
        return np.add(before, operand)
    if operation == "assign_sub":
        return np.subtract(before, operand)
    return None


def same(one: Flat, other: Flat) -> bool:
    """Return whether two values are equal bit for bit; all NaNs count as equal."""
    if one.tobytes() == other.tobytes():
        return True
    if len(one) != len(other) or kind_of(one.dtype) not in "fc":
        return False
    if one.dtype.kind == "c":
        part = np.dtype(f"f{one.dtype.itemsize // 2}")
        one, other = one.view(part), other.view(part)
    bits = np.dtype(f"u{one.dtype.itemsize}")
    equal = (one.view(bits) == other.view(bits)) | (np.isnan(one) & np.isnan(other))
    return bool(equal.all())


def digest_of(event: Event) -> int | None:
    """Return the CRC-32 of an event's value; None if neither value nor digest was recorded."""
    if event.digest is None and event.value is not None:
        return crc_of(event.value, event.indices)
    return event.digest


def crc_of(value: bytes, indices: bytes | None) -> int:
    """Return the CRC-32 of a value; for rows, the CRC-32 of their indices and values."""
    return zlib.crc32(value, zlib.crc32(indices)) if indices else zlib.crc32(value)


def matches(expected: FlatOperand, event: Event) -> bool | None:
    """Return True if an event has the expected value or rows; None if the record does not show it.

    An event with rows never matches an expected value, and an event with a value never matches
    expected rows.
    """
    indices = None
    if isinstance(expected, Rows):
        indices, expected = expected.indices.tobytes(), expected.values.reshape(-1)
    if event.value is not None:
        if event.indices != indices:
            return False
        return event.value == expected.tobytes() or same(
            flat(event.value, expected.dtype), expected
        )
    if event.digest is None:
        return None
    if event.digest == crc_of(expected.tobytes(), indices):
        return True
    has_nan = kind_of(expected.dtype) in "fc" and bool(np.isnan(expected).any())
    return None if has_nan else False
