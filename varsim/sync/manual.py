"""Check the manual operations on variables: `v.sync`, `v.publish`, `v.push` and the others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from varsim.errors import Fix, OperationError, ShapeError, VarsimError
from varsim.protocol.parts import Combination, CombineKind
from varsim.spec import ManualOperation, Operation, VariableSpec
from varsim.sync import fixes, policies, reduce
from varsim.sync.policies.legality import check_arithmetic
from varsim.texts.fixes import MAY_BE_USED
from varsim.texts.refusals import CopyOfOpenShape, RefusedManually, SyncGivesOther


def check_manual(spec: VariableSpec, operation: ManualOperation) -> None:
    """Refuse a manual operation that the variable does not support.

    Raises:
        OperationError: The policy refuses the operation, or bools cannot be added.
        ShapeError: The variable has no authoritative copy, because its shape can change.
    """
    reason = policies.refused_manually(spec, operation)
    if reason is not None:
        error = OperationError(spec.name, RefusedManually(reason.key, operation))
        raise error.fixed_by(_fixes(spec, operation))
    if operation in (ManualOperation.PUSH, ManualOperation.PULL):
        check_arithmetic(spec, Operation.ASSIGN_ADD, 1)
        if None in spec.shape:
            raise ShapeError(
                spec.name,
                CopyOfOpenShape(operation, spec.shape),
                "Create the variable with a known shape; or use v.publish and v.fetch.",
            )


def operation_of(how: Combination) -> ManualOperation:
    """Return whether a collective is a `v.sync` or a `v.broadcast`."""
    if how.kind is CombineKind.BROADCAST:
        return ManualOperation.BROADCAST
    return ManualOperation.SYNC


def check_op(spec: VariableSpec, how: Combination) -> None:
    """Refuse an op whose result is not a value of the variable, such as a mean of integers.

    Raises:
        OperationError: The op does not support the dtype, or gives another one.
    """
    if how.op is None:
        return
    one = np.ones((), spec.dtype)
    try:
        dtype = reduce.reduce([one, one], how.op, 2).dtype
    except VarsimError:
        dtype = None
    if dtype != spec.dtype:
        raise OperationError(
            spec.name,
            SyncGivesOther(how.op, spec.dtype),
            "Use another op, such as MAX, or another dtype.",
        )


def _fixes(spec: VariableSpec, operation: ManualOperation) -> Iterator[Fix]:
    """Yield the settings under which the operation is allowed."""
    for change, other in fixes.alternatives(spec):
        if policies.refused_manually(other, operation) is None:
            yield Fix(change, MAY_BE_USED)
