"""Central: a variable has one copy, and a write of the replicas changes this copy once.

The coordinator has the copy. Each replica has a cache of it, which every write renews, so that a
read on a replica needs no message. A cache is never older than the replica's own writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from varsim.spec import Array, Context, Operand, Operation, VariableAggregation, VariableSpec
from varsim.spec import Rows as OperandRows
from varsim.sync import scatter
from varsim.sync.operand import applied
from varsim.sync.policies.cell import Cell, Reason, Refuse
from varsim.sync.policies.cells import Broadcast, Local, Mirror
from varsim.sync.policies.custom import CustomPolicy
from varsim.sync.policies.manual import NOT_PRIVATE, SYNCED_BY_WRITES, Manual, ManualRow
from varsim.sync.policies.on_write import Merge
from varsim.sync.policies.policy import Rows, on_every_write, rows, with_aggregation

NEEDS_AGGREGATION: Final = Reason("needs_aggregation", of_read=False, shows_components=False)
"""Why a write in replica context is refused: one copy cannot hold every replica's value."""


@dataclass(frozen=True, slots=True)
class MergeIntoCopy(Merge):
    """A collective: the replicas' values are aggregated, and the copy gets the result."""

    def for_rows(self, operation: Operation, aggregation: VariableAggregation) -> Cell:
        """Return the cell that applies the rows of all replicas, without aggregation."""
        return InTurn()


@dataclass(frozen=True, slots=True)
class InTurn(Merge):
    """A collective: the copy gets the rows of all replicas, in replica order.

    The aggregation has no effect: MEAN divides nothing, and ONLY_FIRST_REPLICA and NONE use the
    rows of all replicas, too.
    """

    def joins_by(self, aggregation: VariableAggregation) -> VariableAggregation:
        """Return SUM: the rows of all replicas are used, and their values are not changed."""
        return VariableAggregation.SUM

    def written(
        self,
        spec: VariableSpec,
        operation: Operation,
        components: Sequence[Array],
        values: Sequence[Operand],
    ) -> list[Array]:
        """Return the components after the rows of all replicas are written."""
        own = [value for value in values if isinstance(value, OperandRows)]
        joined = scatter.joined(own, VariableAggregation.SUM)
        return [applied(operation, component, joined) for component in components]

    def bytes_of_rows(
        self, spec: VariableSpec, rows: Sequence[OperandRows], whole_bytes: int
    ) -> int:
        """Return the size of the contributions, and of the joined rows for each replica."""
        return (1 + len(rows)) * sum(own.nbytes for own in rows)

    def for_rows(self, operation: Operation, aggregation: VariableAggregation) -> Cell:
        """Return this cell: the order of the rows is defined, so all sparse writes are legal."""
        return self


@dataclass(frozen=True, slots=True)
class RefuseWithoutAggregation(Refuse):
    """A refused write of a replica: the variable has no aggregation.

    A sparse write needs no aggregation, so it is legal. It is a collective.
    """

    combines: ClassVar[bool] = True

    @property
    def key(self) -> str:
        """Return the key of the cell's texts."""
        return "refuse"

    def for_rows(self, operation: Operation, aggregation: VariableAggregation) -> Cell:
        """Return the cell that applies the rows of all replicas."""
        return InTurn()


@dataclass(frozen=True, slots=True)
class ToCopy(Broadcast):
    """An operation that the program performs on the copy."""

    takes_first: ClassVar[bool] = True

    @property
    def key(self) -> str:
        """Return the key of the cell's texts."""
        return "tocopy"

    def for_rows(self, operation: Operation, aggregation: VariableAggregation) -> Cell:
        """Return this cell: a sparse write changes rows of the copy."""
        return self


@dataclass(frozen=True, slots=True)
class FromCopy(Mirror):
    """A read of the copy by the program."""


@dataclass(frozen=True, slots=True)
class FromCache(Local):
    """A read of a replica's cache of the copy."""

    @property
    def key(self) -> str:
        """Return the key of the cell's texts."""
        return "fromcache"


_BY_PROGRAM: Final = {Operation.READ: FromCopy(), **on_every_write(ToCopy())}

_ROWS: Final = rows(
    replica={
        Operation.READ: FromCache(),
        **on_every_write(
            with_aggregation(
                if_none=RefuseWithoutAggregation(NEEDS_AGGREGATION), otherwise=MergeIntoCopy()
            )
        ),
    },
    cross_replica=_BY_PROGRAM,
)

_ROWS_OF_ONE_COPY: Final = _ROWS | {
    (Context.UPDATE, operation): row
    for (context, operation), row in _ROWS.items()
    if context is Context.CROSS_REPLICA
}
"""The rows. The function of `strategy.extended.update` gets the variable, not a component."""


@dataclass(frozen=True)
class Central(CustomPolicy):
    """The policy of the variables of `CentralStorageStrategy`."""

    keyword: ClassVar[str] = "central"
    summary: ClassVar[str] = (
        "Central storage, as under CentralStorageStrategy: the coordinator has the only copy of "
        "the variable, and a write of the replicas changes it once."
    )
    example: ClassVar[str] = "central"
    is_mirrored: ClassVar[bool] = True
    has_one_copy: ClassVar[bool] = True
    manual: ClassVar[ManualRow] = Manual(SYNCED_BY_WRITES, NOT_PRIVATE)

    @property
    def rows(self) -> Rows:
        """Return the policy's rows of the table."""
        return _ROWS_OF_ONE_COPY
