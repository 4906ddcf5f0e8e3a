"""What a write makes of a component's bytes, where these were recorded and are few."""

from __future__ import annotations

import zlib
from typing import Final

import numpy as np

from varsim.tracing.history import Event

MOST_BYTES: Final = 1024
"""Larger values are compared by their digests alone, so that a pass stays fast and small."""

ASSIGN: Final = "assign"
_ADD: Final = "assign_add"


def digest_of(event: Event) -> int | None:
    """The digest of an event's value; None if neither it nor the bytes were recorded."""
    if event.digest is not None or event.value is None:
        return event.digest
    return zlib.crc32(event.value)


def small_value(event: Event) -> bytes | None:
    """The bytes of an event's value, unless they are many."""
    value = event.value
    return value if value is not None and len(value) <= MOST_BYTES else None


def applied(operation: str | None, before: bytes | None, event: Event, dtype: str) -> bytes | None:
    """The bytes of a component after a write; None if they cannot be told."""
    operand = small_value(event)
    if operation == ASSIGN or operand is None:
        return operand
    if before is None or len(before) != len(operand):
        return None
    try:
        kind = np.dtype(dtype)
        old, new = np.frombuffer(before, kind), np.frombuffer(operand, kind)
        with np.errstate(all="ignore"):
            result = old + new if operation == _ADD else old - new
    except (TypeError, ValueError):  # a dtype that NumPy cannot add, or does not know
        return None
    return bytes(result.astype(kind, copy=False).data)
