"""Compress a flat array of floats into fewer bytes, and restore an approximation of it.

What an approximation lacks is not lost: the policy `Compressed` adds it to the next change of the
replica (error feedback). docs/protocol.md describes the parts of each compressor.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from fractions import Fraction
from typing import Any, ClassVar, Final

import numpy as np

from varsim.errors import ConfigError
from varsim.nearest import misspelt
from varsim.spec import Array
from varsim.value_class import value_class


@value_class
class FlatForm:
    """The number of elements of a flat array, and their dtype."""

    size: int
    dtype: np.dtype[Any]


def form_of(array: Array) -> FlatForm:
    """Return the form that an array has when it is flat."""
    return FlatForm(array.size, array.dtype)


Parts = tuple[Array, ...]
"""The flat arrays of a compressed value."""


@value_class(eq=False)
class Packed:
    """A compressed change: its parts, what they restore, and the residual after it."""

    parts: Parts
    restored: Array
    residual: Array


NAMES: Final = "fp16, top_k:RATIO (such as top_k:0.01) or one_bit"

_SILENT: Final = np.errstate(over="ignore", invalid="ignore", under="ignore")
_LARGEST_HALF: Final = 65504.0
_RATIO: Final = re.compile(r"0?\.[0-9]{1,9}")


class Compressor(ABC):
    """Compresses values of one dtype, float32 or float64."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Return the name with which `compressor_named` finds the compressor."""

    @abstractmethod
    def pack(self, values: Array) -> Parts:
        """Return the parts of a flat array. They do not share memory with the array."""

    @abstractmethod
    def unpack(self, parts: Parts, of: FlatForm) -> Array:
        """Return the flat approximation that the parts describe."""

    @abstractmethod
    def fits(self, parts: Parts, of: FlatForm) -> bool:
        """Return whether parts describe an array of this form."""

    @abstractmethod
    def size_bytes(self, of: FlatForm) -> int:
        """Return the size of the parts of an array."""


class Half(Compressor):
    """Rounds each element to 16 bits.

    A finite number beyond ±65504 becomes ±65504; infinities and NaN are kept.

    Source: Micikevicius et al., Mixed Precision Training, 2018.
    """

    name = "fp16"

    @_SILENT
    def pack(self, values: Array) -> Parts:
        """Return the rounded elements, as float16."""
        half = values.astype(np.float16)
        beyond = np.isinf(half) & np.isfinite(values)
        if beyond.any():
            half[beyond] = np.copysign(np.float16(_LARGEST_HALF), half[beyond])
        return (half,)

    def unpack(self, parts: Parts, of: FlatForm) -> Array:
        """Return the elements in the dtype of the variable."""
        return parts[0].astype(of.dtype)

    def fits(self, parts: Parts, of: FlatForm) -> bool:
        """Return whether there is one float16 for each element."""
        return len(parts) == 1 and _is(parts[0], np.float16, of.size)

    def size_bytes(self, of: FlatForm) -> int:
        """Return 2 bytes for each element."""
        return 2 * of.size


class TopK(Compressor):
    """Keeps the elements with the largest absolute values; the other elements become 0.

    The number of kept elements is the ratio times the number of elements, rounded up. Of elements
    with equal absolute values, those with lower indices are kept first. NaN counts as infinite.

    Source: Stich et al., Sparsified SGD with Memory, 2018; Lin et al., Deep Gradient Compression,
    2018.
    """

    keyword: ClassVar[str] = "top_k"

    def __init__(self, ratio: Fraction) -> None:
        self._ratio = ratio

    @property
    def name(self) -> str:
        """Return top_k and the ratio as a decimal number."""
        return f"{self.keyword}:{np.format_float_positional(float(self._ratio), trim='-')}"

    def count(self, size: int) -> int:
        """Return the number k of elements that are kept of an array of this size."""
        return math.ceil(self._ratio * size)

    def pack(self, values: Array) -> Parts:
        """Return the indices in ascending order, as int32, and the values of these elements."""
        size, count = len(values), self.count(len(values))
        if not count:
            return np.empty(0, np.int32), np.empty(0, values.dtype)
        largeness = np.abs(values)
        largeness[np.isnan(largeness)] = np.inf
        least = np.partition(largeness, size - count)[size - count]
        chosen = largeness > least
        ties = np.flatnonzero(largeness == least)
        chosen[ties[: count - int(np.count_nonzero(chosen))]] = True
        indices = np.flatnonzero(chosen).astype(np.int32)
        return indices, values[indices]

    def unpack(self, parts: Parts, of: FlatForm) -> Array:
        """Return zeros with the kept elements at their indices."""
        indices, values = parts
        dense = np.zeros(of.size, of.dtype)
        dense[indices] = values
        return dense

    def fits(self, parts: Parts, of: FlatForm) -> bool:
        """Return whether there are k ascending indices in range, each with a value."""
        if len(parts) != 2:
            return False
        indices, values = parts
        count = self.count(of.size)
        if not (_is(indices, np.int32, count) and _is(values, of.dtype, count)):
            return False
        in_range = not count or (indices[0] >= 0 and indices[-1] < of.size)
        return bool(in_range) and bool((np.diff(indices) > 0).all())

    def size_bytes(self, of: FlatForm) -> int:
        """Return the size of an index and a value for each kept element."""
        return (4 + of.dtype.itemsize) * self.count(of.size)


