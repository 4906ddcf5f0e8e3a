"""Carry the chunks of a chain between this host and its neighbours, over encrypted TCP.

There is one link for each pair of neighbours. The earlier host listens, and the later one connects
with the address and the keys that the earlier one has made for it. An address contains a secret
key, so it must be sent through an encrypted link or a pipe.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

import zmq

from varsim.errors import LinkLost, ProtocolError, StartError
from varsim.exchange.chain import (
    WINDOW,
    ChainAction,
    ChainHost,
    ChainMessage,
    ChainPlan,
    Chunk,
    ChunkKind,
    Taken,
    ToHost,
)
from varsim.protocol.buffers import Frame
from varsim.protocol.limits import Buffer
from varsim.spec import Array
from varsim.transport.reliable import LOOK_S, ReliableConnection, ReliableListener
from varsim.transport.sockets import timeout_ms
from varsim.transport.tcp import Tcp, listen_on

_HEADER: Final = struct.Struct(">BQQ")  # kind, token, number or count
_TAKEN: Final = 0  # the other kinds are those of chunks


def packed(message: ChainMessage) -> list[Frame]:
    """Return the frames of a message."""
    if isinstance(message, Taken):
        return [_HEADER.pack(_TAKEN, *message)]
    return [_HEADER.pack(message.kind, message.token, message.number), memoryview(message.content)]


def unpacked(frames: Sequence[Buffer]) -> ChainMessage:
    """Return the message of frames.

    Raises:
        ProtocolError: The frames are not a message of a chain.
    """
    try:
        kind, token, number = _HEADER.unpack(frames[0])
        if kind == _TAKEN:
            (_,) = frames
            return Taken(token, number)
        _, content = frames
        return Chunk(token, ChunkKind(kind), number, content)
    except (IndexError, ValueError, struct.error) as error:
        raise ProtocolError(f"not a message of a chain: {error}") from None


class ChainLinks:
    """A host's links to its neighbours, and its part in the reductions of the chain.

    Args:
        endpoint: Where this host listens for the next host, such as "tcp://203.0.113.1:*".
        link_loss_s: After so many seconds without a connection, a link is lost.
        stretch: Of the times of the links; see `varsim.transport.link_times`.
    Raises:
        StartError: The endpoint cannot be bound.
    """

    def __init__(
        self,
        host: int,
        num_hosts: int,
        endpoint: str,
        link_loss_s: float,
        window: int = WINDOW,
        stretch: float = 1.0,
    ) -> None:
        self._chain = ChainHost(host, num_hosts, window)
        self._host = host
        self._link_loss_s = link_loss_s
        self._stack = ExitStack()
        self._above: ReliableListener | None = None
        self._below: ReliableConnection | None = None
        self._is_known = False  # whether the next host has sent something
        self.filled = 0
        """The last reduction whose result this host has."""
        self.sockets: tuple[Any, ...] = ()
        """The sockets to poll; call `serve` when one of them is readable, and every `LOOK_S`."""
        self.close = self._stack.close
        if host + 1 < num_hosts:
            try:
                self._above = listen_on(endpoint, 1, link_loss_s, stretch)
            except zmq.ZMQError as error:
                raise StartError(
                    f"cannot listen at {endpoint} for the next host: {error}"
                ) from error
            self._stack.callback(self._above.close)
            self.sockets = self._above.sockets

    @property
    def address(self) -> str:
        """Return the address with which the next host connects; "" on the last host."""
        return "" if self._above is None else self._above.addresses[0]

    def connect(self, address: str) -> None:
        """Connect to the host before this one, which has this address."""
        self._below = Tcp().connect(address, 0)
        self._stack.callback(self._below.close, 0.0)
        self.sockets = (*self.sockets, *self._below.sockets)

    @property
    def is_linked(self) -> bool:
        """Return whether this host has a connection to the host before it."""
        return self._below is not None and self._below.await_connection(0.0)

    def begin(
        self,
        token: int,
        plan: ChainPlan,
        values: Sequence[Array],
        mirror: Array | None,
        out: Array,
    ) -> None:
        """Begin a reduction; see `ChainHost.begin`."""
        self._do(self._chain.begin(token, plan, values, mirror, out))

    def cancel(self, token: int) -> None:
        """End a reduction without a result."""
        self._chain.cancel(token)

    @property
    def handled(self) -> int:
        """Return how many chunks the running reduction has folded or received."""
        return self._chain.handled

    @property
    def results(self) -> int:
        """Return of how many chunks, from the first one, the output has the result."""
        return self._chain.results

    def serve(self) -> None:
        """Handle the messages that have arrived, and look at the links.

        Raises:
            LinkLost: There was no connection to a neighbour for too long.
            ProtocolError: A neighbour sent a malformed message.
        """
        self.serve_above()
        self.serve_below()

    def serve_above(self) -> None:
        """Serve the link to the next host; see `serve`."""
        if self._above is not None:
            for _, frames in self._above.drain():
                if isinstance(frames, ProtocolError):
                    raise frames
                if not self._is_known:
                    self._is_known = True
                    self._above.admit_only_known()
                self._do(self._chain.arrives(self._host + 1, unpacked(frames)))
            if self._above.look(lambda _: False):
                raise LinkLost(self._link_loss_s)

    def serve_below(self) -> None:
        """Serve the link to the host before this one; see `serve`."""
        if self._below is not None:
            for frames in self._below.receive(0.0):
                self._do(self._chain.arrives(self._host - 1, unpacked(frames)))

    def wait(self, token: int, timeout_s: float) -> bool:
        """Serve until this host has the result of a reduction, and its neighbours need nothing.

        Returns:
            False after `timeout_s`.
        """
        poller = zmq.Poller()
        for one in self.sockets:
            poller.register(one, zmq.POLLIN)
        until_s = time.monotonic() + timeout_s
        while self.filled < token or not self._chain.is_delivered:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return False
            poller.poll(timeout_ms(min(left_s, LOOK_S)))
            self.serve()
        return True

    def _do(self, actions: Sequence[ChainAction]) -> None:
        for action in actions:
            if not isinstance(action, ToHost):
                self.filled = action.token
            elif action.host > self._host:
                assert self._above is not None, "the last host has no next one"
                self._above.send(0, packed(action.message))
            else:
                assert self._below is not None, "`connect` comes before a reduction"
                self._below.send_at_once(packed(action.message))
