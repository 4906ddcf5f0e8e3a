"""Provide the collectives of a replica context: reductions, gathers, broadcasts and exchanges."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import partial
from operator import index
from typing import Any

from varsim.distribute.collective_arguments import checked_name as checked
from varsim.distribute.collective_arguments import parse_op
from varsim.distribute.context import strategy_in_force
from varsim.distribute.conversion import as_tensor
from varsim.distribute.discarded import Discarded, dropped
from varsim.distribute.groups import ProcessGroup, checked_group
from varsim.distribute.indexed_slices import IndexedSlices
from varsim.distribute.reduction import (
    checked_weight,
    components_of,
    divided,
    refuse_slices,
    require_joining,
)
from varsim.distribute.sparse import rows_alike
from varsim.distribute.structure_walks import map_structure, rebuilt, taken_apart
from varsim.distribute.values import DistributedValues
from varsim.errors import (
    DistributedValueError,
    ShapeError,
    ValueMismatchError,
    ValueTypeError,
)
from varsim.protocol.parts import Combination, CombineKind, Structure
from varsim.shells.replica import Replica
from varsim.spec import Array, ReduceOp
from varsim.sync import combining, reduce


class ReplicaCollectives(ABC):
    """The methods of a replica context that combine the replicas' values."""

    session: Replica
    num_replicas_present: int
    discarded: Discarded
    performs = ""  # see `MergeCall`

    @property
    @abstractmethod
    def num_replicas_in_sync(self) -> int:
        """Return the number of replicas."""

    @property
    @abstractmethod
    def replica_id_in_sync_group(self) -> int:
        """Return the id of this replica."""

    @abstractmethod
    def _check_current(self) -> None:
        """Raise an error if the context belongs to a call that does not run here."""

    def all_reduce(
        self,
        reduce_op: Any,
        value: Any,
        options: Any = None,
        *,
        name: str | None = None,
        weight: Any = None,
        group: ProcessGroup | None = None,
    ) -> Any:
        """Return the reduction of all replicas' values, on every replica.

        Args:
            reduce_op: A `ReduceOp` or its name. TensorFlow has only SUM and MEAN.
            value: A number, array or variable, or a structure of these. All replicas must pass the
                same structure, shapes and dtypes. The order of keys in dicts does not matter.
                IndexedSlices are joined in replica order, and for MEAN their values are divided by
                `num_replicas_present`; replicas can have different numbers of rows. Only SUM and
                MEAN accept IndexedSlices.
            name: A name for the reduced value. It is an error if the replicas' names differ.
                Without names, only the order of the calls determines which calls belong together.
            weight: For MEAN, the weight of this replica's value: a number from 0, usually its
                number of rows. Every replica must give one. The result is the sum of weight ·
                value, divided by the sum of the weights, so a mean of the replicas' means becomes
                the mean of all rows. A value with the weight 0 is left out, even if it is NaN.
            group: A group of which this replica is a member; see `Strategy.group`. Only the members
                take part, and a mean is that of their values. None means all replicas.
        Returns:
            The same structure of arrays. A mean of integers is float64.
        Raises:
            MismatchError: The replicas call different operations.
            ValueError: The structure is empty, its values cannot be combined, or all weights are 0.
            ContextError: This replica is not a member of the group.
        """
        op = parse_op(reduce_op)
        how = self._how(CombineKind.ALL_REDUCE, group, op=op)
        _, given = taken_apart(value)
        if any(isinstance(leaf, IndexedSlices) for leaf in given):
            require_joining(op, weight)
            self._check_current()
            return rebuilt(value, self._reduce_with_slices(how, given, checked_name(name)))
        return self._combine(how, value, name, weight)

    def _reduce_with_slices(
        self, how: Combination, leaves: list[Any], label: str | None
    ) -> list[Any]:
        """Gather the rows of IndexedSlices, and reduce the other leaves."""
        assert how.op is not None, "a reduction has an op"
        sparse = [leaf for leaf in leaves if isinstance(leaf, IndexedSlices)]
        dense = [as_tensor(leaf) for leaf in leaves if not isinstance(leaf, IndexedSlices)]
        parts = [part for leaf in sparse for part in rows_alike(leaf)]
        check_axis(parts, 0)
        self._note_if_dropped(how, parts, depth=4)
        join = Combination(CombineKind.ALL_GATHER, axis=0, group=how.group)
        form, performs = taken_apart(parts)[0], self.performs
        gathered = self.session.combine(join, form, parts, label, None, performs)
        count = len(self._members(how))
        rows = (
            IndexedSlices(divided(how.op, values, count), indices, leaf.dense_shape)
            for leaf, values, indices in zip(sparse, gathered[::2], gathered[1::2], strict=True)
        )
        others: Iterator[Any] = iter(())
        if dense:
            form = taken_apart(dense)[0]
            others = iter(self.session.combine(how, form, dense, label, None, performs))
        return [next(rows if isinstance(leaf, IndexedSlices) else others) for leaf in leaves]

    def all_gather(
        self,
        value: Any,
        axis: int,
        options: Any = None,
        *,
        name: str | None = None,
        group: ProcessGroup | None = None,
    ) -> Any:
        """Return all replicas' values, concatenated along `axis`, on every replica.

        Args:
            value: An array of one dimension or more, or a structure of such arrays. Sizes along
                `axis` may differ between replicas.
            axis: The axis, counted from 0; it cannot be negative.
            name, group: See `all_reduce`.
        Raises:
            MismatchError: The replicas call different operations.
            ValueError: The value does not have this axis.
        """
        how = self._how(CombineKind.ALL_GATHER, group, axis=index(axis))
        return self._combine(how, value, name)

    def reduce_scatter(
        self,
        reduce_op: Any,
        value: Any,
        axis: int = 0,
        *,
        name: str | None = None,
        weight: Any = None,
        group: ProcessGroup | None = None,
    ) -> Any:
        """Return this replica's part of the reduction of all replicas' values.

        The reduction is split along `axis` into as many equal parts as replicas take part; the i-th
        of these replicas gets part i. TensorFlow does not have this method.

        Args:
            reduce_op, value, name, weight, group: See `all_reduce`.
            axis: The axis, counted from 0. The size along this axis must be a multiple of the
                number of replicas that take part.
        Raises:
            MismatchError: The replicas call different operations.
            ValueError: The value cannot be split or combined.
        """
        how = self._how(CombineKind.REDUCE_SCATTER, group, op=parse_op(reduce_op), axis=index(axis))
        return self._combine(how, value, name, weight)

    def all_to_all(
        self, values: Any, *, name: str | None = None, group: ProcessGroup | None = None
    ) -> list[Any]:
        """Send one value to each replica; return the values that the replicas sent to this one.

        TensorFlow does not have this method.

        Args:
            values: A list of one array for each replica that takes part, in replica order. The
                arrays may have different sizes, also zero rows.
            name, group: See `all_reduce`.
        Returns:
            A list of arrays, one from each replica that takes part, in replica order.
        Raises:
            MismatchError: The replicas call different operations, or arrays of different dtypes or
                numbers of dimensions.
            ValueError: There is not one array for each replica.
        """
        how = self._how(CombineKind.ALL_TO_ALL, group)
        parts, count = list(values), len(self._members(how))
        if len(parts) != count:
            number = "len(group)" if how.group else "num_replicas_present"
            raise DistributedValueError(
                f"all_to_all got {len(parts)} values, and {count} replicas take part: give a list "
                f"of one array for each of them ({number}); an array can have no rows"
            )
        refuse_slices("all_to_all", parts)
        arrays = [as_tensor(part) for part in parts]
        result: list[Any] = self._combine(how, arrays, name)
        return result

    def broadcast(
        self,
        value: Any,
        root: int = 0,
        *,
        name: str | None = None,
        group: ProcessGroup | None = None,
    ) -> Any:
        """Return the value of one replica, on every replica.

        TensorFlow does not have this method.

        Args:
            value: A number, array or variable, or a structure of these. All replicas must pass the
                same structure, shapes and dtypes; only the values of `root` are used.
            root: The id of the replica whose value all replicas get. In a group, it is a member.
            name, group: See `all_reduce`.
        Raises:
            MismatchError: The replicas call different operations, or have different roots.
            ValueError: The replica `root` takes no part in the call.
        """
        members = self._members(self._how(CombineKind.BROADCAST, group))
        if root not in members:
            ids = f"one of {[*members]}" if group else f"from 0 to {len(members) - 1}"
            raise DistributedValueError(
                f"broadcast got root={root!r}: it must be the id of a replica that takes part in "
                f"the collective, {ids}"
            )
        how = self._how(CombineKind.BROADCAST, group, root=int(root))
        return self._combine(how, value, name)

    def scan(
        self,
        reduce_op: Any,
        value: Any,
        *,
        exclusive: bool = False,
        name: str | None = None,
        group: ProcessGroup | None = None,
    ) -> Any:
        """Return the reduction of the values of the replicas 0 to this one.

        For example, the exclusive sum of the replicas' numbers of rows is the number of the first
        row of this replica. TensorFlow does not have this method.

        Args:
            reduce_op: See `all_reduce`; MEAN is refused.
            value: See `all_reduce`.
            exclusive: Whether to leave out this replica's own value. The first replica then gets
                the value that changes no other value: 0 for SUM, 1 for PROD, the largest value of
                the dtype (inf for floats) for MIN, the smallest for MAX, False for ANY, True for
                ALL.
            name, group: See `all_reduce`.
        Returns:
            A structure of arrays of the same shapes and dtypes.
        Raises:
            MismatchError: The replicas call different operations.
            ValueError: The values cannot be combined.
        """
        op = parse_op(reduce_op)
        if op is ReduceOp.MEAN:
            raise DistributedValueError(
                "scan has no MEAN: scan the SUM, and divide it by the number of replicas"
            )
        how = self._how(CombineKind.SCAN, group, op=op, exclusive=bool(exclusive))
        return self._combine(how, value, name)

    def _how(self, kind: CombineKind, group: Any, **arguments: Any) -> Combination:
        """Return the properties of a collective, after checking that this replica takes part."""
        return Combination(kind, group=self._ids(group, kind.value), **arguments)

    def _ids(self, group: Any, operation: str) -> tuple[int, ...]:
        """Return the members of a group for a message, after checking that this replica is one."""
        me, devices = self.replica_id_in_sync_group, strategy_in_force().devices
        return checked_group(group, operation, me, devices)

    def _note_if_dropped(self, how: Combination, leaves: Sequence[Array], depth: int) -> None:
        """Note the collective if the program drops its result.

        A program may give a number to let the replicas wait for each other, so it is not warned.

        Args:
            depth: Number of innermost frames to skip, as in `user_location`.
        """
        warns = any(leaf.size > 1 for leaf in leaves)
        self.discarded.note(dropped(how.kind.value, depth, warns=warns))

    def _members(self, how: Combination) -> Sequence[int]:
        """Return the replicas that take part in a collective."""
        present = range(self.num_replicas_present)
        return [i for i in how.group if i in present] if how.group else present

    def _combine(self, how: Combination, value: Any, name: str | None, weight: Any = None) -> Any:
        """Combine the leaves of a value with those of the other replicas."""
        label, number = checked_name(name), checked_weight(weight, how.op)
        structure, given = taken_apart(value)
        refuse_slices(how.kind.value, given)
        leaves = [as_tensor(leaf) for leaf in given]
        return rebuilt(value, self._combined(how, structure, leaves, label, number))

    def _combined(
        self,
        how: Combination,
        structure: Structure,
        leaves: list[Array],
        label: str | None,
        weight: float | None,
    ) -> Sequence[Array]:
        self._check_current()
        axis = how.axis
        if not leaves:
            method = how.kind.value
            raise ValueMismatchError(f"{method} got an empty structure: it needs a value")
        if how.kind is CombineKind.ALL_GATHER and self.num_replicas_in_sync == 1:
            return leaves
        self._note_if_dropped(how, leaves, depth=5)
        if how.kind is CombineKind.ALL_GATHER:
            assert axis is not None, "a gather has an axis"
            check_axis(leaves, axis)
        elif how.kind is CombineKind.REDUCE_SCATTER:
            assert axis is not None, "a reduce_scatter has an axis"
            combining.require_parts(leaves, axis, len(self._members(how)))
        return self.session.combine(how, structure, leaves, label, weight, self.performs)


