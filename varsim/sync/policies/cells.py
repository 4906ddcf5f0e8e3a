"""Cells of the policy table that several policies use.

A cell that only one policy uses is in the file of that policy. For policies of other packages, this
module also has the interface of cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from varsim.spec import Array, Operand, Operation, Rows, VariableAggregation, VariableSpec
from varsim.sync import reduce, scatter
from varsim.sync.operand import applied
from varsim.sync.policies.cell import NO_ORDER, NO_ROWS, Cell, Exchange, Reason, Refuse
from varsim.sync.policies.known import Known

__all__ = [
    "NO_ORDER",
    "NO_ROWS",
    "Aggregating",
    "AtHand",
    "Broadcast",
    "Cell",
    "Exchange",
    "Local",
    "Mirror",
    "Reason",
    "Refuse",
    "Separate",
    "aggregated",
    "applied_to_each",
    "combining_rows",
]


def applied_to_each(
    operation: Operation, components: Sequence[Array], values: Sequence[Operand]
) -> list[Array]:
    """Return the components after an operation, with a separate value for each component."""
    both = zip(components, values, strict=True)
    return [applied(operation, component, value) for component, value in both]


def aggregated(
    spec: VariableSpec,
    operation: Operation,
    components: Sequence[Array],
    values: Sequence[Operand],
) -> list[Array]:
    """Return the components after an operation with the aggregate of the values."""
    rows = [value for value in values if isinstance(value, Rows)]
    total: Operand
    if rows:
        total = scatter.joined(rows, spec.aggregation)
    else:
        arrays = [value for value in values if isinstance(value, np.ndarray)]
        total = reduce.aggregate(arrays, spec.aggregation)
    return [applied(operation, component, total) for component in components]


class Aggregating(Cell):
    """An operation in replica context that aggregates the replicas' values for all components."""

    __slots__ = ()

    combines: ClassVar[bool] = True

    def written(
        self,
        spec: VariableSpec,
        operation: Operation,
        components: Sequence[Array],
        values: Sequence[Operand],
    ) -> list[Array]:
        """Return the components after an operation with the aggregate of the values."""
        return aggregated(spec, operation, components, values)

    def for_rows(self, operation: Operation, aggregation: VariableAggregation) -> Cell:
        """Return this cell, or a refusal if the replicas' rows cannot be combined."""
        return combining_rows(self, operation, aggregation)


class Separate(Cell):
    """An operation that gives each component its own value."""

    __slots__ = ()

    def written(
        self,
        spec: VariableSpec,
        operation: Operation,
        components: Sequence[Array],
        values: Sequence[Operand],
    ) -> list[Array]:
        """Return the components after an operation on each, with its own value."""
        return applied_to_each(operation, components, values)

    def for_rows(self, operation: Operation, aggregation: VariableAggregation) -> Cell:
        """Return this cell: a sparse write is performed in the same way."""
        return self


@dataclass(frozen=True, slots=True)
class Local(Separate):
    """An operation in replica context that uses only this replica's component and sends no message.

    If `diverges` is true, the variable is mirrored, and its other components do not change.
    """

    diverges: bool = False

    @property
    def key(self) -> str:
        """Return the key of the cell's texts."""
        return "local.diverges" if self.diverges else "local"

    @property
    def is_private(self) -> bool:
        """Return whether the policy intends that the components differ after a write."""
        return not self.diverges

    def cost_of_write(self, known: Known) -> int:
        """Count no message; record that the coordinator no longer knows the components."""
        known.unknown.update(range(known.num_replicas))
        return 0

    def cost_of_read(self, spec: VariableSpec, known: Known) -> int:
        """Count the exchange of pending writes: each replica sends a delta and gets a commit."""
        if not known.pending:
            return 0
        known.pending = False
        return 2 * known.num_replicas


@dataclass(frozen=True, slots=True)
class AtHand(Separate):
    """An operation on the current component inside `strategy.extended.update`."""

    def needed(self, spec: VariableSpec, num_replicas: int) -> range:
        """Return all replicas: the function runs for the component of each replica."""
        return range(num_replicas)

    def cost_of_write(self, known: Known) -> int:
        """Count a message to each replica."""
        return known.num_replicas

    def bytes_of_rows(self, spec: VariableSpec, rows: Sequence[Rows], whole_bytes: int) -> int:
        """Return the size of all components: they are sent as a whole."""
        return len(rows) * whole_bytes


@dataclass(frozen=True, slots=True)
class Broadcast(Cell):
    """An operation that the program performs on every component.

    If `shares` is true, each component gets a share: the value divided by the number of replicas.
    If `per_component` is true, each component gets its own value from a PerReplica value. If
    `reads_back` is true, the operation returns the new value, so it is refused for a variable that
    cannot be read.
    """

    shares: bool = False
    per_component: bool = False
    reads_back: bool = False

    @property
    def key(self) -> str:
        """Return the key of the cell's texts."""
        if self.shares:
            return "broadcast.shares"
        return "broadcast.per_component" if self.per_component else "broadcast"

    def for_rows(self, operation: Operation, aggregation: VariableAggregation) -> Cell:
        """Return this cell, because a sparse write changes every component as well.

        A sparse write that would need shares is refused.
        """
        return Refuse(NO_ROWS) if self.shares else self

    def written(
        self,
        spec: VariableSpec,
        operation: Operation,
        components: Sequence[Array],
        values: Sequence[Operand],
    ) -> list[Array]:
        """Return the components after the operation with the values, or with their shares."""
        if self.shares:
            count = len(components)
            values = [
                reduce.share_of(value, spec.dtype, count, spec.name)
                for value in values
                if isinstance(value, np.ndarray)
            ]
        return applied_to_each(operation, components, values)

    def cost_of_write(self, known: Known) -> int:
        """Count a message to each replica."""
        return known.num_replicas

    def bytes_of_rows(self, spec: VariableSpec, rows: Sequence[Rows], whole_bytes: int) -> int:
        """Return the size of the rows for all replicas."""
        return sum(own.nbytes for own in rows)


@dataclass(frozen=True, slots=True)
class Mirror(Cell):
    """A read of the value that all components hold, or of component 0 after a divergence."""

    def needed(self, spec: VariableSpec, num_replicas: int) -> range:
        """Return replica 0."""
        return range(1)

    def combined(self, spec: VariableSpec, components: Sequence[Array]) -> Array:
        """Return component 0."""
        return components[0]


_COMBINED: Final = (
    Operation.SCATTER_ADD,
    Operation.SCATTER_SUB,
    Operation.SCATTER_MUL,
    Operation.SCATTER_DIV,
)
"""The sparse writes that can combine rows of several replicas."""


def combining_rows(cell: Cell, operation: Operation, aggregation: VariableAggregation) -> Cell:
    """Return `cell`; or a refusal, if the operation cannot combine rows of several replicas."""
    several = aggregation in (VariableAggregation.SUM, VariableAggregation.MEAN)
    return Refuse(NO_ORDER) if several and operation not in _COMBINED else cell
