"""Who still looks at an array that was sent by its place: the sender keeps it until all let go."""

from __future__ import annotations

from collections import Counter
from collections.abc import MutableMapping
from typing import Final

import msgpack
import numpy as np

from varsim.errors import ProtocolError
from varsim.spec import Array
from varsim.transport.arena import Arena, Place

SHARED_FROM_BYTES: Final = 128 * 1024
"""Smaller arrays are sent by value: that costs less than to keep books of them.

Measured as merges of four replicas: at 96 KiB by value and by place are alike, at 128 KiB by place
takes a fifth less, at 1 MiB a third of the time, and at 100 MiB a tenth.
"""

TOLD_FROM_BYTES: Final = 2**24
"""So much that was let go of is worth a message of its own: else the sender takes new memory for
its next value, and the system needs a millisecond for each megabyte of it. Less of it rides on the
next message: a message of its own cost a step of 1 MiB a quarter of its time."""

_MAX_NOTE_BYTES: Final = 2**20

Copies = MutableMapping[int, tuple[Array, Array]]
"""Arrays that were copied into shared memory, by their id, and their copies."""


class Leases:
    """What this process has lent to one other, and borrowed from it.

    Whoever sends an array by its place keeps its block alive until the receiver says that it has
    let go of it as often as it was sent. So a process may also pass on what it has borrowed: its
    own view lives until the next one lets go.

    Args:
        copies: Of arrays that are sent to several others; whoever gives it also empties it.
    """

    def __init__(self, arena: Arena, copies: Copies | None = None) -> None:
        self.arena = arena
        self._copies = copies
        self._lent: dict[int, list[Array]] = {}  # block → its base, once for each sending
        self._let_go: Counter[int] = Counter()  # block → how often it came, to be told
        self._let_go_bytes = 0

    def put(self, array: Array) -> Place | None:
        """The place of an array that is about to be sent, after copying it there if need be.

        Returns None if it is to be sent by value.
        """
        if array.nbytes < SHARED_FROM_BYTES:
            return None
        place = self.arena.place_of(array)
        if place is None:
            shared = self._copied(array)
            if shared is None:
                return None
            array = shared
            place = self.arena.place_of(array)
            assert place is not None, "it was made there"
        self.lend(place.block, self.arena.base_of(array))
        return place

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

    def take_back(self, place: tuple[int, int, int]) -> None:
        """What was put under this place last is not sent after all."""
        bases = self._lent[place[0]]
        bases.pop()
        if not bases:
            del self._lent[place[0]]

    def lend(self, block: int, base: Array) -> None:
        """A block is sent once more."""
        self._lent.setdefault(block, []).append(base)

    def base(self, block: int) -> Array:
        """What was lent last under this block."""
        return self._lent[block][-1]

    def get(self, place: tuple[int, int, int], size_bytes: int) -> Array:
        """The bytes of an array that has come by its place.

        Raises:
            ProtocolError: There is no such place.
        """
        where = Place(*place)
        return self.arena.view(where, size_bytes, self._return)

    def _return(self, block: int, size_bytes: int, count: int) -> None:
        self._let_go[block] += count
        self._let_go_bytes += size_bytes

    def note(self, from_bytes: int = 0) -> bytes | None:
        """What the other is to be told: of which blocks it was let go, and how often.

        Args:
            from_bytes: None if all these blocks together are smaller.
        """
        self.arena.settle()
        if not self._let_go or self._let_go_bytes < from_bytes:
            return None
        packed: bytes = msgpack.packb(list(self._let_go.items()))
        self._let_go.clear()
        self._let_go_bytes = 0
        return packed

    def take_note(self, note: bytes | bytearray | memoryview) -> None:
        """Lets go of what the other has let go of.

        Raises:
            ProtocolError: It never had it; then nothing has changed.
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

    def forgive(self) -> None:
        """The other has died: it will not give anything back, and need not be told."""
        self._lent.clear()
        self._let_go.clear()


def _read_note(note: bytes | bytearray | memoryview) -> Counter[int]:
    """How often each block was let go of, from what `Leases.note` made."""
    if len(note) > _MAX_NOTE_BYTES:
        raise ProtocolError(f"a note of {len(note)} bytes")
    returned: Counter[int] = Counter()
    try:
        rows = msgpack.unpackb(note)
        for block, count in rows:
            if (type(rows), type(block), type(count)) != (list, int, int) or count < 1:
                raise ProtocolError(f"a note says {count!r} of block {block!r}")
            returned[block] += count
    except (ValueError, TypeError) as error:
        raise ProtocolError(f"a note of what was let go of is malformed: {error!r}") from error
    if type(rows) is not list:
        raise ProtocolError("a note is not [[block, count], …]")
    return returned
