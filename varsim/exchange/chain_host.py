"""A host's end of the exchange `chain`: shared memory for its workers, and its part in the chain.

The coordinator's end says where the values are in this memory. The host's end reduces them with the
other hosts, into a block of its own region, which the workers then read without a copy.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

import numpy as np
import zmq

from varsim.errors import LinkLost, MissingDtype, ProtocolError
from varsim.exchange.between_hosts import HostMessage, HostPlace
from varsim.exchange.chain import ChainPlan, can_chain
from varsim.exchange.chain_fetches import write_part
from varsim.exchange.chain_links import ChainLinks
from varsim.exchange.chain_orders import (
    HOME_BYTES,
    Ask,
    Before,
    Cancel,
    Connect,
    Fetch,
    Filled,
    Home,
    Linked,
    Listens,
    Order,
    Progress,
    ReduceOnHosts,
    Refused,
    Release,
    packed,
    unpacked,
)
from varsim.exchange.exchange import Handover
from varsim.exchange.shared import create_memory, handover_of, say
from varsim.protocol.buffers import Frame, SharedReference, dtype_of
from varsim.protocol.limits import Buffer, check_frame
from varsim.spec import Array

Answers = list[tuple[Order, Frame]]
"""Messages for the coordinator's end, with the bytes beside them."""

_NO_BYTES: Final = b""


class _Reduction:
    """A reduction that runs here."""

    __slots__ = ("comes_home", "home_bytes", "out", "plan", "reference", "token")

    def __init__(
        self, order: ReduceOnHosts, plan: ChainPlan, out: Array, reference: SharedReference
    ) -> None:
        self.token = order.token
        self.plan = plan
        self.out = out
        self.reference = reference
        self.comes_home = order.comes_home
        self.home_bytes = 0  # how much of the result was sent to the coordinator


class _OldValue:
    """The old value of the next reduction, as far as it has come."""

    __slots__ = ("content", "filled_bytes", "parts", "token")

    def __init__(self, token: int, size_bytes: int) -> None:
        self.token = token
        self.content: Array = np.empty(size_bytes, np.uint8)
        self.filled_bytes = 0
        self.parts = 0

    def take(self, start: int, part: Frame | Buffer) -> None:
        """Store the next part.

        Raises:
            ProtocolError: The value has no such part, or a part is missing.
        """
        if start > self.filled_bytes:
            raise ProtocolError(f"byte {start} of the old value comes after {self.filled_bytes}")
        write_part(self.content, start, part)
        self.filled_bytes = max(self.filled_bytes, start + len(part))
        self.parts += 1


