"""From the values of a program to values that JSON can hold.

JSON has no infinities, no NaN and no complex numbers: they become the texts "Infinity",
"-Infinity", "NaN" and "1+2j".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from enum import Enum
from typing import Any, Final

import numpy as np

from varsim.analysis.apart import Reason, telling
from varsim.report.summary import Digest, Plain

SMALL_SIZE: Final = 4
"""Arrays of up to so many elements are shown whole; of larger ones, some elements."""

MAX_RESULT_SIZE: Final = 10_000
"""Arrays with more elements than this, in what a workload returns, are saved as a digest."""


def plain(value: Any) -> Plain:
    """The value as JSON can hold it; what has no such form, as text."""
    match value:
        case np.generic():  # before what they inherit from: np.float64 is a float
            return plain(value.item())
        case None | bool() | int() | str():
            return value
        case Enum():
            return value.name
        case float():
            return value if math.isfinite(value) else _without_number(value)
        case complex():
            return f"{value.real:g}{value.imag:+g}j"
        case np.ndarray():
            small = value.size <= MAX_RESULT_SIZE
            return plain(value.tolist()) if small else asdict(digest(value))
        case Mapping():
            return {str(key): plain(one) for key, one in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(one) for one in value]
    try:
        array = np.asarray(value)
    except Exception:  # an object of the user's may refuse in any way
        return str(value)
    return str(value) if array.dtype.hasobject else plain(array)


def _without_number(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def digest(array: np.ndarray) -> Digest:
    """What is shown of an array."""
    small = array.size <= SMALL_SIZE
    ordered = array.size > 0 and array.dtype.kind in "biuf"
    with np.errstate(all="ignore"):
        return Digest(
            shape=list(array.shape),
            elements=plain(array.tolist()) if small else None,
            minimum=plain(array.min()) if ordered else None,
            mean=plain(array.mean(dtype=np.float64)) if ordered else None,
            maximum=plain(array.max()) if ordered else None,
        )


def furthest_apart(
    components: Iterable[np.ndarray], most: int = 1
) -> tuple[Plain, list[tuple[int, ...]]]:
    """How far components are apart, and the elements that say most.

    Args:
        components: At least one, of one dtype.
        most: How many elements.
    Returns:
        The largest difference between two components in any element (for complex numbers an upper
        bound of it), and the indices of the elements in which they differ most; if they do not
        differ, of the largest. None, and no element, if the components' shapes differ. NaN
        equals NaN, and is infinitely far from everything else.
    """
    arrays = list(components)
    shape = arrays[0].shape
    if any(array.shape != shape for array in arrays):
        return None, []
    if not arrays[0].size:
        return 0.0, []
    found = telling(arrays, most)
    differ = found.reason is Reason.DIFFERS
    places = found.places if differ else found.places[:1]
    indices = [tuple(map(int, np.unravel_index(place, shape))) for place in places]
    return plain(found.by[0] if differ else 0.0), indices
