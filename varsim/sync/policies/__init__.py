"""The policy table: the effect of an operation, for each synchronization, context and aggregation.

Each policy has one file with its rows, and the table consists of these rows. `docs/semantics.md`
shows the table on one page and explains it. The golden cases in `tests/golden` compare each cell
with TensorFlow. Code outside this folder does not branch on a synchronization.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from varsim.errors import AggregationError, SynchronizationError
from varsim.spec import (
    Context,
    CustomSynchronization,
    ManualOperation,
    Operation,
    Synchronization,
    VariableSpec,
    VariableSynchronization,
)
from varsim.sync.policies import adaptive as adaptive_policy
from varsim.sync.policies import custom, local_only, on_read, on_write
from varsim.sync.policies.cells import Cell, Reason
from varsim.sync.policies.legality import check_mean
from varsim.sync.policies.manual import Manual
from varsim.sync.policies.policy import Policy
from varsim.sync.policies.state import StateRule
from varsim.texts import refusals

POLICIES: Final[dict[VariableSynchronization, Policy]] = {
    VariableSynchronization.ON_WRITE: on_write.POLICY,
    VariableSynchronization.AUTO: adaptive_policy.POLICY,
    VariableSynchronization.ON_READ: on_read.POLICY,
    VariableSynchronization.NONE: local_only.POLICY,
}
"""TensorFlow's four synchronizations, in the order of the documentation."""

TABLE: Final = {
    (synchronization, context, operation): row
    for synchronization, policy in POLICIES.items()
    for (context, operation), row in policy.rows.items()
}
"""All rows of the table."""


def policy_of(synchronization: Synchronization) -> Policy:
    """Return the policy of a synchronization."""
    if isinstance(synchronization, CustomSynchronization):
        policy = custom.known(synchronization)
        assert policy is not None, f"{synchronization} is registered before it is used"
        return policy
    return POLICIES[synchronization]


def cell(spec: VariableSpec, context: Context, operation: Operation) -> Cell:
    """Return the effect of `operation` on a variable in `context`: one cell of the table."""
    row = policy_of(spec.synchronization).rows[context, operation]
    return row if isinstance(row, Cell) else row[spec.aggregation]


def refused_manually(spec: VariableSpec, operation: ManualOperation) -> Reason | None:
    """Return why the policy refuses a manual operation on a variable; None if it is allowed."""
    row = policy_of(spec.synchronization).manual
    return (row if isinstance(row, Manual) else row[spec.aggregation]).refused(operation)


def merges(spec: VariableSpec) -> bool:
    """Return whether a write in replica context combines the values of all replicas."""
    return cell(spec, Context.REPLICA, Operation.ASSIGN).combines


def defers(spec: VariableSpec) -> bool:
    """Return whether replicas keep their writes to a variable until the variable is read."""
    return cell(spec, Context.REPLICA, Operation.ASSIGN).is_deferred


def bound_of(spec: VariableSpec) -> int | None:
    """Return by how many writes a replica may be ahead of the slowest one; None without a bound.

    If there is a bound, the coordinator has the only copy of the variable, and replicas have caches
    of the copy, which they renew themselves.
    """
    return cell(spec, Context.REPLICA, Operation.ASSIGN_ADD).bound


def check_joining(specs: Iterable[VariableSpec]) -> None:
    """Check that the variables can be used in a call in which some replicas take no part.

    Raises:
        SynchronizationError: A policy exchanges values after a number of writes, so every replica
            must write the variable equally often.
    """
    for spec in specs:
        own = cell(spec, Context.REPLICA, Operation.ASSIGN)
        if own.is_deferred or own.writes_itself:
            raise SynchronizationError(
                spec.name,
                refusals.NeedsAllInEachCall(spec.synchronization),
                refusals.ALL_IN_EACH_CALL,
            )


def is_readable(spec: VariableSpec) -> bool:
    """Return whether a cross-replica read is legal."""
    return cell(spec, Context.CROSS_REPLICA, Operation.READ).refused is None


def resolve(spec: VariableSpec, *, strict: bool, adaptive: bool = False) -> VariableSpec:
    """Return the spec with the settings that apply, given the settings that a program requests.

    Raises:
        SynchronizationError: The synchronization is NONE, and `strict` is true. TensorFlow always
            refuses NONE (difference D1 in docs/semantics.md).
        AggregationError: The policy does not support the aggregation; or the aggregation is MEAN,
            and the dtype is an integer dtype or bool.
    """
    policy = policy_of(spec.requested)
    becomes = policy.becomes
    aggregation = spec.aggregation
    if becomes.aggregations is not None:
        if aggregation not in becomes.aggregations:
            possible = tuple(dict.fromkeys(becomes.aggregations.values()))
            raise AggregationError(
                spec.name,
                refusals.AggregationDoesNotFit(aggregation, spec.requested, possible),
            )
        aggregation = becomes.aggregations[aggregation]
    if not policy.has_one_copy:  # TensorFlow refuses the writes of replicas instead
        check_mean(spec.name, aggregation, spec.dtype)
    if becomes.unless_strict and strict:
        raise SynchronizationError(
            spec.name,
            refusals.RefusedIfStrict(spec.requested),
            refusals.NOT_STRICT,
        )
    in_force = becomes.in_force(spec.shape, adaptive=adaptive)
    if in_force == spec.requested:
        in_force = spec.requested  # equal, but also has the fields `package` and `definition`
    return replace(spec, synchronization=in_force, aggregation=aggregation)


def state_rule(spec: VariableSpec) -> StateRule | None:
    """Return the rules for what the policy keeps beside a component; None if it keeps nothing."""
    return policy_of(spec.synchronization).state


def is_trainable(synchronization: Synchronization) -> bool:
    """Return whether a variable is trainable by default."""
    return policy_of(synchronization).is_trainable
