"""Perform the program's operations on distributed variables in cross-replica context.

`varsim.sync.program` decides the effects of the operations. This module converts values to arrays
and records locations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from varsim.distribute.cluster_variable import ClusterVariable
from varsim.distribute.conversion import as_number, to_array
from varsim.distribute.distributed import DistributedVariable
from varsim.distribute.sparse import as_rows
from varsim.distribute.values import DistributedValues, PerReplica, per_replica_here
from varsim.errors import ReplicaIndexError, ShapeError, VariableError, VarsimError
from varsim.location import program_location, user_location, warn
from varsim.protocol.parts import Combination
from varsim.spec import (
    Array,
    Context,
    ManualOperation,
    NamedArrays,
    Operand,
    Operation,
    VariableSpec,
)
from varsim.sync import policies, reduce
from varsim.sync.actions import ProgramDone
from varsim.sync.coordinator_events import (
    ProgramAssignComponents,
    ProgramFetch,
    ProgramFetchPublished,
    ProgramFetchStates,
    ProgramOperation,
    ProgramPull,
    ProgramPush,
    ProgramRead,
    ProgramReading,
    ProgramScatter,
    ProgramSetStates,
    ProgramSync,
    ProgramWrite,
    ProgramWriteComponent,
    ProgramWriting,
)
from varsim.sync.policies.cell import Cell
from varsim.texts.facts import times
from varsim.tracing.trace import Trace


class Cluster(Protocol):
    """The workers of a strategy, as its variables use them."""

    @property
    def recorder(self) -> Trace | None:
        """Return the trace of the program's operations; None if they are not recorded here."""

    @property
    def records_reads(self) -> bool:
        """Return whether reads are recorded, too."""

    def look(self, event: ProgramReading) -> ProgramDone:
        """Read a variable, its components, or what replicas share of it."""

    def write(self, event: ProgramWriting | ProgramPush | ProgramSync) -> ProgramDone:
        """Write or synchronise a variable, or push to its authoritative copy."""


