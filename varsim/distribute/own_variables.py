"""The variables of a strategy: create and copy them, and find those that still exist."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Any, Protocol

from varsim.distribute.cluster_variable import ClusterVariable
from varsim.distribute.cross_replica import CrossReplica
from varsim.distribute.distributed import class_of
from varsim.distribute.incarnations import Incarnations
from varsim.distribute.lease import Lease
from varsim.distribute.naming import PROGRAM, new_id
from varsim.distribute.ports import ClusterPort
from varsim.distribute.requested import requested
from varsim.location import user_location, warn
from varsim.protocol.limits import check_name
from varsim.spec import Array, VariableSpec
from varsim.sync import creation
from varsim.texts.checkpoints import starts_on_each
from varsim.texts.policies import text_of


class Owner(ClusterPort, Protocol):
    """The strategy of the variables."""

    @property
    def incarnations(self) -> Incarnations:
        """Return the clusters of workers, which have the components."""

    @property
    def cross(self) -> CrossReplica:
        """Return an object that accesses the variables in cross-replica context."""

    def in_force(self, asked: VariableSpec, value: Array) -> VariableSpec:
        """Return the spec of a new variable with the settings that apply."""


class OwnVariables:
    """The variables of one strategy, in the program's process."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._leases: weakref.WeakValueDictionary[int, Lease[ClusterVariable]] = (
            weakref.WeakValueDictionary()
        )

    def create(self, kwargs: dict[str, Any]) -> ClusterVariable:
        """Return a new variable with a component on every replica.

        Args:
            kwargs: The arguments of `tf.Variable`.
        Raises:
            VariableError: The initial value cannot have the dtype or the shape, or the settings are
                not possible.
        """
        name = kwargs["name"] or "Variable"
        check_name(name, "the name of a variable")
        asked, array = requested(kwargs)
        spec = self._owner.in_force(asked, array)
        warning = text_of(spec.synchronization).warning
        if warning:
            warn(f"variable {name!r}: {warning}", spec.created_at)
        count = self._owner.num_replicas_in_sync
        if creation.adds_up(spec, array, count):
            warn(starts_on_each(name, array, count), spec.created_at)
        variable = self._make(spec, array)
        variable.constraint = kwargs["constraint"]
        return variable

    def _make(self, spec: VariableSpec, value: Array) -> ClusterVariable:
        value.setflags(write=False)
        incarnations = self._owner.incarnations
        incarnations.create(spec, value)
        lease: Lease[ClusterVariable] = Lease()
        incarnations.forget_with(lease, spec.variable_id)
        PROGRAM.know("distributed", spec.variable_id, lease)
        variable = class_of(spec.synchronization)(self._owner, spec, lease)
        self._leases[spec.variable_id] = lease
        return variable

    def duplicate(self, variable: ClusterVariable) -> ClusterVariable:
        """Return a new variable with the same settings, components and policy state."""
        cross = self._owner.cross
        components = cross.components(variable, range(self._owner.num_replicas_in_sync))
        spec = replace(variable.spec, variable_id=new_id(), created_at=user_location())
        copy = self._make(spec, components[0])
        copy.constraint = variable.constraint
        if any(component is not components[0] for component in components):
            cross.write_components(copy, dict(enumerate(components)))
        cross.set_states(copy, cross.states(variable))
        return copy

    def alive(self) -> list[ClusterVariable]:
        """Return the variables that the program still has, in the order of their creation."""
        found = (lease.holder() for _, lease in sorted(self._leases.items()))
        return [variable for variable in found if variable is not None]

    def forget_values(self) -> None:
        """Forget the values that variables have kept, because the workers are new ones."""
        for lease in self._leases.values():
            for variable in lease.holders():
                variable.forget_values()
