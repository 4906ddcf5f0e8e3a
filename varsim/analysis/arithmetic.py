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

from varsim.analysis import sampled, sparse
from varsim.analysis.sampled import Sample, SampledRows
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


def elements_of(event: Event, dtype: np.dtype[Any]) -> Flat | None:
    """Return the value that an event recorded, or its sample; None if it recorded neither."""
    if event.value is None and event.elements is not None:
        return sampled.sample_of(event, dtype)
    return value_of(event, dtype)


def known_operand_of(
    event: Event, dtype: np.dtype[Any], shape: Sequence[int | None]
) -> FlatOperand | None:
    """Return what an event recorded of the operand of a write or a commit; None for nothing.

    Args:
        shape: The shape of the variable.
    Returns:
        The value or the rows, whole or the part in the sample.
    """
    if event.elements is None:
        return operand_of(event, dtype)
    if event.ordinals is None:
        return sampled.sample_of(event, dtype)
    return sampled.rows_of(event, dtype, shape)


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
    parts = None if values else sampled.rows_alike(rows)
    if parts is None:
        return None
    found = sparse.in_turn(parts) if in_turn else sparse.joined(parts, operation, aggregation)
    first = parts[0]
    if found is None or not isinstance(first, SampledRows) or found is first:
        return found
    return SampledRows(found.indices, found.values, first.count)


def combined(values: Sequence[Flat], aggregation: str) -> Flat | None:
    """Return the aggregate of the replicas' values; None if they cannot be combined.

    Args:
        values: In replica order. The result for ONLY_FIRST_REPLICA is the first value.
        aggregation: The name of the aggregation. For NONE the result is None.
    """
    if aggregation == "ONLY_FIRST_REPLICA" or len(values) == 1:
        return values[0]
    if Sample in map(type, values):
        alike = sampled.alike(values)
        if alike is None:
            return None
        values = alike
    first = values[0]
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
    if isinstance(value, Sample) and value.not_finite is not None:
        return not value.not_finite
    if len(value) <= _FEW and kind_of(value.dtype) == "f":
        return all(map(math.isfinite, value.tolist()))
    return bool(np.isfinite(value).all())


@lru_cache(256)
def _count(number: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    return np.asarray(number).astype(dtype)


def updated(before: Flat, operation: str | None, operand: FlatOperand) -> Flat | None:
    """Return a component's value after a write; None if the operation cannot be applied."""
    if isinstance(operand, Rows):
        return sampled.changed(before, operation, operand)
    if operation == "assign":
        return operand
    if Sample in (type(before), type(operand)):
        alike = sampled.alike((before, operand))
        if alike is None:
            return None
        before, operand = alike
    if before.dtype.kind == "b" or len(before) != len(operand):
        return None
    if operation == "assign_add":
        return np.add(before, operand)
    if operation == "assign_sub":
        return np.subtract(before, operand)
    return None


def same(one: Flat, other: Flat) -> bool:
    """Return whether two values are equal bit for bit; all NaNs count as equal.

    Two samples are equal if their elements are equal, and no digest shows that others differ.
    """
    if Sample in (type(one), type(other)):
        alike = sampled.alike((one, other))
        if alike is None or sampled.differ_elsewhere(*alike):
            return False
        one, other = alike
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


def is_equal(one: Flat, other: Flat) -> bool:
    """Return whether two values have the same bytes, as far as samples show this."""
    alike = sampled.alike((one, other))
    if alike is None or sampled.differ_elsewhere(*alike):
        return False
    return alike[0].tobytes() == alike[1].tobytes()


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
    if event.elements is not None or sampled.is_part(expected):
        return _matches_in_part(expected, event)
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


def _matches_in_part(expected: FlatOperand, event: Event) -> bool | None:
    """Return what `matches` returns, if the expected or the recorded value is only a sample."""
    if is_exact(expected, event):
        return True
    if isinstance(expected, Rows):
        return _rows_match_in_part(expected, event)
    if event.indices is not None or event.ordinals is not None:
        return False
    shown = elements_of(event, expected.dtype)
    if shown is None:
        return None if event.digest is None or _digest_of(expected) is None else False
    if not same(expected, shown):
        return False
    # The samples are equal. If the digests differ, other elements differ, or NaNs have other bits.
    known = None not in (_digest_of(expected), event.digest)
    return not known or _may_have_nan(expected)


def _rows_match_in_part(expected: Rows, event: Event) -> bool | None:
    if isinstance(expected, SampledRows):
        count = expected.count
        shown = None if event.indices is None else sparse.rows_of(event, expected.values.dtype)
        part = None if shown is None else sampled.part_of(shown, count)
        if part is None and event.elements is not None:
            if event.ordinals is None:
                return False
            part = sampled.rows_of(event, expected.values.dtype, (count,))
        if part is None:
            return None if event.value is None else False
        return np.array_equal(expected.indices, part.indices) and same(
            expected.values.reshape(-1), part.values.reshape(-1)
        )
    return None if event.digest is None else False  # `is_exact` has compared the digests


def is_exact(expected: FlatOperand, event: Event) -> bool:
    """Return whether the digests of a value of which a sample is known, and of an event, agree."""
    digest = _digest_of(expected)
    return digest is not None and digest == digest_of(event)


def _digest_of(expected: FlatOperand) -> int | None:
    """Return the CRC-32 of a whole value or of whole rows; None if it is not known."""
    if isinstance(expected, Sample | SampledRows):
        return expected.digest
    if isinstance(expected, Rows):
        return crc_of(expected.values.tobytes(), expected.indices.tobytes())
    return crc_of(expected.tobytes(), None)


def _may_have_nan(expected: Flat) -> bool:
    if isinstance(expected, Sample):
        return expected.not_finite != 0
    return kind_of(expected.dtype) in "fc" and bool(np.isnan(expected).any())
