"""Provide the methods by which a program itself synchronises the components of a variable."""

from __future__ import annotations

import operator
import time
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from varsim.distribute.conversion import as_operand
from varsim.distribute.ports import CrossReplicaPort, ReplicaPort
from varsim.errors import OperationError, ReplicaIndexError
from varsim.location import located, user_location
from varsim.spec import Array, ManualOperation, Operation, VariableSpec
from varsim.sync import reduce
from varsim.sync.actions import ProgramDone
from varsim.sync.components import check_shape
from varsim.sync.policies.legality import check_arithmetic
from varsim.sync.replica_events import ReplicaFetch, ReplicaPublish, ReplicaPull, ReplicaPush


@dataclass(frozen=True, slots=True, eq=False)
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

    A *one-sided* operation needs no other replica: the program's process answers it at once. The
    operations do not change a component.
    """

    _name: str
    _dtype: np.dtype[np.generic]

    @property
    def manual(self) -> Manual:
        """Return the operations in the current context."""
        raise NotImplementedError

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

    def __init__(self, variable_id: int, replica: ReplicaPort) -> None:
        self._number = variable_id
        self._replica = replica

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


def _versioned(done: ProgramDone) -> VersionedValue:
    return VersionedValue(done.values[0], done.versions[0], done.ages_ns[0] / 1e9)


class Refused:
    """The manual operations where no variable supports them.

    Args:
        problem: Why, after the name of the operation.
    """

    def __init__(self, name: str, problem: str, remedy: str) -> None:
        self._name, self._problem, self._remedy = name, problem, remedy

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
