"""How the large values of a merge are combined where memory is shared.

Every contribution lies in its worker's part of the arena already. The result is computed into a
block of the coordinator's, which is the mirror of all replicas at once. From a size on, workers
that wait anyway compute a slice each.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Protocol

import numpy as np

from varsim.protocol.messages import ReduceSlice, SliceReduced
from varsim.spec import Array, Operation, VariableAggregation
from varsim.sync import reduce
from varsim.sync.blockwise import merge_into
from varsim.transport.arena import Arena
from varsim.transport.loans import SHARED_FROM_BYTES

SLICE_BYTES: Final = 2 * 2**20
"""The least that a worker is asked to compute: for less, to ask takes longer than to do it.

Measured with four replicas and two cores: 4 MiB take as long alone as by two, 8 MiB a fifth longer.
"""


def empty(arena: Arena | None, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
    """An uninitialised array: in the arena if that pays and there is room."""
    if arena is not None and math.prod(shape) * dtype.itemsize >= SHARED_FROM_BYTES:
        shared = arena.empty(shape, dtype)
        if shared is not None:
            return shared
    return np.empty(shape, dtype)


def reduce_slice(request: ReduceSlice) -> SliceReduced:
    """Computes what a worker is asked for, and answers."""
    out = request.out
    out.setflags(write=True)  # what comes in messages is read-only; this is meant to be written
    mirror = request.mirror[0] if request.mirror else None
    merge_into(out, request.values, request.aggregation, request.operation, mirror)
    return SliceReduced(request_id=request.request_id)


class Helpers(Protocol):
    """Workers that can be asked to compute."""

    def ask(self, requests: dict[int, ReduceSlice]) -> None:
        """Has replicas compute what is asked of each, by replica_id."""

    def wait(self) -> bool:
        """Waits until all is computed; False if some of it is not, and may never be."""


class SharedExchange:
    """The coordinator's part in combining large values in shared memory."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        self._next_request_id = 1

    def merge(
        self,
        values: Sequence[Array],
        aggregation: VariableAggregation,
        operation: Operation,
        mirror: Array | None,
        idle: Sequence[int],
        helpers: Helpers,
    ) -> Array:
        """What a merge leads to: the same as `reduce.merge` gives, bit for bit."""
        if aggregation is VariableAggregation.ONLY_FIRST_REPLICA:
            values = values[:1]
        if operation is Operation.ASSIGN:
            mirror = None  # what was there does not count
        if values[0].nbytes < SHARED_FROM_BYTES or (len(values) == 1 and mirror is None):
            return reduce.merge(values, aggregation, operation, mirror)
        if len(values) > 1:
            reduce.require_addable(values)
        out = self._arena.empty(values[0].shape, values[0].dtype)
        if out is not None:
            workers = idle[: max(0, min(self._cores, out.nbytes // SLICE_BYTES) - 1)]
            parts = _slices(out.size, 1 + len(workers))
            own, *theirs = [
                self._request(part, values, aggregation, operation, mirror, out) for part in parts
            ]
            if theirs:
                helpers.ask(dict(zip(workers, theirs, strict=True)))
            reduce_slice(own)
            if not theirs or helpers.wait():
                return out
            # A worker may still write to it: it is left alone.
        return reduce.merge(values, aggregation, operation, mirror)

    def _request(
        self,
        part: slice,
        values: Sequence[Array],
        aggregation: VariableAggregation,
        operation: Operation,
        mirror: Array | None,
        out: Array,
    ) -> ReduceSlice:
        request_id = self._next_request_id
        self._next_request_id += 1
        return ReduceSlice(
            request_id=request_id,
            aggregation=aggregation,
            operation=operation,
            values=tuple(value.reshape(-1)[part] for value in values),
            mirror=() if mirror is None else (mirror.reshape(-1)[part],),
            out=out.reshape(-1)[part],
        )


def _slices(size: int, count: int) -> list[slice]:
    """Equal parts of so many elements."""
    bounds = [size * place // count for place in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(bounds)]
