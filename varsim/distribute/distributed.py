"""Define variables that have a component on every replica of a strategy."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from varsim.distribute.context import Frame, current_frame, mixed
from varsim.distribute.conversion import as_operand
from varsim.distribute.host_requests import (
    DescribeVariable,
    ReadVariable,
    WriteVariable,
)
from varsim.distribute.lease import Lease
from varsim.distribute.manual import InProgram, InReplica, Manual, Refused
from varsim.distribute.operands import explain
from varsim.distribute.policies import know
from varsim.distribute.ports import ClusterPort, ReplicaPort
from varsim.distribute.resource import ResourceVariable
from varsim.distribute.sparse import as_rows, row_indices, selects
from varsim.distribute.values import DistributedValues, listed
from varsim.distribute.variable import Variable
from varsim.errors import (
    DistributedValueError,
    OperationError,
    ReplicaIndexError,
    UnsupportedOperation,
    VariableError,
)
from varsim.location import located, user_location
from varsim.shells.replica import Replica
from varsim.spec import (
    Array,
    Context,
    CustomSynchronization,
    Operand,
    Operation,
    Synchronization,
    VariableSpec,
    VariableSynchronization,
)
from varsim.sync import policies
from varsim.sync.fixes import refusal_of_elements, refusal_of_rows
from varsim.sync.replica_events import ReplicaScatter, RowsRead


class DistributedVariable(Variable, DistributedValues):
    """A variable with a component on every replica of a strategy.

    The effect of an operation depends on the current context: see `varsim.sync.policies`.
    """

    def __init__(
        self, strategy: ClusterPort, spec: VariableSpec, lease: Lease[DistributedVariable]
    ) -> None:
        self.strategy = strategy
        self.spec = spec
        self.lease = lease  # shared by all copies of this object
        lease.hold(self)
        self._name = spec.name
        self._dtype = spec.dtype
        self._shape = spec.shape
        self._trainable = spec.trainable
        self._synchronization = spec.synchronization
        self._aggregation = spec.aggregation
        cell = policies.cell(spec, Context.REPLICA, Operation.ASSIGN)
        self._uses_location = cell.uses_location
        self._components: tuple[ComponentVariable, ...] = ()

    is_distributed_variable = True

    @cached_property
    def variable_id(self) -> int:
        """Return the number of the variable.

        Raises:
            DroppedVariable: The program has dropped the variable; this is a replica's handle.
        """
        self.lease.check(self._name)
        return self.spec.variable_id

    @property
    def distribute_strategy(self) -> ClusterPort:
        """Return the strategy that created the variable."""
        return self.strategy

    @property
    def is_mirrored(self) -> bool:
        """Return whether all components should hold the same value."""
        return policies.policy_of(self.spec.synchronization).is_mirrored

    @property
    def merges(self) -> bool:
        """Return whether a write in replica context combines the values of all replicas."""
        return policies.merges(self.spec)

    @property
    def is_distributed(self) -> bool:
        """Return True."""
        return True

    @property
    def slice_remedy(self) -> str:
        """Return how to write a part of the value if a slice cannot be assigned."""
        if policies.cell(self.spec, Context.REPLICA, Operation.ASSIGN).is_private:
            return "Assign the slice in strategy.run, or a slice of a component: v.values[i]."
        return "Add the change of its rows: v.scatter_add(tf.IndexedSlices(change, rows))."

    @property
    def takes_slices(self) -> bool:
        """Return whether the current replica has its own value, as for ON_READ and NONE."""
        frame = current_frame()
        here = frame is not None and frame.replica is not None and frame.strategy is self.strategy
        return here and policies.cell(self.spec, Context.REPLICA, Operation.ASSIGN).is_private

    @property
    def values(self) -> tuple[ComponentVariable, ...]:
        """Return the components, in replica order, as separate variables."""
        if not self._components:
            count = self.strategy.num_replicas_in_sync
            self._components = tuple(component(self, i) for i in range(count))
        return self._components

    def forget_values(self) -> None:
        """Drop the component objects, because the number of replicas has changed."""
        self._components = ()

    def select(self, replica_id: int, num_replicas: int) -> DistributedVariable:
        """Return the variable itself: each replica uses its own component of the variable."""
        return self

    # ------------------------------------------------------------ reading

    def read_value(self) -> Array:
        """Return the value in the current context; read-only.

        Raises:
            VariableError: The policy refuses a read in this context.
            ContextError: The program is under another strategy.
        """
        frame = current_frame()
        if frame is not None and frame.replica is not None and frame.strategy is self.strategy:
            return frame.replica.session.read(self.variable_id)
        if frame is None or self._is_cross(frame):
            return self.strategy.cross.read(self)
        return self._at_hand(frame).read_value()

    def convert(self) -> Array:
        """Return the value as an operand; read-only.

        Under another strategy, `read_value` raises an error. For a mirrored variable this method
        then returns the component with the current replica's id, as in TensorFlow.
        """
        frame = current_frame()
        if (
            frame is None
            or frame.strategy is self.strategy
            or frame.update is not None
            or frame.strategy.is_outside
            or not self.is_mirrored
        ):
            return self.read_value()
        if frame.replica is None:
            return self.strategy.cross.read(self)
        replica_id = frame.replica.replica_id_in_sync_group
        if replica_id >= len(self.values):
            raise ReplicaIndexError(
                f"variable {self._name!r} has {len(self.values)} components, but replica "
                f"{replica_id} of another strategy reads it"
            )
        return self.values[replica_id].read_value()

    def _is_cross(self, frame: Frame) -> bool:
        if frame.update is not None:
            return False
        if frame.strategy.is_outside:
            return True
        if frame.strategy is not self.strategy:
            raise mixed(frame.strategy, self.strategy)
        return frame.replica is None

    def _at_hand(self, frame: Frame) -> ComponentVariable:
        assert frame.update is not None
        return self.values[frame.update.replica_id]

    # ------------------------------------------------------------ writing

    def write(self, operation: Operation, value: Any, read_value: bool = True) -> None:
        """Apply an assign, assign_add or assign_sub, as the policy says for the current context.

        Raises:
            VariableError: The policy, the dtype or the shape does not allow the write; nothing has
                changed.
            ContextError: The program is under another strategy.
        """
        frame = current_frame()
        if frame is not None and frame.replica is not None and frame.strategy is self.strategy:
            given = value
            try:
                if type(value) is not np.ndarray or value.dtype is not self._dtype:
                    value = self._operand(value)
                location = user_location(3) if self._uses_location else ""
                session = frame.replica.session
                session.write(self.variable_id, operation, value, location)
            except VariableError as error:
                self._explain(error, Context.REPLICA, operation, given)
                raise
        elif frame is None or self._is_cross(frame):
            try:
                self.strategy.cross.write(self, operation, value, read_value=read_value)
            except VariableError as error:
                self._explain(error, Context.CROSS_REPLICA, operation, value)
                raise
        else:
            self._at_hand(frame).write(operation, value)

    def scatter(self, operation: Operation, sparse_delta: Any) -> None:
        """Apply a sparse write, as the policy says for the current context.

        Raises:
            VariableError: The variable cannot take the rows; nothing has changed.
            UnsupportedError: The policy refuses the write, as in TensorFlow.
            ContextError: The program is under another strategy.
        """
        frame = current_frame()
        try:
            if frame is not None and frame.replica is not None and frame.strategy is self.strategy:
                self._check_scatter(Context.REPLICA, operation)
                if isinstance(sparse_delta, DistributedValues):
                    sparse_delta = self._own(sparse_delta, frame.replica)
                rows = as_rows(sparse_delta, self._dtype, self._name)
                event = ReplicaScatter(self.variable_id, operation, rows, user_location(3))
                frame.replica.session.scatter(event)
            elif frame is None or self._is_cross(frame):
                self._check_scatter(Context.CROSS_REPLICA, operation)
                self.strategy.cross.scatter(self, operation, sparse_delta)
            else:
                self._at_hand(frame).scatter(operation, sparse_delta)
        except VariableError as error:
            error.location = error.location or user_location()
            raise

    def _check_scatter(self, context: Context, operation: Operation) -> None:
        """Raise the error of a refused sparse write before its value is converted."""
        refused = policies.cell(self.spec, context, operation).refused
        if refused is not None:
            raise refusal_of_rows(self.spec, refused, context, operation)

    @located
    def scatter_elements(self, method: str, indices: Any, updates: Any = None) -> None:
        """Change elements of a component in `extended.update`; raise an error elsewhere."""
        frame = current_frame()
        if frame is None or frame.update is None:
            here = frame is not None and frame.replica is not None
            raise refusal_of_elements(
                self.spec, method, Context.REPLICA if here else Context.CROSS_REPLICA
            )
        self._at_hand(frame).scatter_elements(method, indices, updates)

    def part(self, key: Any) -> Array:
        """Return the part of the value that `key` selects."""
        frame = current_frame()
        here = frame is not None and frame.replica is not None and frame.strategy is self.strategy
        if not selects(key, self._name):
            return super().part(key)
        index = row_indices(key, self._name)
        if not here:
            return super().part(index)
        assert frame is not None
        assert frame.replica is not None
        return frame.replica.session.read_rows(RowsRead(self.variable_id, (index,)))

    def _explain(
        self, error: VariableError, context: Context, operation: Operation, value: Any
    ) -> None:
        count = self.strategy.num_replicas_in_sync
        explain(error, self.spec, context, operation, value, count)

    def update_buffer(self) -> Array:
        """Return an array in which to build the next update; see `Variable.update_buffer`."""
        frame = current_frame()
        if frame is not None and frame.replica is not None and frame.strategy is self.strategy:
            return frame.replica.session.buffer(self.variable_id)
        return super().update_buffer()

    def _operand(self, value: Any) -> Array:
        """Return the value to write on this replica; the result can be the caller's array."""
        if isinstance(value, DistributedValues):
            frame = current_frame()
            assert frame is not None
            assert frame.replica is not None
            value = self._own(value, frame.replica)
        return as_operand(value, self._dtype, self._name)

    def _own(self, value: DistributedValues, replica: ReplicaPort) -> Any:
        """Return a variable itself, or this replica's component of a captured per-replica value.

        Raises:
            DistributedValueError: The write changes only this replica's component, because the
                variable has no aggregation. As in TensorFlow, such a write cannot take a captured
                per-replica value.
        """
        if isinstance(value, Variable):
            return value
        if not self.merges:
            raise DistributedValueError(
                f"variable {self._name!r} at {user_location()}: a {type(value).__name__} has the "
                "values of all replicas, so it cannot be written to one replica's copy; pass it to "
                "strategy.run as an argument"
            )
        return value.select(replica.replica_id_in_sync_group, replica.num_replicas_in_sync)

    @property
    def manual(self) -> Manual:
        """Return the manual operations in the current context."""
        frame = current_frame()
        if frame is not None and frame.replica is not None and frame.strategy is self.strategy:
            return InReplica(self.variable_id, frame.replica)
        if frame is None or self._is_cross(frame):
            return InProgram(self, self.strategy.cross)
        problem = "in strategy.extended.update: the function has only one component"
        return Refused(self._name, problem, "Call it outside the function.")

    # ------------------------------------------------------------ refused, as in TensorFlow

    @located
    def count_up_to(self, limit: int) -> Any:
        """Raise an error: distributed variables do not support this method."""
        raise UnsupportedOperation(
            self._name, "a distributed variable has no count_up_to", "Use assign_add(1)."
        )

    @located
    def sparse_read(self, indices: Any, name: str | None = None) -> Any:
        """Raise an error: distributed variables do not support this method."""
        raise self._without("sparse_read", "v[indices]")

    @located
    def gather_nd(self, indices: Any, name: str | None = None) -> Any:
        """Raise an error: distributed variables do not support this method."""
        raise self._without("gather_nd", "v[tuple(np.moveaxis(np.asarray(indices), -1, 0))]")

    def _without(self, method: str, instead: str) -> OperationError:
        return OperationError(
            self._name,
            f"a distributed variable has no {method}",
            f"Index it: {instead} returns a copy of these parts.",
        )

    # ------------------------------------------------------------ repr and copies

    def __repr__(self) -> str:
        frame = current_frame()
        if frame is not None and frame.replica is not None and frame.replica.session is not None:
            return str(frame.replica.session.call_host(DescribeVariable(self)))
        return f"{type(self).__name__}:{{\n{listed(self.values)}\n}}"

    def __copy__(self) -> DistributedVariable:
        return type(self)(self.strategy, self.spec, self.lease)

    def __deepcopy__(self, memo: Any) -> DistributedVariable:
        frame = current_frame()
        if frame is not None and not self._is_cross(frame):
            raise OperationError(self._name, "it can only be copied in cross-replica context")
        copy: DistributedVariable = self.strategy.duplicate(self)
        return copy


