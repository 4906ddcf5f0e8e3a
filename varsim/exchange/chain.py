"""Reduce an array over several hosts in a pipelined chain, so that the result is a left fold.

The array is divided into chunks. The first host folds its replicas' values of a chunk, and sends
this *prefix* to the next host, which folds its own values onto it, and so on. The *root* is the
last host with values: its fold is the result. The result of each chunk goes back from host to host.
While one chunk goes up, earlier chunks come down, so every link is used in both directions.

Every element is folded in replica order, because the ids of a host's replicas are contiguous. So
the result is the one of `reduce`, bit for bit.

A host sends only to its neighbours, in order, over a link that loses nothing. It sends at most a
*window* of chunks that the neighbour has not taken. So a host that begins late keeps at most one
window of chunks, and no queue grows further.

This module does no I/O and reads no clock. `chain_watch` decides when a reduction has failed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np

from varsim.errors import ProtocolError
from varsim.protocol.limits import Buffer
from varsim.spec import Array, Operation, ReduceOp
from varsim.sync.blockwise import finish_into, fold_into
from varsim.sync.reduce import UFUNCS
from varsim.value_class import value_class

CHUNK_BYTES: Final = 128 * 1024
"""Size of a chunk. A larger chunk fills the chain later; a smaller one costs more messages.

