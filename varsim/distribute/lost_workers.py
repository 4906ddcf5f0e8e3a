"""Define what a strategy does after it has lost a worker."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from varsim.value_class import value_class


class OnWorkerLost(StrEnum):
    """What a strategy does after it has lost a worker."""

    FAIL = "fail"  # nothing: later operations that need the worker fail
    RESTART = "restart"  # go on with new workers for all replicas
    SHRINK = "shrink"  # go on with new workers, without the replicas that were lost


MAX_RESTARTS: Final = 3


@value_class
class LostWorkers:
    """The settings for lost workers."""

    policy: OnWorkerLost = OnWorkerLost.FAIL
    max_restarts: int = MAX_RESTARTS  # the strategy fails after so many restarts by the policy

    def changed(self, policy: str | None, max_restarts: int | None) -> LostWorkers:
        """Return the settings with other values; None keeps a value."""
        return LostWorkers(
            self.policy if policy is None else OnWorkerLost(policy),
            self.max_restarts if max_restarts is None else max_restarts,
        )
