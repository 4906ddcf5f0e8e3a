"""Perform operations of cross-replica context together with the programs of all other workers.

Each worker of a strategy of several workers runs the program. Its operations of cross-replica
context are merge_calls: the coordinator's process performs each of them once for all workers. So a
worker that leaves one out, or does something else, is found as at any other collective.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from varsim.distribute.cluster_variable import ClusterVariable
from varsim.distribute.context import entered, frame_within
from varsim.distribute.cross_replica import CrossReplica
from varsim.distribute.distributed import DistributedVariable
from varsim.distribute.host_requests import WriteVariable
from varsim.distribute.ports import ReplicaPort
from varsim.distribute.values import PerReplica
from varsim.distribute.variable import create
from varsim.errors import CallTimeout, CreationError, WorkerLost
from varsim.location import on_behalf_of, user_location
from varsim.spec import Array, Operand, Operation
from varsim.sync.actions import ProgramDone
from varsim.sync.agreement import Asked, agreed, name_of
from varsim.sync.coordinator_events import (
    ProgramOperation,
    ProgramPush,
    ProgramReading,
    ProgramSync,
    ProgramWriting,
)
from varsim.texts.facts import name_replicas
from varsim.tracing.kinds import OWN
from varsim.value_class import value_class


@value_class(eq=False)
class Part:
    """What one worker gives to an operation of all workers; merge_calls do not look into it."""

    value: Any
    location: str  # file:line in the worker's program


@value_class(eq=False)
class Result:
    """What all workers get from an operation: a value, or the error to raise."""

    value: Any = None
    error: Exception | None = None


def together(
    replica: ReplicaPort, name: str, perform: Callable[[Any, Sequence[Any]], Any], part: Any
) -> Any:
    """Have the coordinator's process call a function once, with the parts of all workers.

    Args:
        replica: The replica that runs this worker's program.
        name: What the workers do. It is an error if the names of the workers differ.
        perform: A function of a module, called as `perform(strategy, parts)`, in cross-replica
            context of the replicas' strategy; the parts are in replica order.
        part: This worker's part.
    Returns:
        The function's result.
    Raises:
        MismatchError: The workers do different things.
        Exception: The function has raised this exception; all workers raise it.
    """
    given = (perform, Part(part, user_location())), dict[str, Any]()
    with entered(frame_within(replica.strategy, replica)):
        result = replica.session.merge_call(_perform, given, performs=name)
    if isinstance(result, Result):
        assert result.error is not None, "a result without an error is not packed"
        raise result.error
    return result


def _perform(strategy: Any, perform: Callable[[Any, Sequence[Any]], Any], part: Any) -> Any:
    parts = part.values if isinstance(part, PerReplica) else (part,)
    try:
        with on_behalf_of(parts[0].location):
            return perform(strategy, [one.value for one in parts])
    except (WorkerLost, CallTimeout):  # these end the call
        raise
    except Exception as error:  # every worker raises it again
        BaseException.with_traceback(error, None)  # its class may refuse an assignment
        return Result(error=error)


def _operate(strategy: Any, asked: Sequence[Asked]) -> ProgramDone:
    """Perform one operation on a variable, in the coordinator's process."""
    done: ProgramDone = strategy.cross.perform(agreed(asked))
    return done


class AllWorkers:
    """The cluster of a strategy of several workers, as `CrossReplica` uses it.

    Args:
        replica: The replica that runs this worker's program.
        variables: The variables of the strategy by their numbers.
    """

    recorder = None  # the coordinator's process records the operations
    records_reads = False

    def __init__(self, replica: ReplicaPort, variables: Mapping[int, ClusterVariable]) -> None:
        self._replica = replica
        self._variables = variables

    def look(self, event: ProgramReading) -> ProgramDone:
        """Read a variable, its components, or what replicas share of it."""
        return self._together(event)

    def write(self, event: ProgramWriting | ProgramPush | ProgramSync) -> ProgramDone:
        """Write or synchronise a variable, or push to its authoritative copy."""
        return self._together(event)

    def _together(self, event: ProgramOperation) -> ProgramDone:
        spec = self._variables[event.variable_id].spec
        me = self._replica.replica_id_in_sync_group
        asked = Asked(me, spec, event, user_location())
        done: ProgramDone = together(self._replica, name_of(event, spec.name), _operate, asked)
        for value in done.values:
            value.setflags(write=False)
        return done


