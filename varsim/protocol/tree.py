"""Define the tree of a structure of Python values: its tags, and its limits.

msgpack can encode a tree. None, bool, float, str, bytes and integers of 64 bits are unchanged.
Every other value becomes a list: a tag, followed by

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
"""

from __future__ import annotations

from enum import Enum, IntEnum
from types import NoneType
from typing import Final

import numpy as np

import varsim.spec

MAX_DEPTH: Final = 64
"""Depth limit of a tree. A deeper structure, or a structure that contains itself, is pickled."""

LONG_BYTES: Final = 16 * 1024
"""A text, a pickle or the digits of an integer of at least this size are sent as an array, outside
the header."""

MAX_LARGE_TREE_BYTES: Final = 2**30
"""Limit of the memory for the values of all trees in arrays of a payload; see
`limits.decoded_bytes`. A structure with a larger tree is pickled."""

NUMBER_DTYPES: Final = {bool: np.bool_, int: np.int64, float: np.float64}
"""Class of Python numbers → a dtype that holds the numbers exactly."""

ENUMS: Final[dict[str, type[Enum]]] = {
    name: thing
    for name, thing in vars(varsim.spec).items()
    if isinstance(thing, type) and issubclass(thing, Enum) and thing is not Enum
}

AS_THEY_ARE: Final = frozenset((NoneType, bool, float))


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


class TooDeepError(NoTreeError):
    """A structure has no tree, because it is nested deeper than `MAX_DEPTH`."""
