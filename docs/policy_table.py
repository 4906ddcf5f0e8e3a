"""The policy table as docs/semantics.md shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from varsim.report.explain_words import in_brief
from varsim.spec import (
    SCATTERS,
    Context,
    Operation,
    VariableAggregation,
    VariableSynchronization,
)
from varsim.sync import policies
from varsim.sync.policies.cells import Cell

_OPERATIONS: Final = (
    Operation.READ,
    Operation.ASSIGN,
    Operation.ASSIGN_ADD,
    Operation.ASSIGN_SUB,
)

_SPARSE: Final = (
    (
        Operation.SCATTER_ADD,
        Operation.SCATTER_SUB,
        Operation.SCATTER_MUL,
        Operation.SCATTER_DIV,
    ),
    (Operation.SCATTER_MIN, Operation.SCATTER_MAX, Operation.SCATTER_UPDATE),
)


def policy_table() -> str:
    """Return the policy table, with a section for each synchronization."""
    parts: list[str] = []
    for synchronization, policy in policies.POLICIES.items():
        adaptive = policy.becomes.if_adaptive is synchronization
        parts += [f"**{synchronization.name}**" + (" under auto=adaptive" if adaptive else ""), ""]
        names = [aggregation.name for aggregation in VariableAggregation]
        parts += [f"| context | operation | {' | '.join(names)} |"]
        parts += ["| --- " * (2 + len(names)) + "|"]
        for context in (Context.REPLICA, Context.CROSS_REPLICA):
            parts += [_row(synchronization, context, [operation]) for operation in _OPERATIONS]
            parts += [_row(synchronization, context, operations) for operations in _SPARSE]
        parts += [""]
    return "\n".join(parts).rstrip()


def _row(
    synchronization: VariableSynchronization, context: Context, operations: Sequence[Operation]
) -> str:
    """Return the row of operations that have the same cells."""
    each = [_cells(synchronization, context, operation) for operation in operations]
    assert each.count(each[0]) == len(each), "these operations need rows of their own"
    sparse = operations[0] in SCATTERS
    words = " | ".join(in_brief(one, sparse=sparse) for one in each[0])
    named = ", ".join(operation.value for operation in operations)
    return f"| {context.value} | {named} | {words} |"


def _cells(
    synchronization: VariableSynchronization, context: Context, operation: Operation
) -> list[Cell]:
    cell = policies.TABLE[synchronization, context, operation]
    return [cell if isinstance(cell, Cell) else cell[a] for a in VariableAggregation]
