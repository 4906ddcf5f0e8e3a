"""Send many arrays of a structure as one array, the pool, because a header describes few arrays.

A *place* is the description of an array in a pool: [code of the dtype, shape, offset in bytes].
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from varsim.errors import ProtocolError
from varsim.protocol.buffers import code_of, dtype_of
from varsim.protocol.limits import MAX_DIMENSIONS, check_frame
from varsim.spec import Array


class PoolWriter:
    """Joins the bytes of arrays."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._places: dict[int, tuple[Array, list[Any]]] = {}  # id → the array, and its place

    def add(self, array: Array) -> list[Any]:
        """Add an array, unless the pool has it, and return its place.

        Raises:
            SizeError: The pool is too large for an array of a message.
        """
        found = self._places.get(id(array))
        if found is None:
            check_frame(len(self._bytes) + array.nbytes)
            place = [code_of(array.dtype), list(array.shape), len(self._bytes)]
            found = self._places[id(array)] = array, place
            self._bytes += array.tobytes()
        return found[1]

    def array(self) -> Array | None:
        """Return the pool; None if it has no arrays."""
        return np.frombuffer(self._bytes, np.uint8) if self._places else None


class ReceivedPool:
    """Finds arrays in a received pool.

    All found arrays together are not larger than the pool.
    """

    def __init__(self, pool: Array) -> None:
        if pool.dtype != np.uint8 or pool.ndim != 1:
            raise ProtocolError("a pool of arrays is malformed")
        self._pool = pool
        self._left_bytes = pool.nbytes
        self._found: dict[tuple[Any, ...], Array] = {}

    def find(self, place: list[Any]) -> Array:
        """Return the array at a place, as a writeable copy; for the same place, the same array.

        Raises:
            ProtocolError: The place is malformed or outside the pool, or the arrays overlap.
        """
        match place:
            case [int(code), list(shape), int(offset)] if len(shape) <= MAX_DIMENSIONS:
                if all(type(size) is int and size >= 0 for size in shape):
                    return self._at(code, tuple(shape), offset)
        raise ProtocolError("the place of an array in a pool is malformed")

    def _at(self, code: int, shape: tuple[int, ...], offset: int) -> Array:
        found = self._found.get((code, shape, offset))
        if found is None:
            dtype = dtype_of(code)
            size_bytes = math.prod(shape) * dtype.itemsize
            if not 0 <= offset <= len(self._pool) - size_bytes or size_bytes > self._left_bytes:
                raise ProtocolError("a pool does not have all of its arrays")
            self._left_bytes -= size_bytes
            part = self._pool[offset : offset + size_bytes].view(dtype)
            found = self._found[code, shape, offset] = np.array(part.reshape(shape))
        return found
