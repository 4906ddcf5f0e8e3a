"""AUTO: becomes ON_WRITE when a variable is created, as in TensorFlow's synchronous strategies.

With auto="adaptive" the synchronization stays AUTO. The variable has the same values as under
ON_WRITE, but replicas exchange their writes only when the variable is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from varsim.spec import (
    Operation,
    VariableSynchronization,
)
from varsim.sync.policies.cells import Aggregating, Local
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
class Defer(Aggregating):
    """Like `Merge`, but each replica keeps its writes until the variable is read."""

    is_deferred: ClassVar[bool] = True

    def cost_of_write(self, known: Known) -> int:
        """Count no message: the messages of the exchange are counted for the next read."""
        known.pending = True
        return 0


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
