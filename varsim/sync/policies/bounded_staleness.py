"""BoundedStaleness: replicas add to one copy, and none is more than s writes ahead of the slowest.

This is stale synchronous parallel (SSP). The coordinator has the copy. The clock of a replica is
its number of writes to the variable in the running call. A write that would put the replica more
than s writes ahead of the slowest running replica waits. Each replica has a cache of the copy. A
write that waits renews the cache, so a cache is always fresh enough for a read: a reader at clock c
sees the first c - s writes of every replica, and all of its own.

Source: Ho et al., "More Effective Distributed ML via a Stale Synchronous Parallel Parameter
Server", NIPS 2013.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Final

import numpy as np

from varsim.errors import ConfigError
from varsim.spec import Array, Context, Operand, Operation, VariableAggregation, VariableSpec
from varsim.sync import reduce
from varsim.sync.actions import ReplicaAction
from varsim.sync.operand import applied
from varsim.sync.policies.cell import NO_ROWS, Cell, Reason, Refuse
from varsim.sync.policies.cells import Local
from varsim.sync.policies.central import FromCopy, ToCopy
from varsim.sync.policies.custom import CustomPolicy
from varsim.sync.policies.known import Known
from varsim.sync.policies.manual import NOT_PRIVATE, SYNCED_BY_POLICY, Manual, ManualRow
from varsim.sync.policies.policy import Rows, on_every_write, rows
from varsim.sync.policies.replica import ReplicaWrites, VariableT_contra
from varsim.texts.modes import FORMS

OVERWRITES: Final = Reason("overwrites", of_read=False, shows_components=False)
"""Why an assign by a replica is refused: it would drop what other replicas have added."""


@dataclass(frozen=True, slots=True)
class AddToCopy(Cell):
    """A write that adds to the copy; it waits if the replica would be too many writes ahead."""

    staleness: int
    is_sent: ClassVar[bool] = True
    writes_itself: ClassVar[bool] = True

    @property
    def bound(self) -> int:
        """Return by how many writes a replica may be ahead of the slowest replica."""
        return self.staleness

    def write(
        self,
        replica: ReplicaWrites[VariableT_contra],
        variable: VariableT_contra,
        operation: Operation,
        operand: Operand,
        location: str,
    ) -> Sequence[ReplicaAction]:
        """Send the operand to the copy; wait if the replica would be too many writes ahead."""
        assert isinstance(operand, np.ndarray), "sparse writes are refused"
        return replica.write_to_copy(variable, operation, operand, self.staleness, location)

    def written(
        self,
        spec: VariableSpec,
        operation: Operation,
        components: Sequence[Array],
        values: Sequence[Operand],
    ) -> list[Array]:
        """Return the copy after one write of each replica, in replica order, for each replica."""
        copy, count = components[0], len(components)
        for value in values:
            assert isinstance(value, np.ndarray), "sparse writes are refused"
            copy = applied(operation, copy, reduce.part_of(value, spec.aggregation, count))
        return [copy] * count

    def cost_of_write(self, known: Known) -> int:
        """Count a message from each replica; with s = 0, each replica also gets the copy."""
        return known.num_replicas if self.staleness else 2 * known.num_replicas


@dataclass(frozen=True, slots=True)
class FromFreshCache(Local):
    """A read of a replica's cache of the copy, which is renewed if it may lack too much."""

    @property
    def key(self) -> str:
        """Return the key of the cell's texts."""
        return "fromfreshcache"

    def cost_of_read(self, spec: VariableSpec, known: Known) -> int:
        """Count a request of each replica and its answer, for the first read in a call."""
        return 2 * known.num_replicas


@dataclass(frozen=True, slots=True)
class AtCopy(ToCopy):
    """An operation that the program performs on the copy, without a message."""

    @property
    def key(self) -> str:
        """Return the key of the cell's texts."""
        return "atcopy"

    def for_rows(self, operation: Operation, aggregation: VariableAggregation) -> Cell:
        """Return a refusal of sparse writes."""
        return Refuse(NO_ROWS)

    def cost_of_write(self, known: Known) -> int:
        """Count no message; replicas renew their caches when they read."""
        return 0


_BY_PROGRAM: Final = {Operation.READ: FromCopy(), **on_every_write(AtCopy())}


@dataclass(frozen=True)
class BoundedStaleness(CustomPolicy):
    """Let replicas add to one copy at their own pace, at most s writes ahead of the slowest.

    Args:
        staleness: The number s of writes by which a replica may be ahead of the slowest replica;
            at least 0. With 0, every write waits until all running replicas have made it.
    Raises:
        ConfigError: `staleness` is not an integer from 0.
    Source: Ho et al., NIPS 2013 (stale synchronous parallel).
    """

    keyword: ClassVar[str] = "bounded_staleness"
    summary: ClassVar[str] = (
        "BoundedStaleness(s): replicas add to one copy at their own pace; a replica that would be "
        "more than s writes ahead of the slowest one waits."
    )
    example: ClassVar[str] = "bounded_staleness:3"
    form_of_name: ClassVar[str] = FORMS["bounded_staleness"]
    meaning_of_parameters: ClassVar[str] = (
        "S is an integer from 0, the number of writes by which a replica may be ahead"
    )
    is_mirrored: ClassVar[bool] = True
    has_one_copy: ClassVar[bool] = True
    manual: ClassVar[ManualRow] = Manual(SYNCED_BY_POLICY, NOT_PRIVATE)
    aggregations: ClassVar[Mapping[VariableAggregation, VariableAggregation]] = {
        VariableAggregation.SUM: VariableAggregation.SUM,
        VariableAggregation.MEAN: VariableAggregation.MEAN,
    }
    staleness: int

    def __post_init__(self) -> None:
        if type(self.staleness) is not int or self.staleness < 0:
            raise ConfigError(
                f"invalid BoundedStaleness({self.staleness!r}): expected an integer from 0, the "
                "number of writes by which a replica may be ahead of the slowest replica"
            )

    @property
    def rows(self) -> Rows:
        """Return the policy's rows of the table."""
        return _rows_of(self.staleness)


@cache
def _rows_of(staleness: int) -> Rows:
    add = AddToCopy(staleness)
    table = rows(
        replica={
            Operation.READ: FromFreshCache(),
            Operation.ASSIGN: Refuse(OVERWRITES),
            Operation.ASSIGN_ADD: add,
            Operation.ASSIGN_SUB: add,
        },
        cross_replica=_BY_PROGRAM,
    )
    # The function of `strategy.extended.update` gets the variable, not a component.
    return table | {
        (Context.UPDATE, operation): row
        for (context, operation), row in table.items()
        if context is Context.CROSS_REPLICA
    }
