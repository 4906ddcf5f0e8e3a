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

from varsim.tracing.history import Event

Flat = np.ndarray[tuple[int], np.dtype[Any]]
"""A value without its shape."""

_FEW: Final = 16


def quiet() -> np.errstate:
    """Return a context without NumPy warnings, because overflow to infinity is an expected result.

    Use the context around a whole pass, because entering it takes longer than one sum.
    """
    return np.errstate(all="ignore")


def value_of(event: Event, dtype: np.dtype[Any]) -> Flat | None:
    """Return the value that an event recorded; None if it recorded no value."""
    content = event.value
    if content:
        return np.frombuffer(content, dtype)
    return None if content is None else np.empty(0, dtype)


def flat(content: bytes, dtype: np.dtype[Any]) -> Flat:
    """Return bytes as a flat value."""
    return np.frombuffer(content, dtype) if content else np.empty(0, dtype)


def total(values: Sequence[Flat]) -> Flat:
    """Return the sum from the first replica to the last, rounded to the dtype at each step."""
    result = values[0]
    for value in values[1:]:
        result = np.add(result, value)  # all values of a variable have one dtype
    return result


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
    if aggregation == "MEAN" and first.dtype.kind in "fc":
        mean: Flat = np.divide(total(values), _count(len(values), first.dtype))
        return mean
    return None


def is_infinite(value: Flat) -> bool:
    """Return whether any element of a value is infinite. The value must not be complex."""
    if len(value) <= _FEW:  # for few elements, plain Python is faster than NumPy
        return any(map(math.isinf, value.tolist()))
    return bool(np.isinf(value).any())


def is_finite(value: Flat) -> bool:
    """Return whether no element is an infinity or NaN."""
    if len(value) <= _FEW and value.dtype.kind == "f":
        return all(map(math.isfinite, value.tolist()))
    return bool(np.isfinite(value).all())


@lru_cache(256)
def _count(number: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    return np.asarray(number).astype(dtype)


def updated(before: Flat, operation: str | None, operand: Flat) -> Flat | None:
    """Return a component's value after a write; None if the operation cannot be applied to it."""
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
    if len(one) != len(other) or one.dtype.kind not in "fc":
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
        return zlib.crc32(event.value)
    return event.digest


def matches(expected: Flat, event: Event) -> bool | None:
    """Return whether an event has the expected value; None if the record does not show this."""
    if event.value is not None:
        return event.value == expected.tobytes() or same(
            flat(event.value, expected.dtype), expected
        )
    if event.digest is None:
        return None
    if event.digest == zlib.crc32(expected.tobytes()):
        return True
    has_nan = expected.dtype.kind in "fc" and bool(np.isnan(expected).any())
    return None if has_nan else False
