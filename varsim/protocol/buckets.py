"""Arrange the writes of an outbox in buckets, each of which is merged as one array.

A *bucket* is one flat array. It contains the values of writes that have the same dtype, aggregation
and operation, in the order of the writes. The coordinator reduces a bucket as one array. Every
element gets the same value as in a separate merge of its write. The replica and the coordinator
both compute the arrangement from the list of writes, so the arrangement is not sent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from varsim.protocol.messages import Write
from varsim.spec import Array, Operation, VariableAggregation, VariableSpec
from varsim.value_class import value_class

PACK_LIMIT_BYTES: Final = 64 * 1024
"""A larger value has its own bucket, because a copy would take longer than a separate merge."""


@value_class(eq=False)
class Bucket:
    """Writes that are merged together, at most one of each variable."""

    positions: tuple[int, ...]  # the positions of the writes in their outbox
    variable_ids: Array  # int64, (n,)
    shape: tuple[int, ...]  # the shape of the only value, or the total length of several values
    dtype: np.dtype[np.generic]
    aggregation: VariableAggregation
    operation: Operation

    @property
    def first_only(self) -> bool:
        """Return whether the aggregation uses only the values of the first replica."""
        return self.aggregation is VariableAggregation.ONLY_FIRST_REPLICA


def arrange(writes: Sequence[Write], specs: Mapping[int, VariableSpec]) -> tuple[Bucket, ...]:
    """Return the buckets of an outbox, in the order of their merges.

    Two writes of the same variable are in two buckets, in the order of the writes. If the shape of
    a variable has an unknown dimension, the merge of a write can fail. So such a write has its own
    bucket; earlier writes are in earlier buckets, and later writes are in later buckets.
    """
    buckets: list[Bucket] = []
    together: dict[tuple[object, ...], list[int]] = {}
    seen: set[int] = set()

    def close() -> None:
        buckets.extend(_bucket(positions, writes, specs) for positions in together.values())
        together.clear()
        seen.clear()

    for position, write in enumerate(writes):
        spec = specs[write.variable_id]
        may_fail = write.shape != spec.shape
        if may_fail or write.variable_id in seen:
            close()
        key: tuple[object, ...] = (spec.dtype, spec.aggregation, write.operation)
        if may_fail or size_of(write.shape) * spec.dtype.itemsize > PACK_LIMIT_BYTES:
            key = (position,)
        together.setdefault(key, []).append(position)
        seen.add(write.variable_id)
        if may_fail:
            close()
    close()
    return tuple(buckets)


def _bucket(
    positions: Sequence[int], writes: Sequence[Write], specs: Mapping[int, VariableSpec]
) -> Bucket:
    first = writes[positions[0]]
    spec = specs[first.variable_id]
    shapes = [writes[position].shape for position in positions]
    return Bucket(
        tuple(positions),
        np.array([writes[position].variable_id for position in positions], np.int64),
        shapes[0] if len(shapes) == 1 else (sum(map(size_of, shapes)),),
        spec.dtype,
        spec.aggregation,
        first.operation,
    )


def unpack(
    writes: Sequence[Write], buckets: Sequence[Bucket], arrays: Sequence[Array]
) -> list[Array]:
    """Return the value of every write of an outbox from the arrays of its buckets.

    For a value that was not sent, the result contains an empty array.
    """
    values: list[Array] = [_NOT_SENT] * len(writes)
    for bucket, array in zip(buckets, arrays, strict=True):
        if len(bucket.positions) == 1:
            values[bucket.positions[0]] = array
        elif array.shape == bucket.shape:
            start = 0
            for position in bucket.positions:
                shape = writes[position].shape
                end = start + size_of(shape)
                values[position] = array[start:end].reshape(shape)
                start = end
    return values


_NOT_SENT: Final[Array] = np.empty(0)


def size_of(shape: Sequence[int | None]) -> int:
    """Return the number of elements of a shape without unknown dimensions."""
    return math.prod(shape)  # type: ignore[arg-type]  # the caller checks it
