"""Count leases of shared memory: a sender keeps a block until the receiver has released it."""

from __future__ import annotations

from collections import Counter
from collections.abc import MutableMapping
from typing import Final

import msgpack
import numpy as np

from varsim.errors import ProtocolError
from varsim.protocol.buffers import SharedReference
from varsim.spec import Array
from varsim.transport.blocks import Blocks

SHARED_FROM_BYTES: Final = 128 * 1024
"""Smaller arrays are sent by value, which costs less than a lease.

Measured with merges of four replicas: 96 KiB take the same time by value and by reference. By
reference, 128 KiB take 80 % of the time by value, 1 MiB takes 33 %, and 100 MiB take 10 %.
"""

TOLD_FROM_BYTES: Final = 2**24
"""A worker that has released at least this much memory reports it in a separate message. Without
the report, the coordinator would allocate new memory for its next value, which takes 1 ms per
megabyte. Smaller amounts are reported with the next message: in a step with 1 MiB of values, a
separate message took a quarter of the step's time."""

_MAX_NOTE_BYTES: Final = 2**20

Copies = MutableMapping[int, tuple[Array, Array]]
"""Id of an array → the array, and its copy in shared memory."""


class Leases:
    """The blocks that this process has lent to one peer, and the blocks that it has borrowed.

    A sender keeps a block alive until the receiver has reported one release for each time that the
    block was sent. A process can forward a borrowed block. It then keeps the block alive until the
    next receiver has released the block.

    Args:
        copies: Copies of arrays that are sent to several peers; the caller clears this dict.
    """

    def __init__(self, arena: Blocks, copies: Copies | None = None) -> None:
        self.arena = arena
        self._copies = copies
        self._lent: dict[int, list[Array]] = {}  # block → its base, once for each lease
        self._released: Counter[int] = Counter()  # block → number of releases to report
        self._released_bytes = 0
        self.put_bytes = 0  # size of the arrays that were lent; the caller resets it

    def put(self, array: Array) -> SharedReference | None:
        """Return a reference to an array, and lend its block; None to send the array by value.

        An array that is not in the shared memory is copied into it.
        """
        if array.nbytes < SHARED_FROM_BYTES:
            return None
        reference = self.arena.reference_of(array)
        if reference is None:
            shared = self._copied(array)
            if shared is None:
                return None
            array = shared
            reference = self.arena.reference_of(array)
            assert reference is not None, "the copy is in the arena"
        self.lend(reference.block, self.arena.base_of(array))
        self.put_bytes += array.nbytes
        return reference

    def _copied(self, array: Array) -> Array | None:
        known = None if self._copies is None else self._copies.get(id(array))
        if known is not None:
            return known[1]
        shared = self.arena.empty(array.shape, array.dtype)
        if shared is not None:
            np.copyto(shared, array)
            if self._copies is not None:
                self._copies[id(array)] = array, shared
        return shared

    def take_back(self, reference: SharedReference) -> None:
        """Undo the last `put` that returned this reference, because it is not sent."""
        bases = self._lent[reference[0]]
        bases.pop()
        if not bases:
            del self._lent[reference[0]]

    def lend(self, block: int, base: Array) -> None:
        """Add a lease of a block."""
        self._lent.setdefault(block, []).append(base)

    def base(self, block: int) -> Array:
        """Return the base of a block that was lent."""
        return self._lent[block][-1]

    def get(self, reference: SharedReference, size_bytes: int) -> Array:
        """Return the bytes of an array to which the peer has sent a reference.

        Raises:
            ProtocolError: There is no such block.
        """
        return self.arena.view(reference, size_bytes, self._release)

    def _release(self, block: int, size_bytes: int, count: int) -> None:
        self._released[block] += count
        self._released_bytes += size_bytes

    def note(self, from_bytes: int = 0) -> bytes | None:
        """Return a list for the peer, in msgpack: which blocks were released here, and how often.

        Args:
            from_bytes: Return None if the total size of these blocks is smaller.
        """
        self.arena.settle()
        if not self._released or self._released_bytes < from_bytes:
            return None
        packed: bytes = msgpack.packb(list(self._released.items()))
        self._released.clear()
        self._released_bytes = 0
        return packed

    def take_note(self, note: bytes | bytearray | memoryview) -> None:
        """End the leases of blocks that the peer has released.

        Raises:
            ProtocolError: The peer releases a block more often than it was lent. No lease changes.
        """
        returned = _read_note(note)
        for block, count in returned.items():
            if count > len(self._lent.get(block, ())):
                raise ProtocolError(f"block {block} was not lent {count} times")
        for block, count in returned.items():
            bases = self._lent[block]
            del bases[-count:]
            if not bases:
                del self._lent[block]

    def cancel(self) -> None:
        """End all leases, because the peer has died."""
        self._lent.clear()
        self._released.clear()


def _read_note(note: bytes | bytearray | memoryview) -> Counter[int]:
    """Return how often each block was released, from the bytes that `Leases.note` returned."""
    if len(note) > _MAX_NOTE_BYTES:
        raise ProtocolError(f"a list of released blocks has {len(note)} bytes, which is too many")
    returned: Counter[int] = Counter()
    try:
        rows = msgpack.unpackb(note)
        for block, count in rows:
            if (type(rows), type(block), type(count)) != (list, int, int) or count < 1:
                raise ProtocolError(f"invalid block or count of releases: {block!r}, {count!r}")
            returned[block] += count
    except (ValueError, TypeError) as error:
        raise ProtocolError(f"a list of released blocks is malformed: {error!r}") from error
    if type(rows) is not list:
        raise ProtocolError("a list of released blocks is not [[block, count], …]")
    return returned
