"""The policy table: what an operation on a variable does, by synchronization and context.

It is assembled from the rows of one file for each policy. `docs/semantics.md` shows it as one page
and says the same in words; the golden cases in `tests/golden` test it against TensorFlow cell by
cell. Nothing else asks for a mode.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from varsim.errors import SynchronizationError
from varsim.spec import (
    Context,
    Operation,
    Shape,
    VariableAggregation,
    VariableSpec,
    VariableSynchronization,
)
from varsim.sync.policies import adaptive, local_only, on_read, on_write
from varsim.sync.policies.cells import Cell
from varsim.sync.policies.legality import check_mean
from varsim.sync.policies.policy import Policy

POLICIES: Final[dict[VariableSynchronization, Policy]] = {
    VariableSynchronization.ON_WRITE: on_write.POLICY,
    VariableSynchronization.AUTO: adaptive.POLICY,
    VariableSynchronization.ON_READ: on_read.POLICY,
    VariableSynchronization.NONE: local_only.POLICY,
}
"""TensorFlow's four synchronizations, in the order in which one reads about them."""

TABLE: Final = {
    (synchronization, context, operation): row
    for synchronization, policy in POLICIES.items()
    for (context, operation), row in policy.rows.items()
}
"""All rows of the table."""


def policy_of(synchronization: VariableSynchronization) -> Policy:
    """Return the policy of a synchronization."""
    return POLICIES[synchronization]


def cell(spec: VariableSpec, context: Context, operation: Operation) -> Cell:
    """Return what `operation` does to a variable in `context`: one cell of the table."""
    row = policy_of(spec.synchronization).rows[context, operation]
    return row if isinstance(row, Cell) else row[spec.aggregation]


def merges(spec: VariableSpec) -> bool:
    """Return whether replicas only change a variable together, each with its contribution."""
    return cell(spec, Context.REPLICA, Operation.ASSIGN).combines


def defers(spec: VariableSpec) -> bool:
    """Return whether replicas keep what they write to a variable until it is read."""
    return cell(spec, Context.REPLICA, Operation.ASSIGN).is_deferred


def is_readable(spec: VariableSpec) -> bool:
    """Return whether a cross-replica read is legal."""
    return cell(spec, Context.CROSS_REPLICA, Operation.READ).refused is None


def resolve(
    name: str,
    synchronization: VariableSynchronization,
    aggregation: VariableAggregation,
    dtype: np.dtype[np.generic],
    *,
    strict: bool,
    shape: Shape = (),
    adaptive: bool = False,
) -> VariableSynchronization:
    """Return the synchronization in force of a variable that is created under a strategy.

    It is the same in replica context, where replica 0 creates for all.

    Raises:
        SynchronizationError: NONE with `strict`, as TensorFlow always refuses it (D1).
        AggregationError: MEAN of a dtype that has no fractions.
    """
    check_mean(name, aggregation, dtype)
    becomes = policy_of(synchronization).becomes
    if becomes.unless_strict and strict:
        raise SynchronizationError(
            name,
            "synchronization=NONE is not supported under a strict strategy (nor by TensorFlow)",
            "Use ON_READ for values of each replica's own, or a strategy without strict=True.",
        )
    return becomes.in_force(shape, adaptive=adaptive)


def is_trainable(synchronization: VariableSynchronization) -> bool:
    """Return whether a variable is trainable where the program did not say."""
    return policy_of(synchronization).is_trainable
