"""Keep account of the arrays that this process has in blocks of shared memory.

All arrays of one process in a block have the same base object. When this object is freed, the
process no longer uses the block. A base object can be freed at any moment, in any thread. So its
callback only records the end, and `settle` processes the recorded ends later.
"""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from varsim.errors import ProtocolError
from varsim.protocol.buffers import SharedReference
from varsim.spec import Array

Release = Callable[[int, int, int], None]
"""Called with (offset, size, count) when this process releases `count` references to a block."""


@dataclass(slots=True, eq=False)
class Block:
    """An own block, which this process can give to others, or a foreign block.

    Attributes:
        base: The base of this process's arrays in the block; None if there are none.
        release: For a foreign block, reports the release to the peer that sent the block first.
        count: The number of references to a foreign block that this peer has sent.
    """

    offset: int
    size_bytes: int
    base: weakref.ref[Array] | None = None
    base_id: int = 0
    address: int = 0
    release: Release | None = None
    count: int = 0

    def alive(self) -> Array | None:
        """Return the base; None if this process has no array in the block."""
        return None if self.base is None else self.base()


class Blocks(ABC):
    """The blocks of one shared memory that this process uses.

    Args:
        region: The offsets of this process's own blocks; empty if it has none.
    """

    def __init__(self, region: range) -> None:
        self._region = region
        self._own: dict[int, Block] = {}  # offset → own block
        self._free: dict[int, list[Block]] = defaultdict(list)  # size → own unused blocks
        self._foreign: dict[int, Block] = {}  # offset → foreign block in use
        self._in_use: dict[int, Block] = {}  # id of a base → its block, own or foreign
        self._ended: deque[Block] = deque()  # blocks whose base was freed, for `settle`

    # ------------------------------------------------------------ what a memory must say

    @abstractmethod
    def _bytes_of(self, block: Block) -> Array:
        """Return the bytes of a block, as a new array."""

    @abstractmethod
    def _check(self, reference: SharedReference, size_bytes: int) -> None:
        """Check that a reference can refer to this memory.

        Raises:
            ProtocolError: There is no such block.
        """

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array | None:
        """Return an uninitialised array in its own block; None if there is no room."""

    @abstractmethod
    def close(self) -> None:
        """Free all memory except blocks in use in this process."""

    # ------------------------------------------------------------ arrays

    def _base(self, block: Block) -> Array:
        """Return a new array: the base of all views of a block until the last view is freed."""
        return self._watch(block, self._bytes_of(block))

    def _watch(self, block: Block, base: Array) -> Array:
        ended = self._ended  # the callback can outlive this object, so it must not refer to `self`
        block.base = weakref.ref(base, lambda _: ended.append(block))
        block.base_id = id(base)
        block.address = base.__array_interface__["data"][0]
        self._in_use[block.base_id] = block
        return base

    def settle(self) -> None:
        """Free or release the blocks in which this process no longer has an array."""
        while self._ended:
            block = self._ended.popleft()
            block.base = None
            # The id can belong to the base of another block now.
            if self._in_use.get(block.base_id) is block:
                del self._in_use[block.base_id]
            if self._own.get(block.offset) is block:
                self._free[block.size_bytes].append(block)
                continue
            # If the offset belongs to another `Block` now, this process uses the block again.
            if self._foreign.get(block.offset) is block:
                del self._foreign[block.offset]
            if block.release is not None:
                block.release(block.offset, block.size_bytes, block.count)

    def in_use(self) -> list[Array]:
        """Return the bases of all blocks that this process uses."""
        return [base for block in self._in_use.values() if (base := block.alive()) is not None]

    # ------------------------------------------------------------ references

    def reference_of(self, array: Array) -> SharedReference | None:
        """Return the reference of an array; None if it is not in this memory or not contiguous."""
        block = self._in_use.get(id(array.base))
        if block is None or block.alive() is not array.base:
            return None
        if not (array.flags.c_contiguous and array.flags.aligned):
            return None
        start = array.__array_interface__["data"][0] - block.address
        return SharedReference(block.offset, block.size_bytes, start)

    def owns(self, reference: SharedReference) -> bool:
        """Return whether a reference refers to this process's own region."""
        return reference.block in self._region

    def base_of(self, array: Array) -> Array:
        """Return an array's base object, which prevents reuse of its block."""
        base = array.base
        assert isinstance(base, np.ndarray), "an array with a reference has a base"
        return base

    def view(self, reference: SharedReference, size_bytes: int, release: Release) -> Array:
        """Return the bytes to which a reference refers, as a writeable array.

        Several peers can send references to one foreign block. The first peer's references keep the
        block alive, and are released when this process no longer uses the block. References of
        other peers are released immediately. Otherwise two peers that send each other the same
        block would keep it alive forever.

        Args:
            release: Reports releases to the peer that sent this reference.
        Raises:
            ProtocolError: There is no such block.
        """
        self._check(reference, size_bytes)
        owns = self.owns(reference)
        known = (self._own if owns else self._foreign).get(reference.block)
        if known is not None and known.size_bytes != reference.size_bytes:
            raise ProtocolError(f"{reference} is in a block of {known.size_bytes} bytes")
        base = None if known is None else known.alive()
        if base is None and owns:
            raise ProtocolError(f"{reference} is not in a block that was sent")
        if known is None or base is None:
            known = self._foreign[reference.block] = Block(reference.block, reference.size_bytes)
            known.release = release
            base = self._base(known)
        if known.release == release:
            known.count += 1
        else:
            release(reference.block, 0, 1)
        return base[reference.start : reference.start + size_bytes]
