"""Define the values that messages contain, and the base class of messages."""

from __future__ import annotations

from enum import Enum
from typing import Any, ClassVar, Final

from varsim.spec import Array, Operation, ReduceOp
from varsim.value_class import value_class

BY_PROGRAM = 0
"""The `call_id` of the commit of a write by the program, which belongs to no call."""

OF_DEFERRED = -1
"""The `call_id` of the commit of deferred writes, which can belong to several calls."""

OWN_CALLS: Final = 2**32
"""The first `call_id` of varsim's own calls, which do not count as calls of the program.

With such calls, a run reads or sets the replicas' random generators for a checkpoint.
"""


def is_own_call(call_id: int | None) -> bool:
    """Return whether varsim itself has made a call, and not the program."""
    return call_id is not None and call_id >= OWN_CALLS


Structure = tuple[tuple[str, str], ...]
"""The structure of a nested value: the path and the kind of each node.

A node precedes its children. The keys of a dict are sorted by their text, so dicts that differ only
in the order of insertion have the same `Structure`. The path of the value itself is "". Each level
adds a key or an index, such as `['loss']` or `[0]`, or `.x` for a field of a named tuple.
"""

LEAF: Final = "an array"
"""The kind of a node without children."""


@value_class(eq=False)
class Payload:
    """A structure of Python values that is sent to another process.

    A payload is opaque to the states; `protocol.structure` packs and unpacks it. In a cluster whose
    replicas share the program's memory, `tree` is the object itself, and `arrays` is empty.
    """

    tree: Any
    arrays: tuple[Array, ...] = ()


class CombineKind(Enum):
    """A collective that combines the replicas' values; the value is the name of its method."""

    ALL_REDUCE = "all_reduce"
    ALL_GATHER = "all_gather"
    REDUCE_SCATTER = "reduce_scatter"
    ALL_TO_ALL = "all_to_all"
    BROADCAST = "broadcast"
    SCAN = "scan"

    __hash__ = object.__hash__


@value_class
class Combination:
    """How a collective combines the replicas' values; must be the same on all replicas."""

    kind: CombineKind
    op: ReduceOp | None = None  # of ALL_REDUCE, REDUCE_SCATTER and SCAN
    axis: int | None = None  # of ALL_GATHER and REDUCE_SCATTER, from 0
    root: int | None = None  # of BROADCAST: the replica whose value all replicas get
    exclusive: bool = False  # of SCAN: whether a replica's own value is left out
    group: tuple[int, ...] = ()  # the members of a process group, in order; () for all replicas
    variable_id: int | None = None  # of v.sync and v.broadcast: the variable to synchronise

    @property
    def method(self) -> str:
        """Return the name of the method that the program called."""
        if self.variable_id is None:
            return self.kind.value
        return "v.broadcast" if self.kind is CombineKind.BROADCAST else "v.sync"

    def may_differ(self, axis: int) -> bool:
        """Return whether the sizes of the replicas' values along an axis may differ."""
        if self.kind is CombineKind.ALL_GATHER:
            return axis == self.axis
        return self.kind is CombineKind.ALL_TO_ALL

    def settings(self) -> dict[str, str | int | bool]:
        """Return the arguments by name, without those that the kind does not have."""
        op = None if self.op is None else self.op.name
        given = {"op": op, "axis": self.axis, "root": self.root}
        found: dict[str, str | int | bool] = {k: v for k, v in given.items() if v is not None}
        return {**found, "exclusive": True} if self.exclusive else found

    def arguments(self) -> tuple[str, ...]:
        """Return the arguments of the method, as the program writes them; the op is the first."""
        given = self.settings().items()
        return (
            *(str(value) if key == "op" else f"{key}={value}" for key, value in given),
            *([f"group={[*self.group]}"] if self.group else []),
        )


@value_class
class Report:
    """A replica's report of one call, sent together with the result."""

    accesses: tuple[tuple[int, int, int], ...] = ()  # (variable_id, local writes, reads)
    diverged: tuple[int, ...] = ()  # ids of variables with a component that was written locally
    warnings: tuple[tuple[str, str], ...] = ()  # (text, location)
    output: str = ""  # the text that the function printed


@value_class
class Write:
    """One write of a variable in replica context, without its value."""

    variable_id: int
    operation: Operation
    shape: tuple[int, ...]  # the shape of the value
    location: str  # file:line in the user's program


@value_class(kw_only=True, eq=False)
class Message:
    """Base of all messages."""

    name: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        cls.name = cls.__name__
