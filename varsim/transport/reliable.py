"""Carry envelopes over connections that can be cut. Each end of a link has a `LinkState`.

A packet is one multipart message: a frame with the fields of the packet, then the frames of its
envelope. libzmq connects again by itself after a cut, and the two ends send again what was lost.

A connection exists as long as the systems of both processes answer each other (`sockets.py`). So a
connection to a process that computes, or that is stopped, does not count as cut.
"""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, Protocol

import zmq

from varsim.errors import LinkLost, ProtocolError
from varsim.protocol.buffers import Frame
from varsim.protocol.limits import Buffer
from varsim.transport.link_faults import LinkFaults
from varsim.transport.link_state import Kind, LinkState, Packet
from varsim.transport.sockets import COPY_LIMIT_BYTES, DealerConnection, timeout_ms

LOOK_S: Final = 0.2
"""The time between two looks at the links while a process waits for messages."""

_COORDINATOR_PROBES_S: Final = 1.0
"""The longest time between two probes of the coordinator.

A probe that cannot be sent shows a cut.
"""

_WORKER_PROBES_S: Final = 30.0
"""The longest time between two probes of a worker.

A worker learns of cuts from libzmq, so it sends few probes. A program that is idle for hours reads
all these probes only afterwards.
"""

_HEADER: Final = struct.Struct(">BQQ")  # kind, number, received


def _packed(packet: Packet) -> list[Buffer]:
    return [_HEADER.pack(*packet[:3]), *packet.frames]


def _unpacked(frames: Sequence[Buffer]) -> Packet:
    """Return the packet of a multipart message.

    Raises:
        ProtocolError: The message is not a packet.
    """
    try:
        kind, number, received = _HEADER.unpack(frames[0])
        return Packet(Kind(kind), number, received, list(frames[1:]))
    except (IndexError, struct.error, ValueError) as error:
        raise ProtocolError(f"the first frame is not the header of a link: {error}") from None


def _unchanging(frames: Sequence[Frame]) -> list[Buffer]:
    """Return frames that can be sent again: copies, if the program may change them after a send.

    The program does not change large arrays before the answer arrives, which acknowledges their
    envelope.
    """
    return [bytes(one) if len(one) < COPY_LIMIT_BYTES else one for one in frames]


class PlainListener(Protocol):
    """The sockets below a `ReliableListener`: their peers have numbers, and packets can be lost."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return the address of this listener for each peer; see `transport.Listener`."""

    @property
    def sockets(self) -> tuple[Any, ...]:
        """Return the sockets to poll."""

    def send(self, replica_id: int, frames: Sequence[Buffer], /) -> bool:
        """Send a packet without waiting; return False if the peer is not connected."""

    def drain(self) -> Sequence[tuple[int, list[Buffer]]]:
        """Return the received packets, each with the number of its peer."""

    def admit_only_known(self) -> None:
        """Accept new connections only from the addresses of peers that have connected."""

    def close(self) -> None:
        """Close the sockets; unsent packets are dropped."""


class ReliableListener:
    """The coordinator's end of all links."""

    look_s = LOOK_S

    def __init__(self, listener: PlainListener, num_replicas: int, loss_s: float) -> None:
        self._listener = listener
        self._links = [LinkState(loss_s, _COORDINATOR_PROBES_S) for _ in range(num_replicas)]
        self._connected = [True] * num_replicas  # whether the last packet could be sent
        self._in_use: set[int] = set()  # replicas whose workers have connected, and are not lost
        self._look_at_s = 0.0
        self.addresses = listener.addresses
        self.sockets = listener.sockets
        self.close = listener.close
        self.admit_only_known = listener.admit_only_known

    def send(self, replica_id: int, frames: Sequence[Frame]) -> bool:
        """Send an envelope without waiting. During a cut, the envelope is kept and sent later."""
        self._transmit(replica_id, self._links[replica_id].send(_unchanging(frames)))
        return True

    def drain(self) -> list[tuple[int, list[Buffer] | ProtocolError]]:
        """Return the received envelopes, each with its replica_id; answer the other packets."""
        envelopes: list[tuple[int, list[Buffer] | ProtocolError]] = []
        senders: set[int] = set()
        for replica_id, frames in self._listener.drain():
            link = self._links[replica_id]
            senders.add(replica_id)
            try:
                if link.arrives(_unpacked(frames)):
                    envelopes.append((replica_id, frames[1:]))
            except ProtocolError as error:
                envelopes.append((replica_id, error))
        self._in_use |= senders
        for replica_id in senders:
            if self._links[replica_id].has_answers:
                for answer in self._links[replica_id].answers():
                    self._transmit(replica_id, answer)
        return envelopes

    def look(self, is_stopped: Callable[[int], bool]) -> Collection[int]:
        """Look at the links if a look is due; return the replicas whose links are lost."""
        now_s = time.monotonic()
        if now_s < self._look_at_s:
            return ()
        self._look_at_s = now_s + LOOK_S
        lost = []
        for replica_id in self._in_use:
            link = self._links[replica_id]
            for probe in link.look(now_s, connected=self._connected[replica_id]):
                self._transmit(replica_id, probe)
            if link.is_lost and is_stopped(replica_id):
                link.excuse()
            elif link.is_lost:
                lost.append(replica_id)
        return lost

    def lose(self, replica_id: int) -> None:
        """Drop the envelopes of a worker that has ended."""
        self._in_use.discard(replica_id)
        self._links[replica_id].forget()

    def _transmit(self, replica_id: int, packet: Packet) -> None:
        self._connected[replica_id] = self._listener.send(replica_id, _packed(packet))


