"""Manage the shared memory of one cluster; an array in it is sent as a reference, not by value.

A cluster has one anonymous file (memfd). The file has no name, so the system frees it when the last
process ends, even after SIGKILL. Every process maps the whole file once, and writes only in its own
region. Only the blocks of a region occupy memory.

A block is reused only when no process uses an array in it: `Blocks` counts the arrays of this
process, and `Leases` record the releases of other processes.
"""

from __future__ import annotations

import math
import mmap
import os
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import numpy as np

from varsim import environment
from varsim.errors import ProtocolError
from varsim.private import FILE_MODE
from varsim.protocol.buffers import SharedReference
from varsim.spec import Array
from varsim.transport import forks
from varsim.transport.blocks import Block, Blocks
from varsim.transport.host_limits import ADDRESSES_BYTES, address_space

_SMALLEST_BYTES: Final = 2**16
_CLASSES_PER_DOUBLING: Final = 4  # with four classes, at most a fifth of a large block is unused

_ROOM: Final = 16
"""A region's address range is this multiple of its memory limit. Freed addresses are reused only
for blocks of the same size, so a region needs more addresses than memory."""

_MAX_FILE_BYTES: Final = 2**45
"""Largest size of the file: a quarter of the address space of a process."""

_MADV_POPULATE_WRITE: Final = 23
"""A flag since Linux 5.14: allocate all pages in one call, which takes half the time of a page
fault for each page."""


_WHAT_TO_DO: Final = (
    f"{environment.SHARED_MEMORY} sets how much memory a cluster may share, and `ulimit -v` limits "
    "it too. Values that were read earlier and are still in use occupy this memory."
)


def shared_memory_exists() -> bool:
    """Return whether this system has anonymous files."""
    return hasattr(os, "memfd_create")


def limit_bytes() -> int:
    """Return the limit of a cluster's shared memory: by default half of the machine's memory.

    Raises:
        ConfigError: VARSIM_SHARED_MEMORY_BYTES is not a number.
    """
    asked = environment.whole_number(environment.SHARED_MEMORY, "a number of bytes")
    if asked is None:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return asked


def create_file() -> int:
    """Create an empty anonymous file that only this user can open; return its descriptor.

    Raises:
        OSError: The system does not create the file.
    """
    descriptor = os.memfd_create("varsim", os.MFD_CLOEXEC)
    os.fchmod(descriptor, FILE_MODE)
    return descriptor


