"""Provide one rank in one operation: its group, and checks of its arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from varsim.distribute.ranks import (
    Members,
    gathered,
)
from varsim.distribute.replica_context import ReplicaContext
from varsim.errors import (
    AggregationError,
    DistributedValueError,
    ShapeError,
)
from varsim.location import warn
from varsim.spec import Array
from varsim.spec import ReduceOp as Reduction
from varsim.torch_distributed.groups import FACE, OF_BOOLS, ProcessGroup, ReduceOp, Work


class Here:
    """One rank in one operation."""

    def __init__(self, what: str, context: ReplicaContext, members: Members) -> None:
        self.what = what
        self.context = context
        self.members = members
        self.rank = context.replica_id_in_sync_group
        self.options = members.options(context)

    @property
    def count(self) -> int:
        """Return the number of members."""
        return len(self.members.ranks)

    def op(self, op: ReduceOp, array: Array) -> Reduction:
        """Return the reduction of the arrays of the ranks.

        Raises:
            ValueError: The arrays have no such reduction.
        """
        if not isinstance(op, ReduceOp):
            raise TypeError(f"{self.what}(op={op!r}): use a dist.ReduceOp, such as SUM")
        if array.dtype.kind == "b":
            return OF_BOOLS.get(op, op.value)
        if op is ReduceOp.AVG and array.dtype.kind in "iu":
            raise AggregationError(
                "(value)",
                f"{self.what}(op=AVG) of {array.dtype}: the result is no integer",
                "Use a float dtype, or SUM, and divide it.",
            )
        return op.value

    def fill(self, target: Array, value: Array) -> None:
        """Write a result into an array.

        Raises:
            ValueError: The array has another shape or dtype.
        """
        if target.shape != value.shape or target.dtype != value.dtype:
            raise ShapeError(
                "(value)",
                f"{self.what} cannot write {value.dtype}{list(value.shape)} into an array of "
                f"{target.dtype}{list(target.shape)}",
                "Create the array with this shape and dtype.",
            )
        target[...] = value

    def listed(self, arrays: Any, argument: str) -> list[Array]:
        """Return a list with one array for each member.

        Raises:
            ValueError: The list has another length.
        """
        given = [] if arrays is None else list(arrays)
        if len(given) != self.count:
            raise DistributedValueError(
                f"{self.what}({argument}=…) got {len(given)} arrays, and {self.count} ranks take "
                "part: give one for each"
            )
        return given

    def only_on(self, root: int, arrays: object, argument: str, name: str) -> int:
        """Return the number of a root among the members, and refuse the list on other ranks."""
        index = self.members.index(root, name)
        if self.rank != root and arrays:
            raise DistributedValueError(
                f"{self.what}({argument}=…): only rank {root} gives this list; this is rank "
                f"{self.rank}"
            )
        return index

    def exchange(self, parts: Sequence[Array], name: str | None) -> list[Array]:
        """Send an array to each member; return those that the members sent to this one."""
        sent = list(parts)
        received = self.context.all_to_all(sent, name=name, **self.options)
        return [np.asarray(one) for one in received]

    def gathered(self, array: Array) -> Array:
        """Return the arrays of all members, along a new first axis."""
        return gathered(self.context, self.members, array[None], None)


def here_in(what: str, group: ProcessGroup | None) -> Here | None:
    """Return this rank in an operation; None, with a warning, if it is not a member."""
    context, world = FACE.state(what)
    if group is None:
        return Here(f"dist.{what}", context, world)
    if not isinstance(group, ProcessGroup):
        raise TypeError(f"dist.{what}(group={group!r}): make a group by dist.new_group([0, 2])")
    if group.rank() < 0:
        warn(
            f"dist.{what}: rank {group.own_rank} is not a member of the group of ranks "
            f"{list(group.members.ranks)}, so the call has no effect here, as in torch"
        )
        return None
    return Here(f"dist.{what}", context, group.members)


def done(async_op: bool) -> Work | None:
    """Return what a function of torch returns, after the operation."""
    return Work() if async_op else None
