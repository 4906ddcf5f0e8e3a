"""Replace large values whose bytes a trace does not contain."""

from __future__ import annotations

import mmap
from typing import Final

import numpy as np

from varsim.protocol.buffers import SharedReference
from varsim.protocol.limits import MAX_FRAME_BYTES, Buffer
from varsim.spec import Array

_FIRST_BYTES: Final = 2**24


class AbsentMemory:
    """Memory in place of frames that were not recorded. It is never read and takes no space.

    The memory is only as large as the largest frame, because the addresses of a process can be
    limited (`ulimit -v`).
    """

    def __init__(self) -> None:
        self._mapped: list[Array] = []  # each array is at least twice as large as the one before
        self._addresses: list[range] = []

    def frame(self, kept: bytes | int) -> Buffer:
        """Return a recorded frame; for a frame that was not recorded, memory of the same length."""
        if isinstance(kept, bytes):
            return kept
        return self._memory(kept).data

    def _memory(self, size_bytes: int) -> Array:
        largest = len(self._mapped[-1]) if self._mapped else 0
        if size_bytes > largest or not largest:
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE
            length = min(max(size_bytes, 2 * largest, _FIRST_BYTES), MAX_FRAME_BYTES)
            added = np.frombuffer(mmap.mmap(-1, length, flags=flags), np.uint8)
            first = int(added.__array_interface__["data"][0])
            self._mapped.append(added)
            self._addresses.append(range(first, first + length))
        return self._mapped[-1][:size_bytes]

    def is_absent(self, array: Array) -> bool:
        """Return whether an array's bytes were not recorded."""
        address = int(array.__array_interface__["data"][0])
        return any(address in one for one in self._addresses)

    # ------------------------------------------------------------ as the codec's shared memory

    def put(self, array: Array) -> SharedReference | None:  # noqa: ARG002  # the protocol's name
        """Raise an error: recorded messages are not sent again."""
        raise AssertionError("recorded messages are not sent again")

    def take_back(self, reference: SharedReference) -> None:  # noqa: ARG002
        """Raise an error: recorded messages are not sent again."""
        raise AssertionError("recorded messages are not sent again")

    def get(self, reference: SharedReference, size_bytes: int) -> Array:  # noqa: ARG002
        """Return memory of an array's length: the shared block has other content now."""
        return self._memory(size_bytes)

    def take_note(self, note: memoryview) -> None:
        """Do nothing when arrays are released."""


_NORESERVE: Final = getattr(mmap, "MAP_NORESERVE", 0)
