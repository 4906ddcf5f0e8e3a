"""Check the messages of manual operations before they change the coordinator's state."""

from __future__ import annotations

from collections.abc import Mapping

from varsim.errors import ProtocolError, VarsimError
from varsim.protocol.messages import Combine, FetchPublished, Publish, Push
from varsim.spec import ManualOperation, VariableSpec
from varsim.sync import policies
from varsim.sync.coordinator_door import is_value, spec_of
from varsim.sync.manual import check_manual, check_op, operation_of
from varsim.sync.policies.manual import ONE_SIDED


def _spec(
    specs: Mapping[int, VariableSpec], variable_id: int, operation: ManualOperation
) -> VariableSpec:
    spec = spec_of(specs, variable_id, operation.value)
    if operation in ONE_SIDED and policies.keeps_copy(spec):
        return spec  # the cells of the policy perform the operation
    try:
        check_manual(spec, operation)
    except VarsimError as error:
        raise ProtocolError(f"a {operation.value} that its replica must refuse: {error}") from error
    return spec


def check_publication(specs: Mapping[int, VariableSpec], message: Publish) -> None:
    """Check a component that a replica publishes.

    Raises:
        ProtocolError: The policy does not allow it, or the component does not match the variable.
    """
    spec = _spec(specs, message.variable_id, ManualOperation.PUBLISH)
    if not is_value(spec, message.value):
        raise ProtocolError(f"a publication of variable {spec.name!r} has a wrong shape or dtype")


def check_push(specs: Mapping[int, VariableSpec], message: Push) -> None:
    """Check a delta for an authoritative copy.

    Raises:
        ProtocolError: The policy does not allow it, or the delta does not match the variable.
    """
    spec = _spec(specs, message.variable_id, ManualOperation.PUSH)
    if not is_value(spec, message.delta):
        raise ProtocolError(f"a push to variable {spec.name!r} has a wrong shape or dtype")


def check_pull(specs: Mapping[int, VariableSpec], variable_id: int) -> None:
    """Check a request for an authoritative copy.

    Raises:
        ProtocolError: There is no such variable, or its policy does not allow it.
    """
    _spec(specs, variable_id, ManualOperation.PULL)


def check_fetch(
    specs: Mapping[int, VariableSpec], message: FetchPublished, num_replicas: int
) -> None:
    """Check a request for a published component.

    Raises:
        ProtocolError: There is no such variable or replica, or its policy does not allow it.
    """
    _spec(specs, message.variable_id, ManualOperation.FETCH)
    if not 0 <= message.replica_id < num_replicas:
        raise ProtocolError(f"a fetch names replica {message.replica_id}, which does not exist")


def check_sync(specs: Mapping[int, VariableSpec], message: Combine) -> None:
    """Check a component that takes part in a `v.sync` or `v.broadcast`.

    Raises:
        ProtocolError: There is no such variable, the variable does not support the operation, or
            the component does not match the variable.
    """
    how, number = message.how, message.how.variable_id
    assert number is not None, "the collective synchronises a variable"
    spec = _spec(specs, number, operation_of(how))
    try:
        check_op(spec, how)
    except VarsimError as error:
        raise ProtocolError(f"a {how.method} that its replica must refuse: {error}") from error
    if not is_value(spec, message.leaves[0]):
        raise ProtocolError(f"a {how.method} of variable {spec.name!r} has a wrong shape or dtype")
