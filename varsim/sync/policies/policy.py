"""What a synchronization policy must provide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from varsim.spec import (
    Context,
    Operation,
    Shape,
    Synchronization,
    VariableAggregation,
    VariableSynchronization,
)
from varsim.sync.policies.cells import AtHand, Cell

Row = Cell | Mapping[VariableAggregation, Cell]
"""What an operation does in one context: one cell, or one for each aggregation."""

Rows = Mapping[tuple[Context, Operation], Row]

WRITES: Final = (Operation.ASSIGN, Operation.ASSIGN_ADD, Operation.ASSIGN_SUB)
OPERATIONS: Final = (Operation.READ, *WRITES)


@dataclass(frozen=True, slots=True)
class Become:
    """What a policy becomes when a variable is created with it.

    Attributes:
        synchronization: The synchronization in force.
        unless_strict: Whether a strict strategy refuses it, as TensorFlow does (D1).
        if_adaptive: The synchronization in force under auto="adaptive", if every dimension of the
            variable's shape is fixed: values of different shapes do not add up.
        aggregations: By aggregation that is asked for, the one in force; those that are absent are
            refused. None: every aggregation stays what it is.
    """

    synchronization: Synchronization
    unless_strict: bool = False
    if_adaptive: VariableSynchronization | None = None
    aggregations: Mapping[VariableAggregation, VariableAggregation] | None = None

    def in_force(self, shape: Shape, *, adaptive: bool) -> Synchronization:
        """Return the synchronization that a new variable of that shape gets."""
        if adaptive and self.if_adaptive is not None and None not in shape:
            return self.if_adaptive
        return self.synchronization


class Policy(Protocol):
    """One synchronization: its rows of the table, and what else is true of it.

    Attributes:
        rows: One row for every context and operation; the function `rows` makes them.
        becomes: What it becomes when a variable is created.
        is_mirrored: Whether all components are meant to hold one value.
        is_trainable: Whether a variable is trainable where the program did not say.
    """

    @property
    def rows(self) -> Rows: ...  # noqa: D102
    @property
    def becomes(self) -> Become: ...  # noqa: D102
    @property
    def is_mirrored(self) -> bool: ...  # noqa: D102
    @property
    def is_trainable(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePolicy:
    """A policy without parameters: four attributes."""

    rows: Rows
    becomes: Become
    is_mirrored: bool = False
    is_trainable: bool = True


def rows(
    replica: Mapping[Operation, Row], cross_replica: Mapping[Operation, Row]
) -> dict[tuple[Context, Operation], Row]:
    """Return the rows of a policy.

    Inside `strategy.extended.update` a variable is the component at hand under every policy.
    """
    return {
        **{(Context.REPLICA, operation): row for operation, row in replica.items()},
        **{(Context.CROSS_REPLICA, operation): row for operation, row in cross_replica.items()},
        **{(Context.UPDATE, operation): AtHand() for operation in OPERATIONS},
    }


def on_every_write(row: Row) -> dict[Operation, Row]:
    """Return the same row for the three kinds of writes."""
    return dict.fromkeys(WRITES, row)


def with_aggregation(
    *,
    none: Cell,
    total: Cell | None = None,
    other: Cell,
) -> dict[VariableAggregation, Cell]:
    """Return one cell for each aggregation; SUM's is the others' unless it is given."""
    row = dict.fromkeys(VariableAggregation, other)
    row[VariableAggregation.NONE] = none
    row[VariableAggregation.SUM] = other if total is None else total
    return row
