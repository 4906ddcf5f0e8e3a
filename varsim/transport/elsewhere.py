"""Keep account of the shared memory of another host, which this process cannot read.

An array of such a memory has its shape and dtype here. Its bytes are zero until they are fetched.
"""

from __future__ import annotations

import mmap
from typing import Final

import numpy as np

from varsim.errors import ProtocolError
from varsim.protocol.buffers import SharedReference
from varsim.spec import Array
from varsim.transport.blocks import Block, Blocks

_MOST_BYTES: Final = 2**45
"""Largest size of a block that a reference can name."""


class Elsewhere(Blocks):
    """The memory of one host: blocks of its workers, and copies of values of this process."""

    def __init__(self) -> None:
        super().__init__(range(0))
        self.unused: list[int] = []
        """The names of copies of values of this process that no process uses any more."""
        self.here: set[int] = set()
        """Blocks of workers whose bytes were fetched."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
        """Return None: this process cannot write there."""

    def close(self) -> None:
        """Forget all blocks."""
        self._foreign.clear()
        self._in_use.clear()

    def _bytes_of(self, block: Block) -> Array:
        self.here.discard(block.offset)
        # The system gives no memory to pages that are not written.
        return np.frombuffer(mmap.mmap(-1, block.size_bytes, mmap.MAP_PRIVATE), np.uint8)

    def _check(self, reference: SharedReference, size_bytes: int) -> None:
        start_limit = reference.size_bytes - size_bytes
        if not (0 < reference.size_bytes <= _MOST_BYTES and 0 <= reference.start <= start_limit):
            raise ProtocolError(f"{reference} cannot hold {size_bytes} bytes")

    def is_here(self, reference: SharedReference) -> bool:
        """Return whether the bytes of an array are here."""
        return reference.block in self.here

    def place(self, base: Array, reference: SharedReference, name: int) -> None:
        """Record that the host has a copy of an array, in a block of its own.

        The copy can be sent as a reference as long as `base` exists. Then `unused` has its name.
        """
        block = Block(reference.block, reference.size_bytes)
        block.release = lambda *_: self.unused.append(name)
        block.count = 1
        self._foreign[reference.block] = block
        self._watch(block, base)
