"""Decide into how many shards a variable is divided, along axis 0."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from varsim.distribute.missing import module_attributes
from varsim.distribute.strategy_arguments import is_count
from varsim.errors import DistributedValueError
from varsim.extension_dtypes import EXTENSION_SIZES

__all__ = [
    "FixedShardsPartitioner",
    "MaxSizePartitioner",
    "MinSizePartitioner",
    "Partitioner",
]


class Partitioner(Protocol):
    """`tf.distribute.experimental.partitioners.Partitioner`."""

    def __call__(self, shape: Sequence[int], dtype: Any, axis: int = 0) -> list[int]:
        """Return the number of parts along each axis of a variable."""


def _element_bytes(dtype: Any) -> int:
    return EXTENSION_SIZES.get(str(dtype)) or np.dtype(dtype).itemsize


def _parts(shape: Sequence[int], axis: int, count: int) -> list[int]:
    parts = [1] * len(shape)
    if parts:
        parts[axis] = max(1, min(int(shape[axis]), count))
    return parts


def _positive(value: int, what: str) -> int:
    if not is_count(value) or not value:
        raise DistributedValueError(f"{what}={value!r}: expected an int of at least 1")
    return int(value)


class FixedShardsPartitioner:
    """Divide every variable into the same number of shards, or into its rows if these are fewer.

    Source: `tf.distribute.experimental.partitioners.FixedShardsPartitioner`.
    """

    def __init__(self, num_shards: int) -> None:
        self._num_shards = _positive(num_shards, "num_shards")

    def __call__(self, shape: Sequence[int], dtype: Any, axis: int = 0) -> list[int]:
        """Return the number of parts along each axis."""
        return _parts(shape, axis, self._num_shards)


class MinSizePartitioner:
    """Divide a variable into as many shards as possible with at least `min_shard_bytes` each.

    Source: `tf.distribute.experimental.partitioners.MinSizePartitioner`.
    """

    def __init__(self, min_shard_bytes: int = 256 << 10, max_shards: int = 1) -> None:
        self._min_shard_bytes = _positive(min_shard_bytes, "min_shard_bytes")
        self._max_shards = _positive(max_shards, "max_shards")

    def __call__(self, shape: Sequence[int], dtype: Any, axis: int = 0) -> list[int]:
        """Return the number of parts along each axis."""
        size_bytes = math.prod(shape) * _element_bytes(dtype)
        return _parts(shape, axis, min(self._max_shards, size_bytes // self._min_shard_bytes))


class MaxSizePartitioner:
    """Divide a variable into as few shards as possible with at most `max_shard_bytes` each.

    A shard has at least one row, and there are at most `max_shards` shards, so a shard can be
    larger.

    Source: `tf.distribute.experimental.partitioners.MaxSizePartitioner`.
    """

    def __init__(self, max_shard_bytes: int, max_shards: int | None = None) -> None:
        self._max_shard_bytes = _positive(max_shard_bytes, "max_shard_bytes")
        self._max_shards = None if max_shards is None else _positive(max_shards, "max_shards")

    def __call__(self, shape: Sequence[int], dtype: Any, axis: int = 0) -> list[int]:
        """Return the number of parts along each axis."""
        if not shape or not shape[axis]:
            return _parts(shape, axis, 1)
        row_bytes = math.prod(shape) // shape[axis] * _element_bytes(dtype)
        rows = max(1, self._max_shard_bytes // max(1, row_bytes))
        count = math.ceil(shape[axis] / rows)
        return _parts(shape, axis, min(count, self._max_shards or count))


def shard_rows(shape: tuple[int, ...], parts: Any, name: str) -> list[slice]:
    """Return the rows of each shard: even parts of axis 0, the larger ones first.

    Args:
        parts: What a partitioner has returned.
    Raises:
        DistributedValueError: It divides another axis than the first, or is no list of numbers.
    """
    counts = [int(one) for one in parts]
    others = any(one != 1 for one in counts[1:])
    if len(counts) != len(shape) or others or min(counts, default=1) < 1:
        raise DistributedValueError(
            f"variable {name!r}: the partitioner returned {list(parts)} for the shape {shape}; it "
            "must return a number of parts for each axis, and 1 for every axis but the first"
        )
    count = counts[0] if counts else 1
    if count > 1 and count > shape[0]:
        raise DistributedValueError(
            f"variable {name!r}: the partitioner wants {count} shards of {shape[0]} rows"
        )
    size, larger = divmod(shape[0] if shape else 0, count)
    ends = [0]
    for index in range(count):
        ends.append(ends[-1] + size + (index < larger))
    return [slice(begin, end) for begin, end in pairwise(ends)]


if not TYPE_CHECKING:  # with a `__getattr__`, a type checker would not report missing names
    __getattr__, __dir__ = module_attributes("tf.distribute.experimental.partitioners", __all__)