class CrossReplica:
    """Reads and writes variables in cross-replica context."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def components(
        self, variable: ClusterVariable, replica_ids: Sequence[int]
    ) -> tuple[Array, ...]:
        """Return the components of a variable on some replicas, read-only."""
        event = ProgramFetch(variable.spec.variable_id, tuple(replica_ids))
        return self._cluster.look(event).values

    def component(self, variable: ClusterVariable, replica_id: int) -> Array:
        """Return a component of a variable, read-only; record it as a read by the program.

        Raises:
            ReplicaIndexError: The replica is gone.
        """
        _check_replica(variable, replica_id)
        done = self._cluster.look(ProgramFetch(variable.spec.variable_id, (replica_id,)))
        self._note_read(variable.spec.variable_id, replica_id, done)
        return done.values[0]

    def read(self, variable: ClusterVariable) -> Array:
        """Return the cross-replica value of a variable, as the policy says; read-only.

        Raises:
            VariableError: The policy refuses the read.
        """
        try:
            done = self._cluster.look(ProgramRead(variable.spec.variable_id))
        except VariableError as error:
            error.location = error.location or user_location()
            raise
        self._note_read(variable.spec.variable_id, None, done)
        return done.values[0]

    def _note_read(self, number: int, replica_id: int | None, done: ProgramDone) -> None:
        trace = self._cluster.recorder
        if trace is not None and self._cluster.records_reads:
            (version,), (value,) = done.versions, done.values
            trace.read(number, replica_id, version, program_location(), value)

    def write_component(
        self, variable: ClusterVariable, replica_id: int, operation: Operation, operand: Operand
    ) -> None:
        """Write one component. The components of a mirrored variable then differ.

        Raises:
            VariableError: The component cannot take the operand; nothing has changed.
            ReplicaIndexError: The replica is gone.
        """
        _check_replica(variable, replica_id)
        number, location = variable.spec.variable_id, self._location()
        event = ProgramWriteComponent(number, replica_id, operation, operand, location)
        self._cluster.write(event)

    def scatter(self, variable: ClusterVariable, operation: Operation, value: Any) -> None:
        """Apply a sparse write in cross-replica context, as the policy says.

        Args:
            value: IndexedSlices, or a PerReplica of IndexedSlices.
        Raises:
            VariableError: The variable cannot take the rows; nothing has changed.
            UnsupportedError: The policy refuses the write.
        """
        spec, count = variable.spec, variable.strategy.num_replicas_in_sync
        ids = variable.strategy.local_replica_ids
        distributed = isinstance(value, DistributedValues)
        each = [value.select(i, count) for i in ids] if distributed else [value]
        rows = tuple(as_rows(one, spec.dtype, spec.name) for one in each)
        kind = type(value).__name__ if distributed else ""
        location = user_location() if distributed else self._location()
        event = ProgramScatter(spec.variable_id, operation, rows, kind, location)
        self._cluster.write(event)

    def write_components(self, variable: ClusterVariable, values: dict[int, Array]) -> None:
        """Assign several components.

        If all components get equal values, they have a mirror again.
        """
        number, location = variable.spec.variable_id, self._location()
        self._cluster.write(ProgramAssignComponents(number, values, location))

    def states(self, variable: ClusterVariable) -> tuple[NamedArrays, ...]:
        """Return what the policy keeps beside each component; empty if it keeps nothing."""
        if policies.state_rule(variable.spec) is None:
            return ()
        everyone = tuple(range(variable.strategy.num_replicas_in_sync))
        return self._cluster.look(ProgramFetchStates(variable.spec.variable_id, everyone)).states

    def set_states(self, variable: ClusterVariable, states: Sequence[NamedArrays] = ()) -> None:
        """Replace what the policy keeps beside each component.

        Args:
            states: The state of each replica; () if the variable begins without a state.
        """
        if policies.state_rule(variable.spec) is not None:
            each = tuple(states) or ((),) * variable.strategy.num_replicas_in_sync
            self._cluster.write(ProgramSetStates(variable.spec.variable_id, each))

    def restore(self, variable: ClusterVariable, value: Array) -> None:
        """Assign a saved value as the policy says, without a warning about lost remainders.

        Args:
            value: An array of the variable's dtype and of a shape that the variable can have.
        Raises:
            VariableError: The policy does not allow the write; nothing has changed.
        """
        number, location = variable.spec.variable_id, self._location()
        self._cluster.write(
            ProgramWrite(
                number,
                Operation.ASSIGN,
                (np.array(value),),
                per_replica="",
                is_indivisible=False,
                returns_value=False,
                problem=None,
                location=location,
            )
        )

    def write(
        self, variable: ClusterVariable, operation: Operation, value: Any, *, read_value: bool
    ) -> None:
        """Write a variable in cross-replica context, as the policy says.

        Raises:
            VariableError: The policy, the dtype or the shape does not allow the write; nothing has
                changed.
        """
        spec, count = variable.spec, variable.strategy.num_replicas_in_sync
        cell = policies.cell(spec, Context.CROSS_REPLICA, operation)
        if isinstance(value, DistributedVariable) and cell.per_component:
            components = value.strategy.cross.components(value, value.strategy.local_replica_ids)
            value = per_replica_here(components, value.strategy.num_replicas_in_sync)
        if cell.takes_first and isinstance(value, DistributedValues):
            value = self._first(variable, value)
        distributed = isinstance(value, DistributedValues) and not isinstance(
            value, DistributedVariable
        )
        values: tuple[Array, ...] = ()
        problem: VarsimError | None = None
        try:
            if distributed:
                ids = variable.strategy.local_replica_ids
                each = (value.select(i, count) for i in ids)
                values = tuple(to_array(part, spec.dtype, spec.name) for part in each)
            else:
                values = (self._one_value(spec, cell, value, count),)
        except VarsimError as error:  # the state raises it, unless the policy refuses the write
            problem = error
        event = ProgramWrite(
            spec.variable_id,
            operation,
            values,
            per_replica=type(value).__name__ if distributed else "",
            is_indivisible=isinstance(value, bool) and spec.dtype.kind == "b",
            returns_value=read_value,
            problem=problem,
            location=user_location() if distributed else self._location(),
        )
        try:
            self._cluster.write(event)
        except ShapeError as error:
            if distributed and values:
                error.problem += f"; the {event.per_replica} has {reduce.described(values)}"
            raise

    def _first(self, variable: ClusterVariable, value: DistributedValues) -> Any:
        """Return the value of replica 0; warn if it is a PerReplica with several values.

        A Mirrored and a distributed variable are meant to have equal values on all replicas.
        """
        count = variable.strategy.num_replicas_in_sync
        first = value.select(0, count)
        if isinstance(value, PerReplica) and count > 1:
            warn(_WHAT_FIRST_DROPS.format(name=variable.spec.name), user_location())
        return first

    def perform(self, event: ProgramOperation) -> ProgramDone:
        """Perform an operation that all workers of a strategy have asked for.

        Raises:
            VarsimError: The operation is refused; nothing has changed.
        """
        match event:
            case ProgramRead():
                done = self._cluster.look(event)
                self._note_read(event.variable_id, None, done)
            case ProgramFetch() | ProgramFetchStates():
                done = self._cluster.look(event)
            case ProgramPull():
                done = self._cluster.look(event)
                self._note(ManualOperation.PULL, event.variable_id, None, done, done.values[0])
            case ProgramFetchPublished():
                done, owner = self._cluster.look(event), event.replica_id
                self._note(ManualOperation.FETCH, event.variable_id, owner, done, done.values[0])
            case ProgramPush():
                done = self._cluster.write(event)
                self._note(ManualOperation.PUSH, event.variable_id, None, None, event.delta)
            case _:
                done = self._cluster.write(event)
        return done

    # ------------------------------------------------------------ manual operations

    def sync(self, variable: ClusterVariable, how: Combination) -> Array:
        """Store the result of a collective over all components in each of them; return it.

        Raises:
            VariableError: The variable does not support the operation; nothing has changed.
        """
        event = ProgramSync(variable.spec.variable_id, how, self._location())
        return np.array(self._cluster.write(event).values[0])

    def push(self, variable: ClusterVariable, delta: Array) -> None:
        """Add to the authoritative copy of a variable.

        Args:
            delta: An array of the variable's dtype that does not change afterwards.
        Raises:
            VariableError: The variable does not support the operation; nothing has changed.
        """
        number = variable.spec.variable_id
        self._cluster.write(ProgramPush(number, delta))
        self._note(ManualOperation.PUSH, number, None, None, delta)

    def pull(self, variable: ClusterVariable) -> ProgramDone:
        """Return the authoritative copy of a variable.

        Raises:
            VariableError: The variable does not support the operation.
        """
        number = variable.spec.variable_id
        done = self._cluster.look(ProgramPull(number))
        self._note(ManualOperation.PULL, number, None, done, done.values[0])
        return done

    def fetch(self, variable: ClusterVariable, replica_id: int) -> ProgramDone:
        """Return the last published component of a replica.

        Raises:
            VariableError: The variable does not support the operation.
            ReplicaIndexError: There is no such replica.
        """
        number = variable.spec.variable_id
        done = self._cluster.look(ProgramFetchPublished(number, replica_id))
        self._note(ManualOperation.FETCH, number, replica_id, done, done.values[0])
        return done

    def _note(
        self,
        operation: ManualOperation,
        number: int,
        owner: int | None,
        done: ProgramDone | None,
        value: Array,
    ) -> None:
        trace = self._cluster.recorder
        if trace is not None:
            version, age_ns = (0, 0) if done is None else (done.versions[0], done.ages_ns[0])
            trace.shared(operation.value, number, owner, version, age_ns, program_location(), value)

    def _location(self) -> str:
        """Return the location in the program; "" if locations are not recorded."""
        return "" if self._cluster.recorder is None else program_location()

    def _one_value(self, spec: VariableSpec, cell: Cell, value: Any, count: int) -> Array:
        if not cell.shares:
            return to_array(value, spec.dtype, spec.name)
        if isinstance(value, bool) and spec.dtype.kind == "b":
            return np.asarray(value)
        number = as_number(value, spec.name)
        if reduce.loses_remainder(number, spec.dtype, count, spec.name):
            warn(_WHAT_SHARES_LOSE.format(name=spec.name, count=count), user_location())
        return number


def _check_replica(variable: ClusterVariable, replica_id: int) -> None:
    count = variable.strategy.num_replicas_in_sync
    if replica_id >= count:  # the strategy has lost workers, and goes on with fewer replicas
        raise ReplicaIndexError(
            f"variable {variable.name!r} has {times(count, 'component')} now, because workers were "
            f"lost: component {replica_id} is gone; use v.values again"
        )


_WHAT_FIRST_DROPS = (
    "variable {name!r}: a PerReplica is written in cross-replica context to a variable with one "
    "copy. The copy gets the value of replica 0, as in TensorFlow; the values of the other "
    "replicas are not used. Reduce them first: strategy.reduce(op, value, axis=None)."
)
_WHAT_SHARES_LOSE = (
    "variable {name!r}: assigning to an ON_READ variable with aggregation=SUM gives each of the "
    "{count} replicas an equal share. An integer that {count} does not divide loses its "
    "remainder, as in TensorFlow. Use a float dtype, or a multiple of {count}."
)
