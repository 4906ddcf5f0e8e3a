"""Check messages about variables with bounded staleness before they change the coordinator."""

from __future__ import annotations

from collections.abc import Mapping

from varsim.errors import ProtocolError
from varsim.protocol.messages import BoundedWrite, CopyRequest
from varsim.spec import Operation, VariableSpec
from varsim.sync import policies
from varsim.sync.coordinator_door import is_value, spec_of

_ADDS = (Operation.ASSIGN_ADD, Operation.ASSIGN_SUB)


def _spec(specs: Mapping[int, VariableSpec], variable_id: int, what: str) -> VariableSpec:
    spec = spec_of(specs, variable_id, what)
    if policies.bound_of(spec) is None:
        raise ProtocolError(f"variable {spec.name!r} has no copy to which replicas add")
    return spec


def check_bounded_write(specs: Mapping[int, VariableSpec], message: BoundedWrite) -> None:
    """Check a write to a copy, except its clock.

    Raises:
        ProtocolError: There is no such variable, its policy does not allow the write, or the
            operand does not match the variable.
    """
    spec = _spec(specs, message.variable_id, "write")
    if message.operation not in _ADDS or None in spec.shape or not is_value(spec, message.operand):
        raise ProtocolError(f"a write to the copy of variable {spec.name!r} is malformed")


def check_copy_request(specs: Mapping[int, VariableSpec], message: CopyRequest) -> None:
    """Check a request for a copy.

    Raises:
        ProtocolError: There is no such variable, or it has no copy to which replicas add.
    """
    _spec(specs, message.variable_id, "request for a copy")
