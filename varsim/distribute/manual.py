"""Provide the methods by which a program itself synchronises the components of a variable."""

from __future__ import annotations

import operator
import time
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from varsim.distribute.collective_arguments import checked_name, parse_op
from varsim.distribute.context import strategy_in_force
from varsim.distribute.conversion import as_operand
from varsim.distribute.groups import ProcessGroup, checked_group
from varsim.distribute.ports import CrossReplicaPort, ReplicaPort
from varsim.distribute.structure_walks import taken_apart
from varsim.errors import OperationError, ReplicaIndexError
from varsim.location import located, user_location
from varsim.protocol.parts import Combination, CombineKind
from varsim.spec import (
    Array,
    ManualOperation,
    Operation,
    ReduceOp,
    VariableAggregation,
    VariableSpec,
)
from varsim.sync import reduce
from varsim.sync.actions import ProgramDone
from varsim.sync.components import check_shape
from varsim.sync.manual import check_manual, check_op, operation_of
from varsim.sync.policies.legality import check_arithmetic
from varsim.sync.replica_events import (
    EnterSync,
    ReplicaFetch,
    ReplicaPublish,
    ReplicaPull,
    ReplicaPush,
)
from varsim.texts.facts import name_replicas
from varsim.value_class import value_class


@value_class(eq=False)
class VersionedValue:
    """A published component, or the authoritative copy of a variable, as it was at one time.

    Attributes:
        value: The value; a read-only array.
        version: How often the component was published, or how many pushes the copy contains. In
            version 0 it is the initial value of the variable.
        age_s: The time since the publication or the last push, in seconds; for version 0, since
            the creation of the variable.
    """

    value: Array
    version: int
    age_s: float


class Manual(Protocol):
    """The manual operations on one variable in the current context."""

    def sync(self, how: Combination, label: str | None, group: Any) -> Array:
        """Store the result of a collective in all components, and return it."""

    def publish(self) -> None:
        """Publish the component of the current replica."""

    def fetch(self, replica_id: int) -> VersionedValue:
        """Return the last published component of a replica."""

    def push(self, delta: Array) -> None:
        """Add to the authoritative copy."""

    def pull(self) -> VersionedValue:
        """Return the authoritative copy."""


class ManualOperations:
    """The manual operations of variables; TensorFlow has none of them.

    `sync` and `broadcast` change the components; in replica context they are collectives. A
    *one-sided* operation needs no other replica: the program's process answers it at once. The
    one-sided operations do not change a component.
    """

    _name: str
    _dtype: np.dtype[np.generic]
    spec: VariableSpec

    @property
    def manual(self) -> Manual:
        """Return the operations in the current context."""
        raise NotImplementedError

    @located
    def sync(
        self, op: Any = None, name: str | None = None, group: ProcessGroup | None = None
    ) -> Array:
        """Store the aggregate of all components in every component, and return it.

        In replica context, all replicas that take part in the call must call the method: each
        component is used as it is when its replica arrives. In cross-replica context, the program
        does it alone.

        Args:
            op: A `ReduceOp` or its name; by default the aggregation of the variable. With
                ONLY_FIRST_REPLICA, every component becomes that of replica 0.
            name: A name for the collective; see `ReplicaContext.all_reduce`.
            group: A group of replicas; see `Strategy.group`. Only its members take part, and only
                their components change.
        Raises:
            OperationError: The policy refuses the operation; no op is given, and the variable has
                no aggregation; or the op gives another dtype, such as MEAN of integers.
            MismatchError: The replicas call different operations, or synchronise another variable.
        """
        return self.manual.sync(self._how(op), _label(name), group)

    @located
    def broadcast(
        self, root: int = 0, name: str | None = None, group: ProcessGroup | None = None
    ) -> Array:
        """Store the component of replica `root` in every component, and return it.

        Args:
            root: The id of a replica that takes part in the call; equal on all replicas.
            name, group: See `sync`.
        Raises:
            OperationError: The policy refuses the operation.
            MismatchError: The replicas call different operations, or have different roots.
            ReplicaIndexError: There is no such replica.
        """
        return self.manual.sync(self._broadcast(operator.index(root)), _label(name), group)

    def _how(self, op: Any) -> Combination:
        """Return the collective of a sync."""
        aggregation = self.spec.aggregation
        if op is None and aggregation is VariableAggregation.ONLY_FIRST_REPLICA:
            return self._broadcast(0)
        if op is None and aggregation is VariableAggregation.NONE:
            check_manual(self.spec, ManualOperation.SYNC)  # its error is more important
            raise OperationError(
                self._name,
                "v.sync() needs an op, because the variable has aggregation=NONE",
                "Give the op, for example v.sync('MEAN'); or create the variable with an "
                "aggregation, which is then the op.",
            )
        which = ReduceOp.from_variable_aggregation(aggregation) if op is None else parse_op(op)
        number = self.spec.variable_id
        return Combination(CombineKind.ALL_REDUCE, which, variable_id=number)

    def _broadcast(self, root: int) -> Combination:
        return Combination(CombineKind.BROADCAST, root=root, variable_id=self.spec.variable_id)

    @located
    def publish(self) -> None:
        """Publish the component of the current replica, for `fetch` in any process.

        It replaces the last published component of this replica. The method does not wait.

        Raises:
            OperationError: The policy refuses the operation, or the program is not in replica
                context.
        """
        self.manual.publish()

    @located
    def fetch(self, replica_id: int) -> VersionedValue:
        """Return the last published component of a replica, with its version and age.

        The replica does not take part. Before its first `publish`, the initial value of the
        variable is its published component, with version 0.

        Raises:
            OperationError: The policy refuses the operation.
            ReplicaIndexError: There is no such replica.
        """
        return self.manual.fetch(operator.index(replica_id))

    @located
    def push(self, delta: Any) -> None:
        """Add `delta` to the authoritative copy of the variable.

        The program's process holds the copy, which begins with the initial value. Pushes of all
        processes are applied one after another, in order of arrival. The method does not wait.

        Args:
            delta: A number or an array of the variable's shape.
        Raises:
            OperationError: The policy refuses the operation, or the dtype is bool.
            ShapeError: The delta has another shape, or the variable's shape can change.
            DtypeError: The dtype cannot hold the delta.
        """
        self.manual.push(np.array(as_operand(delta, self._dtype, self._name), order="C"))

    @located
    def pull(self) -> VersionedValue:
        """Return the authoritative copy of the variable, with its version and age.

        The copy contains all pushes that have arrived, and no part of another one.

        Raises:
            OperationError: The policy refuses the operation, or the dtype is bool.
            ShapeError: The variable's shape can change, so it has no such copy.
        """
        return self.manual.pull()


