"""One replica's part in one running call, as the coordinator sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from varsim.protocol.messages import Ask, Meeting, Raised, Returned, Waiting


class Status(Enum):
    """What a replica of a call is doing, as far as its messages tell."""

    RUNNING = "runs"
    WAITING = "waits"
    ENDED = "has ended"


@dataclass(slots=True)
class Participant:
    """One replica's part in one call."""

    status: Status = Status.RUNNING
    met: int = 0  # meeting points so far
    waits_for: Meeting | Waiting | Ask | None = None
    owed: dict[int, int] = field(default_factory=dict)  # variable_id → uncommitted contributions
    ended: Returned | Raised | None = None