class WorkersCross(CrossReplica):
    """Reads and writes variables in cross-replica context, together with all other workers.

    What concerns only this worker's component, such as the value of a mirrored variable, needs no
    other worker, as in TensorFlow.
    """

    def __init__(self, replica: ReplicaPort, variables: Mapping[int, ClusterVariable]) -> None:
        super().__init__(AllWorkers(replica, variables))
        self._session = replica.session
        self._own_id = replica.replica_id_in_sync_group

    def read(self, variable: ClusterVariable) -> Array:
        """Return the cross-replica value of a variable; read-only.

        Raises:
            VariableError: The policy refuses the read.
        """
        if not variable.is_mirrored:
            return super().read(variable)
        if variable.merges:
            return self._session.read(variable.variable_id)
        return self.component(variable, self._own_id)  # the components may differ

    def component(self, variable: ClusterVariable, replica_id: int) -> Array:
        """Return this worker's component; read-only."""
        return self._session.read(variable.variable_id, OWN)

    def components(
        self, variable: ClusterVariable, replica_ids: Sequence[int]
    ) -> tuple[Array, ...]:
        """Return the components of a variable on some replicas, read-only."""
        if tuple(replica_ids) == (self._own_id,):
            return (self.component(variable, self._own_id),)
        return super().components(variable, tuple(replica_ids))

    def write_component(
        self, variable: ClusterVariable, replica_id: int, operation: Operation, operand: Operand
    ) -> None:
        """Write this worker's component. The components of a mirrored variable then differ.

        Raises:
            VariableError: The component cannot take the operand; nothing has changed.
        """
        if not variable.merges:
            self._session.write_component(variable.variable_id, operation, operand)
            return
        of_program = variable.of_program
        assert isinstance(of_program, DistributedVariable), "only these have components"
        request = WriteVariable(of_program.component_of(replica_id), operation, operand)
        self._session.call_host(request)

    def _location(self) -> str:
        return user_location()


# ---------------------------------------------------------------- creation

_ALIKE: Final = ("trainable", "name", "shape", "synchronization", "aggregation")
"""The arguments of `tf.Variable` that all workers must give alike."""


@value_class(eq=False)
class _Creation:
    """A variable as one worker creates it."""

    arguments: dict[str, Any]  # those of `_ALIKE`
    dtype: np.dtype[Any]
    shape: tuple[int, ...]  # of the initial value
    location: str
    initial: Array | None  # only the first worker sends the initial value

    def __str__(self) -> str:
        said = {**self.arguments, "dtype": self.dtype, "shape of the initial value": self.shape}
        shown = {key: getattr(value, "name", value) for key, value in said.items()}
        return ", ".join(f"{key}={value}" for key, value in shown.items() if value is not None)


def created_together(
    replica: ReplicaPort, arguments: dict[str, Any], name: str, initial: Array
) -> ClusterVariable:
    """Create a variable together with all other workers, with the first one's initial value.

    Args:
        replica: The replica that runs this worker's program.
        arguments: All arguments of `tf.Variable`.
        initial: The initial value, with the dtype of the variable.
    Raises:
        CreationError: The workers create different variables.
    """
    alike = {key: arguments[key] for key in _ALIKE}
    is_first = replica.replica_id_in_sync_group == 0
    creation = _Creation(
        alike, initial.dtype, initial.shape, user_location(), initial if is_first else None
    )
    variable = together(replica, f"creation of variable {name!r}", _create, creation)
    assert isinstance(variable, ClusterVariable), "the strategy has workers"
    return variable


def _create(strategy: Any, creations: Sequence[_Creation]) -> Any:
    """Create one variable for all workers, in the coordinator's process."""
    first = creations[0]
    if any(str(creation) != str(first) for creation in creations):
        groups: dict[str, list[int]] = {}
        for rank, creation in enumerate(creations):
            text = f"{creation} at {creation.location}" if creation.location else str(creation)
            groups.setdefault(text, []).append(rank)
        lines = [f"  {name_replicas(ranks)}: {text}" for text, ranks in groups.items()]
        name = first.arguments["name"] or "Variable"
        raise CreationError("\n".join([_UNLIKE.format(name=name), *lines]))
    return create(
        initial_value=first.initial, dtype=first.dtype, constraint=None, **first.arguments
    )


_UNLIKE: Final = (
    "variable {name!r}: the workers create different variables; each variable of the strategy must "
    "have the same dtype, shape and settings on all workers"
)
