"""The policy table: the effect of an operation, for each synchronization, context and aggregation.

Each policy has one file with its rows, and the table consists of these rows. `docs/semantics.md`
shows the table on one page and explains it. The golden cases in `tests/golden` compare each cell
with TensorFlow. Code outside this folder does not branch on a synchronization.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from varsim.errors import AggregationError, ShapeError, SynchronizationError
from varsim.spec import (
    Context,
    CustomSynchronization,
    ManualOperation,
    Operation,
    Synchronization,
    VariableAggregation,
    VariableSpec,
    VariableSynchronization,
)
from varsim.sync.policies import adaptive as adaptive_policy
from varsim.sync.policies import custom, local_only, on_read, on_write
from varsim.sync.policies.cell import Cell, Reason
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


def uses_location(spec: VariableSpec) -> bool:
    """Return whether an error or a warning can contain the location of a write in replica context.

    If a policy refuses assign, the other writes of the variable decide.
    """
    writes = Operation.ASSIGN, Operation.ASSIGN_ADD
    return any(cell(spec, Context.REPLICA, write).uses_location for write in writes)


def defers(spec: VariableSpec) -> bool:
    """Return whether replicas keep their writes to a variable until the variable is read."""
    return cell(spec, Context.REPLICA, Operation.ASSIGN).is_deferred


def bound_of(spec: VariableSpec) -> int | None:
    """Return by how many writes a replica may be ahead of the slowest one; None without a bound.

    If there is a bound, the coordinator has the only copy of the variable, and replicas have caches
    of the copy, which they renew themselves.
    """
    return cell(spec, Context.REPLICA, Operation.ASSIGN_ADD).bound


def exchange_of(spec: VariableSpec) -> Cell | None:
    """Return the cell that computes the merges of a variable; None if they are reductions."""
    found = cell(spec, Context.REPLICA, Operation.ASSIGN)
    return found if found.exchanges else None


def keeps_copy(spec: VariableSpec) -> bool:
    """Return whether the cells of the policy use an authoritative copy."""
    return policy_of(spec.synchronization).keeps_copy


def depends_on_speeds(spec: VariableSpec) -> bool:
    """Return whether values depend on how fast each replica runs, even if the writes are equal."""
    write = cell(spec, Context.REPLICA, Operation.ASSIGN_ADD)
    return (
        write.bound is not None
        or write.writes_alone
        or cell(spec, Context.REPLICA, Operation.READ).reads_itself
    )


def has_shared_values(spec: VariableSpec) -> bool:
    """Return whether the coordinator has an authoritative copy and published components."""
    return keeps_copy(spec) or refused_manually(spec, ManualOperation.PUSH) is None


def check_joining(
    specs: Iterable[VariableSpec], joins: int | None = None, joins_at: str = ""
) -> None:
    """Check that the variables can be used in a call in which some replicas take no part.

    Args:
        joins: A replica that joins during the call; None if replicas have joined before it.
        joins_at: The line of this replica.
    Raises:
        SynchronizationError: A policy exchanges values after a number of writes, so every replica
            must write the variable equally often.
    """
    for spec in specs:
        own = cell(spec, Context.REPLICA, Operation.ASSIGN)
        counts = own.writes_itself and not (own.writes_alone or own.combines)
        if own.is_deferred or counts:
            raise SynchronizationError(
                spec.name,
                refusals.NeedsAllInEachCall(spec.synchronization, joins, joins_at),
                refusals.ALL_IN_EACH_CALL if joins is None else refusals.ALL_IN_EACH_STEP,
            )


def is_readable(spec: VariableSpec) -> bool:
    """Return whether a cross-replica read is legal."""
    return cell(spec, Context.CROSS_REPLICA, Operation.READ).refused is None


def refused_aggregation(
    requested: Synchronization, aggregation: VariableAggregation
) -> refusals.AggregationDoesNotFit | None:
    """Return why no variable can have these two settings; None if a variable can have them."""
    becomes = policy_of(requested).becomes
    if becomes.aggregations is not None:
        if aggregation not in becomes.aggregations:
            possible = tuple(dict.fromkeys(becomes.aggregations.values()))
            return refusals.AggregationDoesNotFit(aggregation, requested, possible)
        aggregation = becomes.aggregations[aggregation]
    if aggregation is VariableAggregation.ONLY_FIRST_REPLICA:
        row = policy_of(becomes.synchronization).rows[Context.REPLICA, Operation.ASSIGN]
        own = row if isinstance(row, Cell) else row[aggregation]
        if own.exchanges:  # only the component of replica 0 would be sent
            possible = VariableAggregation.SUM, VariableAggregation.MEAN
            return refusals.AggregationDoesNotFit(aggregation, requested, possible)
    return None


def resolve(spec: VariableSpec, *, strict: bool, adaptive: bool = False) -> VariableSpec:
    """Return the spec with the settings that apply, given the settings that a program requests.

    Raises:
        SynchronizationError: The synchronization is NONE, and `strict` is true. TensorFlow always
            refuses NONE (difference D1 in docs/semantics.md).
        AggregationError: The policy does not support the aggregation; or the aggregation is MEAN,
            and the dtype is an integer dtype or bool.
        VariableError: The policy does not support the shape or the dtype.
    """
    policy = policy_of(spec.requested)
    becomes = policy.becomes
    aggregation = spec.aggregation
    misfit = refused_aggregation(spec.requested, aggregation)
    if misfit is not None:
        raise AggregationError(spec.name, misfit)
    if becomes.aggregations is not None:
        aggregation = becomes.aggregations[aggregation]
    if not policy.has_one_copy:  # TensorFlow refuses the writes of replicas instead
        check_mean(spec.name, aggregation, spec.dtype)
    if becomes.unless_strict and strict:
        raise SynchronizationError(
            spec.name,
            refusals.RefusedIfStrict(spec.requested),
            refusals.NOT_STRICT,
        )
    _check_copy(replace(spec, synchronization=becomes.synchronization, aggregation=aggregation))
    policy.check(spec.name, spec.shape, spec.dtype)
    in_force = becomes.in_force(spec.shape, adaptive=adaptive)
    if in_force == spec.requested:
        in_force = spec.requested  # equal, but also has the fields `package` and `definition`
    return replace(spec, synchronization=in_force, aggregation=aggregation)


def state_rule(spec: VariableSpec) -> StateRule | None:
    """Return the rules for what the policy keeps beside a component; None if it keeps nothing."""
    return policy_of(spec.synchronization).state


def _check_copy(spec: VariableSpec) -> None:
    """Check that the policy's cells can use a copy of the variable.

    Raises:
        ShapeError: The variable cannot have an authoritative copy.
    """
    if keeps_copy(spec) and None in spec.shape:
        raise ShapeError(
            spec.name,
            refusals.CopyOfOpenShape(ManualOperation.PUSH, spec.shape),
            "Create the variable with a known shape.",
        )


def is_trainable(synchronization: Synchronization) -> bool:
    """Return whether a variable is trainable by default."""
    return policy_of(synchronization).is_trainable
