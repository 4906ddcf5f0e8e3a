"""Converts numbers and arrays to the format of the recording, and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.golden.recorded import Json

_SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def number(value: Json) -> Any:
    """Return a recorded number, or a nested list of recorded numbers, in Python's types."""
    if isinstance(value, list):
        return [number(member) for member in value]
    return _SPECIAL.get(value, value) if isinstance(value, str) else value


def decoded(value: Json, dtype: str) -> np.ndarray[Any, Any]:
    """Return a recorded value as a tensor. In varsim a tensor is an array, even for scalars."""
    with np.errstate(all="ignore"):
        return np.array(number(value), dtype=dtype)


def numpy_number(value: Json, dtype: str) -> Any:
    """Return a recorded NumPy value: an array, or a NumPy scalar (in varsim: a number)."""
    return decoded(value, dtype)[()]


def encoded(value: Any) -> Json:
    """Return an array or a number in the format of the recording."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list):
        return [encoded(member) for member in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value
