"""Convert Python values to trees (see `tree`), and collect their arrays."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, Final

import msgpack
import numpy as np

from varsim.extension_dtypes import is_supported
from varsim.protocol.limits import check_frame, decoded_bytes
from varsim.protocol.pooled_arrays import PoolWriter
from varsim.protocol.references import References
from varsim.protocol.tree import (
    AS_THEY_ARE,
    ENUMS,
    LONG_BYTES,
    MAX_DEPTH,
    MAX_LARGE_TREE_BYTES,
    NUMBER_DTYPES,
    NoTreeError,
    Tag,
    TooDeepError,
)
from varsim.spec import Array

MAX_ARRAYS: Final = 1024
"""Limit of the arrays and long texts of a structure, which the header describes. From half of this
number on, small arrays are sent together; from three quarters on, all arrays."""

MIN_NUMBERS: Final = 64
"""Least number of items of a list or a tuple that is sent as an array."""

ITEM_BYTES: Final = 9
"""Largest size of a number in a header."""

_ARRAY_BYTES: Final = 64
"""The size of an array's description in a header, except for arrays of many dimensions."""

_CHARACTER_BYTES: Final = 4
"""Largest size of a character in a header."""

_INLINE_INTS: Final = range(-(2**63), 2**64)

_CONTAINERS: Final = frozenset((list, tuple, dict))


class Packer:
    """Converts values to trees, and collects their arrays."""

    def __init__(self, references: References, limit_bytes: int) -> None:
        self._references = references
        self._limit_bytes = limit_bytes
        self.arrays: list[Array] = []
        self._indices: dict[int, int] = {}  # id of a packed array → its index
        self._size_bytes = 0  # estimated size of the tree

    def tree(self, value: Any, depth: int) -> Any:
        """Return the tree of one value."""
        if depth > MAX_DEPTH:
            raise TooDeepError
        kind = type(value)
        if kind in AS_THEY_ARE:
            return value
        if kind is str:
            return self._str(value)
        if kind is tuple or kind is list:
            tag = Tag.TUPLE if kind is tuple else Tag.LIST
            numbers = _numbers(value) if len(value) >= MIN_NUMBERS else None
            if numbers is not None:
                return [Tag.NUMBERS, tag, self.add_array(numbers)]
            self._grow(len(value) * ITEM_BYTES)
            return [tag, *[self.tree(item, depth + 1) for item in value]]
        if kind is dict:
            self._grow(len(value) * 2 * ITEM_BYTES)
            pairs = [part for pair in value.items() for part in pair]
            return [Tag.DICT, *[self.tree(part, depth + 1) for part in pairs]]
        if kind is np.ndarray:
            return self._array(value)
        if kind is int:
            return value if value in _INLINE_INTS else [Tag.LONG_INT, self._str(f"{value:x}")]
        if kind is complex:
            return [Tag.COMPLEX, value.real, value.imag]
        if kind is bytes:
            return self._bytes(value)
        return self._named(value, depth)

    def _named(self, value: Any, depth: int) -> Any:
        name = self._references.name_of(value)
        if name is not None:
            return [Tag.NAME, *[self.tree(part, depth + 1) for part in name]]
        if isinstance(value, np.generic) and is_supported(value.dtype):
            return [Tag.SCALAR, self.add_array(np.asarray(value))]
        if isinstance(value, Enum) and type(value) in ENUMS.values():
            return [Tag.ENUM, type(value).__name__, value.name]
        return self.opaque(value, depth)

    def opaque(self, value: Any, depth: int) -> Any:
        """Return the tree of a value that `tree` cannot encode itself."""
        del depth
        return self.pickle(value)

    def pickle(self, value: Any) -> Any:
        """Return the tree of a value that must be pickled."""
        # The import is here because it takes as long as importing the rest of varsim.
        from varsim.protocol.pickling import dumps

        pickled, buffers = dumps(value, self._references)
        indices = [self.add_array(_bytes_array(buffer)) for buffer in buffers]
        return [Tag.PICKLE, self._bytes(pickled), *indices]

    def _array(self, array: Array) -> Any:
        if is_supported(array.dtype):
            return [Tag.ARRAY, self.add_array(array)]
        return self.opaque(array, 0)

    def has(self, array: Array) -> bool:  # noqa: D102
        return id(array) in self._indices

    def add_array(self, array: Array) -> Any:
        """Add an array to the payload, and return its index."""
        index = self._indices.setdefault(id(array), len(self.arrays))
        if index == len(self.arrays):
            check_frame(array.nbytes)
            self._grow(_ARRAY_BYTES)
            self.arrays.append(array)
        return index

    def mark(self) -> tuple[int, int]:
        """Return the present state, for `return_to`."""
        return self._size_bytes, len(self.arrays)

    def return_to(self, mark: tuple[int, int]) -> None:
        """Forget everything that was packed since `mark` returned this state."""
        self._size_bytes, count = mark
        del self.arrays[count:]
        self._indices = {key: index for key, index in self._indices.items() if index < count}

    def _grow(self, size_bytes: int) -> None:
        self._size_bytes += size_bytes
        if self._size_bytes > self._limit_bytes:
            raise NoTreeError

    def _str(self, value: str) -> Any:
        size_bytes = len(value) if value.isascii() else _CHARACTER_BYTES * len(value)
        if size_bytes < LONG_BYTES:
            self._grow(size_bytes)
            return value
        return [Tag.LONG_STR, self.add_array(_bytes_array(value.encode("utf-8", "surrogatepass")))]

    def _bytes(self, value: bytes) -> Any:
        if len(value) < LONG_BYTES:
            self._grow(len(value))
            return value
        return [Tag.LONG_BYTES, self.add_array(_bytes_array(value))]


