"""Encode an envelope only once for all workers that get the same messages."""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_

from varsim.protocol.buffers import Frame, SharedReference
from varsim.protocol.codec import decode, encode
from varsim.protocol.limits import Buffer
from varsim.protocol.messages import Message
from varsim.spec import Array
from varsim.transport.blocks import Blocks
from varsim.transport.leases import Copies, Leases


class BroadcastCodec:
    """Encodes and decodes the coordinator's envelopes.

    A round is a series of envelopes, at most one to each worker.

    Args:
        arena: The memory that is shared with the workers; None without shared memory.
    """

    def __init__(self, num_replicas: int, arena: Blocks | None) -> None:
        self.arena = arena
        self._copies: Copies = {}
        self._leases = [Leases(arena, self._copies) if arena else None for _ in range(num_replicas)]
        self._served: set[int] = set()  # replica ids of the envelopes of this round
        self._last: Sequence[Message] = ()
        self._frames: list[Frame] = []
        self._lent: list[tuple[int, Array]] = []  # (block, base) of shared blocks in `_frames`
        self.shared_bytes = 0  # total size of these blocks

    def encode(self, replica_id: int, messages: Sequence[Message]) -> list[Frame]:
        """Return the frames of an envelope to a worker."""
        if replica_id in self._served:
            self._next_round()
        self._served.add(replica_id)
        leases = self._leases[replica_id]
        if not self._is_last(messages):
            recording = None if leases is None else _Recording(leases)
            self._frames = encode(messages, recording)
            self._lent = [] if recording is None else recording.lent
            self.shared_bytes = sum(base.nbytes for _, base in self._lent) if self._lent else 0
            self._last = messages
        elif leases is not None:
            for block, base in self._lent:
                leases.lend(block, base)
        note = None if leases is None else leases.note()
        return self._frames if note is None else [*self._frames, note]

    def _is_last(self, messages: Sequence[Message]) -> bool:
        if not messages or len(messages) != len(self._last):
            return False
        return all(map(is_, messages, self._last))

    def _next_round(self) -> None:
        self._served.clear()
        self._copies.clear()

    def end_round(self) -> None:
        """End the round, and drop the frames of its last envelope."""
        self._last, self._frames, self._lent = (), [], []
        self._next_round()

    def decode(self, replica_id: int, frames: Sequence[Buffer]) -> list[Message]:
        """Return the messages of a worker's envelope.

        Raises:
            ProtocolError: The frames are malformed.
        """
        return decode(frames, self._leases[replica_id])

    def lose(self, replica_id: int) -> None:
        """End the leases of a worker that has died: a dead worker cannot release blocks."""
        leases = self._leases[replica_id]
        if leases is not None:
            leases.cancel()

    def close(self) -> None:
        """Free the shared memory. Its arrays that are still in use stay valid."""
        self.end_round()
        for replica_id in range(len(self._leases)):
            self.lose(replica_id)
        if self.arena is not None:
            self.arena.close()


class _Recording:
    """Records which blocks are lent while an envelope is encoded."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self.lent: list[tuple[int, Array]] = []

    def put(self, array: Array) -> SharedReference | None:
        reference = self._leases.put(array)
        if reference is not None:
            self.lent.append((reference.block, self._leases.base(reference.block)))
        return reference

    def take_back(self, reference: SharedReference) -> None:
        self._leases.take_back(reference)

    def get(self, reference: SharedReference, size_bytes: int) -> Array:
        return self._leases.get(reference, size_bytes)

    def take_note(self, note: memoryview) -> None:
        self._leases.take_note(note)
