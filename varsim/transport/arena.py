"""Shared memory of one cluster: arrays that lie in it are sent by their place.

One anonymous file (memfd) serves a cluster. It has no name, so nothing is left of it when the last
process ends, however that happens. Every process maps all of it, once, and writes in a region of
its own; a region has memory only where blocks are.

A block of memory is used again only when no process looks at it any more: an array's base is one
object for all views of a block, so its death says so for this process, and `Leases` for the others.
That death can come at any moment, in any thread: it is only noted then, and settled later.
"""

from __future__ import annotations

import math
import mmap
import os
import weakref
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from varsim import environment
from varsim.errors import ProtocolError
from varsim.spec import Array
from varsim.transport import forks

_SMALLEST_BYTES: Final = 2**16
_CLASSES_PER_DOUBLING: Final = 4  # so at most a fifth of a large block is not used

_ROOM: Final = 16
"""Times the limit, addresses in a region: an address keeps its block's size for good."""

_MAX_FILE_BYTES: Final = 2**45
"""A quarter of a process's address space."""

_MADV_POPULATE_WRITE: Final = 23
"""Linux 5.14: touches all pages at once, which takes half the time of touching one by one."""


_WHAT_TO_DO: Final = (
    f"{environment.SHARED_MEMORY} sets how much a cluster may share; values that were read "
    "earlier and are still in use occupy it."
)


class Place(NamedTuple):
    """Where an array lies."""

    block: int  # offset in the file
    size_bytes: int  # of the block
    start: int  # of the array, in the block


Watcher = Callable[[int, int, int], None]
"""Is told of a block (its offset and size) how many of the times that this watcher came with its
place need not keep the block alive for this process any more."""


@dataclass(slots=True, eq=False)
class _Block:
    """An own block; or a foreign one, from the first look at it to the last."""

    offset: int
    size_bytes: int
    base: weakref.ref[Array] | None = None  # None: nobody here looks at it
    base_id: int = 0
    address: int = 0
    watcher: Watcher | None = None  # of a foreign block: who came with its place first
    count: int = 0  # how often it came

    def alive(self) -> Array | None:
        return None if self.base is None else self.base()


def shared_memory_exists() -> bool:
    """Whether this system has anonymous files."""
    return hasattr(os, "memfd_create")


def limit_bytes() -> int:
    """How much memory a cluster may share: half of the machine's, unless the environment says.

    Raises:
        ConfigError: The environment says something else than a number.
    """
    asked = environment.whole_number(environment.SHARED_MEMORY, "a number of bytes")
    if asked is None:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return asked


def create_file() -> int:
    """The descriptor of a new, empty anonymous file, only for this user.

    Raises:
        OSError: The system has none to give.
    """
    descriptor = os.memfd_create("varsim", os.MFD_CLOEXEC)
    os.fchmod(descriptor, 0o600)
    return descriptor


