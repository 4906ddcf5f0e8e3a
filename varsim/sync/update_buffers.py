"""Supply arrays that a program can fill and then write without a copy; copy other arrays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from varsim.protocol.buckets import PACK_LIMIT_BYTES
from varsim.spec import Array

Allocate = Callable[[tuple[int, ...], np.dtype[np.generic]], Array]
"""A function that returns a new uninitialised array."""


class UpdateBuffers:
    """Supplies arrays to the program. The first write of a supplied array needs no copy."""

    def __init__(self, allocate: Allocate) -> None:
        self._allocate = allocate
        self._given: dict[int, Array] = {}  # id of a supplied array → the array

    def supply(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
        """Return an array in which the program can build an update."""
        array = self._allocate(shape, dtype)
        if array.nbytes > PACK_LIMIT_BYTES:
            self._given[id(array)] = array
        return array

    def to_send(self, value: Array) -> Array:
        """Return an array with this value for a message; the program must not write to it later."""
        own = self._taken_back(value)
        if own is None:
            own = self._allocate(value.shape, value.dtype)
            np.copyto(own, value)
        own.setflags(write=False)
        return own

    def to_keep(self, value: Array) -> Array:
        """Return an array with this value for storage, to which the program cannot write later."""
        own = self._taken_back(value)
        if own is None:
            own = np.array(value, order="C")
        own.setflags(write=False)
        return own

    def _taken_back(self, value: Array) -> Array | None:
        """Return the array if it was supplied and is written for the first time; else None."""
        return self._given.pop(id(value)) if self._given.get(id(value)) is value else None

    def clear(self) -> None:
        """Forget the supplied arrays, because the program's function has ended."""
        self._given.clear()
