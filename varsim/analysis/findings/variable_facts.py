"""Facts about a variable that findings need, beyond the promise of its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from varsim.analysis import sparse
from varsim.analysis.arithmetic import Flat, FlatOperand, elements_of, known_operand_of
from varsim.analysis.promises import Promise, promise_of
from varsim.tracing.history import Event, VariableRow


@dataclass(frozen=True, slots=True)
class VariableFacts:
    """A variable, and the consequences of its settings."""

    variable_id: int
    name: str
    dtype: str
    numpy_dtype: np.dtype[Any]
    shape: tuple[int | None, ...]
    synchronization: str
    aggregation: str  # "" if replicas' writes are not aggregated
    mirrored: bool  # all components should hold one value
    one_copy: bool  # the variable has one copy, whatever synchronization the program requests
    bound: int | None  # by how many writes replicas may be apart that add to one copy
    merged: bool  # the variable is mirrored, and every write in a replica is a collective
    deferred: bool  # the variable is mirrored; a write stays on its replica until a read needs it
    gathered: bool  # a read by the program aggregates the components
    manual: bool  # programs can publish, fetch, push and pull, and sync unless `summed`
    copy: bool  # a read by the program gives the copy that the policy keeps
    local_reads: bool  # a replica may read a component that lacks other replicas' writes
    own: bool  # each component belongs to its replica and is never aggregated
    summed: bool  # a read adds up the components; each component is a part of the value
    first: bool  # only the first replica's value is used
    approximate: bool  # values differ from those of a merge at each write, as the policy intends

    @property
    def reads_copy(self) -> bool:
        """Return whether a read by the program gives one copy, of which replicas may lack writes.

        Without a policy that keeps a copy, replicas add to one copy under bounded staleness.
        """
        return self.copy or self.bound is not None

    @property
    def has_own_values(self) -> bool:
        """Return whether each component is a value of its own, and not a part of a sum."""
        return (self.own or self.gathered) and not self.summed

    def elements_of(self, event: Event) -> Flat | None:
        """Return the value that an event recorded, or its sample; None if it recorded neither."""
        return elements_of(event, self.numpy_dtype)

    def operand_of(self, event: Event) -> FlatOperand | None:
        """Return what an event recorded of a write; see `known_operand_of`."""
        return known_operand_of(event, self.numpy_dtype, self.shape)

    @property
    def unmerged(self) -> bool:
        """Return whether it is mirrored, but a write in a replica changes only its component."""
        return self.mirrored and not self.merged and not self.deferred

    def for_operation(self, operation: str | None) -> VariableFacts:
        """Return the facts about writes of replicas by one operation.

        With one copy, the rows of all replicas are written under every aggregation.
        """
        if not self.one_copy or operation not in sparse.OPERATIONS:
            return self
        return replace(self, aggregation="SUM", first=False)


def variable_facts(rows: Mapping[int, VariableRow]) -> dict[int, VariableFacts]:
    """Return the facts about every variable of a history whose promise is known."""
    promises = {number: promise_of(row) for number, row in rows.items()}
    return {n: _facts(rows[n], promise) for n, promise in promises.items() if promise.is_known}


def _facts(row: VariableRow, promise: Promise) -> VariableFacts:
    gathered = promise.gathered and promise.aggregation != "NONE"
    together = gathered or promise.merges or promise.deferred
    only_rows = promise.one_copy and promise.aggregation == "NONE"  # no other write is legal
    aggregation = "SUM" if only_rows else promise.aggregation
    return VariableFacts(
        variable_id=row.variable,
        name=row.name,
        dtype=row.dtype,
        numpy_dtype=promise.dtype,
        shape=promise.shape,
        synchronization=row.synchronization,
        aggregation=aggregation if together else "",
        mirrored=promise.mirrored,
        one_copy=promise.one_copy,
        bound=promise.bound,
        merged=promise.merges,
        deferred=promise.deferred,
        gathered=gathered,
        manual=promise.manual,
        copy=promise.copy,
        local_reads=promise.local_reads,
        own=not (promise.mirrored or gathered or promise.copy) and promise.bound is None,
        summed=gathered and promise.aggregation == "SUM",
        first=promise.aggregation == "ONLY_FIRST_REPLICA",
        approximate=bool(promise.compressor) or promise.every > 0,
    )
