"""Define the interface of a synchronization policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from varsim.spec import (
    SCATTERS,
    Context,
    Operation,
    Shape,
    Synchronization,
    VariableAggregation,
    VariableSynchronization,
)
from varsim.sync.policies.cell import Cell
from varsim.sync.policies.cells import AtHand
from varsim.sync.policies.manual import ManualRow
from varsim.sync.policies.state import StateRule

Row = Cell | Mapping[VariableAggregation, Cell]
"""The effect of an operation in one context: one cell, or one cell per aggregation."""

Rows = Mapping[tuple[Context, Operation], Row]

WRITES: Final = (Operation.ASSIGN, Operation.ASSIGN_ADD, Operation.ASSIGN_SUB)
OPERATIONS: Final = (Operation.READ, *WRITES)


@dataclass(frozen=True, slots=True)
class Become:
    """The settings that a variable gets when a program creates it with a policy.

    Attributes:
        synchronization: The synchronization that the variable gets.
        unless_strict: Whether a strict strategy refuses the synchronization, as TensorFlow does
            (difference D1 in docs/semantics.md).
        if_adaptive: The synchronization that the variable gets under auto="adaptive". It applies
            only to a variable whose shape has no unknown dimension, because values of different
            shapes cannot be added.
        aggregations: A mapping from the requested aggregation to the aggregation that the variable
            gets. An aggregation that is not a key is refused. None means that every aggregation
            stays as requested.
    """

    synchronization: Synchronization
    unless_strict: bool = False
    if_adaptive: VariableSynchronization | None = None
    aggregations: Mapping[VariableAggregation, VariableAggregation] | None = None

    def in_force(self, shape: Shape, *, adaptive: bool) -> Synchronization:
        """Return the synchronization that a new variable of this shape gets."""
        if adaptive and self.if_adaptive is not None and None not in shape:
            return self.if_adaptive
        return self.synchronization


class Policy(Protocol):
    """One synchronization: its rows of the table, and its other properties.

    Attributes:
        rows: One row for every context and operation, made by the function `rows`.
        becomes: The settings that a new variable gets.
        manual: The manual operations that the policy allows.
        is_mirrored: Whether all components should hold the same value.
        is_trainable: Whether a variable is trainable by default.
        has_one_copy: Whether the program sees one copy instead of a component of each replica.
        state: The rules for what the policy keeps beside a component; None if it keeps nothing.
        keeps_copy: Whether the coordinator keeps an authoritative copy for the cells of the policy.
    """

    @property
    def rows(self) -> Rows: ...  # noqa: D102
    @property
    def becomes(self) -> Become: ...  # noqa: D102
    @property
    def manual(self) -> ManualRow: ...  # noqa: D102
    @property
    def is_mirrored(self) -> bool: ...  # noqa: D102
    @property
    def is_trainable(self) -> bool: ...  # noqa: D102
    @property
    def has_one_copy(self) -> bool: ...  # noqa: D102
    @property
    def state(self) -> StateRule | None: ...  # noqa: D102
    @property
    def keeps_copy(self) -> bool: ...  # noqa: D102

    def check(self, name: str, shape: Shape, dtype: np.dtype[np.generic]) -> None:
        """Refuse a new variable that cannot have this policy.

        Args:
            name: The name of the variable.
        Raises:
            VariableError: The policy does not support the shape or the dtype.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePolicy:
    """A policy without parameters: its attributes are its whole definition."""

    rows: Rows
    becomes: Become
    manual: ManualRow
    is_mirrored: bool = False
    is_trainable: bool = True
    has_one_copy: bool = False
    state: StateRule | None = None
    keeps_copy: bool = False

    def check(self, name: str, shape: Shape, dtype: np.dtype[np.generic]) -> None:
        """Refuse no variable."""


def rows(
    replica: Mapping[Operation, Row], cross_replica: Mapping[Operation, Row]
) -> dict[tuple[Context, Operation], Row]:
    """Return the rows of a policy.

    The rows for `strategy.extended.update` are the same for every policy. If the row of a sparse
    write is not given, `Cell.for_rows` derives it from the row of assign_add.

    Args:
        replica: The rows for replica context.
        cross_replica: The rows for cross-replica context.
    """
    update = dict.fromkeys(OPERATIONS, AtHand())
    contexts = zip(Context, (replica, cross_replica, update), strict=True)
    return {
        (context, operation): row
        for context, own in contexts
        for operation, row in (*_sparse_writes(own[Operation.ASSIGN_ADD]).items(), *own.items())
    }


def _sparse_writes(row: Row) -> dict[Operation, Row]:
    """Return the rows of the sparse writes, derived from the row of assign_add."""
    cells = dict.fromkeys(VariableAggregation, row) if isinstance(row, Cell) else row
    return {
        operation: {each: cell.for_rows(operation, each) for each, cell in cells.items()}
        for operation in SCATTERS
    }


def on_every_write(row: Row) -> dict[Operation, Row]:
    """Return the same row for assign, assign_add and assign_sub."""
    return dict.fromkeys(WRITES, row)


def with_aggregation(
    *,
    if_none: Cell | None = None,
    if_sum: Cell | None = None,
    otherwise: Cell,
) -> dict[VariableAggregation, Cell]:
    """Return one cell for each aggregation; `otherwise` if no other cell is given for it."""
    row = dict.fromkeys(VariableAggregation, otherwise)
    if if_none is not None:
        row[VariableAggregation.NONE] = if_none
    if if_sum is not None:
        row[VariableAggregation.SUM] = if_sum
    return row
