"""Which manual operations a policy allows: `v.sync`, `v.publish`, `v.push` and the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from varsim.spec import ManualOperation, VariableAggregation
from varsim.sync.policies.cell import Reason

_MEETING: Final = (ManualOperation.SYNC, ManualOperation.BROADCAST)
ONE_SIDED: Final = frozenset(ManualOperation) - {*_MEETING}


@dataclass(frozen=True, slots=True)
class Manual:
    """The manual operations on variables of a policy.

    Attributes:
        meeting: Why v.sync and v.broadcast are refused; None if they are allowed.
        one_sided: Why v.publish, v.fetch, v.push and v.pull are refused; None if they are allowed.
    """

    meeting: Reason | None = None
    one_sided: Reason | None = None

    def refused(self, operation: ManualOperation) -> Reason | None:
        """Return why an operation is refused; None if it is allowed."""
        return self.meeting if operation in _MEETING else self.one_sided


ManualRow = Manual | Mapping[VariableAggregation, Manual]
"""What a policy allows: the same for each aggregation, or one `Manual` per aggregation."""

SYNCED_BY_WRITES: Final = Reason("synced_by_writes", of_read=False, shows_components=False)
"""Why a sync is refused: every write already gives all components one value."""

SYNCED_BY_POLICY: Final = Reason("synced_by_policy", of_read=False, shows_components=False)
"""Why a manual operation is refused: the policy counts writes and exchanges components itself."""

PARTS_OF_A_SUM: Final = Reason("parts_of_a_sum", of_read=False, shows_components=False)
"""Why a sync is refused: a cross-replica read would add equal components, and count N times."""

NOT_PRIVATE: Final = Reason("not_private", of_read=False, shows_components=False)
"""Why one-sided operations are refused: the components should have one value."""

BY_POLICY: Final = Manual(SYNCED_BY_POLICY, SYNCED_BY_POLICY)

MIRRORED: Final[ManualRow] = {
    aggregation: Manual(
        None if aggregation is VariableAggregation.NONE else SYNCED_BY_WRITES, NOT_PRIVATE
    )
    for aggregation in VariableAggregation
}
"""The rows of mirrored variables. Without an aggregation their components can diverge."""