class ChainHostEnd:
    """A host's end.

    Args:
        place: Where this host is in the cluster.
    Raises:
        StartError: The system provides no shared memory, or the endpoint cannot be bound.
        ConfigError: VARSIM_SHARED_MEMORY_BYTES is not a number.
    """

    def __init__(self, place: HostPlace) -> None:
        self._place = place
        self._settings = json.loads(place.settings)
        with ExitStack() as stack:
            self._memory = create_memory(place.num_replicas, len(place.replica_ids), say)
            stack.callback(self._memory.close)
            self._links = ChainLinks(
                place.host,
                place.num_hosts,
                place.endpoint,
                place.link_loss_s,
                self._settings["window"],
                place.stretch,
            )
            stack.pop_all()
        self._news: Answers = [(Listens(self._links.address), _NO_BYTES)]  # for the next `serve`
        self._is_connected = place.host == 0  # the first host connects to no other one
        self._is_linked = False  # whether the coordinator was told that the connection exists
        self._lost = ""  # why the links are lost; "" as long as they are not
        self._token = 0  # of the last reduction that has begun, or was cancelled or refused
        self._before: _OldValue | None = None  # until its reduction begins or is cancelled
        self._before_parts = 0  # of the reduction that runs
        self._running: _Reduction | None = None  # until the result is reported
        self._results: dict[int, Array] = {}  # token → result, until the coordinator releases it

    @property
    def handover(self) -> Handover:
        """Return what `Chain.join` needs in the workers of this host."""
        memory = handover_of(self._memory)
        settings = {"memory": memory.settings, "from_bytes": self._settings["from_bytes"]}
        return Handover(memory.descriptors, json.dumps(settings))

    @property
    def sockets(self) -> Sequence[Any]:
        """Return the sockets to poll."""
        return () if self._lost else self._links.sockets

    def close(self) -> None:
        """Close the links, and free the memory."""
        self._lost = self._lost or "is closed"
        self._links.close()
        self._links.cancel(self._token)
        self._running = None
        self._results.clear()
        self._memory.close()

    # ------------------------------------------------------------ orders of the coordinator's end

    def take(self, message: HostMessage) -> list[HostMessage]:
        """Handle a message of the coordinator's end; return the answers.

        A second delivery does nothing, except that a `Fetch` is answered again.

        Raises:
            ProtocolError: The message is malformed.
        """
        answers = self._taken(unpacked(message.value), message.part)
        self._memory.settle()
        return _messages(answers)

    def _taken(self, order: Order, part: Frame | Buffer) -> Answers:
        match order:
            case ReduceOnHosts():
                return self._reduce(order) if order.token > self._token else []
            case Before(token, start, size_bytes):
                return self._take_before(token, start, size_bytes, part)
            case Ask(token):
                is_last = token == self._token
                handled = self._before_parts + self._links.handled
                return [(Progress(token, handled), _NO_BYTES)] if is_last else []
            case Cancel(token):
                self._cancel(token)
            case Release(tokens):
                for token in tokens:
                    self._results.pop(token, None)
            case Fetch(token, reference, size_bytes):
                return _home(token, self._memory.view(reference, size_bytes, _keep), 0)
            case Connect(address):
                self._connect(address)
            case _:
                raise ProtocolError(f"a host of a chain got {type(order).__name__}")
        return []

    def _connect(self, address: str) -> None:
        if self._place.host == 0:
            raise ProtocolError("the first host of a chain connects to no other one")
        if self._is_connected or self._lost:
            return
        try:
            self._links.connect(address)
        except (AttributeError, KeyError, TypeError, ValueError, zmq.ZMQError) as error:
            raise ProtocolError(f"not the address of a host: {error!r}") from None
        self._is_connected = True

    def _take_before(
        self, token: int, start: int, size_bytes: int, part: Frame | Buffer
    ) -> Answers:
        """Keep a part of the old value, unless its reduction was cancelled."""
        if token <= self._token:
            return [(Progress(token, 0), _NO_BYTES)]
        check_frame(size_bytes, ProtocolError)
        if self._before is None or self._before.token != token:
            self._before = _OldValue(token, size_bytes)
        self._before.take(start, part)
        return [(Progress(token, self._before.parts), _NO_BYTES)]

    def _reduce(self, order: ReduceOnHosts) -> Answers:
        """Begin a reduction, which ends an unfinished earlier one."""
        if not self._is_connected:
            raise ProtocolError("a reduction begins before this host is connected")
        plan = self._plan(order)
        try:
            dtype = dtype_of(order.dtype_code)
        except MissingDtype as error:
            return self._refuse(order.token, f"cannot compute the result: {error}")
        if not can_chain(dtype, plan.op):
            raise ProtocolError(f"{plan.op} of {dtype} in chunks has other bits")
        check_frame(plan.size * dtype.itemsize, ProtocolError)
        values = [self._array(one, plan.size, dtype) for one in order.values]
        mirror = self._mirror(order, dtype)
        if self._lost:
            return self._refuse(order.token, self._lost)
        out = self._memory.empty((plan.size,), dtype)
        if out is None:
            return self._refuse(order.token, "has no room for the result in its shared memory")
        reference = self._memory.reference_of(out)
        assert reference is not None, "the array is in this memory"
        self._token = order.token
        self._running = _Reduction(order, plan, out, reference)
        try:
            self._links.begin(order.token, plan, values, mirror, out)
        except ProtocolError as error:  # in a chunk that has arrived before the reduction began
            self._lose_links(f"a neighbour: {error}")
        return []

    def _plan(self, order: ReduceOnHosts) -> ChainPlan:
        host, num_hosts = self._place.host, self._place.num_hosts
        counts = order.counts
        if len(counts) != num_hosts or not any(counts) or counts[host] != len(order.values):
            raise ProtocolError(f"host {host} of {num_hosts} does not have the values of {order}")
        if not order.chunk:
            raise ProtocolError("a chunk has no elements")
        return ChainPlan(counts, order.size, order.chunk, order.op, order.operation)

    def _array(self, reference: SharedReference, size: int, dtype: np.dtype[np.generic]) -> Array:
        if reference.start % dtype.alignment:
            raise ProtocolError(f"an array of {dtype} cannot start at {reference.start}")
        array: Array = self._memory.view(reference, size * dtype.itemsize, _keep).view(dtype)
        return array

    def _mirror(self, order: ReduceOnHosts, dtype: np.dtype[np.generic]) -> Array | None:
        """Return the old value: in this memory, or the one that has come."""
        before, self._before = self._before, None
        has_come = before is not None and before.token == order.token
        self._before_parts = before.parts if before is not None and has_come else 0
        if order.mirror is not None:
            return self._array(order.mirror, order.size, dtype)
        if before is None or not has_come:
            return None
        size_bytes = order.size * dtype.itemsize
        if not len(before.content) == before.filled_bytes == size_bytes:
            raise ProtocolError(
                f"the old value of {order.size} {dtype} has {before.filled_bytes} bytes"
            )
        return before.content.view(dtype)

    def _refuse(self, token: int, reason: str) -> Answers:
        self._cancel(token)
        return [(Refused(token, reason), _NO_BYTES)]

    def _cancel(self, token: int) -> None:
        """End a reduction and free its result, also if the reduction has not begun here."""
        self._results.pop(token, None)
        if token < self._token:
            return
        if self._before is not None and self._before.token <= token:
            self._before = None
        self._token = token
        self._running = None
        self._links.cancel(token)

    # ------------------------------------------------------------ the links

    def serve(self) -> list[HostMessage]:
        """Handle what has arrived at the sockets; return messages for the coordinator's end."""
        if not self._lost:
            self._serve_links()
        if not self._is_linked and not self._lost and self._links.is_linked:
            self._is_linked = True
            self._news.append((Linked(), _NO_BYTES))
        answers = [*self._progress(), *self._news]
        self._news = []
        self._memory.settle()
        return _messages(answers)

    def _serve_links(self) -> None:
        links = self._links
        for neighbour, serve in (("after", links.serve_above), ("before", links.serve_below)):
            try:
                serve()
            except LinkLost as error:
                self._lose_links(f"the host {neighbour} it: no connection for {error.loss_s:g} s")
                return
            except ProtocolError as error:
                self._lose_links(f"the host {neighbour} it: {error}")
                return

    def _lose_links(self, why: str) -> None:
        self._lost = f"has lost its link to {why}"
        self._news.append((Refused(0, self._lost), _NO_BYTES))
        self._links.close()
        self._links.cancel(self._token)

    def _progress(self) -> Answers:
        """Return the results that the coordinator does not have yet."""
        running = self._running
        if running is None:
            return []
        is_filled = self._links.filled == running.token
        answers: Answers = []
        if running.comes_home:
            results = self._links.results * running.plan.chunk * running.out.itemsize
            ready = running.out.view(np.uint8)[: running.out.nbytes if is_filled else results]
            if not is_filled:
                ready = ready[: len(ready) - len(ready) % HOME_BYTES]
            answers += _home(running.token, ready, running.home_bytes)
            running.home_bytes = len(ready)
        if is_filled:
            answers.append((Filled(running.token, running.reference), _NO_BYTES))
            self._results[running.token] = running.out
        if is_filled or self._lost:
            self._running = None
        return answers


def _home(token: int, content: Array, start: int) -> Answers:
    """Return the parts of bytes from `start` on."""
    return [
        (Home(token, at), content[at : at + HOME_BYTES].data)
        for at in range(start, len(content), HOME_BYTES)
    ]


def _messages(answers: Answers) -> list[HostMessage]:
    return [HostMessage(packed(order), part) for order, part in answers]


def _keep(block: int, size_bytes: int, count: int) -> None:
    """Do nothing at the end of a view: the coordinator ends the lease of the block."""
