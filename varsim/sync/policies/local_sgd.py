"""LocalSGD: writes stay local; at every k-th write of a replica, the components are averaged.

This is model averaging as in local SGD. The first k - 1 writes of a replica change only its own
component. After the k-th write, every component becomes the mean of the components. The k-th write
is a collective, like every write under ON_WRITE. A cross-replica read returns the mean of the
components at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from varsim.errors import ConfigError
from varsim.spec import (
    Array,
    NamedArrays,
    Operand,
    Operation,
    VariableAggregation,
    VariableSpec,
)
from varsim.spec import Rows as OperandRows
from varsim.sync import reduce
from varsim.sync.actions import ReplicaAction
from varsim.sync.policies.cells import (
    Broadcast,
    Cell,
    Known,
    Local,
    ReplicaWrites,
    VariableT_contra,
    applied_to_each,
)
from varsim.sync.policies.custom import CustomPolicy
from varsim.sync.policies.on_read import Gather
from varsim.sync.policies.policy import Rows, on_every_write, rows
from varsim.sync.policies.state import StateRule

_WRITES: Final = "writes"
"""The name of the number of writes since the last exchange; 0 if it is missing."""


def _count(state: Mapping[str, Array]) -> int:
    return int(state[_WRITES]) if _WRITES in state else 0


@dataclass(frozen=True, slots=True)
class Average(Cell):
    """A local write; the k-th write since the last exchange is also a collective (k is `every`).

    After the k-th write, all components become the mean of the components.
    """

    every: int
    writes_itself: ClassVar[bool] = True

    @property
    def is_private(self) -> bool:
        """Return True: the policy intends that the components differ between two exchanges."""
        return True

    @property
    def uses_location(self) -> bool:
        """Return True: the error about a mismatch shows the locations of the exchanged writes."""
        return True

    def write(
        self,
        replica: ReplicaWrites[VariableT_contra],
        variable: VariableT_contra,
        operation: Operation,
        operand: Operand,
        location: str,
    ) -> Sequence[ReplicaAction]:
        """Write locally; at each k-th write, contribute the component to the average.

        A sparse write is counted as well. The next write waits for the average, because it is
        applied to the averaged value.
        """
        if replica.owes_merge(variable):
            return replica.wait_and_repeat(variable)
        replica.write_locally(variable, operation, operand)
        count = 1 + _count(variable.policy_state)
        variable.policy_state[_WRITES] = np.array(count)
        if count == self.every:
            del variable.policy_state[_WRITES]
            variable.writes -= 1  # the merge counts the write
            variable.diverged = False  # the average replaces the local writes
            replica.contribute(variable, variable.component(), location)
        return ()

    def for_rows(self, operation: Operation, aggregation: VariableAggregation) -> Cell:
        """Return this cell: a sparse write is local, and is counted."""
        return self

    def written(
        self,
        spec: VariableSpec,
        operation: Operation,
        components: Sequence[Array],
        values: Sequence[Operand],
    ) -> list[Array]:
        """Return the components after the first write since an exchange."""
        after = applied_to_each(operation, components, values)
        if self.every > 1:
            return after
        return [np.asarray(reduce.aggregate(after, spec.aggregation))] * len(after)

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
class WritesSinceAverage(StateRule):
    """The number of a replica's writes since the last exchange, from 1 to `every` - 1."""

    every: int

    def check(self, spec: VariableSpec, state: NamedArrays) -> None:
        """Check the number.

        Raises:
            ValueError: It is not such a number.
        """
        for name, array in state:
            fits = name == _WRITES and array.shape == () and array.dtype == np.int64
            if not fits or not 0 < array < self.every:
                raise ValueError(f"{name} {array} is not a number of writes below {self.every}")

    def after_failure(self, state: NamedArrays) -> NamedArrays:
        """Return an empty state: every replica counts from 0 again."""
        return ()

    def after_loss(self, states: Sequence[NamedArrays | None]) -> Sequence[NamedArrays]:
        """Return the number of the other replicas for a lost one; count from 0 if they differ.

        An exchange needs all replicas, so they must have equal numbers.
        """
        left = [state for state in states if state is not None]
        counts = {_count(dict(state)) for state in left}
        return [left[0] if len(counts) == 1 else ()] * len(states)


_CROSS_REPLICA: Final = {
    Operation.READ: Gather(),
    **on_every_write(Broadcast(per_component=True)),
}


@dataclass(frozen=True)
class LocalSGD(CustomPolicy):
    """Average the replicas' components after every k-th write.

    Args:
        every: The number k of writes of a replica per exchange; at least 1.
    Raises:
        ConfigError: `every` is not a positive integer.
    """

    keyword: ClassVar[str] = "local_sgd"
    summary: ClassVar[str] = (
        "LocalSGD(k): writes stay local; at every k-th write of a replica, all components become "
        "their mean."
    )
    example: ClassVar[str] = "local_sgd:8"
    aggregations: ClassVar[Mapping[VariableAggregation, VariableAggregation]] = {
        VariableAggregation.NONE: VariableAggregation.MEAN,
        VariableAggregation.MEAN: VariableAggregation.MEAN,
    }
    every: int

    def __post_init__(self) -> None:
        if type(self.every) is not int or self.every < 1:
            raise ConfigError(
                f"invalid LocalSGD({self.every!r}): expected a positive integer, the number of "
                "writes of a replica after which the components are averaged"
            )

    @property
    def state(self) -> StateRule:
        """Return the rules for the number of writes since the last exchange."""
        return WritesSinceAverage(self.every)

    @property
    def rows(self) -> Rows:
        """Return the policy's rows of the table: writes count, and a read combines components."""
        return rows(
            replica={Operation.READ: Local(), **on_every_write(Average(self.every))},
            cross_replica=_CROSS_REPLICA,
        )
