"""How the writes of an outbox are laid side by side, so that they are merged together.

A *bucket* is one array: the values of all writes of one dtype, aggregation and operation, flat and
in order. The coordinator reduces it as one array, which gives every element what it would get
alone. Replica and coordinator arrange the same writes in the same way, so a bucket's members are
never sent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from varsim.protocol.messages import Write
from varsim.spec import Array, Operation, VariableAggregation, VariableSpec

PACK_LIMIT_BYTES: Final = 64 * 1024
"""A larger value is a bucket alone: it would cost more to copy than to handle."""


@dataclass(frozen=True, slots=True, eq=False)
class Bucket:
    """Writes that are merged together; no variable is among them twice."""

    positions: tuple[int, ...]  # of the writes, in their outbox
    variable_ids: Array  # int64, (n,)
    shape: tuple[int, ...]  # of the one value, or of all of them side by side
    dtype: np.dtype[np.generic]
    aggregation: VariableAggregation
    operation: Operation

    @property
    def first_only(self) -> bool:
        """Whether only the first replica's values are needed."""
        return self.aggregation is VariableAggregation.ONLY_FIRST_REPLICA


def arrange(writes: Sequence[Write], specs: Mapping[int, VariableSpec]) -> tuple[Bucket, ...]:
    """The buckets of an outbox, in the order in which they are to be merged.

    What a variable is written twice is in two buckets, in the order of the writes. A write that
    may still fail in the merge (the variable's shape is open) has all earlier writes in earlier
    buckets, and all later ones in later buckets.
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
    """The value of every write of an outbox, from its buckets' arrays; empty if not sent."""
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
    """How many elements a shape has that has no open dimension."""
    return math.prod(shape)  # type: ignore[arg-type]  # the caller knows