class Arena:
    """The shared memory of one cluster, as one of its processes uses it."""

    def __init__(
        self,
        descriptor: int,
        owner: int,
        num_owners: int,
        limit_bytes: int,
        warn: Callable[[str], None],
    ) -> None:
        """Maps the file, which has a region for each process.

        Args:
            descriptor: Of the file; the arena closes it in the end.
            owner: Whose region is this process's: 0 for the coordinator, i + 1 for replica i.
            num_owners: How many regions there are.
            limit_bytes: How much memory each process may hold in its region.
            warn: Is told, once, that an array did not find room.
        Raises:
            OSError: The system does not allow so large a file, or so many addresses.
        """
        self._warn: Callable[[str], None] | None = warn
        self.descriptor = descriptor
        self.limit_bytes = limit_bytes
        self.reclaim: Callable[[int], bool] = _nothing_to_hear
        """Called before more memory is taken, to hear what is free again: with the bytes that are
        held, and again as long as it returns True."""
        self._region_bytes = region_bytes(limit_bytes, num_owners)
        self._file = range(num_owners * self._region_bytes)
        self._region = self._file[owner * self._region_bytes :][: self._region_bytes]
        os.ftruncate(descriptor, len(self._file))
        self._memory = mmap.mmap(descriptor, len(self._file), mmap.MAP_SHARED)
        self._memory.madvise(mmap.MADV_DONTDUMP)  # a core dump would touch all of it
        self._held_bytes = 0
        self._next_offset = self._region.start
        self._own: dict[int, _Block] = {}  # those with memory, by offset
        self._free: dict[int, list[_Block]] = defaultdict(list)  # of them, by size
        self._holes: dict[int, list[int]] = defaultdict(list)  # offsets without memory, by size
        self._foreign: dict[int, _Block] = {}  # that somebody here looks at, by offset
        self._in_use: dict[int, _Block] = {}  # by the id of its base
        self._ended: deque[_Block] = deque()  # whose base has died, and that is all done about it
        forks.watch(self)

    # ------------------------------------------------------------ own blocks

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array | None:
        """An uninitialised array in a block of its own; None if there is no room."""
        size_bytes = math.prod(shape) * dtype.itemsize
        block = self._take(size_class(size_bytes))
        if block is None:
            self._say_full(size_bytes)
            return None
        return self._base(block)[:size_bytes].view(dtype).reshape(shape)

    def _say_full(self, size_bytes: int) -> None:
        if self._warn is not None:
            warn, self._warn = self._warn, None
            warn(
                f"there is no room in shared memory for {size_bytes:,} bytes: this process holds "
                f"{self._held_bytes:,} of the {self.limit_bytes:,} that are its share. Large "
                f"values travel through sockets instead, which is slower. {_WHAT_TO_DO}"
            )

    def _take(self, size_bytes: int) -> _Block | None:
        free = self._free[size_bytes]
        self.settle()
        while not free and self.reclaim(self._held_bytes):
            self.settle()
        if free:
            return free.pop()
        block = self._create(size_bytes)
        if block is None and self._trim(size_bytes):
            block = self._create(size_bytes)
        return block

    def _create(self, size_bytes: int) -> _Block | None:
        holes = self._holes[size_bytes]
        offset = holes[-1] if holes else self._next_offset
        if (
            self._held_bytes + size_bytes > self.limit_bytes
            or offset + size_bytes > self._region.stop
        ):
            return None
        try:
            os.posix_fallocate(self.descriptor, offset, size_bytes)  # else SIGBUS at a write
        except OSError:
            return None
        with suppress(OSError):  # it is an older Linux: a page gets its memory when it is touched
            self._memory.madvise(_MADV_POPULATE_WRITE, offset, size_bytes)
        if holes:
            holes.pop()
        else:
            self._next_offset += size_bytes
        self._held_bytes += size_bytes
        block = self._own[offset] = _Block(offset, size_bytes)
        return block

    def _trim(self, size_bytes: int) -> bool:
        """Gives free blocks back to the system, the largest first, until there is room."""
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

    # ------------------------------------------------------------ lives of blocks

    def _base(self, block: _Block) -> Array:
        """A new array that all views of a block will have as their base, until the last is gone."""
        ended = self._ended  # the callback has no reference to this arena, and outlives it
        base = np.frombuffer(self._memory, np.uint8, block.size_bytes, block.offset)
        block.base = weakref.ref(base, lambda _: ended.append(block))
        block.base_id = id(base)
        block.address = base.__array_interface__["data"][0]
        self._in_use[block.base_id] = block
        return base

    def settle(self) -> None:
        """Does what is to be done about blocks that nobody here looks at any more."""
        while self._ended:
            block = self._ended.popleft()
            block.base = None
            if self._in_use.get(block.base_id) is block:  # else its id is another's by now
                del self._in_use[block.base_id]
            if self._own.get(block.offset) is block:
                self._free[block.size_bytes].append(block)
                continue
            if self._foreign.get(block.offset) is block:  # else somebody looks at it again
                del self._foreign[block.offset]
            if block.watcher is not None:
                block.watcher(block.offset, block.size_bytes, block.count)

    def in_use(self) -> list[Array]:
        """The bases of all blocks that somebody here looks at."""
        return [base for block in self._in_use.values() if (base := block.alive()) is not None]

    def close(self) -> None:
        """Gives back all memory but that of arrays which still live here, and closes the file.

        To be called by the last process that uses the file. Those arrays stay as they are.
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
        del self._memory  # those arrays keep the mapping
        for blocks_by in (self._free, self._own, self._foreign, self._in_use):
            blocks_by.clear()
        self.limit_bytes = 0
        os.close(self.descriptor)
        self.descriptor = -1

    # ------------------------------------------------------------ places

    def place_of(self, array: Array) -> Place | None:
        """Where an array lies; None if not here, not in one piece, or at an odd address."""
        block = self._in_use.get(id(array.base))
        if block is None or block.alive() is not array.base:
            return None
        if not (array.flags.c_contiguous and array.flags.aligned):
            return None
        start = array.__array_interface__["data"][0] - block.address
        return Place(block.offset, block.size_bytes, start)

    def base_of(self, array: Array) -> Array:
        """What keeps an array's block from being used again, as long as it lives."""
        base = array.base
        assert isinstance(base, np.ndarray), "an array that has a place has a base"
        return base

    def owns(self, place: Place) -> bool:
        """Whether a place is in this process's own region."""
        return place.block in self._region

    def view(self, place: Place, size_bytes: int, watcher: Watcher) -> Array:
        """The bytes at a place, writeable.

        What keeps a foreign block alive is that it came from the first to come with its place,
        until nobody here looks at it any more. All others are told at once: if they waited, a
        block that was passed on and came back would be kept for ever, each waiting for the other.

        Args:
            watcher: Whoever has come with this place.
        Raises:
            ProtocolError: There is no such place.
        """
        self._check(place, size_bytes)
        known = (self._own if self.owns(place) else self._foreign).get(place.block)
        if known is not None and known.size_bytes != place.size_bytes:
            raise ProtocolError(f"{place} is in a block of {known.size_bytes} bytes")
        base = None if known is None else known.alive()
        if base is None and self.owns(place):
            raise ProtocolError(f"{place} is in no block that was lent")
        if known is None or base is None:
            known = self._foreign[place.block] = _Block(place.block, place.size_bytes)
            known.watcher = watcher
            base = self._base(known)
        if known.watcher == watcher:
            known.count += 1
        else:
            watcher(place.block, 0, 1)
        return base[place.start : place.start + size_bytes]

    def _check(self, place: Place, size_bytes: int) -> None:
        if (
            place.block not in self._file
            or place.block % _SMALLEST_BYTES
            or not 0 < place.size_bytes <= self.limit_bytes
            or place.size_bytes != size_class(place.size_bytes)
            or place.block % self._region_bytes + place.size_bytes > self._region_bytes
            or not 0 <= place.start <= place.size_bytes - size_bytes
        ):
            raise ProtocolError(f"{place} is no place for {size_bytes} bytes")


def size_class(size_bytes: int) -> int:
    """The size of the block for so many bytes: a few sizes for each power of two."""
    size_bytes = max(size_bytes, _SMALLEST_BYTES)
    half = 1 << (size_bytes - 1).bit_length() - 1
    step = max(half // _CLASSES_PER_DOUBLING, _SMALLEST_BYTES)
    return -(-size_bytes // step) * step


def region_bytes(limit_bytes: int, num_owners: int) -> int:
    """How much of the file is each process's: addresses, and no memory until blocks need it."""
    wanted = min(limit_bytes * _ROOM, _MAX_FILE_BYTES // num_owners)
    return max(wanted - wanted % _SMALLEST_BYTES, _SMALLEST_BYTES)


def _nothing_to_hear(held_bytes: int) -> bool:  # noqa: ARG001  # others need it
    return False