class LargePacker(Packer):
    """Packs structures whose trees are too large for a header, into arrays of another packer."""

    def __init__(self, references: References, outer: Packer) -> None:
        super().__init__(references, MAX_LARGE_TREE_BYTES)
        self._outer = outer
        self._left_bytes = MAX_LARGE_TREE_BYTES  # for the decoded values of further trees
        self._met: set[int] = set()  # the ids of the lists, tuples and dicts in the present tree
        self._pool = PoolWriter()

    def large_tree(self, value: Any, depth: int) -> Any:
        """Return the tree of a structure.

        Raises:
            NoTreeError: The structure is too large, or has an object without a plain form.
        """
        self._met.clear()
        self._pool = PoolWriter()
        packed = msgpack.packb(self.tree(value, depth + 1), unicode_errors="surrogatepass")
        self._left_bytes -= decoded_bytes(packed)
        if self._left_bytes < 0:
            raise NoTreeError
        pool = self._pool.array()
        pools = () if pool is None else (self._outer.add_array(pool),)
        return [Tag.TREE, self._outer.add_array(_bytes_array(packed)), *pools]

    def tree(self, value: Any, depth: int) -> Any:
        """Return the tree of one value, unless the value is a container that was packed before.

        A structure of few objects that contain each other often could have a tree of any size. A
        pickle contains each of them only once.
        """
        if type(value) in _CONTAINERS and value:
            if id(value) in self._met:
                raise NoTreeError
            self._met.add(id(value))
        return super().tree(value, depth)

    def pickle(self, value: Any) -> Any:
        """Refuse a value that must be pickled. One pickle for each value would take too long."""
        del value
        raise NoTreeError

    def add_array(self, array: Array) -> Any:
        """Add an array to the payload of the other packer, and return its index.

        If the payload has many arrays, add the array to the pool, and return its place there.
        """
        most = MAX_ARRAYS // 2 if array.nbytes < LONG_BYTES else MAX_ARRAYS // 4 * 3
        if len(self._outer.arrays) >= most and not self._outer.has(array):
            return self._pool.add(array)
        return self._outer.add_array(array)


def _numbers(items: Sequence[Any]) -> Array | None:
    """Return an array of the items; None if they are not all floats, all integers or all bools."""
    kind = type(items[0])
    if kind not in NUMBER_DTYPES or set(map(type, items)) != {kind}:
        return None
    try:
        return np.array(items, NUMBER_DTYPES[kind])
    except OverflowError:  # an integer has more than 64 bits
        return None


def _bytes_array(buffer: bytes | memoryview) -> Array:
    return np.frombuffer(buffer, np.uint8)
