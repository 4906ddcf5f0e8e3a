"""Replace large values whose bytes a trace does not contain."""

from __future__ import annotations

import mmap
from typing import Final

import numpy as np

from varsim.protocol.buffers import SharedReference
from varsim.protocol.limits import MAX_FRAME_BYTES, Buffer
from varsim.spec import Array


class AbsentMemory:
    """Memory in place of frames that were not recorded. It is never read and takes no space."""

    def __init__(self) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE
        self._memory = mmap.mmap(-1, MAX_FRAME_BYTES, flags=flags)
        everything = np.frombuffer(self._memory, np.uint8)
        self._bytes: Array = everything
        self._first = int(everything.__array_interface__["data"][0])

    def frame(self, kept: bytes | int) -> Buffer:
        """Return a recorded frame; for a frame that was not recorded, memory of the same length."""
        if isinstance(kept, bytes):
            return kept
        return memoryview(self._memory)[:kept]

    def is_absent(self, array: Array) -> bool:
        """Return whether an array's bytes were not recorded."""
        address = int(array.__array_interface__["data"][0])
        return self._first <= address < self._first + MAX_FRAME_BYTES

    # ------------------------------------------------------------ as the codec's shared memory

    def put(self, array: Array) -> SharedReference | None:  # noqa: ARG002  # the protocol's name
        """Raise an error: nothing is sent from here."""
        raise AssertionError("recorded messages are not sent again")

    def take_back(self, reference: SharedReference) -> None:  # noqa: ARG002
        """Raise an error: nothing is sent from here."""
        raise AssertionError("recorded messages are not sent again")

    def get(self, reference: SharedReference, size_bytes: int) -> Array:  # noqa: ARG002  # freed memory
        """Return memory of an array's length."""
        return self._bytes[:size_bytes]

    def take_note(self, note: memoryview) -> None:
        """Ignore that arrays were released."""


_NORESERVE: Final = getattr(mmap, "MAP_NORESERVE", 0)
