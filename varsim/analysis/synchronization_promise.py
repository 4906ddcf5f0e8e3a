"""What a synchronization promises of a variable's components, as a judge of histories sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SynchronizationPromise:
    """The promises of one synchronization; each file in `varsim.analysis.policies` has one."""

    mirrored: bool = False  # all hold one value, unless one is written alone
    late: bool = False  # what replicas write together is exchanged late
    gathered: bool = False  # a read by the program combines them
    every: int = 0  # after so many writes of its own, a replica takes part in a collective
    checkers: tuple[type[Any], ...] = ()  # of promises that no other synchronization makes
