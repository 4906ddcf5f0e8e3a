"""What a program does to distributed variables from outside the replicas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from varsim.distribute.conversion import as_number, to_array
from varsim.distribute.distributed import DistributedVariable
from varsim.distribute.place import user_place, warn
from varsim.distribute.values import DistributedValues, PerReplica
from varsim.errors import PerReplicaError, VariableError, VarsimError
from varsim.shells.coordinator import Coordinator
from varsim.spec import Array, Context, Operation, VariableSpec
from varsim.sync import fixes, policies, reduce
from varsim.sync.components import check_shape
from varsim.sync.policies.cells import Cell, Reason
from varsim.sync.policies.legality import check_arithmetic, check_gather


class CrossReplica:
    """Reads and writes variables in cross-replica context, as the policy says."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._num_replicas = coordinator.num_replicas

    def components(
        self, variable: DistributedVariable, replica_ids: Sequence[int]
    ) -> tuple[Array, ...]:
        """The components of a variable on some replicas, read-only."""
        values = self._coordinator.components(variable.spec.variable_id, replica_ids)
        for value in values:
            value.setflags(write=False)
        return values

    def component(self, variable: DistributedVariable, replica_id: int) -> Array:
        """The component of a variable on a replica, which the program reads; read-only."""
        value = self.components(variable, [replica_id])[0]
        self._note_read(variable, replica_id, value)
        return value

    def _note_read(
        self, variable: DistributedVariable, replica_id: int | None, value: Array
    ) -> None:
        trace = self._coordinator.link.recorder
        if trace is not None and self._coordinator.observed:
            number = variable.spec.variable_id
            version = self._coordinator.ledger.version(number, replica_id)
            trace.read(number, replica_id, version, user_place(), value)

    def write_component(
        self, variable: DistributedVariable, replica_id: int, operation: Operation, value: Array
    ) -> None:
        """Writes one component; a mirrored variable has diverged then.

        Raises:
            ShapeError: The value does not fit; nothing has changed.
        """
        spec = variable.spec
        if operation is not Operation.ASSIGN and None in spec.shape:
            before = self.components(variable, [replica_id])[0]
            check_shape(spec, operation, before, value)
        else:
            check_shape(spec, operation, value, value)
        self._to_one(spec.variable_id, replica_id, operation, value)

    def write_components(self, variable: DistributedVariable, values: dict[int, Array]) -> None:
        """Sets several components; if they are all, and the same, they are a mirror again."""
        number, assign = variable.spec.variable_id, Operation.ASSIGN
        if len(values) < self._num_replicas:
            for replica_id, value in values.items():
                self._to_one(number, replica_id, assign, value)
            return
        everything = [values[i] for i in range(self._num_replicas)]
        same = all(_identical(value, everything[0]) for value in everything)
        self._to_all(number, assign, everything, same=same)

    def read(self, variable: DistributedVariable) -> Array:
        """The cross-replica value of a variable, as the policy says; read-only.

        Raises:
            VariableError: The policy refuses it.
        """
        try:
            value = self._value(variable)
        except VariableError as error:
            error.place = error.place or user_place()
            raise
        self._note_read(variable, None, value)
        return value

    def _value(self, variable: DistributedVariable) -> Array:
        spec = variable.spec
        cell = policies.cell(spec, Context.CROSS_REPLICA, Operation.READ)
        self._coordinator.ledger.count_read(spec.variable_id)
        if cell.refused is not None:
            raise self._refusal(spec, cell.refused, Operation.READ)
        if cell.gathers:
            check_gather(spec, self._num_replicas)
        needed = cell.needed(spec, self._num_replicas)
        value = cell.combined(spec, self.components(variable, needed))
        value.setflags(write=False)
        return value

    def write(
        self, variable: DistributedVariable, operation: Operation, value: Any, *, read_value: bool
    ) -> None:
        """Writes a variable in cross-replica context, as the policy says.

        Raises:
            VariableError: The policy, the dtype or the shape refuses it; nothing has changed.
        """
        spec = variable.spec
        cell = policies.cell(spec, Context.CROSS_REPLICA, operation)
        if cell.refused is not None:
            raise self._refusal(spec, cell.refused, operation, _operand(spec, value))
        check_arithmetic(spec, operation, num_replicas=1)
        values, same = self._values_to_write(spec, operation, cell, value)
        if cell.reads_back and read_value:
            reason = policies.cell(spec, Context.CROSS_REPLICA, Operation.READ).refused
            if reason is not None:
                raise self._refusal(spec, reason, operation, _operand(spec, value))
        if operation is not Operation.ASSIGN and None in spec.shape:
            self._add_to_each(variable, operation, values)
            return
        self._to_all(spec.variable_id, operation, values, same=same)

    def _refusal(
        self,
        spec: VariableSpec,
        reason: Reason,
        operation: Operation,
        value: Array | None = None,
    ) -> VariableError:
        """The error of a cell that refuses, with what each fix would give."""
        components: tuple[Array, ...] | None = None
        if reason.shows_components and _is_small(spec):
            with suppress(VarsimError):  # the refusal says more than that a worker is lost
                everybody = range(self._num_replicas)
                components = self._coordinator.components(spec.variable_id, everybody)
        return fixes.refusal(spec, reason, operation, components, value)

    def _to_all(
        self, variable_id: int, operation: Operation, values: list[Array], *, same: bool
    ) -> None:
        place = self._place()
        self._coordinator.write(variable_id, operation, values, place, same=same)

    def _to_one(
        self, variable_id: int, replica_id: int, operation: Operation, value: Array
    ) -> None:
        place = self._place()
        self._coordinator.write_component(variable_id, replica_id, operation, value, place)

    def _place(self) -> str:
        """Where the program stands, if that is recorded."""
        return "" if self._coordinator.link.recorder is None else user_place()

    def _values_to_write(
        self, spec: VariableSpec, operation: Operation, cell: Cell, value: Any
    ) -> tuple[list[Array], bool]:
        count = self._num_replicas
        if isinstance(value, DistributedVariable) and cell.per_component:
            everything = list(value.strategy.cross.components(value, range(len(value.values))))
            value = PerReplica(everything) if count > 1 else everything[0]
        if isinstance(value, DistributedValues) and not isinstance(value, DistributedVariable):
            if not cell.per_component:
                error = PerReplicaError(
                    f"variable {spec.name!r} at {user_place()}: a {type(value).__name__} cannot be "
                    "assigned to an ON_READ variable in cross-replica context; assign in "
                    "strategy.run, where every replica writes its own part"
                )
                each = [_operand(spec, value.select(i, count)) for i in range(count)]
                known = [part for part in each if part is not None]
                parts = known if len(known) == count else None
                raise error.fixed_by(fixes.of_parts(spec, operation, parts))
            parts = [value.select(i, count) for i in range(count)]
            return [to_array(part, spec.dtype, spec.name) for part in parts], False
        convert = self._share if cell.shares else _as_the_variable
        array = convert(spec, value)
        array.setflags(write=False)
        return [array] * count, True

    def _share(self, spec: VariableSpec, value: Any) -> Array:
        """One replica's part of a value that is assigned to a sum."""
        if isinstance(value, bool) and spec.dtype.kind == "b":
            return np.asarray(value)  # half of true is as true
        value = as_number(value, spec.name)
        share = reduce.share_of(value, spec.dtype, self._num_replicas, spec.name)
        if share.dtype.kind in "iu" and not np.array_equal(share * self._num_replicas, value):
            what = _WHAT_SHARES_LOSE.format(name=spec.name, count=self._num_replicas)
            warn(what, user_place())
        return share

    def _add_to_each(
        self, variable: DistributedVariable, operation: Operation, values: list[Array]
    ) -> None:
        """Adds where components may differ in shape, so that all of them fit or none changes."""
        before = self.components(variable, range(self._num_replicas))
        for component, value in zip(before, values, strict=True):
            check_shape(variable.spec, operation, component, value)
        after = [
            reduce.apply(operation, component, value)
            for component, value in zip(before, values, strict=True)
        ]
        self._to_all(variable.spec.variable_id, Operation.ASSIGN, after, same=False)


_WHAT_SHARES_LOSE = (
    "variable {name!r}: assigning to an ON_READ variable with aggregation=SUM gives each of the "
    "{count} replicas an equal share, and an integer that {count} does not divide loses its "
    "remainder, as in TensorFlow. Use a float dtype, or a multiple."
)


def _operand(spec: VariableSpec, value: Any) -> Array | None:
    """What is written, to say what a fix would give; None if it is large, or does not fit."""
    try:
        array = to_array(value, spec.dtype, spec.name)
    except VarsimError:
        return None
    return array if fixes.are_few([array]) else None


def _is_small(spec: VariableSpec) -> bool:
    size = math.prod(size for size in spec.shape if size is not None)
    return None not in spec.shape and size * spec.dtype.itemsize <= fixes.FEW_BYTES


def _identical(value: Array, first: Array) -> bool:
    return value is first or (value.shape == first.shape and value.tobytes() == first.tobytes())


def _as_the_variable(spec: VariableSpec, value: Any) -> Array:
    return to_array(value, spec.dtype, spec.name)
