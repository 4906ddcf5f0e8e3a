"""Pack structures of Python values to send them between processes.

`pack` returns a tree that msgpack can encode; `tree` describes it. Unpack only payloads from an
authenticated connection.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from types import NoneType
from typing import Any, Final

import msgpack
import numpy as np

from varsim.errors import ProtocolError
from varsim.extension_dtypes import key_of
from varsim.protocol.limits import MAX_HEADER_BYTES, check_nesting, decoded_bytes
from varsim.protocol.messages import Payload
from varsim.protocol.packer import LargePacker, Packer
from varsim.protocol.pooled_arrays import ReceivedPool
from varsim.protocol.references import References
from varsim.protocol.tree import (
    AS_THEY_ARE,
    ENUMS,
    MAX_DEPTH,
    MAX_LARGE_TREE_BYTES,
    NUMBER_DTYPES,
    NoTreeError,
    Tag,
    TooDeepError,
)
from varsim.spec import Array

MAX_TREE_BYTES: Final = 64 * 1024
"""Limit of the estimated size of a tree in a header. A larger tree is sent as an array, outside the
header. So a payload is always within the limits of a header (see `limits`)."""


def pack(value: Any, references: References) -> Payload:
    """Return a structure of Python values as a payload.

    The payload contains views of the arrays, not copies. If the same array occurs several times,
    the payload contains it only once, and `unpack` returns one array. Any other object that occurs
    several times is unpacked as several objects, except within one pickle.

    Raises:
        TypeError: A value cannot be pickled.
        SizeError: An array is too large, or the structure is nested too deeply.
    """
    if type(value) in AS_THEY_ARE:
        return Payload(value)
    packer, tree = Packer(references, MAX_TREE_BYTES), None
    try:
        tree = packer.tree(value, 0)
    except TooDeepError:
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
            case [str(class_name), str(member)] if class_name in ENUMS:
                if member in ENUMS[class_name].__members__:
                    return ENUMS[class_name][member]
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
                if numbers.ndim == 1 and numbers.dtype in NUMBER_DTYPES.values():
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
