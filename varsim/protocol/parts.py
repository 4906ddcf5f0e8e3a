"""The values that messages contain, and the base class of messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from varsim.spec import Array, Operation

BY_PROGRAM = 0
"""In place of a call's number: the program did it, outside the merges of all calls."""

OF_DEFERRED = -1
"""In place of a call's number: it settles writes of a deferred variable, of any call."""


Structure = tuple[tuple[str, str], ...]
"""How a value is nested: the path and the kind of each node.

A node comes before its children, and keys of a dict are sorted by their text, so equal structures
are equal tuples in any order of insertion. The path of the value itself is ""; a child has a key or
index, such as `['loss']` or `[0]`, and a field of a named tuple has `.x`.
"""

LEAF: Final = "an array"
"""The kind of a node without children."""


@dataclass(frozen=True, slots=True, eq=False)
class Payload:
    """A structure of Python values on its way to another process.

    It is opaque to the states; `protocol.structure` packs and unpacks it. In a cluster whose
    replicas share the program's memory, `tree` is the object itself, and there are no arrays.
    """

    tree: Any
    arrays: tuple[Array, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What a replica reports of one call, beside the result."""

    accesses: tuple[tuple[int, int, int], ...] = ()  # (variable_id, local writes, reads)
    diverged: tuple[int, ...] = ()  # variables whose component here was written locally
    warnings: tuple[tuple[str, str], ...] = ()  # (text, location)
    output: str = ""  # what the function printed


@dataclass(frozen=True, slots=True)
class Write:
    """One write of a variable in replica context; it must be the same on all replicas."""

    variable_id: int
    operation: Operation
    shape: tuple[int, ...]  # of the value
    location: str  # file:line in the user's program


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Message:
    """Base of all messages."""

    name: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        cls.name = cls.__name__
