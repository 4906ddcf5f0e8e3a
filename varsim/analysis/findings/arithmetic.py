"""What a write makes of a component's bytes, where these were recorded and are few."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from varsim.analysis.arithmetic import flat, updated
from varsim.tracing.history import Event

MOST_BYTES: Final = 1024
"""Larger values are compared by their digests alone, so that a pass stays fast and small."""


def small_value(event: Event) -> bytes | None:
    """The bytes of an event's value, unless they are many."""
    value = event.value
    return value if value is not None and len(value) <= MOST_BYTES else None


def applied(
    operation: str | None, before: bytes | None, event: Event, dtype: np.dtype[Any]
) -> bytes | None:
    """The bytes of a component after a write; None if they cannot be told."""
    operand = small_value(event)
    if operation == "assign" or operand is None:
        return operand
    if before is None:
        return None
    after = updated(flat(before, dtype), operation, flat(operand, dtype))
    return None if after is None else after.tobytes()
