"""Samples of large values: what a trace keeps of a value that it does not keep whole.

A sample has the elements at `positions`, which depend only on the number of elements. So the
samples of equally large values have the same positions, and a rule about single elements, such as a
sum, can be checked on samples. Statistics over all elements show what a sample may miss.
"""

from __future__ import annotations

import json
import math
import zlib
from base64 import b64decode, b64encode
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np

from varsim.extension_dtypes import kind_of
from varsim.spec import Array, Rows

MOST_ELEMENTS: Final = 256
"""Number of elements in a sample. A value with fewer elements is always kept whole."""

_OWN_SUM: Final = frozenset("fc")
"""Kinds of dtypes whose sums have sufficient precision if their items have four bytes or more."""


class Statistics(NamedTuple):
    """Statistics over all elements of a value."""

    nans: int
    infinities: int
    smallest: float | None  # of the finite elements; None for complex numbers, or without elements
    largest: float | None
    total: float | None  # sum of the finite elements, rounded

    @property
    def not_finite(self) -> int:
        """Return the number of elements that are NaN or infinite."""
        return self.nans + self.infinities


class Sampled(NamedTuple):
    """What is kept of a value; a trace contains the same members."""

    digest: int  # CRC-32 of the whole value; for rows, of their indices and then their values
    elements: bytes | None  # of the sample, in the value's dtype; None if only a digest is kept
    statistics: Statistics | Sequence[Any]
    ordinals: bytes | None = None
    """For rows: the number that each element has in the sample of the variable, as int64."""

    def text(self) -> str | None:
        """Return the members, except the digest, as a text; None if only a digest is kept."""
        if self.elements is None:
            return None
        ordinals = None if self.ordinals is None else _text(self.ordinals)
        return json.dumps([_text(self.elements), list(self.statistics), ordinals])


def columns_in(text: str) -> tuple[bytes, str, bytes | None]:
    """Return the elements, the statistics as JSON, and the ordinals in a text of `Sampled.text`."""
    elements, statistics, ordinals = json.loads(text)
    own = None if ordinals is None else b64decode(ordinals)
    return b64decode(elements), json.dumps(statistics), own


def _text(content: bytes) -> str:
    return b64encode(content).decode()


@lru_cache(1024)
def positions(count: int) -> Array:
    """Return the flat indices of the elements in the sample of a value with `count` elements.

    They are evenly spaced; the first and the last element are among them. The array is int64.
    """
    if count <= MOST_ELEMENTS:
        found = np.arange(count)
    else:
        found = np.arange(MOST_ELEMENTS) * (count - 1) // (MOST_ELEMENTS - 1)
    found.setflags(write=False)
    return found


def sample(value: Array) -> Sampled:
    """Return the sample of a value, with the digest and the statistics of all its elements."""
    whole = np.asarray(value, value.dtype.newbyteorder("="), order="C").reshape(-1)
    if whole.size <= MOST_ELEMENTS:  # small values can be many, and they need no statistics
        content = whole.tobytes()
        return Sampled(zlib.crc32(content), content, ())
    return Sampled(
        zlib.crc32(_bytes_of(whole)),
        whole[positions(whole.size)].tobytes(),
        statistics_of(whole),
    )


def _bytes_of(value: Array) -> memoryview:
    return value.reshape(-1).view(np.uint8).data


def sample_of_rows(rows: Rows, shape: Sequence[int | None] | None) -> Sampled:
    """Return the part of rows that changes elements in the sample of their variable.

    Args:
        shape: The shape of the variable. If it is not known, there is only a digest.
    """
    values, indices = np.asarray(rows.values, order="C"), np.asarray(rows.indices, order="C")
    digest = zlib.crc32(_bytes_of(values), zlib.crc32(_bytes_of(indices)))
    if not shape or None in shape:
        return Sampled(digest, None, ())
    elements, ordinals = in_sample(rows, math.prod(shape))  # type: ignore[arg-type]
    return Sampled(digest, elements.tobytes(), statistics_of(values), ordinals.tobytes())


def in_sample(rows: Rows, count: int) -> tuple[Array, Array]:
    """Return the elements of rows that are in the sample of their variable, in order.

    Args:
        count: The number of elements of the variable.
    Returns:
        The elements, and the number that each of them has in the sample, as int64.
    """
    flat = rows.values.reshape(len(rows.indices), -1)
    width = flat.shape[1]
    if not width or not len(rows.indices):
        return flat.reshape(-1)[:0], np.empty(0, np.int64)
    where = positions(count)
    starts = np.searchsorted(where, rows.indices * width)
    ends = np.searchsorted(where, (rows.indices + 1) * width)
    sizes = ends - starts
    which = np.repeat(np.arange(len(sizes)), sizes)
    before = np.cumsum(sizes) - sizes
    ordinals = np.arange(len(which)) - before[which] + starts[which]
    return flat[which, where[ordinals] % width], ordinals.astype(np.int64)


def statistics_of(value: Array) -> Statistics:
    """Return the statistics over all elements of a value."""
    with np.errstate(all="ignore"):
        return _statistics(value.reshape(-1))


def _statistics(value: Array) -> Statistics:
    kind = kind_of(value.dtype)
    if kind not in "biufc" or not value.size:
        return Statistics(0, 0, None, None, None)
    if kind == "f" and value.dtype.kind != "f":
        value = value.astype(np.float32)  # NumPy is slow with extension dtypes
    finite, nans, infinities = value, 0, 0
    precise = value.dtype.itemsize >= 4 and kind in _OWN_SUM
    total = value.sum() if precise else value.sum(dtype=np.float64)
    if kind in _OWN_SUM and not np.isfinite(total):
        is_finite = np.isfinite(value)
        nans = int(np.isnan(value).sum())
        infinities = value.size - int(is_finite.sum()) - nans
        finite = value[is_finite]
        total = finite.sum(dtype=np.complex128 if kind == "c" else np.float64)
    if kind == "c" or not finite.size:
        return Statistics(nans, infinities, None, None, None)
    return Statistics(nans, infinities, float(finite.min()), float(finite.max()), float(total))
