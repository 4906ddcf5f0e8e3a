"""Pack structures of Python values to send them between processes.

`pack` returns a tree that msgpack can encode. None, bool, float, str, bytes and integers of 64 bits
are unchanged. Every other value becomes a list: a tag, followed by

- `TUPLE`, `LIST`: the items; `DICT`: keys and values in turn;
- `NUMBERS`: `TUPLE` or `LIST`, and the index of an array with the items, which are all floats, all
  integers or all bools;
- `TREE`: the index of an array with a tree in msgpack, which is too large for a header;
- `COMPLEX`: the real and the imaginary part; `LONG_INT`: the digits in base 16;
- `ENUM`: a class of `varsim.spec`, and the member's name;
- `ARRAY`, `SCALAR`, `LONG_STR`, `LONG_BYTES`: the index of an array in `Payload.arrays`; these
  arrays are never pickled;
- `NAME`: the name of an object that is sent as a name;
- `PICKLE`: a pickle by cloudpickle, and the indices of its buffers in `Payload.arrays`. Functions,
  classes and all other objects are pickled. A pickle can also contain names. A structure that is
  too large for a header, and that contains such an object, is pickled as a whole;
- `EXCEPTION`: a raised exception; `DTYPE`, `PATH`, `MEMBER`, `RECORD`, `SHOWN`: parts of it (see
  `exceptions`).

Unpack only payloads from an authenticated connection.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum, IntEnum
from types import NoneType
from typing import Any, Final

import msgpack
import numpy as np

import varsim.spec
from varsim.errors import ProtocolError
from varsim.extension_dtypes import is_supported, key_of
from varsim.protocol.limits import MAX_HEADER_BYTES, check_frame, check_nesting, decoded_bytes
from varsim.protocol.messages import Payload
from varsim.protocol.pooled_arrays import PoolWriter, ReceivedPool
from varsim.protocol.references import References
from varsim.spec import Array

MAX_DEPTH: Final = 64
"""Depth limit of a tree. A deeper structure, or a structure that contains itself, is pickled."""

LONG_BYTES: Final = 16 * 1024
"""A text, a pickle or the digits of an integer of at least this size are sent as an array, outside
the header."""

MAX_TREE_BYTES: Final = 64 * 1024
"""Limit of the estimated size of a tree in a header. A larger tree is sent as an array, outside the
header. So a payload is always within the limits of a header (see `limits`)."""

MAX_LARGE_TREE_BYTES: Final = 2**30
"""Limit of the memory for the values of all trees in arrays of a payload; see
`limits.decoded_bytes`. A structure with a larger tree is pickled."""

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


def pack(value: Any, references: References) -> Payload:
    """Return a structure of Python values as a payload.

    The payload contains views of the arrays, not copies. If the same array occurs several times,
    the payload contains it only once, and `unpack` returns one array. Any other object that occurs
    several times is unpacked as several objects, except within one pickle.

    Raises:
        TypeError: A value cannot be pickled.
        SizeError: An array is too large, or the structure is nested too deeply.
    """
    if type(value) in _AS_THEY_ARE:
        return Payload(value)
    packer, tree = Packer(references, MAX_TREE_BYTES), None
    try:
        tree = packer.tree(value, 0)
    except _TooDeepError:
        check_nesting(value)
    except NoTreeError:
        packer = Packer(references, MAX_TREE_BYTES)
        with suppress(NoTreeError):
            tree = LargePacker(references, packer).large_tree(value, 0)
    if tree is None:
        packer = Packer(references, MAX_HEADER_BYTES)
        tree = packer.pickle(value)
    return Payload(tree, tuple(packer.arrays))


def unpack(payload: Payload, references: References) -> Any:
    """Return the structure that was packed. Its arrays are writeable copies.

    Raises:
        ProtocolError: The payload is malformed.
        Exception: Loading a pickled object can raise any exception, such as an ImportError.
    """
    tree = payload.tree
    if type(tree) in _ATOMS:
        return tree
    return Unpacker(payload.arrays, references).value(tree, 0)


def function_id(payload: Payload) -> str:
    """Return a digest of a payload; only equal payloads have equal digests."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(msgpack.packb(payload.tree, unicode_errors="surrogatepass"))
    for array in payload.arrays:
        digest.update(f"{key_of(array.dtype)} {array.shape} ".encode())
        digest.update(np.asarray(array, order="C").reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


class Tag(IntEnum):
    """The first item of a list in a tree, which says what the list is."""

    TUPLE = 0
    LIST = 1
    DICT = 2
    COMPLEX = 3
    LONG_INT = 4
    ENUM = 5
    ARRAY = 6
    SCALAR = 7
    LONG_STR = 8
    LONG_BYTES = 9
    NAME = 10
    PICKLE = 11
    DTYPE = 12
    MEMBER = 13
    RECORD = 14
    EXCEPTION = 15
    PATH = 16
    SHOWN = 17
    NUMBERS = 18
    TREE = 19


class NoTreeError(Exception):
    """A structure has no tree: it is too large, or has a value that must not be pickled."""


class _TooDeepError(NoTreeError):
    """A structure has no tree, because it is nested deeper than `MAX_DEPTH`."""


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
            raise _TooDeepError
        kind = type(value)
        if kind in _AS_THEY_ARE:
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
        if isinstance(value, Enum) and type(value) in _ENUMS.values():
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
    if kind not in _DTYPES or set(map(type, items)) != {kind}:
        return None
    try:
        return np.array(items, _DTYPES[kind])
    except OverflowError:  # an integer has more than 64 bits
        return None


_DTYPES: Final = {bool: np.bool_, int: np.int64, float: np.float64}
"""Class of Python numbers → a dtype that holds the numbers exactly."""


def _bytes_array(buffer: bytes | memoryview) -> Array:
    return np.frombuffer(buffer, np.uint8)


_CONTAINERS: Final = frozenset((list, tuple, dict))
_AS_THEY_ARE: Final = frozenset((NoneType, bool, float))

_ENUMS: Final[dict[str, type[Enum]]] = {
    name: thing
    for name, thing in vars(varsim.spec).items()
    if isinstance(thing, type) and issubclass(thing, Enum) and thing is not Enum
}


class Unpacker:
    """Converts trees back to values."""

    def __init__(self, arrays: tuple[Array, ...], references: References) -> None:
        self._arrays = arrays
        self._references = references
        self._copies: dict[int, Array] = {}
        self._left_bytes = MAX_LARGE_TREE_BYTES  # for the values of further trees in arrays
        self._pool: ReceivedPool | None = None  # of the present tree in an array

    def value(self, tree: Any, depth: int) -> Any:
        """Return the value of one tree."""
        if depth > MAX_DEPTH:
            raise ProtocolError(f"a structure is nested deeper than {MAX_DEPTH}")
        kind = type(tree)
        if kind in _ATOMS:
            return tree
        if kind is not list or not tree or not isinstance(tree[0], int) or tree[0] not in _TAGS:
            raise ProtocolError("a structure holds a value without a tag")
        tag, *parts = tree
        match tag:
            case Tag.TUPLE:
                return tuple([self.value(part, depth + 1) for part in parts])
            case Tag.LIST:
                return [self.value(part, depth + 1) for part in parts]
            case Tag.DICT:
                return self._dict([self.value(part, depth + 1) for part in parts])
            case Tag.NAME:
                name = tuple([self.value(part, depth + 1) for part in parts])
                return self._references.find(name)
            case Tag.ENUM:
                return self._enum(parts)
            case Tag.COMPLEX | Tag.LONG_INT:
                return self._number(tag, parts)
            case Tag.NUMBERS:
                return self._numbers(parts)
            case Tag.TREE:
                return self._large(parts, depth)
            case Tag.ARRAY | Tag.SCALAR | Tag.LONG_STR | Tag.LONG_BYTES:
                return self._of_array(tag, parts)
            case _:
                return self.opaque(tag, parts, depth)

    def _dict(self, parts: list[Any]) -> dict[Any, Any]:
        try:
            return dict(zip(parts[::2], parts[1::2], strict=True))
        except (TypeError, ValueError) as error:
            raise ProtocolError(f"a dict is malformed: {error}") from error

    def opaque(self, tag: int, parts: list[Any], depth: int) -> Any:
        """Return the value of a tree that `Packer.opaque` has made."""
        del depth
        if tag != Tag.PICKLE:
            raise ProtocolError("a structure contains a part of a raised exception")
        from varsim.protocol.pickling import loads

        pickled, *indices = parts or [None]
        stream = self._of_array(Tag.LONG_BYTES, pickled[1:]) if type(pickled) is list else pickled
        if type(stream) is not bytes:
            raise ProtocolError("a pickle is not bytes")
        return loads(stream, [self._copy([index]) for index in indices], self._references)

    def _enum(self, parts: list[Any]) -> Any:
        match parts:
            case [str(class_name), str(member)] if class_name in _ENUMS:
                if member in _ENUMS[class_name].__members__:
                    return _ENUMS[class_name][member]
        raise ProtocolError(f"{parts} is not a member of an enum")

    def _number(self, tag: int, parts: list[Any]) -> Any:
        match tag, parts:
            case Tag.COMPLEX, [float(real), float(imaginary)]:
                return complex(real, imaginary)
            case Tag.LONG_INT, [digits]:
                try:
                    return int(self.value(digits, MAX_DEPTH), 16)
                except (ValueError, TypeError) as error:
                    raise ProtocolError("a long integer is not hexadecimal") from error
            case _:
                raise ProtocolError(f"{parts} is not a number")

    def _numbers(self, parts: list[Any]) -> Any:
        match parts:
            case [Tag.TUPLE | Tag.LIST as tag, index]:
                numbers = self._array([index])
                if numbers.ndim == 1 and numbers.dtype in _DTYPES.values():
                    return tuple(numbers.tolist()) if tag == Tag.TUPLE else numbers.tolist()
        raise ProtocolError("a list of numbers is malformed")

    def _large(self, parts: list[Any], depth: int) -> Any:
        array = self._array(parts[:1])
        if array.dtype != np.uint8 or array.ndim != 1:
            raise ProtocolError("a large tree is malformed")
        self._left_bytes -= decoded_bytes(array.data)
        if self._left_bytes < 0:
            raise ProtocolError("a tree can take more memory than any structure")
        try:
            tree = msgpack.unpackb(
                array.data, unicode_errors="surrogatepass", max_map_len=0, max_ext_len=0
            )
        except ValueError as error:  # all exceptions of msgpack inherit from ValueError
            raise ProtocolError(f"a large tree is not msgpack: {error!r}") from error
        before = self._pool
        self._pool = ReceivedPool(self._array(parts[1:])) if len(parts) > 1 else None
        try:
            return self.value(tree, depth + 1)
        finally:
            self._pool = before

    def _of_array(self, tag: int, parts: list[Any]) -> Any:
        if tag == Tag.ARRAY:
            return self._copy(parts)
        array = self._array(parts)
        if tag == Tag.SCALAR:
            if array.shape != ():
                raise ProtocolError("a scalar has a shape")
            return array[()]
        try:
            content = array.tobytes()
            return content if tag == Tag.LONG_BYTES else content.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise ProtocolError("a string is not UTF-8") from error

    def _array(self, parts: list[Any]) -> Array:
        match parts:
            case [int(index)] if 0 <= index < len(self._arrays):
                return self._arrays[index]
            case [[*place]] if self._pool is not None:
                return self._pool.find(place)
        raise ProtocolError(f"the payload has no array {parts}")

    def _copy(self, parts: list[Any]) -> Array:
        # Received arrays are read-only views of frames. User code must get arrays that it can
        # write, so they are copied.
        array = self._array(parts)
        index = parts[0]
        if type(index) is list:  # `ReceivedPool` has copied the array
            return array
        if index not in self._copies:
            self._copies[index] = np.array(array)
        return self._copies[index]


_ATOMS: Final = frozenset((NoneType, bool, int, float, str, bytes))
_TAGS: Final = frozenset(int(tag) for tag in Tag)
