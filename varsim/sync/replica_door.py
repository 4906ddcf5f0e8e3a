"""Check the messages of the coordinator before they change a replica's state.

The codec has already checked the types of all fields. These functions check that the fields match
each other and the components of the replica.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from varsim.errors import ProtocolError, VarsimError
from varsim.protocol.messages import (
    Commit,
    ComponentCommit,
    Create,
    ScatterCommit,
    SetPolicyState,
    ShownPolicyState,
)
from varsim.spec import (
    SCATTERS,
    Array,
    CustomSynchronization,
    NamedArrays,
    Operation,
    Shape,
    VariableSpec,
)
from varsim.sync import policies, scatter
from varsim.sync.block import Block
from varsim.sync.policies import custom
from varsim.sync.policies.legality import check_arithmetic

_DENSE: Final = (Operation.ASSIGN, Operation.ASSIGN_ADD, Operation.ASSIGN_SUB)
_INT64: Final = np.dtype(np.int64)


def check_create(create: Create) -> None:
    """Check a new variable.

    Raises:
        ProtocolError: The value does not match the spec, or the policy is unknown.
    """
    spec, value = create.spec, create.value
    for synchronization in (spec.synchronization, spec.requested):
        if isinstance(synchronization, CustomSynchronization) and not custom.known(synchronization):
            raise ProtocolError(f"the synchronization {synchronization.name!r} is not known")
    if value.dtype != spec.dtype or not _fits(value.shape, spec.shape):
        raise ProtocolError(f"the value of variable {spec.name!r} has a wrong shape or dtype")


def _fits(shape: tuple[int, ...], declared: Shape) -> bool:
    return len(shape) == len(declared) and all(
        size is None or size == got for size, got in zip(declared, shape, strict=True)
    )


def named(message: ShownPolicyState | SetPolicyState) -> NamedArrays:
    """Return what a policy keeps beside a component, from a message.

    Raises:
        ProtocolError: The names and the arrays do not match.
    """
    names = message.names
    if len(names) != len(message.arrays) or list(names) != sorted(set(names)):
        raise ProtocolError(f"{message.name}: the names {names} do not match the arrays")
    return tuple(zip(names, message.arrays, strict=True))


def check_state(spec: VariableSpec, state: NamedArrays) -> None:
    """Check what a policy keeps beside a component.

    Raises:
        ProtocolError: The policy of the variable cannot have this state.
    """
    rule = policies.state_rule(spec)
    try:
        if rule is None and state:
            raise ValueError("the policy keeps nothing beside a component")
        if rule is not None:
            rule.check(spec, state)
    except ValueError as error:
        raise ProtocolError(f"variable {spec.name!r}: {error}") from None


# ---------------------------------------------------------------- commits


def check_commit(commit: Commit, block: Block, spec: VariableSpec) -> None:
    """Check a commit to all variables of a block.

    Args:
        spec: The spec of the block's first variable.
    Raises:
        ProtocolError: The commit does not match the block.
    """
    value, versions, operation = commit.value, commit.versions, commit.operation
    if (
        versions.dtype != _INT64
        or versions.shape != commit.variable_ids.shape
        or value.dtype != spec.dtype
        or operation not in _DENSE
    ):
        raise ProtocolError(f"a commit of variable {spec.name!r} is malformed")
    if operation is not Operation.ASSIGN:
        _check_addition(spec, block, operation)
    if value.shape == block.whole_shape:
        return
    if operation is Operation.ASSIGN and block.is_single and _fits(value.shape, spec.shape):
        return
    raise ProtocolError(
        f"a commit of variable {spec.name!r} has the shape {value.shape} instead of "
        f"{block.whole_shape}"
    )


def check_commit_of_component(commit: ComponentCommit, spec: VariableSpec, replica_id: int) -> None:
    """Check a new component of one replica.

    Raises:
        ProtocolError: It is the component of another replica, or does not match the variable.
    """
    if commit.replica_id != replica_id:
        raise ProtocolError(
            f"the component of replica {commit.replica_id} was sent to replica {replica_id}"
        )
    if commit.value.dtype != spec.dtype or not _fits(commit.value.shape, spec.shape):
        raise ProtocolError(f"a component of variable {spec.name!r} has a wrong shape or dtype")


def _check_addition(spec: VariableSpec, block: Block, operation: Operation) -> None:
    if not block.is_single:
        raise ProtocolError("a commit of several variables must assign their values")
    try:
        check_arithmetic(spec, operation, 1)
    except VarsimError as error:
        raise ProtocolError(f"a commit that no variable supports: {error}") from error


def check_variable_ids(variable_ids: Array) -> None:
    """Check the variables of a commit, before they are put into one block.

    Raises:
        ProtocolError: The variables are not a list of int64, or a variable occurs twice.
    """
    if (
        variable_ids.dtype != _INT64
        or variable_ids.ndim != 1
        or not 0 < len(set(variable_ids.tolist())) == len(variable_ids)
    ):
        raise ProtocolError("the variables of a commit are not a list of different int64")


def check_dtypes(specs: Sequence[VariableSpec]) -> None:
    """Check that variables can be in one block.

    Raises:
        ProtocolError: Their dtypes differ.
    """
    if len({spec.dtype for spec in specs}) > 1:
        raise ProtocolError("the variables of a commit have different dtypes")


def check_commit_of_rows(commit: ScatterCommit, spec: VariableSpec, shape: tuple[int, ...]) -> None:
    """Check the commit of a sparse write.

    Raises:
        ProtocolError: The rows do not match the variable.
    """
    indices, values = commit.rows.indices, commit.rows.values
    if (
        commit.operation not in SCATTERS
        or indices.dtype != _INT64
        or indices.ndim != 1
        or values.dtype != spec.dtype
    ):
        raise ProtocolError(f"a sparse commit of variable {spec.name!r} is malformed")
    try:
        scatter.check_rows(spec, commit.operation, shape, commit.rows)
    except VarsimError as error:
        raise ProtocolError(f"a sparse commit that no variable supports: {error}") from error
