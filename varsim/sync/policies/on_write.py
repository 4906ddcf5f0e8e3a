"""ON_WRITE: all components have one value, which all replicas agree on at every write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from varsim.spec import (
    SCATTERS,
    Array,
    Operation,
    VariableAggregation,
    VariableSpec,
    VariableSynchronization,
)
from varsim.sync.policies.cells import (
    Broadcast,
    Cell,
    Known,
    Local,
    Mirror,
    Reason,
    Refuse,
    aggregated,
)
from varsim.sync.policies.policy import (
    Become,
    Row,
    TablePolicy,
    on_every_write,
    rows,
    with_aggregation,
)


@dataclass(frozen=True, slots=True)
class Merge(Cell):
    """A collective: the replicas' values are aggregated, and all components get the result."""

    combines: ClassVar[bool] = True
    is_sent: ClassVar[bool] = True

    @property
    def uses_location(self) -> bool:
        """Return True: the error about a mismatch shows the locations of the writes."""
        return True

    def written(
        self,
        spec: VariableSpec,
        operation: Operation,
        components: Sequence[Array],
        values: Sequence[Array],
    ) -> list[Array]:
        """Return the components after an operation, with the aggregate of the values for all."""
        return aggregated(spec, operation, components, values)

    def cost_of_write(self, known: Known) -> int:
        """Count a contribution from each replica, and a commit to each replica."""
        return 2 * known.num_replicas


NO_ORDER: Final = Reason("no_order", of_read=False, shows_components=False)
"""Why scatter_update, scatter_min and scatter_max are refused: the order of rows would matter."""

_COMBINED: Final = (
    Operation.SCATTER_ADD,
    Operation.SCATTER_SUB,
    Operation.SCATTER_MUL,
    Operation.SCATTER_DIV,
)
"""The sparse writes that can combine rows of several replicas."""


def _scatters(if_none: Cell, otherwise: Cell) -> dict[Operation, Row]:
    """Return the table's rows for the sparse writes.

    Args:
        if_none: The cell for aggregation NONE.
        otherwise: The cell for the other aggregations. Operations that cannot combine the rows of
            several replicas have this cell only for ONLY_FIRST_REPLICA.
    """
    single = {
        **dict.fromkeys(VariableAggregation, Refuse(NO_ORDER)),
        VariableAggregation.NONE: if_none,
        VariableAggregation.ONLY_FIRST_REPLICA: otherwise,
    }
    several = with_aggregation(if_none=if_none, otherwise=otherwise)
    return {one: several if one in _COMBINED else single for one in SCATTERS}


_TO_ALL: Final = Broadcast(per_component=True)

CROSS_REPLICA: Final[dict[Operation, Row]] = {
    # The function of a merge_call also runs in cross-replica context.
    Operation.READ: Mirror(),
    **on_every_write(_TO_ALL),
}

POLICY: Final = TablePolicy(
    rows=rows(
        replica={
            Operation.READ: Local(),
            **on_every_write(with_aggregation(if_none=Local(diverges=True), otherwise=Merge())),
            **_scatters(if_none=Local(diverges=True), otherwise=Merge()),
        },
        cross_replica={**CROSS_REPLICA, **_scatters(_TO_ALL, _TO_ALL)},
    ),
    becomes=Become(VariableSynchronization.ON_WRITE),
    is_mirrored=True,
)
