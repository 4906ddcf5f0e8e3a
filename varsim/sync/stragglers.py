"""Keep track of replicas that still run the function of an ended call.

varsim cannot interrupt the code of a replica. The replica receives the abort at its next wait, or
when its function ends. Then the replica answers with `Left`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from varsim.errors import StillRunning
from varsim.protocol.messages import Abort
from varsim.sync.call_site import CallSite
from varsim.texts.stragglers import RunningSince, StillInCall
from varsim.value_class import value_class

PATIENCE_S: Final = 1.0
"""Longest time that the program waits for replicas to leave a call that the program has abandoned.

The time is short: a replica that waits for a message leaves within milliseconds, and a user who has
pressed Ctrl-C does not want to wait. After any other failure of a call, the wait has the limits of
a running call.
"""

REMINDER_S: Final = 0.2
"""Time after which the abort is sent again, because an interrupt may have prevented sending it."""


@value_class
class Straggler:
    """A replica that still runs a call that has failed or was abandoned."""

    replica_id: int
    site: CallSite
    started_s: float
    over_s: float  # time at which the call ended
    because: str  # the reason for the end of the call
    by_program: bool  # whether the program abandoned the call, by an interrupt or a time-out
    seen_at: str  # file:line in the replica's last message; empty if there was no message


class Stragglers:
    """The replicas that still run ended calls, according to their messages."""

    def __init__(self) -> None:
        self._inside: dict[tuple[int, int], Straggler] = {}  # (replica_id, call_id) → straggler

    def __bool__(self) -> bool:
        """Return whether any replica still runs an ended call."""
        return bool(self._inside)

    @property
    def calls(self) -> set[int]:
        """Return the ids of the ended calls that replicas still run."""
        return {call_id for _, call_id in self._inside}

    def add(self, call_id: int, straggler: Straggler) -> None:
        """Add a replica whose function has not ended, although the call is over."""
        self._inside[straggler.replica_id, call_id] = straggler

    def left(self, replica_id: int, call_id: int) -> None:
        """Record that a replica has left a call."""
        self._inside.pop((replica_id, call_id), None)

    def lose(self, replica_ids: Collection[int]) -> None:
        """Record that these replicas are lost."""
        self._inside = {
            key: one for key, one in self._inside.items() if one.replica_id not in replica_ids
        }

    def among(self, replica_ids: Collection[int]) -> list[Straggler]:
        """Return the stragglers among these replicas, each only with its outermost call."""
        outermost: dict[int, Straggler] = {}
        for (replica_id, _), straggler in sorted(self._inside.items()):
            if replica_id in replica_ids:
                outermost.setdefault(replica_id, straggler)
        return list(outermost.values())

    def reminders(self, replica_ids: Collection[int]) -> list[tuple[int, Abort]]:
        """Return the aborts to send again, each as a replica_id and a message."""
        return [
            (replica_id, Abort(call_id=call_id, reason=one.because))
            for (replica_id, call_id), one in self._inside.items()
            if replica_id in replica_ids
        ]

    def given_up(self, replica_ids: Collection[int]) -> list[Straggler]:
        """Return the stragglers among these replicas whose call the program has abandoned."""
        return [one for one in self.among(replica_ids) if one.by_program]


def still_running(
    stragglers: Iterable[Straggler], now_at: Mapping[int, str], now_s: float
) -> StillRunning:
    """Return the error for an operation that cannot start, because stragglers do not answer.

    Args:
        now_at: replica_id → the line of the program that the replica runs now, if known.
    """
    late = list(stragglers)
    first = late[0]
    fact = StillInCall(describe(late, now_at, now_s), now_s - first.over_s, first.because)
    return StillRunning(fact, tuple(one.replica_id for one in late))


def describe(
    stragglers: Iterable[Straggler], now_at: Mapping[int, str], now_s: float
) -> tuple[RunningSince, ...]:
    """Return the function, start time and location of each straggler."""
    return tuple(
        RunningSince(
            one.replica_id,
            str(one.site),
            now_s - one.started_s,
            now_at.get(one.replica_id, ""),
            one.seen_at,
        )
        for one in stragglers
    )
