"""ON_WRITE: all components have one value, which all replicas agree on at every write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from varsim.spec import (
    SCATTERS,
    Operation,
    Rows,
    VariableAggregation,
    VariableSpec,
    VariableSynchronization,
)
from varsim.sync.policies.cells import Aggregating, Broadcast, Local, Mirror, combining_rows
from varsim.sync.policies.known import Known
from varsim.sync.policies.manual import MIRRORED
from varsim.sync.policies.policy import (
    Become,
    Row,
    TablePolicy,
    on_every_write,
    rows,
    with_aggregation,
)


@dataclass(frozen=True, slots=True)
class Merge(Aggregating):
    """A collective: the replicas' values are aggregated, and all components get the result."""

    is_sent: ClassVar[bool] = True

    def cost_of_write(self, known: Known) -> int:
        """Count a contribution from each replica, and a commit to each replica."""
        return 2 * known.num_replicas

    def bytes_of_rows(self, spec: VariableSpec, rows: Sequence[Rows], whole_bytes: int) -> int:
        """Return the size of the used contributions, and of the joined rows for each replica."""
        first_only = spec.aggregation is VariableAggregation.ONLY_FIRST_REPLICA
        used = rows[:1] if first_only else rows
        return (1 + len(rows)) * sum(own.nbytes for own in used)


_TO_ALL: Final = Broadcast(per_component=True)

CROSS_REPLICA: Final[dict[Operation, Row]] = {
    # The function of a merge_call also runs in cross-replica context.
    Operation.READ: Mirror(),
    **on_every_write(_TO_ALL),
    # TensorFlow refuses the same sparse writes as in replica context.
    **{
        one: {each: combining_rows(_TO_ALL, one, each) for each in VariableAggregation}
        for one in SCATTERS
    },
}

POLICY: Final = TablePolicy(
    rows=rows(
        replica={
            Operation.READ: Local(),
            **on_every_write(with_aggregation(if_none=Local(diverges=True), otherwise=Merge())),
        },
        cross_replica=CROSS_REPLICA,
    ),
    becomes=Become(VariableSynchronization.ON_WRITE),
    manual=MIRRORED,
    is_mirrored=True,
)
