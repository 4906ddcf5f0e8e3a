"""Compare the outcomes of random programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def same_bits(expected: Array, got: Array) -> bool:
    """Return whether two arrays are equal bit for bit."""
    alike = (expected.dtype, expected.shape) == (got.dtype, got.shape)
    return alike and expected.tobytes() == got.tobytes()


def same(expected: Any, got: Any, equal: Callable[[Array, Array], bool] = same_bits) -> bool:
    """Return whether two outcomes are equal; `equal` compares their arrays."""
    if isinstance(expected, list | tuple):
        return (
            isinstance(got, list | tuple)
            and len(expected) == len(got)
            and all(same(a, b, equal) for a, b in zip(expected, got, strict=True))
        )
    if isinstance(expected, np.ndarray):
        return isinstance(got, np.ndarray) and equal(expected, got)
    return type(expected) is type(got) and bool(expected == got)


def near(expected: Array, got: Array, bound: Callable[[float], float]) -> bool:
    """Return whether two arrays are equal within rounding, and bit for bit if not of floats.

    Args:
        bound: Returns the allowed difference, given the machine epsilon of the dtype.
    """
    if (expected.dtype, expected.shape) != (got.dtype, got.shape) or expected.dtype.kind != "f":
        return same_bits(expected, got)
    with np.errstate(invalid="ignore"):  # inf - inf
        apart = np.abs(expected.astype(np.float64) - got.astype(np.float64))
    equal = (expected == got) | (np.isnan(expected) & np.isnan(got))
    apart = np.where(equal, 0.0, apart)
    return bool(np.all(apart <= bound(float(np.finfo(expected.dtype).eps))))
