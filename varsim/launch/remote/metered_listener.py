"""Count what the program and its workers send to each other over a listener."""

from __future__ import annotations

from collections.abc import Sequence

from varsim.errors import ProtocolError
from varsim.protocol.buffers import Frame
from varsim.protocol.limits import Buffer
from varsim.tracing.host_traffic import Moved
from varsim.transport.transport import Listener


class MeteredListener:
    """A listener that counts the envelopes of each worker, and their bytes, in both directions.

    Each envelope counts once, also if a cut makes the link send it again. What the network adds is
    not counted: headers, encryption, and the packets with which links recognise cuts.
    """

    def __init__(self, listener: Listener, num_replicas: int) -> None:
        self._listener = listener
        self._messages = [0] * num_replicas
        self._bytes = [0] * num_replicas
        self.addresses = listener.addresses
        self.sockets = listener.sockets
        self.look_s = listener.look_s
        self.look = listener.look
        self.lose = listener.lose
        self.close = listener.close

    @property
    def counts(self) -> list[Moved]:
        """Return the counts for each replica."""
        return list(map(Moved, self._messages, self._bytes))

    def send(self, replica_id: int, frames: Sequence[Frame]) -> bool:
        """Send an envelope; see `Listener`."""
        is_sent = self._listener.send(replica_id, frames)
        if is_sent:
            self._count(replica_id, frames)
        return is_sent

    def drain(self) -> Sequence[tuple[int, list[Buffer] | ProtocolError]]:
        """Return the received envelopes; see `Listener`."""
        received = self._listener.drain()
        for replica_id, frames in received:
            if not isinstance(frames, ProtocolError):
                self._count(replica_id, frames)
        return received

    def _count(self, replica_id: int, frames: Sequence[Buffer]) -> None:
        self._messages[replica_id] += 1
        self._bytes[replica_id] += sum(map(len, frames))