class MirroredVariable(DistributedVariable):
    """A variable with ON_WRITE: all components hold one value; every write synchronises them."""


class AdaptiveVariable(MirroredVariable):
    """A variable with AUTO and auto="adaptive": like ON_WRITE, but a read exchanges the writes."""


class SyncOnReadVariable(DistributedVariable):
    """A variable with ON_READ: a cross-replica read combines the replicas' own values."""


class CustomVariable(DistributedVariable):
    """A variable with a policy that TensorFlow does not have."""


class LocalVariable(DistributedVariable):
    """A variable with NONE: every replica has its own value, which is never synchronized."""


class ComponentOf:
    """Reads and writes one replica's component of a distributed variable, in every context."""

    def __init__(self, variable: DistributedVariable, replica_id: int) -> None:
        self._variable = variable
        self._replica_id = replica_id

    def read(self) -> Array:
        """Return the component; read-only."""
        variable, replica_id = self._variable, self._replica_id
        frame = current_frame()
        if frame is not None and frame.update is not None:
            return frame.update.read(variable, replica_id)
        session = None if frame is None or frame.replica is None else frame.replica.session
        if session is None:
            return variable.strategy.cross.component(variable, replica_id)
        if self._is_of(session, frame):
            return session.read(variable.variable_id)
        return np.asarray(session.call_host(ReadVariable(variable.values[replica_id])))

    def write(self, operation: Operation, operand: Operand) -> None:
        """Apply an operation to this component only; other components stay unchanged."""
        variable, replica_id = self._variable, self._replica_id
        frame = current_frame()
        if frame is not None and frame.update is not None:
            frame.update.write(variable, replica_id, operation, operand)
            return
        session = None if frame is None or frame.replica is None else frame.replica.session
        if session is None:
            variable.strategy.cross.write_component(variable, replica_id, operation, operand)
        elif self._is_of(session, frame) and not variable.merges:
            session.write_component(variable.variable_id, operation, operand)
        else:
            session.call_host(WriteVariable(variable.values[replica_id], operation, operand))

    def rows(self, key: tuple[Array, ...]) -> Array:
        """Return a copy of some rows or elements of the component."""
        frame = current_frame()
        session = None if frame is None or frame.replica is None else frame.replica.session
        if session is not None and self._is_of(session, frame):
            return session.read_rows(RowsRead(self._variable.variable_id, key))
        return np.array(self.read()[key])

    def _is_of(self, session: Replica, frame: Frame | None) -> bool:
        """Return whether the current replica holds this component."""
        assert frame is not None
        same = frame.strategy is self._variable.strategy
        return same and session.replica_id == self._replica_id


