"""How the large values of a merge are combined where memory is shared.

Every contribution lies in its worker's part of the arena already. The result is computed into a
block of the coordinator's, which is the mirror of all replicas at once. From a size on, workers
that wait anyway compute a slice each.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from varsim.protocol.messages import ReduceSlice, SliceReduced
from varsim.spec import Array, Operation, VariableAggregation
from varsim.sync.actions import Reduce
from varsim.sync.blockwise import merge_into
from varsim.sync.events import ReductionDone
from varsim.transport.arena import Arena
from varsim.transport.loans import SHARED_FROM_BYTES

SLICE_BYTES: Final = 2 * 2**20
"""The least that a worker is asked to compute: for less, to ask takes longer than to do it.

Measured with four replicas and two cores: 4 MiB take as long alone as by two, 8 MiB a fifth longer.
"""


SLICE_TIMEOUT_S: Final = 5.0
"""For a worker that waits to compute a slice, which takes milliseconds. One that is stopped, or
swapped out, is not waited for longer: the coordinator can do it alone."""

Send = Callable[[dict[int, ReduceSlice]], None]


@dataclass(frozen=True, slots=True, eq=False)
class _Shared:
    """A reduction of which workers compute slices."""

    request: Reduce
    out: Array
    asked: dict[int, int]  # request_id → replica_id, of slices that are not computed yet
    deadline_s: float


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


class SharedExchange:
    """The coordinator's part in combining large values in shared memory.

    At most one reduction is computed with workers at a time.
    """

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        self._next_request_id = 1
        self._shared: _Shared | None = None

    def reduce(self, request: Reduce, ask: Send, now_s: float) -> Array | None:
        """Return what `reduce.merge` gives, bit for bit; None if workers compute slices of it.

        Args:
            ask: Sends slices to workers, by replica_id.
        """
        self._shared = None
        values, mirror = request.operands, request.mirror
        if request.aggregation is VariableAggregation.ONLY_FIRST_REPLICA:
            values = values[:1]
        if request.operation is Operation.ASSIGN:
            mirror = None  # what was there does not count
        small = values[0].nbytes < SHARED_FROM_BYTES
        if small or (len(values) == 1 and mirror is None):
            return request.computed()
        out = self._arena.empty(values[0].shape, values[0].dtype)
        if out is None:
            return request.computed()
        workers = request.idle[: max(0, min(self._cores, out.nbytes // SLICE_BYTES) - 1)]
        slices = _slices(out.size, 1 + len(workers))
        own, *theirs = [self._slice(part, request, values, mirror, out) for part in slices]
        if theirs:
            ask(dict(zip(workers, theirs, strict=True)))
        reduce_slice(own)
        if not theirs:
            return out
        asked = {one.request_id: i for i, one in zip(workers, theirs, strict=True)}
        self._shared = _Shared(request, out, asked, now_s + SLICE_TIMEOUT_S)
        return None

    @property
    def deadline_s(self) -> float | None:
        """When the coordinator computes alone what workers have not computed by then."""
        return None if self._shared is None else self._shared.deadline_s

    def take(self, answer: SliceReduced) -> ReductionDone | None:
        """Note that a worker has computed its slice; return the reduction if that is the last."""
        shared = self._shared
        if shared is None or shared.asked.pop(answer.request_id, None) is None or shared.asked:
            return None
        self._shared = None
        return ReductionDone(shared.request.token, shared.out)

    def lose(self, replica_id: int) -> ReductionDone | None:
        """Return the reduction, computed alone, if a worker that has died was asked for a slice."""
        if self._shared is None or replica_id not in self._shared.asked.values():
            return None
        return self.give_up()

    def give_up(self) -> ReductionDone:
        """Return the reduction that workers compute, computed alone.

        A worker may still write to the shared result, so that is left alone.
        """
        assert self._shared is not None
        request, self._shared = self._shared.request, None
        return ReductionDone(request.token, request.computed())

    def _slice(
        self,
        part: slice,
        request: Reduce,
        values: Sequence[Array],
        mirror: Array | None,
        out: Array,
    ) -> ReduceSlice:
        request_id = self._next_request_id
        self._next_request_id += 1
        return ReduceSlice(
            request_id=request_id,
            aggregation=request.aggregation,
            operation=request.operation,
            values=tuple(value.reshape(-1)[part] for value in values),
            mirror=() if mirror is None else (mirror.reshape(-1)[part],),
            out=out.reshape(-1)[part],
        )


def _slices(size: int, count: int) -> list[slice]:
    """Equal parts of so many elements."""
    bounds = [size * place // count for place in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(bounds)]
