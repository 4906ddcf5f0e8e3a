"""Numbers and arrays in the recording's terms, and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.golden.recorded import Json

_SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def number(value: Json) -> Any:
    """A recorded number, or nested list of numbers, as Python has it."""
    if isinstance(value, list):
        return [number(member) for member in value]
    return _SPECIAL.get(value, value) if isinstance(value, str) else value


def array(value: Json, dtype: str) -> np.ndarray[Any, Any]:
    """A recorded value as a tensor, which for varsim is an array, 0-d ones included."""
    with np.errstate(all="ignore"):
        return np.array(number(value), dtype=dtype)


def numpy_number(value: Json, dtype: str) -> Any:
    """A recorded NumPy value: an array, or a NumPy scalar, which for varsim is a number."""
    return array(value, dtype)[()]


def encoded(value: Any) -> Json:
    """An array or number in the recording's terms."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list):
        return [encoded(member) for member in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value
