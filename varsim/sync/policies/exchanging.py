"""Cells of policies in which all replicas exchange their components after some local writes.

A subclass of `ExchangeEvery` has only the method `exchanged`. It gets the components of all
replicas, and returns a component for each of them. Its policy returns a `WritesSinceExchange` as
its `state`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from varsim.spec import (
    Array,
    NamedArrays,
    Operand,
    Operation,
    VariableAggregation,
    VariableSpec,
)
from varsim.spec import Rows as OperandRows
from varsim.sync.actions import ReplicaAction
from varsim.sync.policies.cell import Cell
from varsim.sync.policies.cells import applied_to_each
from varsim.sync.policies.known import Known
from varsim.sync.policies.replica import LocalComponent, ReplicaWrites, VariableT_contra
from varsim.sync.policies.state import StateRule

WRITES: Final = "writes"
"""The name of the number of writes since the last exchange; 0 if it is missing."""


def _count(state: Mapping[str, Array]) -> int:
    return int(state[WRITES]) if WRITES in state else 0


@dataclass(frozen=True, slots=True)
class EveryKth(Cell):
    """A local write; the k-th write since the last exchange is also a collective (k is `every`).

    The collective merges the components of all replicas.
    """

    every: int
    writes_itself: ClassVar[bool] = True

    @property
    def is_private(self) -> bool:
        """Return True: the policy intends that the components differ between two exchanges."""
        return True

    def write(
        self,
        replica: ReplicaWrites[VariableT_contra],
        variable: VariableT_contra,
        operation: Operation,
        operand: Operand,
        location: str,
    ) -> Sequence[ReplicaAction]:
        """Write locally; at each k-th write, contribute the component to the exchange.

        A sparse write is counted as well. The next write waits for the exchange, because it is
        applied to the exchanged value.
        """
        if replica.owes_merge(variable):
            return replica.wait_and_repeat(variable)
        self.settle(variable)
        replica.write_locally(variable, operation, operand)
        count = 1 + _count(variable.policy_state)
        variable.policy_state[WRITES] = np.array(count)
        if count == self.every:
            del variable.policy_state[WRITES]
            variable.writes -= 1  # the merge counts the write
            variable.diverged = False  # the exchange replaces the local writes
            self.contribute(replica, variable, location)
        return ()

    def settle(self, variable: LocalComponent) -> None:
        """Prepare for a write: the last exchange of this replica, if any, is committed."""

    def contribute(
        self,
        replica: ReplicaWrites[VariableT_contra],
        variable: VariableT_contra,
        location: str,
    ) -> None:
        """Contribute the component to the exchange."""
        replica.contribute(variable, variable.component(), location)

    def for_rows(self, operation: Operation, aggregation: VariableAggregation) -> Cell:
        """Return this cell: a sparse write is local, and is counted."""
        return self

    def cost_of_write(self, known: Known) -> int:
        """Count the messages of a merge if every write is exchanged, and none otherwise."""
        if self.every == 1:
            return 2 * known.num_replicas
        known.unknown.update(range(known.num_replicas))
        return 0

    def bytes_of_rows(
        self, spec: VariableSpec, rows: Sequence[OperandRows], whole_bytes: int
    ) -> int:
        """Return the size of an exchange of components if every write is exchanged; else 0."""
        return 2 * len(rows) * whole_bytes if self.every == 1 else 0


@dataclass(frozen=True, slots=True)
class ExchangeEvery(EveryKth):
    """An `EveryKth` whose method `exchanged` computes a new component for each replica."""

    exchanges: ClassVar[bool] = True

    def written(
        self,
        spec: VariableSpec,
        operation: Operation,
        components: Sequence[Array],
        values: Sequence[Operand],
    ) -> list[Array]:
        """Return the components after the first write since an exchange.

        An authoritative copy is assumed to equal component 0, as in a new variable.
        """
        after = applied_to_each(operation, components, values)
        if self.every > 1:
            return after
        return [np.asarray(one) for one in self.exchanged(spec, after, components[0]).components]

    def copied(
        self,
        spec: VariableSpec,
        operation: Operation,
        components: Sequence[Array],
        values: Sequence[Operand],
        copy: Array,
    ) -> Array:
        """Return the authoritative copy after the same write."""
        after = applied_to_each(operation, components, values)
        found = self.exchanged(spec, after, copy).copy if self.every == 1 else None
        return copy if found is None else np.asarray(found)


@dataclass(frozen=True, slots=True)
class WritesSinceExchange(StateRule):
    """The number of a replica's writes since the last exchange, from 1 to `every` - 1."""

    every: int

    def check(self, spec: VariableSpec, state: NamedArrays) -> None:
        """Check the number.

        Raises:
            ValueError: It is not such a number.
        """
        for name, array in state:
            fits = name == WRITES and array.shape == () and array.dtype == np.int64
            if not fits or not 0 < array < self.every:
                raise ValueError(f"{name} {array} is not a number of writes below {self.every}")

    def after_failure(self, state: NamedArrays, version: int) -> NamedArrays:
        """Return an empty state: every replica counts from 0 again."""
        return ()

    def after_loss(self, states: Sequence[NamedArrays | None]) -> Sequence[NamedArrays]:
        """Return the number of the other replicas for a lost one; count from 0 if they differ.

        An exchange needs all replicas, so a new replica must have the number of the others. If no
        replica is lost, the numbers stay.
        """
        left = [state for state in states if state is not None]
        if len(left) == len(states):
            return left
        counts = {_count(dict(state)) for state in left}
        return [left[0] if len(counts) == 1 else ()] * len(states)