class InReplica:
    """The manual operations of a function that runs on a replica."""

    def __init__(self, variable_id: int, name: str, replica: ReplicaPort) -> None:
        self._number = variable_id
        self._name = name
        self._replica = replica

    def sync(self, how: Combination, label: str | None, group: Any) -> Array:
        """Synchronise the component of this replica with those of the others."""
        replica = self._replica
        own_id, devices = replica.replica_id_in_sync_group, strategy_in_force().devices
        how = replace(how, group=checked_group(group, how.method, own_id, devices))
        check_root(self._name, how, replica.num_replicas_present)
        structure, _ = taken_apart({self._name: 0})  # errors show the name of the variable
        event = EnterSync(how, structure, label, user_location())
        return self._replica.session.sync(event)

    def publish(self) -> None:
        """Publish the component of this replica."""
        self._replica.session.share(ReplicaPublish(self._number, user_location()))

    def fetch(self, replica_id: int) -> VersionedValue:
        """Return the last published component of a replica."""
        return self._read(ReplicaFetch(self._number, replica_id, user_location()))

    def push(self, delta: Array) -> None:
        """Add to the authoritative copy."""
        delta.setflags(write=False)
        self._replica.session.share(ReplicaPush(self._number, delta, user_location()))

    def pull(self) -> VersionedValue:
        """Return the authoritative copy."""
        return self._read(ReplicaPull(self._number, user_location()))

    def _read(self, event: ReplicaFetch | ReplicaPull) -> VersionedValue:
        answer = self._replica.session.read_shared(event)
        value = answer.value
        value.setflags(write=False)
        return VersionedValue(value, answer.version, answer.age_ns / 1e9)