`benchmarks/hosts.py` measures it: 16 MiB over two hosts at 1 Gbit/s took 141 to 147 ms with chunks
of 64 to 256 KiB, and 147 to 157 ms with chunks of 1 MiB.
"""

WINDOW: Final = 16
"""Number of chunks on their way to a neighbour. Together they are 2 MiB, which a link of 1 Gbit/s
carries in 17 ms: longer than a message and its answer take between usual hosts."""

_MOST_WINDOW: Final = 128


def window_of(round_trip_s: float) -> int:
    """Return a window that a link of 1 Gbit/s does not wait for; at most 128 chunks, or 16 MiB."""
    return min(_MOST_WINDOW, max(WINDOW, int(round_trip_s * 10**9 / 8 / CHUNK_BYTES)))


@value_class
class ChainPlan:
    """What all hosts of a chain must know of one reduction."""

    counts: tuple[int, ...]  # number of values of each host, in host order
    size: int  # number of elements
    chunk: int  # number of elements of each chunk except the last
    op: ReduceOp
    operation: Operation  # what is done with the old value; ASSIGN: there is none

    @property
    def chunks(self) -> int:
        """Return the number of chunks."""
        return -(-self.size // self.chunk)

    @property
    def first(self) -> int:
        """Return the first host with values."""
        return next(host for host, count in enumerate(self.counts) if count)

    @property
    def root(self) -> int:
        """Return the last host with values, which computes the result."""
        return max(host for host, count in enumerate(self.counts) if count)

    def part(self, index: int) -> slice:
        """Return the elements of a chunk."""
        return slice(index * self.chunk, min(self.size, (index + 1) * self.chunk))


def can_chain(dtype: np.dtype[np.generic], op: ReduceOp) -> bool:
    """Return whether chunks of a reduction have the same bits as the whole reduction.

    A MEAN of integers has another dtype. NumPy's product of complex numbers depends on the size of
    the arrays: the sign of a zero can differ.
    """
    if op is ReduceOp.MEAN:
        return dtype.kind not in "iub"
    return op is not ReduceOp.PROD or dtype.kind != "c"


def chain_plan(
    counts: Sequence[int],
    size: int,
    dtype: np.dtype[np.generic],
    op: ReduceOp,
    operation: Operation = Operation.ASSIGN,
    chunk_bytes: int = CHUNK_BYTES,
) -> ChainPlan:
    """Return the plan of a reduction.

    Args:
        counts: The number of values of each host, in host order; at least one host has a value. For
            ONLY_FIRST_REPLICA, this is 1 for the first host and 0 for the others.
        size: The number of elements of each value.
        op: See `can_chain`.
    """
    assert any(counts), "a reduction has values"
    assert can_chain(dtype, op), f"{op} of {dtype} in chunks has other bits"
    chunk = max(1, chunk_bytes // dtype.itemsize)
    return ChainPlan(tuple(counts), size, chunk, op, operation)


class ChunkKind(IntEnum):
    """What the values of a chunk are."""

    PREFIX = 1  # the fold of the values of all earlier hosts
    RESULT = 2


class Chunk(NamedTuple):
    """A host → its neighbour: the bytes of a chunk. They do not change before they are taken."""

    token: int  # of the reduction; a later reduction has a larger one
    kind: ChunkKind
    number: int  # from 0
    content: Buffer


class Taken(NamedTuple):
    """A host → its neighbour: how many chunks of a reduction the host has taken since it began."""

    token: int
    chunks: int


ChainMessage = Chunk | Taken


class ToHost(NamedTuple):
    """An action: send a message to a neighbour."""

    host: int
    message: ChainMessage


class Filled(NamedTuple):
    """An action: report that this host has the whole result. Its array never changes again."""

    token: int


ChainAction = ToHost | Filled


class _Outflow:
    """The chunks of one reduction that go to one neighbour, in order."""

    __slots__ = ("host", "kind", "sent", "taken")

    def __init__(self, host: int, kind: ChunkKind) -> None:
        self.host = host
        self.kind = kind
        self.sent = 0
        self.taken = 0


_NOTHING: Final = np.empty(0, np.uint8)


class _Running:
    """One reduction on one host."""

    __slots__ = (
        "arrived",
        "is_reported",
        "mirror",
        "out",
        "outflows",
        "plan",
        "prefixes",
        "results",
        "told",
        "values",
    )

    def __init__(
        self, host: int, plan: ChainPlan, values: Sequence[Array], mirror: Array | None, out: Array
    ) -> None:
        self.plan = plan
        self.values = values
        self.mirror = mirror
        self.out = out
        self.prefixes = 0  # chunks into which this host has folded its values
        self.results = 0  # chunks whose result this host has
        self.is_reported = False  # whether `Filled` was returned
        above, below = host + 1, host - 1
        self.outflows: dict[int, _Outflow] = {}
        self.arrived = {above: 0, below: 0}  # a neighbour → number of its chunks
        self.told = {above: 0, below: 0}  # a neighbour → number of its chunks in the last `Taken`
        if above < len(plan.counts):
            kind = ChunkKind.RESULT if host >= plan.root else ChunkKind.PREFIX
            if host >= plan.first:
                self.outflows[above] = _Outflow(above, kind)
        if below >= 0 and host <= plan.root:
            self.outflows[below] = _Outflow(below, ChunkKind.RESULT)

    @property
    def is_delivered(self) -> bool:
        """Return whether the neighbours have taken all chunks."""
        return all(one.taken == self.plan.chunks for one in self.outflows.values())

    def drop_arrays(self) -> None:
        """Drop the arrays that are not needed any more, so that their memory can be reused."""
        if self.is_reported:
            self.values, self.mirror = (), None
            if self.is_delivered:
                self.out = _NOTHING


class ChainHost:
    """One host's part in the reductions of a chain, one reduction at a time.

    Args:
        host: The number of this host in the chain, from 0.
        window: How many chunks may be on their way to a neighbour; the same on all hosts.
    """

    def __init__(self, host: int, num_hosts: int, window: int = WINDOW) -> None:
        self.host = host
        self.num_hosts = num_hosts
        self._window = window
        self._token = 0  # of the last reduction that has begun or was cancelled
        self._running: _Running | None = None
        # Chunks of a reduction that has not begun here. They all have the same token.
        self._early: deque[tuple[int, Chunk]] = deque()

    @property
    def early_chunks(self) -> int:
        """Return how many chunks wait until their reduction begins here."""
        return len(self._early)

    def begin(
        self,
        token: int,
        plan: ChainPlan,
        values: Sequence[Array],
        mirror: Array | None,
        out: Array,
    ) -> list[ChainAction]:
        """Begin a reduction, which ends an unfinished earlier one.

        Args:
            token: Larger than all earlier ones.
            values: The values of this host's replicas, in replica order. All arrays have the shape
                and dtype of `out`, and are C-contiguous. They must not change before the end.
            mirror: The old value; None without one. Only the root reads it.
            out: Receives the result. It is read by the links even after `Filled`, until the
                neighbours have the result, too. The values and the mirror are not.
        """
        assert token > self._token, f"reduction {token} begins after {self._token}"
        assert len(values) == plan.counts[self.host], "the plan counts the values of each host"
        self._token = token
        flat = [value.reshape(-1) for value in values]
        before = None if mirror is None else mirror.reshape(-1)
        self._running = _Running(self.host, plan, flat, before, out.reshape(-1))
        actions = self._pump(self._running)
        early, self._early = self._early, deque()
        for sender, chunk in early:
            if chunk.token == token:
                actions += self.arrives(sender, chunk)
            elif chunk.token > token:
                self._early.append((sender, chunk))
        return actions

    def cancel(self, token: int) -> None:
        """End a reduction without a result, also one that has not begun here."""
        if token >= self._token:
            self._token = token
            self._running = None
        self._early = deque(one for one in self._early if one[1].token > token)

    def arrives(self, sender: int, message: ChainMessage) -> list[ChainAction]:
        """Handle a message of a neighbour. Messages of ended reductions change nothing.

        Raises:
            ProtocolError: The message does not follow the plan.
        """
        if abs(sender - self.host) != 1:
            raise ProtocolError(f"host {sender} is not a neighbour of host {self.host}")
        running = self._running
        if message.token > self._token:
            return self._keep(sender, message)
        if message.token < self._token or running is None:
            return []
        if isinstance(message, Taken):
            self._take(running, sender, message)
            return self._pump(running)
        expected = running.arrived[sender], self._kind_from(running, sender)
        if (message.number, message.kind) != expected or message.number >= running.plan.chunks:
            raise ProtocolError(
                f"host {sender} sent {message.kind.name} {message.number} instead of {expected}"
            )
        self._receive(running, message)
        running.arrived[sender] += 1
        return [*self._pump(running), *self._taken(running, sender)]

    def _taken(self, running: _Running, sender: int) -> list[ChainAction]:
        """Report taken chunks: for every half of a window, and at the end."""
        arrived = running.arrived[sender]
        untold = arrived - running.told[sender]
        if untold < max(1, self._window // 2) and arrived < running.plan.chunks:
            return []
        running.told[sender] = arrived
        return [ToHost(sender, Taken(self._token, arrived))]

    def _keep(self, sender: int, message: ChainMessage) -> list[ChainAction]:
        """Keep a chunk of a reduction that has not begun here; drop those of an older one."""
        if isinstance(message, Taken):
            raise ProtocolError(f"host {sender} took chunks of a reduction that has not begun here")
        if self._early and self._early[0][1].token < message.token:
            self._early.clear()
        if not self._early or self._early[0][1].token == message.token:
            if len(self._early) >= self._window:
                raise ProtocolError(f"host {sender} sent more than a window of early chunks")
            self._early.append((sender, message))
        return []

    def _kind_from(self, running: _Running, sender: int) -> ChunkKind | None:
        """Return the kind of the chunks that a neighbour sends; None if it sends none."""
        plan = running.plan
        if sender > self.host:
            return ChunkKind.RESULT if sender <= plan.root else None
        if sender >= plan.root:
            return ChunkKind.RESULT
        return ChunkKind.PREFIX if sender >= plan.first else None

    def _take(self, running: _Running, sender: int, message: Taken) -> None:
        outflow = running.outflows.get(sender)
        if outflow is None or not outflow.taken <= message.chunks <= outflow.sent:
            raise ProtocolError(f"host {sender} took {message.chunks} chunks, which were not sent")
        outflow.taken = message.chunks

    def _receive(self, running: _Running, chunk: Chunk) -> None:
        """Fold this host's values onto a prefix, or store a result."""
        part = running.plan.part(chunk.number)
        target = running.out[part]
        if len(chunk.content) != target.nbytes:
            raise ProtocolError(
                f"chunk {chunk.number} has {len(chunk.content)} bytes instead of {target.nbytes}"
            )
        content = np.frombuffer(chunk.content, np.uint8).view(target.dtype)
        if chunk.kind is ChunkKind.RESULT:
            np.copyto(target, content)
            running.results += 1
        else:
            self._fold(running, part, [content, *(value[part] for value in running.values)])

    def _fold(self, running: _Running, part: slice, values: Sequence[Array]) -> None:
        """Fold values into the output; on the root, make the result of it."""
        target, plan = running.out[part], running.plan
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            fold_into(target, values, UFUNCS[plan.op])
            if self.host == plan.root:
                before = None if running.mirror is None else running.mirror[part]
                divisor = sum(plan.counts) if plan.op is ReduceOp.MEAN else 1
                finish_into(target, divisor, plan.operation, before)
                running.results += 1
        running.prefixes += 1

    def _pump(self, running: _Running) -> list[ChainAction]:
        """Compute what this host can compute, and send what the windows allow."""
        actions: list[ChainAction] = []
        plan = running.plan
        is_source = self.host == plan.first
        while is_source and running.prefixes < plan.chunks and self._has_room(running):
            part = plan.part(running.prefixes)
            self._fold(running, part, [value[part] for value in running.values])
            self._send(running, actions)
        self._send(running, actions)
        if running.results == plan.chunks and not running.is_reported:
            running.is_reported = True
            actions.append(Filled(self._token))
        running.drop_arrays()
        return actions

    def _has_room(self, running: _Running) -> bool:
        """Return whether the source's next chunk can be sent to a neighbour at once."""
        flows = running.outflows.values()
        return not flows or any(one.sent - one.taken < self._window for one in flows)

    def _send(self, running: _Running, actions: list[ChainAction]) -> None:
        for outflow in running.outflows.values():
            is_result = outflow.kind is ChunkKind.RESULT
            ready = running.results if is_result else running.prefixes
            while outflow.sent < ready and outflow.sent - outflow.taken < self._window:
                content = running.out[running.plan.part(outflow.sent)].view(np.uint8).data
                chunk = Chunk(self._token, outflow.kind, outflow.sent, content)
                actions.append(ToHost(outflow.host, chunk))
                outflow.sent += 1

    @property
    def is_delivered(self) -> bool:
        """Return whether the neighbours have taken all chunks of the running reduction.

        Until then, a next reduction must not begin: it would end this one at the neighbours.
        """
        return self._running is None or self._running.is_delivered

    @property
    def handled(self) -> int:
        """Return how many chunks the running reduction has folded or received; 0 without one."""
        running = self._running
        return 0 if running is None else running.prefixes + running.results

    @property
    def results(self) -> int:
        """Return of how many chunks, from the first one, the output has the result."""
        return 0 if self._running is None else self._running.results
