"""ON_WRITE: one value for all components, agreed on at every write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from varsim.spec import Array, Operation, VariableSpec, VariableSynchronization
from varsim.sync.policies.cells import Broadcast, Cell, Known, Local, Mirror, aggregated
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
    """A collective: the replicas' values are aggregated, and every component gets the result."""

    combines: ClassVar[bool] = True
    is_sent: ClassVar[bool] = True

    @property
    def uses_location(self) -> bool:
        """Return True: a mismatch names the locations of the writes."""
        return True

    def written(
        self,
        spec: VariableSpec,
        operation: Operation,
        components: Sequence[Array],
        values: Sequence[Array],
    ) -> list[Array]:
        """Return the components after the operation with the aggregate of the values."""
        return aggregated(spec, operation, components, values)

    def cost_of_write(self, known: Known) -> int:
        """Count a contribution of each replica, and a commit to it."""
        return 2 * known.num_replicas


CROSS_REPLICA: Final[dict[Operation, Row]] = {
    # The function of a merge_call runs in cross-replica context, too.
    Operation.READ: Mirror(),
    **on_every_write(Broadcast(per_component=True)),
}

POLICY: Final = TablePolicy(
    rows=rows(
        replica={
            Operation.READ: Local(),
            **on_every_write(with_aggregation(none=Local(diverges=True), other=Merge())),
        },
        cross_replica=CROSS_REPLICA,
    ),
    becomes=Become(VariableSynchronization.ON_WRITE),
    is_mirrored=True,
)