class ReliableConnection:
    """A worker's end of its link."""

    def __init__(self, connection: DealerConnection, loss_s: float) -> None:
        self._connection = connection
        self._dealer = connection.dealer
        self._link = LinkState(loss_s, _WORKER_PROBES_S)
        self._look_at_s = 0.0
        self._connections = 0  # number of connections that were made until the last look
        self._was_connected = False
        self.link_faults = LinkFaults(self._dealer)
        self.close = connection.close
        self.sockets = connection.sockets

    def allow_loss(self, loss_s: float) -> None:
        """Set after how many seconds without a connection the link is lost."""
        self._link.loss_s = loss_s

    @property
    def is_connected(self) -> bool:
        """Return whether there was a connection at the last look, which `receive` makes."""
        return self._was_connected

    def await_connection(self, timeout_s: float) -> bool:
        """Wait until the coordinator has accepted a connection; return False after `timeout_s`."""
        return bool(self._dealer.socket.poll(timeout_ms(timeout_s), zmq.POLLOUT))

    def send(self, frames: Sequence[Frame]) -> None:
        """Send an envelope; the first call waits until the connection is made."""
        packet = self._link.send(_unchanging(frames))
        if packet.number == 1:
            self._dealer.send(_packed(packet))
        else:
            self._transmit(packet)

    def send_at_once(self, frames: Sequence[Frame]) -> None:
        """Send an envelope without waiting. Without a connection, it is kept and sent later."""
        self._transmit(self._link.send(_unchanging(frames)))

    def receive(self, timeout_s: float | None) -> list[list[Buffer]]:
        """Wait for an envelope, and return all that have arrived; [] after `timeout_s`.

        Raises:
            LinkLost: There was no connection for too long.
            ProtocolError: A packet is malformed.
        """
        until_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while True:
            self._look()
            left_s = until_s - time.monotonic()
            envelopes = self._taken(self._dealer.receive(max(0.0, min(LOOK_S, left_s))))
            if envelopes or left_s <= 0:
                return envelopes

    def _taken(self, messages: Iterable[list[Buffer]]) -> list[list[Buffer]]:
        """Return the envelopes among messages; answer the other packets."""
        packets = self.link_faults.incoming(map(_unpacked, messages))
        envelopes = [list(one.frames) for one in packets if self._link.arrives(one)]
        if self._link.has_answers:
            for answer in self._link.answers():
                self._transmit(answer)
        return envelopes

    def _look(self) -> None:
        now_s = time.monotonic()
        if now_s < self._look_at_s:
            return
        self._look_at_s = now_s + LOOK_S
        self.link_faults.heal()
        watch = self._dealer.watch
        assert watch is not None, "a link over TCP is watched"
        watch.update()
        is_new, self._connections = watch.connections > self._connections, watch.connections
        self._was_connected = watch.descriptor is not None
        for probe in self._link.look(now_s, connected=self._was_connected, is_new=is_new):
            self._transmit(probe)
        if self._link.is_lost:
            raise LinkLost(self._link.loss_s)

    def _transmit(self, packet: Packet) -> None:
        for one in self.link_faults.outgoing(packet):
            self._dealer.try_send(_packed(one))
