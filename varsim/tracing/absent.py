"""Replace arrays that a trace does not contain, and remember what it contains of their values."""

from __future__ import annotations

import math
import mmap
import weakref
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from varsim.errors import ProtocolError
from varsim.protocol.buffers import SHARED, ArrayReader, Memory, SharedReference, dtype_of
from varsim.protocol.limits import MAX_FRAME_BYTES
from varsim.spec import Array
from varsim.tracing.samples import Sampled

_FIRST_BYTES: Final = 2**24
_SLOT_BYTES: Final = 64


class AbsentMemory:
    """Memory in place of arrays that were not recorded. It is never read and takes no space.

    The memory is only as large as the largest array, because the addresses of a process can be
    limited (`ulimit -v`). Arrays overlap, but each has its own address, by which its samples are
    found.
    """

    def __init__(self) -> None:
        self._mapped: list[mmap.mmap] = []  # each is at least twice as large as the one before
        self._coming: Sequence[Sequence[Sampled] | None] = ()
        self._slots = 0
        self._free: list[int] = []  # slots whose arrays are not used anymore
        # address → a reference to the array there, and its samples
        self._parts: dict[int, tuple[weakref.ref[Array], Sequence[Sampled]]] = {}

    def expect(self, samples: Sequence[Sequence[Sequence[Any]] | None]) -> None:
        """Set the samples of the arrays that the next envelope does not contain."""
        self._coming = [
            None if parts is None else [Sampled(*part) for part in parts] for parts in samples
        ]

    def is_absent(self, array: Array) -> bool:
        """Return whether an array's bytes were not recorded."""
        return _address_of(array) in self._parts

    def parts_of(self, array: Array) -> Sequence[Sampled]:
        """Return the samples of the values in an absent array; empty if none were recorded."""
        return self._parts[_address_of(array)][1]

    def _memory(self, size_bytes: int, parts: Sequence[Sampled]) -> Array:
        slot = self._free.pop() if self._free else self._slots
        self._slots = max(self._slots, slot + 1)
        start = slot * _SLOT_BYTES
        largest = len(self._mapped[-1]) if self._mapped else 0
        if start + size_bytes > largest:
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE
            least = min(size_bytes, MAX_FRAME_BYTES) + start
            length = max(least, min(2 * largest, MAX_FRAME_BYTES), _FIRST_BYTES)
            self._mapped.append(mmap.mmap(-1, length, flags=flags))
        # Not a view of another array: NumPy would let the arrays of messages refer to that one.
        array = np.frombuffer(self._mapped[-1], np.uint8, min(size_bytes, MAX_FRAME_BYTES), start)
        address = _address_of(array)

        def release(_: object) -> None:
            self._parts.pop(address, None)
            self._free.append(slot)

        self._parts[address] = weakref.ref(array, release), parts
        return array

    # ------------------------------------------------------------ as the codec's shared memory

    def put(self, array: Array) -> SharedReference | None:  # noqa: ARG002  # the protocol's name
        """Raise an error: recorded messages are not sent again."""
        raise AssertionError("recorded messages are not sent again")

    def take_back(self, reference: SharedReference) -> None:  # noqa: ARG002
        """Raise an error: recorded messages are not sent again."""
        raise AssertionError("recorded messages are not sent again")

    def get(self, reference: SharedReference, size_bytes: int) -> Array:
        """Return memory of an array's length. The block is the index of the array's samples.

        Raises:
            ProtocolError: The record has no such samples.
        """
        if reference.block >= len(self._coming):
            raise ProtocolError("a recorded envelope has no samples of an array")
        return self._memory(size_bytes, self._coming[reference.block] or ())

    def take_note(self, note: memoryview) -> None:
        """Do nothing when arrays are released."""


class RecordedReader(ArrayReader):
    """Reads the arrays of recorded envelopes; those in shared memory are absent, of any size."""

    def _take_shared(self, descriptor: list[Any], memory: Memory) -> Array:
        code, *numbers = descriptor
        for number in descriptor:
            if type(number) is not int or not 0 <= number <= MAX_FRAME_BYTES:
                raise ProtocolError(f"an array descriptor contains the invalid number {number!r}")
        if len(numbers) < 3:
            raise ProtocolError(f"{descriptor} does not describe an absent array")
        index, size_bytes, start, *shape = numbers
        dtype = dtype_of(code - SHARED)
        size = math.prod(shape) * dtype.itemsize
        view = memory.get(SharedReference(index, size_bytes, start), size)
        array = np.ndarray(shape, dtype, view)
        array.setflags(write=False)
        return array


def _address_of(array: Array) -> int:
    return int(array.__array_interface__["data"][0])


_NORESERVE: Final = getattr(mmap, "MAP_NORESERVE", 0)
