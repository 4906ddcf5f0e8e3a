"""The distance between a variable's components, and the variable's most informative elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

import numpy as np

from varsim.analysis.arithmetic import Flat
from varsim.analysis.lens import Moment
from varsim.analysis.sampled import Sample, thinned
from varsim.tracing.samples import positions

_QUIET: Final = np.errstate(all="ignore")  # infinities and NaN are expected here


class ElementReason(Enum):
    """The reason why elements are shown."""

    DIFFERS = "replicas are furthest apart in it, by"
    CHANGES = "it changes most, by"
    IS_LARGE = "it is the largest:"


@dataclass(frozen=True, slots=True)
class TellingElements:
    """The most informative elements of a variable, by their index in the flat value."""

    reason: ElementReason
    indices: tuple[int, ...]  # the most informative first
    amounts: tuple[float, ...]  # the distance, change or magnitude of each element


def ranges(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """For each element, return its largest minus its smallest value in the arrays, in float64.

    The distance of two NaNs is 0; the distance of NaN and any other value is infinite. For complex
    numbers, the result is an upper bound of the distance.

    Args:
        arrays: Arrays of one shape and dtype.
    """
    if arrays[0].dtype.kind == "c":
        parts = [_ranges([getattr(array, part) for array in arrays]) for part in ("real", "imag")]
        return np.asarray(np.hypot(*parts))
    return _ranges(arrays)


@_QUIET
def _ranges(arrays: Sequence[np.ndarray]) -> np.ndarray:
    low = arrays[0].astype(np.float64)
    high, some_nan, all_nan = low.copy(), np.isnan(low), np.isnan(low)
    for array in arrays[1:]:
        values = array.astype(np.float64)
        low, high = np.fmin(low, values), np.fmax(high, values)
        some_nan, all_nan = some_nan | np.isnan(values), all_nan & np.isnan(values)
    found = np.where((low == high) | all_nan, 0.0, high - low)
    return np.asarray(np.where(some_nan & ~all_nan, np.inf, found))


@_QUIET
def magnitudes(array: np.ndarray) -> np.ndarray:
    """Return the distance of each element from zero, in float64; NaN is infinitely far."""
    kind = np.complex128 if array.dtype.kind == "c" else np.float64
    return np.nan_to_num(np.abs(array.astype(kind)), nan=np.inf, posinf=np.inf)


def largest(measured: np.ndarray, most: int) -> list[int]:
    """Return the flat indices of the largest positive numbers, the largest first."""
    numbers = measured.ravel()
    count = min(most, int(np.count_nonzero(numbers)))
    if not count:
        return []
    least = np.partition(numbers, len(numbers) - count)[len(numbers) - count]
    above = np.flatnonzero(numbers > least)
    indices = [*above, *np.flatnonzero(numbers == least)[: count - len(above)]]
    return sorted(map(int, indices), key=lambda index: (-numbers[index], index))


def telling(components: Sequence[np.ndarray], most: int) -> TellingElements:
    """Return the elements in which components differ most, or the largest if all are equal."""
    differs = ranges(components)
    if differs.any():
        return _telling(ElementReason.DIFFERS, differs, most)
    return _telling(ElementReason.IS_LARGE, magnitudes(components[0]), most)


def telling_of(moments: Sequence[Moment], most: int) -> TellingElements | None:
    """Return the elements of a variable to show; None if its shape changes or it has no elements.

    Choose the elements with the largest distance between replicas at the end of any call. If
    replicas never differ, choose the elements with the largest change. If nothing changes, choose
    the largest elements.
    """
    known = [[one for one in moment.components if one is not None] for moment in moments]
    samples = [one for parts in known for one in parts if isinstance(one, Sample)]
    if not samples:
        return _telling_of(known, most)
    told = _telling_of([[thinned(one) for one in parts] for parts in known], most)
    if told is None:
        return None
    where = positions(samples[0].count)
    return replace(told, indices=tuple(int(where[index]) for index in told.indices))


def _telling_of(known: Sequence[Sequence[Flat]], most: int) -> TellingElements | None:
    sizes = {len(one) for parts in known for one in parts}
    if len(sizes) != 1 or not min(sizes):
        return None
    of_replicas = _over_all([ranges(parts) for parts in known if len(parts) > 1])
    if of_replicas is not None and of_replicas.any():
        return _telling(ElementReason.DIFFERS, of_replicas, most)
    first = [parts[0] for parts in known if parts]
    changes = ranges(first)
    if changes.any():
        return _telling(ElementReason.CHANGES, changes, most)
    return _telling(ElementReason.IS_LARGE, magnitudes(first[-1]), most)


def _telling(reason: ElementReason, measured: np.ndarray, most: int) -> TellingElements:
    indices = largest(measured, most) or [0]
    numbers = measured.ravel()
    return TellingElements(
        reason, tuple(indices), tuple(float(numbers[index]) for index in indices)
    )


def _over_all(measured: Sequence[np.ndarray]) -> np.ndarray | None:
    """Return the largest number at each index."""
    if not measured:
        return None
    found = measured[0]
    for one in measured[1:]:
        found = np.maximum(found, one)
    return found


def relative(components: Sequence[Flat]) -> float:
    """Return the distance of components relative to the largest element; 0 if shapes differ."""
    if len({len(one) for one in components}) != 1 or not len(components[0]):
        return 0.0
    apart = float(ranges(components).max())
    scale = max(float(magnitudes(one).max()) for one in components)
    return 0.0 if not apart else apart / scale if np.isfinite(scale) else np.inf
