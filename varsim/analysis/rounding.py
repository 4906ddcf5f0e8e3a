"""The distance of two values, and how much of this distance rounding can explain."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np

from varsim.analysis.arithmetic import Flat
from varsim.extension_dtypes import eps_of, kind_of

_ROUNDING: Final = 1e-4
"""Largest distance that rounding explains, relative to the largest element.

The limit allows many float32 additions in another order.
"""

_ROUNDINGS: Final = 16
"""Another limit, in units of the dtype's precision. The larger limit is used."""

_EXACT: Final = 1e-12
"""The limit for whole numbers. They are compared as float64, which rounds very large numbers."""

_MATERIAL: Final = 1e-3
"""Smallest relative distance that rounding certainly does not explain."""


def close(one: Flat, other: Flat) -> bool:
    """Return whether two values are equal within rounding."""
    if one.dtype == other.dtype and one.tobytes() == other.tobytes():
        return True
    return apart(one, other) <= min(rounding(one.dtype), rounding(other.dtype))


def material(one: Flat, other: Flat) -> bool:
    """Return whether two values differ by more than rounding can explain."""
    return apart(one, other) >= max(_MATERIAL, 2 * rounding(one.dtype))


def apart(one: Flat, other: Flat) -> float:
    """Return the distance of two values relative to their largest finite element.

    NaNs and equal infinities count as equal.
    """
    left, right = wide(one), wide(other)
    if len(left) != len(right):
        return np.inf
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    if same.all():
        return 0.0
    left, right, every = left[~same], right[~same], np.concatenate([left, right])
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        return np.inf
    return float(np.abs(left - right).max() / np.abs(every[np.isfinite(every)]).max())


def most_apart(one: Flat, other: Flat) -> int:
    """Return the index of the largest difference between two values of one size, at least 1.

    NaN differs infinitely from every other value, and not from NaN.
    """
    left, right = wide(one), wide(other)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    with np.errstate(all="ignore"):
        distance = np.abs(left - right)
    distance[np.isnan(distance)] = np.inf
    distance[same] = 0.0
    return int(distance.argmax())


@cache
def rounding(dtype: np.dtype[Any]) -> float:
    """Return the largest distance that rounding explains; `_EXACT` for whole numbers."""
    if kind_of(dtype) not in "fc":
        return _EXACT
    return max(_ROUNDING, _ROUNDINGS * eps_of(dtype))


def wide(value: Flat) -> Flat:
    """Return a value in complex128 if it is complex, else in float64."""
    return value.astype(np.complex128 if value.dtype.kind == "c" else np.float64)
