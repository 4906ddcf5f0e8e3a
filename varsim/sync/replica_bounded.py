"""Check writes of a replica to a copy, and the copies that renew the replica's caches."""

from __future__ import annotations

from varsim.errors import ProtocolError, ShapeError
from varsim.protocol.messages import FreshCopy
from varsim.spec import Operation, VariableSpec
from varsim.sync.components import ReplicaVariable
from varsim.sync.policies.legality import check_arithmetic
from varsim.sync.replica_call import ReplicaCall
from varsim.sync.replica_one_sided import fits_variable
from varsim.texts.refusals import KNOWN_SHAPE, CopyOfOpenShape


def check_copy(spec: VariableSpec, operation: Operation, num_replicas: int) -> None:
    """Check that replicas can add to a copy of a variable.

    Raises:
        ShapeError: The shape of the variable has an unknown dimension.
        VariableError: The dtype does not support the operation, or the aggregation.
    """
    if None in spec.shape:
        raise ShapeError(spec.name, CopyOfOpenShape(operation, spec.shape), KNOWN_SHAPE)
    if spec.dtype.kind in "biu":
        check_arithmetic(spec, operation, num_replicas)


def check_renewal(copy: FreshCopy, variable: ReplicaVariable, call: ReplicaCall) -> None:
    """Check a copy that renews a cache.

    Raises:
        ProtocolError: The replica does not wait for it, or it does not match the variable.
    """
    name = variable.spec.name
    if variable.bound is None or call.awaits is not variable:
        raise ProtocolError(
            f"a copy of variable {name!r} arrives, for which the program does not wait"
        )
    if (
        copy.version < variable.version
        or copy.slowest < 0
        or not fits_variable(copy.value, variable)
    ):
        raise ProtocolError(f"a copy of variable {name!r} is malformed")