class Arena(Blocks):
    """The shared memory of one cluster, in one of its processes."""

    def __init__(
        self,
        descriptor: int,
        owner: int,
        num_owners: int,
        limit_bytes: int,
        warn: Callable[[str], None],
        *,
        region_bytes: int | None = None,
    ) -> None:
        """Map the file, which has a region for each process.

        Args:
            descriptor: The descriptor of the file; `close` closes it.
            owner: The index of this process's region: 0 for the coordinator, i + 1 for replica i.
            num_owners: The number of regions.
            limit_bytes: The limit of the memory in each region.
            warn: Called once, when there is no room for an array for the first time.
            region_bytes: The size of a region, the same for all processes; None: see `region_size`.
        Raises:
            OSError: The system does not allow a file or an address range of this size.
        """
        self._warn: Callable[[str], None] | None = warn
        self.descriptor = descriptor
        self.region_bytes = region_bytes or region_size(limit_bytes, num_owners)
        self.limit_bytes = min(limit_bytes, self.region_bytes)
        self.reclaim: Callable[[int], bool] = _nothing_to_hear
        """Decodes releases of other processes. Called with the size of this region's memory before
        new memory is allocated; it is called again while it returns True."""
        self._file = range(num_owners * self.region_bytes)
        super().__init__(self._file[owner * self.region_bytes :][: self.region_bytes])
        os.ftruncate(descriptor, len(self._file))
        self._memory = mmap.mmap(descriptor, len(self._file), mmap.MAP_SHARED)
        self._memory.madvise(mmap.MADV_DONTDUMP)  # a core dump would read the whole mapping
        self._held_bytes = 0
        self._is_full = False
        self._next_offset = self._region.start
        self._holes: dict[int, list[int]] = defaultdict(list)  # size → offsets of freed blocks
        forks.watch(self)

    # ------------------------------------------------------------ own blocks

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array | None:
        """Return an uninitialised array in its own block; None if there is no room."""
        size_bytes = math.prod(shape) * dtype.itemsize
        block = self._take(size_class(size_bytes))
        if block is None:
            self._say_full(size_bytes)
            return None
        return self._base(block)[:size_bytes].view(dtype).reshape(shape)

    def fill(self) -> None:
        """Let `empty` return None from now on, as if other processes used all of the memory."""
        self._is_full = True

    def _say_full(self, size_bytes: int) -> None:
        if self._warn is not None:
            warn, self._warn = self._warn, None
            warn(
                f"there is no room in shared memory for {size_bytes:,} bytes: this process holds "
                f"{self._held_bytes:,} of its {self.limit_bytes:,}. Large values are sent through "
                f"sockets instead, which is slower. {_WHAT_TO_DO}"
            )

    def _take(self, size_bytes: int) -> Block | None:
        free = self._free[size_bytes]
        self.settle()
        if self._is_full:
            return None
        while not free and self.reclaim(self._held_bytes):
            self.settle()
        if free:
            return free.pop()
        block = self._create(size_bytes)
        if block is None and self._trim(size_bytes):
            block = self._create(size_bytes)
        return block

    def _create(self, size_bytes: int) -> Block | None:
        holes = self._holes[size_bytes]
        offset = holes[-1] if holes else self._next_offset
        if (
            self._held_bytes + size_bytes > self.limit_bytes
            or offset + size_bytes > self._region.stop
        ):
            return None
        try:
            # Without this allocation, a later write can cause SIGBUS.
            os.posix_fallocate(self.descriptor, offset, size_bytes)
        except OSError:
            return None
        with suppress(OSError):  # an older Linux allocates a page at the first write
            self._memory.madvise(_MADV_POPULATE_WRITE, offset, size_bytes)
        if holes:
            holes.pop()
        else:
            self._next_offset += size_bytes
        self._held_bytes += size_bytes
        block = self._own[offset] = Block(offset, size_bytes)
        return block

    def _trim(self, size_bytes: int) -> bool:
        """Return free blocks to the system, the largest first, until there is room."""
        before = self._held_bytes
        for free_bytes in sorted(self._free, reverse=True):
            free = self._free[free_bytes]
            while free and self._held_bytes + size_bytes > self.limit_bytes:
                block = free.pop()
                self._memory.madvise(mmap.MADV_REMOVE, block.offset, free_bytes)
                self._held_bytes -= free_bytes
                self._holes[free_bytes].append(block.offset)
                del self._own[block.offset]
        return self._held_bytes < before

    # ------------------------------------------------------------ release of blocks

    def _bytes_of(self, block: Block) -> Array:
        return np.frombuffer(self._memory, np.uint8, block.size_bytes, block.offset)

    def close(self) -> None:
        """Free all memory except blocks in use in this process, and close the file.

        Call this only in the last process that uses the file. Arrays in use stay valid.
        """
        if self.descriptor < 0:
            return
        self.settle()
        blocks = [*self._own.values(), *self._foreign.values()]
        kept = sorted((b.offset, b.size_bytes) for b in blocks if b.alive() is not None)
        start = 0
        for offset, size_bytes in [*kept, (len(self._file), 0)]:
            if start < offset:
                self._memory.madvise(mmap.MADV_REMOVE, start, offset - start)
            start = offset + size_bytes
        for block in blocks:
            block.base = None
        del self._memory  # the arrays keep the mapping alive
        for blocks_by in (self._free, self._own, self._foreign, self._in_use):
            blocks_by.clear()
        self.limit_bytes = 0
        os.close(self.descriptor)
        self.descriptor = -1

    def _check(self, reference: SharedReference, size_bytes: int) -> None:
        if (
            reference.block not in self._file
            or reference.block % _SMALLEST_BYTES
            or not 0 < reference.size_bytes <= self.limit_bytes
            or reference.size_bytes != size_class(reference.size_bytes)
            or reference.block % self.region_bytes + reference.size_bytes > self.region_bytes
            or not 0 <= reference.start <= reference.size_bytes - size_bytes
        ):
            raise ProtocolError(f"{reference} cannot hold {size_bytes} bytes")


def size_class(size_bytes: int) -> int:
    """Return the size of a block for `size_bytes`: one of a few sizes per power of two."""
    size_bytes = max(size_bytes, _SMALLEST_BYTES)
    half = 1 << (size_bytes - 1).bit_length() - 1
    step = max(half // _CLASSES_PER_DOUBLING, _SMALLEST_BYTES)
    return -(-size_bytes // step) * step


def region_size(limit_bytes: int, num_owners: int) -> int:
    """Return the size of each region's address range, which is larger than its memory limit.

    If the addresses of a process are limited (`ulimit -v`), all regions together use at most half
    of the addresses that the process does not need for anything else.
    """
    spare = address_space()
    most = _MAX_FILE_BYTES
    if spare is not None:
        most = min(most, max(0, spare - ADDRESSES_BYTES) // 2)
    wanted = min(limit_bytes * _ROOM, most // num_owners)
    return max(wanted - wanted % _SMALLEST_BYTES, _SMALLEST_BYTES)


def _nothing_to_hear(held_bytes: int) -> bool:  # noqa: ARG001 - other functions for `reclaim` use it
    return False
