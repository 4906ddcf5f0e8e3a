"""Exchange "shared": large arrays are in memory that all processes of the cluster share.

A worker puts each large contribution into its own region of the memory. The result is computed into
a block of the coordinator's region. This block is then the mirror for all replicas, without a copy.
If the values are large, each waiting worker computes one slice.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import pairwise
from typing import Final

import numpy as np

from varsim.errors import StartError
from varsim.exchange.broadcast import BroadcastCodec
from varsim.exchange.exchange import ExchangeChannel, Handover
from varsim.location import warn
from varsim.processors import usable_processors
from varsim.protocol.buffers import Frame, Memory
from varsim.protocol.codec import decode, encode
from varsim.protocol.limits import Buffer
from varsim.protocol.messages import Message, ReduceSlice, SliceReduced
from varsim.spec import Array, Operation, VariableAggregation
from varsim.sync.actions import Reduce
from varsim.sync.blockwise import merge_into
from varsim.sync.coordinator_events import OperandsLost, ReductionDone
from varsim.transport import arena
from varsim.transport.arena import Arena
from varsim.transport.leases import SHARED_FROM_BYTES, TOLD_FROM_BYTES, Leases
from varsim.transport.transport import Transport
from varsim.value_class import value_class

SLICE_BYTES: Final = 2 * 2**20
"""Smallest slice for a worker. For a smaller slice, the request takes longer than the computation.

Measured with four replicas on two cores: for 4 MiB, one process takes as long as two processes. For
8 MiB, one process takes 20 % longer than two.
"""

SLICE_TIMEOUT_S: Final = 5.0
"""Time limit for the workers to compute their slices, which normally takes milliseconds. After this
time a worker is probably stopped or swapped out, and the coordinator computes the whole value."""

_GROWTH_BYTES: Final = 2 * TOLD_FROM_BYTES
"""If a round needs this much new shared memory, the coordinator waits for workers' releases."""

_PATIENCE_S: Final = 0.01
"""Duration of the wait for releases. Allocating `_GROWTH_BYTES` takes about as long."""


class Shared:
    """An exchange for workers of this machine, on systems with anonymous files (memfd)."""

    def problem(self, transport: Transport) -> str:
        """Return the missing requirement; "" if there is none."""
        if transport.same_memory and arena.shared_memory_exists():
            return ""
        return "transport='ipc' and a system with anonymous files (memfd)"

    def open(self, num_replicas: int) -> SharedCoordinator:
        """Create the shared memory.

        Raises:
            StartError: The system does not provide shared memory.
            ConfigError: VARSIM_SHARED_MEMORY_BYTES is not a number.
        """
        return SharedCoordinator(create_memory(num_replicas, num_replicas, warn), num_replicas)

    def join(self, handover: Handover, replica_id: int, num_replicas: int) -> SharedWorker:
        """Map the memory in a worker."""
        return SharedWorker(join_memory(handover, replica_id, num_replicas))


def create_memory(num_replicas: int, sharers: int, warn: Callable[[str], None]) -> Arena:
    """Create a shared memory, in which each replica has a region, and this process the first one.

    Args:
        num_replicas: The number of replicas of the cluster.
        sharers: How many of them run on this host, and share its memory.
        warn: Called once, when there is no room for an array for the first time.
    Raises:
        StartError: The system does not provide shared memory.
        ConfigError: VARSIM_SHARED_MEMORY_BYTES is not a number.
    """
    limit_bytes = arena.limit_bytes() // (sharers + 1)
    with ExitStack() as stack:
        try:
            descriptor = arena.create_file()
            stack.callback(os.close, descriptor)
            memory = Arena(descriptor, 0, num_replicas + 1, limit_bytes, warn)
        except OSError as error:
            raise StartError(f"shared memory is not available ({error})") from error
        stack.pop_all()  # the arena closes the descriptor
    return memory


def handover_of(memory: Arena) -> Handover:
    """Return the descriptor of a memory, and its limits of memory and of addresses."""
    return Handover((memory.descriptor,), json.dumps([memory.limit_bytes, memory.region_bytes]))


def join_memory(handover: Handover, replica_id: int, num_replicas: int) -> Arena:
    """Map the memory that a handover describes, with the region of a replica."""
    (descriptor,) = handover.descriptors
    limit_bytes, region_bytes = json.loads(handover.settings)
    return Arena(
        descriptor, replica_id + 1, num_replicas + 1, limit_bytes, say, region_bytes=region_bytes
    )


