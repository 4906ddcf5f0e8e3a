"""Define variables that have a component on every replica of a strategy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from varsim.distribute.aggregating import AggregatingVariable
from varsim.distribute.cluster_variable import ClusterVariable
from varsim.distribute.context import (
    Frame,
    base_frame,
    current_frame,
    is_outside,
    replica_within,
)
from varsim.distribute.host_requests import (
    DescribeVariable,
    ReadVariable,
    WriteVariable,
)
from varsim.distribute.lease import Lease
from varsim.distribute.policies import know
from varsim.distribute.ports import ClusterPort
from varsim.distribute.resource import ResourceVariable
from varsim.distribute.values import DistributedValues, listed
from varsim.errors import (
    ReplicaIndexError,
)
from varsim.location import located
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
from varsim.sync.fixes import refusal_of_elements
from varsim.sync.replica_events import RowsRead


class DistributedVariable(ClusterVariable, DistributedValues):
    """A variable with a component on every replica of a strategy."""

    def __init__(
        self, strategy: ClusterPort, spec: VariableSpec, lease: Lease[ClusterVariable]
    ) -> None:
        super().__init__(strategy, spec, lease)
        self._components: tuple[ComponentVariable, ...] = ()

    is_distributed_variable = True

    @property
    def is_distributed(self) -> bool:
        """Return True."""
        return True

    @property
    def values(self) -> tuple[ComponentVariable, ...]:
        """Return the components, in replica order, as separate variables."""
        if not self._components:
            ids = self.strategy.local_replica_ids
            self._components = tuple(component(self, i, ids[0]) for i in ids)
        return self._components

    def component_of(self, replica_id: int) -> ComponentVariable:
        """Return the component on one replica as a separate variable."""
        return self.values[replica_id - self.strategy.local_replica_ids[0]]

    def forget_values(self) -> None:
        """Drop the component objects, because the number of replicas has changed."""
        self._components = ()

    def select(self, replica_id: int, num_replicas: int) -> DistributedVariable:
        """Return the variable itself: each replica uses its own component of the variable."""
        return self

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
            or is_outside(frame, self.strategy)
            or base_frame(frame, self.strategy) is not None
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
        return frame.update is None and super()._is_cross(frame)

    def _at_hand(self, frame: Frame) -> ComponentVariable:
        assert frame.update is not None
        return self.component_of(frame.update.replica_id)

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

    def __repr__(self) -> str:
        replica = replica_within(current_frame(), self.strategy)
        if replica is not None and self._of_program is None and replica.session is not None:
            return str(replica.session.call_host(DescribeVariable(self)))
        return f"{type(self).__name__}:{{\n{listed(self.values)}\n}}"


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
        session = self._session(frame)
        if session is None:
            return variable.strategy.cross.component(variable, replica_id)
        if self._is_of(session, frame):
            return session.read(variable.variable_id)
        return np.asarray(session.call_host(ReadVariable(self.of_program)))

    def write(self, operation: Operation, operand: Operand) -> None:
        """Apply an operation to this component only; other components stay unchanged."""
        variable, replica_id = self._variable, self._replica_id
        frame = current_frame()
        if frame is not None and frame.update is not None:
            frame.update.write(variable, replica_id, operation, operand)
            return
        session = self._session(frame)
        if session is None:
            variable.strategy.cross.write_component(variable, replica_id, operation, operand)
        elif self._is_of(session, frame) and not variable.merges:
            session.write_component(variable.variable_id, operation, operand)
        else:
            session.call_host(WriteVariable(self.of_program, operation, operand))

    def rows(self, key: tuple[Array, ...]) -> Array:
        """Return a copy of some rows or elements of the component."""
        frame = current_frame()
        session = self._session(frame)
        if session is not None and self._is_of(session, frame):
            return session.read_rows(RowsRead(self._variable.variable_id, key))
        return np.array(self.read()[key])

    @property
    def of_program(self) -> ComponentVariable:
        """Return the component as a variable of the program that started the workers."""
        variable = self._variable.of_program
        assert isinstance(variable, DistributedVariable), "it is of the same class"
        return variable.component_of(self._replica_id)

    def _session(self, frame: Frame | None) -> Replica | None:
        replica = replica_within(frame, self._variable.strategy)
        return None if replica is None else replica.session

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


def component(variable: DistributedVariable, replica_id: int, first_id: int) -> ComponentVariable:
    """Return one component of a distributed variable as a separate variable.

    Args:
        first_id: The first of the replicas whose components the program sees. Only the names of
            other components have a number.
    """
    number = replica_id - first_id
    name = variable.spec.name + (f"/replica_{number}" if number else "")
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


def class_of(synchronization: Synchronization) -> type[ClusterVariable]:
    """Return the class of the variables with a synchronization.

    Raises:
        ConfigError: The synchronization's policy is not installed in this process.
    """
    if isinstance(synchronization, CustomSynchronization):
        know(synchronization)
        has_one_copy = policies.policy_of(synchronization).has_one_copy
        return AggregatingVariable if has_one_copy else CustomVariable
    return CLASSES[synchronization]
