"""Inject faults into the link of a worker, at the worker's end (docs/faults.md)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from enum import Enum, auto
from typing import Final, Protocol

from varsim.transport.link_state import Kind, Packet

_NOISE: Final = b"\xff" * 64
"""Bytes that are no frame of ZMTP, so that the receiver closes the connection."""

_UNFINISHED: Final = b"\x02" + (1000).to_bytes(8, "big") + bytes(100)
"""The beginning of a large frame of ZMTP, whose end is missing."""


class TcpSocket(Protocol):
    """The worker's socket."""

    def connect(self) -> None:
        """Connect to the coordinator."""

    def disconnect(self) -> None:
        """End the connection."""

    def descriptor(self) -> int | None:
        """Return the descriptor of the connection; None if there is no connection."""


class _Change(Enum):
    """What happens to one envelope."""

    DROP = auto()
    DUPLICATE = auto()
    REORDER = auto()


class _Lane:
    """One direction of a link. Each fault changes one envelope, in the order of the faults."""

    def __init__(self) -> None:
        self.changes: list[_Change] = []
        self._held: list[Packet] = []

    def passed(self, packet: Packet) -> list[Packet]:
        """Return the packets that replace a packet."""
        packets = [packet, *self._held]
        self._held.clear()
        if self.changes and packet.kind is Kind.ENVELOPE:
            match self.changes.pop(0):
                case _Change.DROP:
                    del packets[0]
                case _Change.DUPLICATE:
                    packets.insert(0, packet)
                case _Change.REORDER:
                    self._held.append(packets.pop(0))
        return packets

    @property
    def is_clear(self) -> bool:
        return not self.changes and not self._held


class LinkFaults:
    """The faults of a worker's link.

    `drop`, `duplicate` and `reorder` change the next envelopes in both directions. `corrupt` and
    `truncate` damage the stream of bytes to the coordinator, and `partition` ends the connection.
    """

    def __init__(self, worker_socket: TcpSocket) -> None:
        self._socket = worker_socket
        self._outgoing, self._incoming = _Lane(), _Lane()
        self._heals_at_s: float | None = None

    def drop(self, count: float) -> None:
        """Lose the next envelopes."""
        self._change(_Change.DROP, count)

    def duplicate(self, count: float) -> None:
        """Deliver the next envelopes twice."""
        self._change(_Change.DUPLICATE, count)

    def reorder(self, count: float) -> None:
        """Deliver each of the next envelopes after the packet that follows it."""
        self._change(_Change.REORDER, count)

    def corrupt(self) -> None:
        """Write bytes that are no message into the connection."""
        with suppress(OSError), self._stream() as stream:
            stream.send(_NOISE)

    def truncate(self) -> None:
        """Write the beginning of a message into the connection, and end the connection."""
        with suppress(OSError), self._stream() as stream:
            stream.send(_UNFINISHED)
            stream.shutdown(socket.SHUT_RDWR)

    def partition(self, time_s: float) -> None:
        """End the connection; after a time, connect again when the worker uses its link."""
        self._socket.disconnect()
        self._heals_at_s = time.monotonic() + time_s

    def heal(self) -> None:
        """Connect again if the time of a partition is over."""
        if self._heals_at_s is not None and time.monotonic() >= self._heals_at_s:
            self._heals_at_s = None
            self._socket.connect()

    def outgoing(self, packet: Packet) -> Iterable[Packet]:
        """Return the packets that replace a packet to send."""
        return (packet,) if self._outgoing.is_clear else self._outgoing.passed(packet)

    def incoming(self, packets: Iterable[Packet]) -> Iterator[Packet]:
        """Yield the packets that replace some received packets."""
        for packet in packets:
            if self._incoming.is_clear:
                yield packet
            else:
                yield from self._incoming.passed(packet)

    def _change(self, change: _Change, count: float) -> None:
        for lane in (self._outgoing, self._incoming):
            lane.changes += [change] * int(count)

    def _stream(self) -> socket.socket:
        """Return the connection, which libzmq uses at the same time.

        Raises:
            OSError: There is no connection.
        """
        descriptor = self._socket.descriptor()
        if descriptor is None:
            raise ConnectionError
        stream = socket.socket(fileno=os.dup(descriptor))
        stream.getpeername()  # raises an OSError if the connection has ended
        return stream
