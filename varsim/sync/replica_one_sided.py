"""Make the messages of a replica's one-sided operations, and check their answers."""

from __future__ import annotations

from typing import Final

from varsim.errors import ProtocolError, ReplicaIndexError
from varsim.protocol.messages import FetchPublished, Message, Publish, Pull, Push, SharedValue
from varsim.spec import ManualOperation, Operation
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
    spec, value = variable.spec, answer.value
    shape = tuple(
        got if size is None else size for size, got in zip(spec.shape, value.shape, strict=False)
    )
    if answer.version < 0 or answer.age_ns < 0 or value.dtype != spec.dtype or value.shape != shape:
        raise ProtocolError(f"a shared value of variable {spec.name!r} is malformed")