class InProgram:
    """The manual operations in cross-replica context."""

    def __init__(self, variable: Any, cross: CrossReplicaPort) -> None:
        self._variable = variable
        self._cross = cross

    def sync(self, how: Combination, label: str | None, group: Any) -> Array:
        """Synchronise all components; the name has no effect, because the program is alone."""
        strategy = self._variable.strategy
        member = group.replica_ids[0] if isinstance(group, ProcessGroup) else 0
        how = replace(how, group=checked_group(group, how.method, member, strategy.devices))
        check_root(self._variable.label, how, strategy.num_replicas_in_sync)
        return self._cross.sync(self._variable, how)

    def publish(self) -> None:
        """Raise an error: only a replica has a component of its own."""
        raise OperationError(
            self._variable.label,
            "v.publish in cross-replica context: only a replica publishes its component",
            "Call it in strategy.run; here, v.values[i] reads a component.",
        )

    def fetch(self, replica_id: int) -> VersionedValue:
        """Return the last published component of a replica."""
        return _versioned(self._cross.fetch(self._variable, replica_id))

    def push(self, delta: Array) -> None:
        """Add to the authoritative copy."""
        self._cross.push(self._variable, delta)

    def pull(self) -> VersionedValue:
        """Return the authoritative copy."""
        return _versioned(self._cross.pull(self._variable))


def _label(name: Any) -> str | None:
    return None if name is None else checked_name(name, "a collective")


def check_root(name: str, how: Combination, num_replicas: int) -> None:
    """Refuse a broadcast from a replica that does not take part.

    Raises:
        ReplicaIndexError: There is no such replica, or it is not a member of the group.
    """
    members = how.group or range(num_replicas)
    if how.root is not None and how.root not in members:
        raise ReplicaIndexError(
            f"v.broadcast({how.root}) of variable {name!r}: the component must be that of "
            f"{name_replicas(members)}"
        )


def _versioned(done: ProgramDone) -> VersionedValue:
    return VersionedValue(done.values[0], done.versions[0], done.ages_ns[0] / 1e9)


class Refused:
    """The manual operations where no variable supports them.

    Args:
        problem: Why, after the name of the operation.
    """

    def __init__(self, name: str, problem: str, remedy: str) -> None:
        self._name, self._problem, self._remedy = name, problem, remedy

    def sync(self, how: Combination, label: str | None, group: Any) -> Array:
        """Raise an error."""
        raise self._error(operation_of(how))

    def publish(self) -> None:
        """Raise an error."""
        raise self._error(ManualOperation.PUBLISH)

    def fetch(self, replica_id: int) -> VersionedValue:
        """Raise an error."""
        raise self._error(ManualOperation.FETCH)

    def push(self, delta: Array) -> None:
        """Raise an error."""
        raise self._error(ManualOperation.PUSH)

    def pull(self) -> VersionedValue:
        """Raise an error."""
        raise self._error(ManualOperation.PULL)

    def _error(self, operation: ManualOperation) -> OperationError:
        return OperationError(self._name, f"v.{operation.value} {self._problem}", self._remedy)


class OnlyReplica:
    """The manual operations of a variable without distribution: its value is the only component.

    Args:
        initial: The initial value of the variable.
    """

    def __init__(self, variable: Any, spec: VariableSpec, initial: Array) -> None:
        self._variable = variable
        self._spec = spec
        self._copy = self._published = VersionedValue(initial, 0, time.monotonic())
        """The ages are the times of the changes."""

    def sync(self, how: Combination, label: str | None, group: Any) -> Array:
        """Return the value: it is the only component, and thus the aggregate."""
        check_op(self._spec, how)
        checked_group(group, how.method, 0, strategy_in_force().devices)
        check_root(self._spec.name, how, 1)
        return np.array(self._variable.read_value())

    def publish(self) -> None:
        """Publish the value."""
        value = np.array(self._variable.read_value())
        self._published = _changed(value, self._published)

    def fetch(self, replica_id: int) -> VersionedValue:
        """Return the last published value."""
        if replica_id != 0:
            raise ReplicaIndexError(
                f"v.fetch({replica_id}) of variable {self._spec.name!r}: the only replica is 0"
            )
        return _aged(self._published)

    def push(self, delta: Array) -> None:
        """Add to the copy."""
        check_arithmetic(self._spec, Operation.ASSIGN_ADD, 1)
        check_shape(self._spec, Operation.ASSIGN_ADD, self._copy.value.shape, delta)
        value = reduce.apply(Operation.ASSIGN_ADD, self._copy.value, delta)
        self._copy = _changed(value, self._copy)

    def pull(self) -> VersionedValue:
        """Return the copy."""
        return _aged(self._copy)


def _changed(value: Array, before: VersionedValue) -> VersionedValue:
    value.setflags(write=False)
    return VersionedValue(value, before.version + 1, time.monotonic())


def _aged(stored: VersionedValue) -> VersionedValue:
    age_s = max(0.0, time.monotonic() - stored.age_s)
    return VersionedValue(stored.value, stored.version, age_s)