def checked_name(name: Any) -> str | None:
    """Return the name of a collective as a plain str, or None; see `meetings.checked_name`."""
    return None if name is None else checked(name, "a collective")


def check_axis(leaves: Sequence[Array], axis: int) -> None:
    """Refuse values that cannot be gathered, before a replica waits for the result.

    Raises:
        ShapeError: A leaf does not have this axis.
        ValueTypeError: A leaf has the dtype bool.
    """
    for leaf in leaves:
        if not 0 <= axis < leaf.ndim:
            raise ShapeError(
                "(value)",
                f"cannot gather along axis {axis} of a value of {leaf.ndim} dimensions",
                "Axes count from 0; give scalars an axis first: value[None].",
            )
        if leaf.dtype.kind == "b":
            raise ValueTypeError("(value)", "cannot gather bools", "Cast them to an integer dtype.")


def gathered(value: Any, axis: int) -> Any:
    """Concatenate the components of a per-replica value, or of each value of a dict, along an axis.

    Raises:
        ValueError: The values do not have this axis, or their other dimensions differ.
        TypeError: The values are bools.
    """
    return map_structure(partial(_gathered, axis), value, (dict,))


def _gathered(axis: int, value: Any) -> Any:
    refuse_slices("strategy.gather", [value])
    if not isinstance(value, DistributedValues):
        return value
    parts = components_of(value)
    if len(parts) > 1:
        check_axis(parts, axis)
    return reduce.concatenate(parts, axis) if len(parts) > 1 else parts[0]
