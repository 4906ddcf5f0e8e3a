"""Check and apply the operand of a write: a value, or the rows of a sparse write."""

from __future__ import annotations

from varsim.spec import Array, Operand, Operation, Rows, VariableSpec
from varsim.sync import reduce, scatter
from varsim.sync.components import check_shape


def check_operand(
    spec: VariableSpec, operation: Operation, component: Array, operand: Operand
) -> None:
    """Check that an operation can write an operand to a component.

    Raises:
        VariableError: See `check_rows` and `check_shape`.
    """
    if isinstance(operand, Rows):
        scatter.check_rows(spec, operation, component.shape, operand)
    else:
        check_shape(spec, operation, component.shape, operand)


def applied(operation: Operation, component: Array, operand: Operand) -> Array:
    """Return a component after a write of a checked operand; `component` does not change."""
    if isinstance(operand, Rows):
        return scatter.applied(operation, component, operand)
    return reduce.apply(operation, component, operand)
