"""The limits of an envelope. A sender and its receiver check them with the same functions.

A receiver checks sizes before it allocates memory for them. So the memory and the time to decode an
envelope are proportional to its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import numpy as np

from varsim.errors import SizeError, VarsimError
from varsim.extent import extent_of
from varsim.protocol.parts import Structure
from varsim.spec import Array

_T = TypeVar("_T")

Buffer = bytes | bytearray | memoryview
"""The types of a received frame."""

MAX_DECODED_BYTES: Final = 32 * 2**20
"""Limit of the memory for the values of a header; see `decoded_bytes`. Large arrays, long texts and
pickles are not in the header, so only a message with very many Python values reaches the limit."""

MAX_HEADER_BYTES: Final = MAX_DECODED_BYTES // 8
"""Size limit of a header: every byte becomes at least 8 bytes of memory."""

MAX_FRAME_BYTES: Final = 2**34
"""Size limit of one array: 16 GiB, more than any variable of one machine."""

MAX_LARGE_ARRAYS: Final = 2**16
"""Largest number of arrays with their own frame in an envelope. Small arrays are packed together,
and the limits of a header also limit their number."""

MAX_DIMENSIONS: Final = 64
"""Largest number of dimensions of an array; NumPy has the same limit."""

MAX_NESTING: Final = 256
"""Largest depth of nested lists, tuples and dicts that a program can send. Python's own limit of
recursion allows no more than a few hundred levels, and depends on the program."""

MAX_NAME: Final = 1000
"""Largest number of characters in the name of a variable or of a collective."""

MAX_LOCKS_HELD: Final = 1000
"""Largest number of locks that a replica can hold at the same time."""


def _memory_of_bytes() -> Array:
    """Return, for each first byte of a msgpack value, the most memory that the value can take."""
    memory = np.full(256, 8, np.int64)  # 8 for a reference; Python shares small ints, None, bools
    memory[0x80:0xA0] = 96  # a list or a dict, with its reference
    memory[0xA0:0xC0] = 64  # a short text
    memory[0xC4:0xE0] = 64  # numbers, texts, bytes, long lists
    memory[0xDC:0xE0] = 96
    memory[0xE0:0xFB] = 48  # negative integers that Python does not share
    return memory


_MEMORY_OF_BYTES: Final = _memory_of_bytes()
SHORT_HEADER_BYTES: Final = MAX_DECODED_BYTES // int(_MEMORY_OF_BYTES.max())
_AT_ONCE: Final = 2**16  # number of bytes that are examined in one step


def decoded_bytes(header: Buffer) -> int:
    """Return an upper bound of the memory for the decoded values of a header.

    The bound counts each byte as if a value began there.
    """
    content = np.frombuffer(header, np.uint8)
    parts = range(0, len(content), _AT_ONCE)
    return sum(int(_MEMORY_OF_BYTES[content[start : start + _AT_ONCE]].sum()) for start in parts)


def check_header(header: Buffer, error: type[VarsimError]) -> None:
    """Raise an error if a header is too large.

    A header of at most `SHORT_HEADER_BYTES` need not be checked.
    """
    size_bytes = len(header)
    if size_bytes > MAX_HEADER_BYTES:
        raise error(
            f"a message without its arrays has {size_bytes:,} bytes; the limit is "
            f"{MAX_HEADER_BYTES:,}. {_REMEDY}"
        )
    memory_bytes = decoded_bytes(header)
    if memory_bytes > MAX_DECODED_BYTES:
        raise error(
            f"a message without its arrays can take {memory_bytes:,} bytes of memory; the limit is "
            f"{MAX_DECODED_BYTES:,}. {_REMEDY}"
        )


_REMEDY: Final = "Use NumPy arrays instead of many Python values."


def check_frame(
    size_bytes: int, error: type[VarsimError] = SizeError, what: str = "an array"
) -> None:
    """Raise an error if an array is too large."""
    if size_bytes > MAX_FRAME_BYTES:
        raise error(f"{what} has {size_bytes:,} bytes; the limit is {MAX_FRAME_BYTES:,}")


def check_large_arrays(count: int, error: type[VarsimError]) -> None:
    """Raise an error if an envelope has too many large arrays."""
    if count > MAX_LARGE_ARRAYS:
        raise error(
            f"a message has {count:,} large arrays; the limit is {MAX_LARGE_ARRAYS:,}. Join them "
            "into fewer arrays."
        )


def check_name(name: str | None, what: str) -> None:
    """Refuse a name of the program that is too long to be sent with every message.

    Raises:
        SizeError: The name is too long.
    """
    if name is not None and len(name) > MAX_NAME:
        raise SizeError(f"{what} has {len(name):,} characters; the limit is {MAX_NAME:,}")


def check_leaves(structure: Structure, leaves: Sequence[Array]) -> None:
    """Check that the leaves of a collective, and the result, can be sent.

    Raises:
        SizeError: A leaf is too large, or there are too many leaves.
    """
    for leaf in leaves:
        check_frame(leaf.nbytes)
    paths = [path for path, _ in structure]
    memory_bytes = _LEAF_BYTES * len(paths) + 8 * sum(map(len, paths))
    if memory_bytes > MAX_DECODED_BYTES // 2 or not all(map(str.isascii, paths)):
        memory_bytes = _LEAF_BYTES * len(paths) + sum(
            decoded_bytes(path.encode("utf-8", "surrogatepass")) for path in paths
        )
    if memory_bytes > MAX_DECODED_BYTES // 2:
        raise SizeError(
            f"a collective of {len(leaves):,} values can take {memory_bytes:,} bytes of memory "
            f"without the values; the limit is {MAX_DECODED_BYTES // 2:,}. Join the values into "
            "fewer arrays."
        )


_LEAF_BYTES: Final = 700  # size of a descriptor, the kind of a node, and a path without its text

MAX_NODES: Final = MAX_DECODED_BYTES // 2 // _LEAF_BYTES
"""A collective of a structure with more nodes is always refused by `check_leaves`."""


def halves(messages: Sequence[_T], error: SizeError) -> tuple[Sequence[_T], Sequence[_T]]:
    """Divide the messages of an envelope that is too large.

    Raises:
        SizeError: There is only one message.
    """
    if len(messages) == 1:
        raise error
    middle = len(messages) // 2
    return messages[:middle], messages[middle:]


def check_nesting(structure: Any) -> None:
    """Check how deep lists, tuples and dicts are nested. A structure may contain itself.

    Raises:
        SizeError: The structure is nested deeper than `MAX_NESTING`.
    """
    levels = extent_of(structure).levels
    if levels > MAX_NESTING:
        raise SizeError(
            f"a structure is nested {levels:,} levels deep, so it cannot be sent to another "
            f"process; the limit is {MAX_NESTING}"
        )
