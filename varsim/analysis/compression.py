"""What the compressors of docs/protocol.md keep of a value, in plain NumPy."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Final

import numpy as np

from varsim.analysis.arithmetic import Flat, same
from varsim.extension_dtypes import eps_of

_LARGEST_HALF: Final = 65504
_TOP_K: Final = re.compile(r"top_k:0\.[0-9]{1,9}")

_ROUNDINGS: Final = 4
"""Tolerance of a mean of one_bit, in units of the dtype's precision: sums have another order."""


def is_compressor(name: str) -> bool:
    """Return whether a compressor has this name."""
    if name in ("fp16", "one_bit"):
        return True
    return bool(_TOP_K.fullmatch(name)) and 0 < Fraction(name[6:]) <= Fraction(1, 2)


def approximation(name: str, value: Flat) -> Flat:
    """Return what the receiver of a compressed value restores."""
    if name == "fp16":
        limited = np.where(np.isfinite(value), np.clip(value, -_LARGEST_HALF, _LARGEST_HALF), value)
        rounded: Flat = limited.astype(np.float16).astype(value.dtype)
        return rounded
    if name == "one_bit":
        above = [one for one in value.tolist() if one > 0]
        others = [one for one in value.tolist() if not one > 0]
        means = np.array([_mean(above), _mean(others)], value.dtype)
        either: Flat = np.where(value > 0, means[0], means[1])
        return either
    count = math.ceil(Fraction(name.removeprefix("top_k:")) * len(value))
    smallness = -np.where(np.isnan(value), np.inf, np.abs(value))
    chosen = np.argsort(smallness, kind="stable")[:count]  # of equal ones, the first ones
    kept = np.zeros_like(value)
    kept[chosen] = value[chosen]
    return kept


def is_approximation(name: str, value: Flat, restored: Flat) -> bool:
    """Return whether a restored value is the approximation of a value.

    The means of one_bit are equal within rounding. Everything else is equal bit for bit.
    """
    expected = approximation(name, value)
    if same(expected, restored):
        return True
    if name != "one_bit" or len(expected) != len(restored):
        return False
    tolerance = _ROUNDINGS * eps_of(value.dtype)
    return bool(np.allclose(restored, expected, rtol=tolerance, atol=0.0, equal_nan=True))


def _mean(values: list[float]) -> float:
    """Return the mean, rounded once; NaN or an infinity as NumPy computes it."""
    if not values:
        return 0.0
    if not all(map(math.isfinite, values)):
        return float(np.sum(values)) / len(values)
    return math.fsum(values) / len(values)