class OneBit(Compressor):
    """Keeps one bit for each element: whether it is positive.

    Every positive element becomes the mean of the positive elements, and every other element
    becomes the mean of the others. So one infinity or NaN changes many elements.

    Source: Seide et al., 1-Bit Stochastic Gradient Descent, 2014.
    """

    name = "one_bit"

    @_SILENT
    def pack(self, values: Array) -> Parts:
        """Return the bits, 8 in a byte, the first one the highest; then the two means."""
        positive = values > 0
        means = [_mean(values[positive]), _mean(values[~positive])]
        return np.packbits(positive), np.array(means, values.dtype)

    def unpack(self, parts: Parts, of: FlatForm) -> Array:
        """Return the mean that belongs to the bit of each element."""
        bits, means = parts
        positive = np.unpackbits(bits, count=of.size).view(np.bool_)
        restored: Array = np.where(positive, means[0], means[1])
        return restored

    def fits(self, parts: Parts, of: FlatForm) -> bool:
        """Return whether there is a bit for each element, and two means."""
        return (
            len(parts) == 2
            and _is(parts[0], np.uint8, math.ceil(of.size / 8))
            and _is(parts[1], of.dtype, 2)
        )

    def size_bytes(self, of: FlatForm) -> int:
        """Return the size of a bit for each element, and of the two means."""
        return math.ceil(of.size / 8) + 2 * of.dtype.itemsize


def is_compressor(name: str) -> bool:
    """Return whether a name begins like the name of a compressor; its ratio may be wrong."""
    return name.partition(":")[0] in (Half.name, TopK.keyword, OneBit.name)


def compressor_named(name: str) -> Compressor:
    """Return the compressor with a name: fp16, top_k:RATIO or one_bit.

    Raises:
        ConfigError: No compressor has this name, or the ratio is not above 0 and at most 0.5.
    """
    if name == Half.name:
        return Half()
    if name == OneBit.name:
        return OneBit()
    kind, _, ratio = name.partition(":")
    if kind != TopK.keyword:
        known = Half.name, TopK.keyword, OneBit.name
        raise ConfigError(f"unknown compressor {name!r}{misspelt(kind, known)}: expected {NAMES}")
    if not _RATIO.fullmatch(ratio) or not 0 < Fraction(ratio) <= Fraction(1, 2):
        raise ConfigError(
            f"invalid ratio in {name!r}: expected a decimal number above 0 and at most 0.5, such "
            "as top_k:0.01 for the largest hundredth; with more than a half of the elements, the "
            "indices and values would be larger than the whole value"
        )
    return TopK(Fraction(ratio))


def packed(by: Compressor, change: Array, residual: Array | None) -> Packed:
    """Compress the sum of a flat change and the residual before it."""
    values = np.array(change) if residual is None else plus(change, residual)
    parts = by.pack(values)
    restored = by.unpack(parts, form_of(values))
    return Packed(parts, restored, residual_of(values, restored))


@_SILENT
def plus(one: Array, other: Array) -> Array:
    """Return the sum of two arrays without warnings."""
    total: Array = np.add(one, other)
    return total


def norm_of(values: Array) -> float:
    """Return the Euclidean norm of a flat array, computed in float64."""
    return float(np.linalg.norm(values.astype(np.float64)))


@_SILENT
def residual_of(values: Array, approximation: Array) -> Array:
    """Return what an approximation lacks; 0 where this is not a finite number."""
    residual: Array = np.subtract(values, approximation)
    finite = np.isfinite(residual)
    if not finite.all():
        residual[~finite] = 0
    return residual


def _mean(values: Array) -> float:
    """Return the mean, computed in float64; 0 without elements."""
    return float(np.add.reduce(values, dtype=np.float64)) / len(values) if len(values) else 0.0


def _is(array: Array, dtype: Any, size: int) -> bool:
    return array.dtype == dtype and array.shape == (size,)
