"""The policy table as docs/semantics.md shows it."""

from __future__ import annotations

from typing import Final

from varsim.report.explain_words import in_brief
from varsim.spec import Context, Operation, VariableAggregation, VariableSynchronization
from varsim.sync import policies
from varsim.sync.policies.cells import Cell

_OPERATIONS: Final = (
    Operation.READ,
    Operation.ASSIGN,
    Operation.ASSIGN_ADD,
    Operation.ASSIGN_SUB,
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
            parts += [_row(synchronization, context, operation) for operation in _OPERATIONS]
        parts += [""]
    return "\n".join(parts).rstrip()


def _row(synchronization: VariableSynchronization, context: Context, operation: Operation) -> str:
    cell = policies.TABLE[synchronization, context, operation]
    cells = [cell if isinstance(cell, Cell) else cell[a] for a in VariableAggregation]
    words = " | ".join(in_brief(one) for one in cells)
    return f"| {context.value} | {operation.value} | {words} |"
