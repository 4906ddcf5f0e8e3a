"""Make the messages of a replica's one-sided operations, and check their answers."""

from __future__ import annotations

from typing import Final

from varsim.errors import ProtocolError, ReplicaIndexError
from varsim.protocol.messages import FetchPublished, Message, Publish, Pull, Push, SharedValue
from varsim.spec import Array, ManualOperation, Operation
from varsim.sync.components import ReplicaVariable, check_shape
from varsim.sync.manual import check_manual
from varsim.sync.replica_events import (
    ReplicaFetch,
    ReplicaOneSided,
    ReplicaPublish,
    ReplicaPull,
    ReplicaPush,
)

OPERATIONS: Final = {
    ReplicaPublish: ManualOperation.PUBLISH,
    ReplicaPush: ManualOperation.PUSH,
    ReplicaFetch: ManualOperation.FETCH,
    ReplicaPull: ManualOperation.PULL,
}


def message_of(
    event: ReplicaOneSided, call_id: int, variable: ReplicaVariable, num_replicas: int
) -> Message:
    """Return the message of a one-sided operation.

    Raises:
        VariableError: The variable does not support the operation; nothing has changed.
        ReplicaIndexError: A fetch names a replica that does not exist.
    """
    check_manual(variable.spec, OPERATIONS[type(event)])
    number, location = event.variable_id, event.location
    match event:
        case ReplicaPublish():
            value = variable.block.show(variable.slot)
            return Publish(call_id=call_id, variable_id=number, value=value, location=location)
        case ReplicaPush(delta=delta):
            check_shape(variable.spec, Operation.ASSIGN_ADD, delta.shape, delta)
            return Push(call_id=call_id, variable_id=number, delta=delta, location=location)
        case ReplicaFetch(replica_id=owner):
            check_owner(variable.spec.name, owner, num_replicas)
            return FetchPublished(
                call_id=call_id, variable_id=number, replica_id=owner, location=location
            )
        case ReplicaPull():
            return Pull(call_id=call_id, variable_id=number, location=location)


def check_owner(name: str, replica_id: int, num_replicas: int) -> None:
    """Refuse a fetch from a replica that does not exist.

    Raises:
        ReplicaIndexError: There is no such replica.
    """
    if not 0 <= replica_id < num_replicas:
        raise ReplicaIndexError(
            f"v.fetch({replica_id}) of variable {name!r}: the replicas are 0 to {num_replicas - 1}"
        )


def check_answer(answer: SharedValue, variable: ReplicaVariable) -> None:
    """Check a shared value that answers a fetch or a pull.

    Raises:
        ProtocolError: The value does not match the variable.
    """
    if answer.version < 0 or answer.age_ns < 0 or not fits_variable(answer.value, variable):
        raise ProtocolError(f"a shared value of variable {variable.spec.name!r} is malformed")


def check_synced(value: Array, variable: ReplicaVariable) -> None:
    """Check the result of a sync.

    Raises:
        ProtocolError: The value does not match the variable.
    """
    if not fits_variable(value, variable):
        raise ProtocolError(f"the result of a sync of {variable.spec.name!r} is malformed")


def fits_variable(value: Array, variable: ReplicaVariable) -> bool:
    """Return whether a value has the dtype of a variable, and a shape that it can have."""
    spec = variable.spec
    sizes = zip(spec.shape, value.shape, strict=False)
    shape = tuple(got if size is None else size for size, got in sizes)
    return value.dtype == spec.dtype and len(spec.shape) == value.ndim and value.shape == shape
