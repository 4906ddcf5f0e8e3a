"""Apply the operand of a write: a value, or the rows of a sparse write."""

from __future__ import annotations

from varsim.spec import Array, Operand, Operation, Rows
from varsim.sync import reduce, scatter


def applied(operation: Operation, component: Array, operand: Operand) -> Array:
    """Return a component after a write of a checked operand; `component` does not change."""
    if isinstance(operand, Rows):
        return scatter.applied(operation, component, operand)
    return reduce.apply(operation, component, operand)