class ComponentVariable(ResourceVariable):
    """One replica's component of a distributed variable, as a separate variable."""

    container: DistributedVariable

    @property
    def takes_slices(self) -> bool:
        """Return whether each replica has its own value, as for ON_READ and NONE."""
        spec = self.container.spec
        return policies.cell(spec, Context.REPLICA, Operation.ASSIGN).is_private

    @property
    def slice_remedy(self) -> str:
        """Return how to write a part of the component if a slice cannot be assigned."""
        return "Write its rows: component.scatter_update(tf.IndexedSlices(values, rows))."

    @property
    def device(self) -> str:
        """Return the simulated device of the component's replica."""
        return f"/device:{self.container.strategy.devices[self.replica_id].upper()}"


# Programs can read the name of this class, so it must be the same as in TensorFlow.
ComponentVariable.__name__ = ResourceVariable.__name__


def component(variable: DistributedVariable, replica_id: int) -> ComponentVariable:
    """Return one component of a distributed variable as a separate variable."""
    name = variable.spec.name + (f"/replica_{replica_id}" if replica_id else "")
    spec = replace(variable.spec, name=name, requested=variable.spec.synchronization)
    part = ComponentVariable(ComponentOf(variable, replica_id), spec)
    part.container = variable
    part.replica_id = replica_id
    return part


CLASSES: dict[VariableSynchronization, type[DistributedVariable]] = {
    VariableSynchronization.AUTO: AdaptiveVariable,
    VariableSynchronization.ON_WRITE: MirroredVariable,
    VariableSynchronization.ON_READ: SyncOnReadVariable,
    VariableSynchronization.NONE: LocalVariable,
}


def class_of(synchronization: Synchronization) -> type[DistributedVariable]:
    """Return the class of the variables with a synchronization.

    Raises:
        ConfigError: The synchronization's policy is not installed in this process.
    """
    if isinstance(synchronization, CustomSynchronization):
        know(synchronization)
        return CustomVariable
    return CLASSES[synchronization]
