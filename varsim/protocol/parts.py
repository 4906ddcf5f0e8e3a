"""What messages are made of, and the base of them all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from varsim.spec import Array, Operation

BY_PROGRAM = 0
"""In place of a call's number: the program did it outside every call's merges."""

OF_DEFERRED = -1
"""In place of a call's number: it settles writes of a deferred variable, whoever made them."""


Structure = tuple[tuple[str, str], ...]
"""How a value is nested: the path of each node, and what is there.

A node stands before those that it holds, and keys of a dict are in the order of their text, so
equal structures are equal tuples whatever the order of insertion. The value itself has the path "",
what it holds under a key or index has `['loss']` or `[0]`, and a named tuple's fields have `.x`.
"""

LEAF: Final = "an array"
"""What is at a node that holds no others."""


@dataclass(frozen=True, slots=True, eq=False)
class Payload:
    """A structure of Python values on its way to another process.

    Opaque to the states: `protocol.structure` packs and unpacks it. On a cluster whose replicas
    share the program's memory `tree` is the live object itself, and there are no arrays.
    """

    tree: Any
    arrays: tuple[Array, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What a replica saw during one call, beside the result."""

    accesses: tuple[tuple[int, int, int], ...] = ()  # (variable_id, local writes, reads)
    diverged: tuple[int, ...] = ()  # variables whose component here was written locally
    warnings: tuple[tuple[str, str], ...] = ()  # (text, place)
    output: str = ""  # what the function printed


@dataclass(frozen=True, slots=True)
class Write:
    """One write of a variable in replica context, as all replicas must do it alike."""

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