def say(text: str) -> None:
    """Write a text to stderr, which is the log of a worker or of an agent."""
    sys.stderr.write(f"varsim: {text}\n")


# ---------------------------------------------------------------- the coordinator's end


class SharedCoordinator:
    """The coordinator's end."""

    direct = None  # what goes through the memory of one host is not counted

    def __init__(self, memory: Arena, num_replicas: int) -> None:
        self.arena = memory
        memory.reclaim = self._reclaim
        self._codec = BroadcastCodec(num_replicas, memory)
        self._reducer = SharedMemoryReducer(memory)
        self._channel: ExchangeChannel | None = None
        self._finished: list[ReductionDone | OperandsLost] = []
        self._held_bytes = -1  # memory in use before its first growth in this round; -1 until then
        self._growth_bytes = _GROWTH_BYTES
        self.encode = self._codec.encode

    @property
    def handover(self) -> Handover:
        """Return the descriptor of the memory, and the limits of memory and of addresses."""
        return handover_of(self.arena)

    @property
    def shared_bytes(self) -> int:
        """Return the size of the shared memory to which the last encoded envelope refers."""
        return self._codec.shared_bytes

    def attach(self, channel: ExchangeChannel) -> None:
        """Set the connections for slices and for releases of memory."""
        self._channel = channel

    def decode(self, replica_id: int, frames: Sequence[Buffer]) -> list[Message]:
        """Return the messages of a worker's envelope, except computed slices."""
        messages = self._codec.decode(replica_id, frames)
        if SliceReduced in map(type, messages):
            for message in messages:
                if isinstance(message, SliceReduced):
                    self._finish(self._reducer.take(message))
            messages = [one for one in messages if not isinstance(one, SliceReduced)]
        return messages

    def end_round(self) -> None:
        """Drop the frames of the last envelope, which are kept for further workers."""
        self._codec.end_round()
        self._held_bytes = -1

    def lose(self, replica_id: int) -> None:
        """End the leases of a dead worker; finish the running reduction without this worker."""
        self._codec.lose(replica_id)
        self._finish(self._reducer.lose(replica_id))

    # ------------------------------------------------------------ reductions

    @property
    def deadline_s(self) -> float | None:
        """Return when the coordinator computes an unfinished reduction alone."""
        return self._reducer.deadline_s

    def reduce(self, request: Reduce, now_s: float) -> Array | None:
        """Return the value, in shared memory if it is large; None if workers compute slices."""
        return self._reducer.reduce(request, self._send, now_s)

    def _send(self, slices: dict[int, ReduceSlice]) -> None:
        assert self._channel is not None, "a channel is attached before the first message"
        for replica_id, one in slices.items():
            self._channel.send(replica_id, [one])
        self._codec.end_round()

    def obtain(self, values: Sequence[Array]) -> Sequence[Array]:
        """Return contributions, whose bytes this process has."""
        return values

    def look(self, now_s: float) -> None:  # noqa: ARG002 - others use it
        """Finish the running reduction without the workers, which have had their time."""
        self._finish(self._reducer.give_up())

    def _finish(self, done: ReductionDone | None) -> None:
        if done is not None:
            self._finished.append(done)

    def finished(self) -> list[ReductionDone | OperandsLost]:
        """Return the reductions that were finished since the last call."""
        if not self._finished:
            return []
        finished, self._finished = self._finished, []
        return finished

    # ------------------------------------------------------------ memory

    def fill(self) -> bool:
        """Simulate that shared memory is full."""
        self.arena.fill()
        return True

    def _reclaim(self, held_bytes: int) -> bool:
        """Decode workers' releases of memory; return False if none arrives.

        A program that writes in a loop can need memory faster than the workers release it. The
        coordinator then waits for a release, because reusing memory is faster than allocating it.
        If no release arrives, the workers still use the memory. The coordinator then waits again
        only when the memory has grown by twice as much.
        """
        if self._channel is None:
            return False
        if self._held_bytes < 0:
            self._held_bytes, self._growth_bytes = held_bytes, _GROWTH_BYTES
        waits = held_bytes - self._held_bytes >= self._growth_bytes
        if self._channel.hear(_PATIENCE_S if waits else 0.0):
            return True
        if waits:
            self._growth_bytes *= 2
        return False

    def close(self) -> None:
        """Free the memory. Its arrays that are still in use stay valid."""
        self._codec.close()


@value_class(eq=False)
class _Shared:
    """A reduction that the workers compute in slices."""

    request: Reduce
    out: Array
    requested: dict[int, int]  # request_id → replica_id, for slices that are not computed yet
    deadline_s: float


