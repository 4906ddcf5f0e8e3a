"""AUTO: becomes ON_WRITE when a variable is created, as in TensorFlow's synchronous strategies.

With auto="adaptive" the synchronization stays AUTO. The variable has the same values as under
ON_WRITE, but replicas exchange their writes only when the variable is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from varsim.spec import (
    Array,
    Operand,
    Operation,
    VariableAggregation,
    VariableSpec,
    VariableSynchronization,
)
from varsim.sync.policies.cells import Cell, Local, aggregated, combining_rows
from varsim.sync.policies.known import Known
from varsim.sync.policies.manual import MIRRORED
from varsim.sync.policies.on_write import CROSS_REPLICA
from varsim.sync.policies.policy import (
    Become,
    TablePolicy,
    on_every_write,
    rows,
    with_aggregation,
)


@dataclass(frozen=True, slots=True)
class Defer(Cell):
    """Like `Merge`, but each replica keeps its writes until the variable is read."""

    combines: ClassVar[bool] = True
    is_deferred: ClassVar[bool] = True

    def written(
        self,
        spec: VariableSpec,
        operation: Operation,
        components: Sequence[Array],
        values: Sequence[Operand],
    ) -> list[Array]:
        """Return the components after the exchange that the next read needs."""
        return aggregated(spec, operation, components, values)

    def cost_of_write(self, known: Known) -> int:
        """Count no message: the messages of the exchange are counted for the next read."""
        known.pending = True
        return 0

    def for_rows(self, operation: Operation, aggregation: VariableAggregation) -> Cell:
        """Return this cell, or a refusal if the replicas' rows cannot be combined."""
        return combining_rows(self, operation, aggregation)


POLICY: Final = TablePolicy(
    rows=rows(
        replica={
            Operation.READ: Local(),
            **on_every_write(with_aggregation(if_none=Local(diverges=True), otherwise=Defer())),
        },
        cross_replica=CROSS_REPLICA,
    ),
    becomes=Become(VariableSynchronization.ON_WRITE, if_adaptive=VariableSynchronization.AUTO),
    manual=MIRRORED,
    is_mirrored=True,
)
