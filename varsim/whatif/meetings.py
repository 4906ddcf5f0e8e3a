"""Repeat the locks, barriers, sends and receives of a replica in a replay."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from varsim.distribute.meetings import CriticalSection
from varsim.whatif.recorded import RELEASE, RecordedRequest
from varsim.whatif.values import at

NOTHING: Final = np.float32(0)
"""The value of collectives and sends: the record of a replay needs only that they happen."""


class Meetings:
    """The locks that one replica holds in a call, and its other requests without a position."""

    def __init__(self, context: Any, strategy: Any) -> None:
        self._context = context
        self._strategy = strategy
        self._held: dict[str, CriticalSection] = {}

    def make(self, request: RecordedRequest) -> None:
        """Make a request, or release a lock."""
        context, note, call = self._context, request.note, at(request.location)
        match request.operation:
            case "lock" | "read_lock" as kind:
                section = self._held[note] = getattr(context, kind)(note)
                call(section.__enter__)
            case "barrier":
                call(context.barrier, note or None, group=group_of(self._strategy, request.group))
            case "send":
                call(context.send, NOTHING, int(note))
            case "recv":
                call(context.recv, int(note))
            case operation:
                assert operation == RELEASE
                self._held.pop(note).__exit__()


def group_of(strategy: Any, members: tuple[int, ...]) -> Any:
    """Return the process group with these members; None for all replicas."""
    return strategy.group(members) if members else None