SendSlices = Callable[[dict[int, ReduceSlice]], None]


class SharedMemoryReducer:
    """Computes reductions into shared memory, alone or together with workers.

    Workers compute at most one reduction at a time.
    """

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._cores = usable_processors()
        self._next_request_id = 1
        self._shared: _Shared | None = None

    def reduce(self, request: Reduce, send: SendSlices, now_s: float) -> Array | None:
        """Return the same value as `reduce.merge`, bit for bit; None if workers compute it.

        Args:
            send: Sends requests for slices to workers: replica_id → request.
        """
        self._shared = None
        values, mirror = request.operands, request.mirror
        if request.aggregation is VariableAggregation.ONLY_FIRST_REPLICA:
            values = values[:1]
        if request.operation is Operation.ASSIGN:
            mirror = None  # the old value is not needed
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
            send(dict(zip(workers, theirs, strict=True)))
        reduce_slice(own)
        if not theirs:
            return out
        requested = {one.request_id: i for i, one in zip(workers, theirs, strict=True)}
        self._shared = _Shared(request, out, requested, now_s + SLICE_TIMEOUT_S)
        return None

    @property
    def deadline_s(self) -> float | None:
        """Return when the coordinator computes an unfinished reduction alone."""
        return None if self._shared is None else self._shared.deadline_s

    def take(self, answer: SliceReduced) -> ReductionDone | None:
        """Record a computed slice; return the reduction if this was the last missing slice."""
        shared = self._shared
        if (
            shared is None
            or shared.requested.pop(answer.request_id, None) is None
            or shared.requested
        ):
            return None
        self._shared = None
        return ReductionDone(shared.request.token, shared.out)

    def lose(self, replica_id: int) -> ReductionDone | None:
        """Compute and return the whole reduction if the slice of a dead worker is missing."""
        if self._shared is None or replica_id not in self._shared.requested.values():
            return None
        return self.give_up()

    def give_up(self) -> ReductionDone:
        """Compute the running reduction without the workers, and return it.

        The value is a new array, because a worker may still write to the shared array.
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
    """Divide `size` elements into `count` slices of nearly equal size."""
    bounds = [size * index // count for index in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(bounds)]


# ---------------------------------------------------------------- a worker's end


class SharedWorker:
    """A worker's end."""

    def __init__(self, memory: Arena) -> None:
        self._arena = memory
        self._leases = Leases(memory)

    @property
    def shared_bytes(self) -> int:
        """Return the size of the arrays to which the last encoded envelope refers."""
        return self._leases.put_bytes

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
        """Return an uninitialised array.

        A large array is in shared memory if there is room.
        """
        if math.prod(shape) * dtype.itemsize >= SHARED_FROM_BYTES:
            shared = self._arena.empty(shape, dtype)
            if shared is not None:
                return shared
        return np.empty(shape, dtype)

    def fill(self) -> bool:
        """Simulate that shared memory is full."""
        self._arena.fill()
        return True

    def encode(self, messages: Sequence[Message]) -> list[Frame]:
        """Return the frames of an envelope, with a list of released blocks."""
        self._leases.put_bytes = 0
        frames = encode(messages, self._memory_for(messages))
        note = self._leases.note()
        return [*frames, note] if note else frames

    def _memory_for(self, messages: Sequence[Message]) -> Memory:  # noqa: ARG002 - other exchanges use it
        """Return the memory for the large arrays of an envelope."""
        return self._leases

    def decode(self, frames: Sequence[Buffer]) -> tuple[list[Message], list[Message]]:
        """Compute the requested slices. Return the envelope's other messages, and the answers."""
        messages: list[Message] = []
        answers: list[Message] = []
        for message in decode(frames, self._leases):
            if isinstance(message, ReduceSlice):
                answers.append(reduce_slice(message))
            else:
                messages.append(message)
        return messages, answers

    def before_waiting(self) -> list[Frame]:
        """Return an envelope that lists the released blocks; [] if their total size is small."""
        note = self._leases.note(TOLD_FROM_BYTES)
        return [*encode([]), note] if note else []


def reduce_slice(request: ReduceSlice) -> SliceReduced:
    """Compute a slice in place, and return the answer."""
    out = request.out
    out.setflags(write=True)  # arrays of messages are read-only, but this array is the output
    mirror = request.mirror[0] if request.mirror else None
    merge_into(out, request.values, request.aggregation, request.operation, mirror)
    return SliceReduced(request_id=request.request_id)
