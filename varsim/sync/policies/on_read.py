"""ON_READ: each replica has its own value; a cross-replica read combines these values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from varsim.errors import ValueMismatchError
from varsim.spec import (
    SCATTERS,
    Array,
    Operation,
    VariableAggregation,
    VariableSpec,
    VariableSynchronization,
)
from varsim.sync import reduce
from varsim.sync.policies.cell import NO_ROWS, Cell, Reason, Refuse
from varsim.sync.policies.cells import Broadcast, Local
from varsim.sync.policies.legality import check_gather
from varsim.sync.policies.manual import PARTS_OF_A_SUM, Manual
from varsim.sync.policies.policy import (
    Become,
    TablePolicy,
    on_every_write,
    rows,
    with_aggregation,
)

NO_AGGREGATION: Final = Reason("no_aggregation")
"""Why a read is refused: components may differ, and NONE does not say how to combine them."""

ADDS_TO_SUM: Final = Reason("adds_to_sum", of_read=False)
"""Why an add is refused: a read sums the components, and no rule says which one to change."""


@dataclass(frozen=True, slots=True)
class Gather(Cell):
    """A read that fetches and aggregates the components."""

    gathers: ClassVar[bool] = True

    def needed(self, spec: VariableSpec, num_replicas: int) -> range:
        """Return all replicas, but only replica 0 for ONLY_FIRST_REPLICA."""
        first_only = spec.aggregation is VariableAggregation.ONLY_FIRST_REPLICA
        return range(1 if first_only else num_replicas)

    def combined(self, spec: VariableSpec, components: Sequence[Array]) -> Array:
        """Return the aggregate of the components.

        Raises:
            AggregationError: The aggregate would be a sum of bools.
            ValueMismatchError: The shapes of the components differ, which is possible if the shape
                has an unknown dimension (None).
        """
        check_gather(spec, len(components))
        try:
            return np.asarray(reduce.aggregate(components, spec.aggregation))
        except ValueMismatchError as error:
            raise ValueMismatchError(
                f"variable {spec.name!r}: {error}\n"
                "  Use strategy.gather(v, axis=0) or strategy.reduce(op, v, axis=0), which accept "
                "different numbers of rows, or strategy.experimental_local_results(v)."
            ) from None


_TO_ALL: Final = Broadcast(reads_back=True)
_ADD: Final = with_aggregation(if_sum=Refuse(ADDS_TO_SUM), otherwise=_TO_ALL)
_NO_ROWS: Final = dict.fromkeys(SCATTERS, Refuse(NO_ROWS))  # as in TensorFlow

POLICY: Final = TablePolicy(
    rows=rows(
        replica={Operation.READ: Local(), **on_every_write(Local()), **_NO_ROWS},
        cross_replica={
            Operation.READ: with_aggregation(if_none=Refuse(NO_AGGREGATION), otherwise=Gather()),
            # `reduce.share_of` divides the value, so that the sum of the components is the value.
            Operation.ASSIGN: with_aggregation(
                if_sum=Broadcast(shares=True, reads_back=True), otherwise=_TO_ALL
            ),
            Operation.ASSIGN_ADD: _ADD,
            Operation.ASSIGN_SUB: _ADD,
            **_NO_ROWS,
        },
    ),
    becomes=Become(VariableSynchronization.ON_READ),
    manual={
        aggregation: Manual(
            PARTS_OF_A_SUM if aggregation is VariableAggregation.SUM else None, None
        )
        for aggregation in VariableAggregation
    },
    is_trainable=False,
)
