"""Check the manual operations on variables: `v.sync`, `v.publish`, `v.push` and the others."""

from __future__ import annotations

from collections.abc import Iterator

from varsim.errors import Fix, OperationError, ShapeError
from varsim.spec import ManualOperation, Operation, VariableSpec
from varsim.sync import fixes, policies
from varsim.sync.policies.legality import check_arithmetic
from varsim.texts.fixes import MAY_BE_USED
from varsim.texts.refusals import CopyOfOpenShape, RefusedManually


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


def _fixes(spec: VariableSpec, operation: ManualOperation) -> Iterator[Fix]:
    """Yield the settings under which the operation is allowed."""
    for change, other in fixes.alternatives(spec):
        if policies.refused_manually(other, operation) is None:
            yield Fix(change, MAY_BE_USED)
