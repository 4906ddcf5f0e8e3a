"""Keep track of one running call on a replica."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from varsim.errors import ContextError, ProtocolError
from varsim.protocol.limits import MAX_LOCKS_HELD
from varsim.protocol.messages import (
    Granted,
    HostResult,
    Joined,
    Merged,
    Message,
    Passed,
    Printed,
    Reduced,
    SharedValue,
    Start,
)
from varsim.sync.clock import Clock
from varsim.sync.components import ReplicaVariable
from varsim.sync.participant import ENDLESS
from varsim.sync.policies.cell import Cell
from varsim.sync.replica_events import (
    CallHost,
    EnterBarrier,
    EnterCombine,
    EnterJoin,
    EnterLock,
    EnterMerge,
    EnterReceive,
    EnterSend,
    FunctionPrints,
    ReplicaRead,
    RowsRead,
)

Answer = Reduced | Merged | Joined | HostResult | SharedValue | Granted | Passed | Printed
"""The messages that answer an operation for which the program waits."""

ANSWERS: Final[Mapping[type, type[Message]]] = {
    EnterCombine: Reduced,
    EnterMerge: Merged,
    EnterJoin: Joined,
    CallHost: HostResult,
    EnterLock: Granted,
    EnterBarrier: Granted,
    EnterSend: Granted,
    EnterReceive: Passed,
    FunctionPrints: Printed,
}
"""The class of the answer to each operation."""


@dataclass(slots=True)
class ReplicaCall:
    """The progress of one call on this replica, and what the program waits for."""

    call_id: int
    next_index: int = 0  # position of the next collective of all replicas
    in_groups: dict[tuple[int, ...], int] = field(default_factory=dict)
    """Process group → position of its next collective."""
    left: int = 0  # number of collectives whose messages were sent
    settled: int = 0  # number of collectives whose commits have arrived
    aborted: str | None = None  # why the call has failed; None if it has not failed
    awaits: ReplicaVariable | None = None  # the program waits for commits of this variable
    reads: bool = False  # whether the program reads the variable after this wait
    awaits_answer: type[Message] | None = None  # the class of the answer that the program awaits
    collective: tuple[tuple[int, ...], int] = (), 0  # group and position of this answer, if any
    syncs: int | None = None  # the variable whose component this answer replaces
    obtains: tuple[Cell, ReplicaVariable] | None = None  # whose cell gets this answer, if any
    shows: ReplicaRead | RowsRead | None = None  # the read that continues after this answer
    leaves: int = 0  # the number of leaves of this answer, if it is a `Reduced`
    locks: dict[str, str] = field(default_factory=dict)  # lock that it holds → location
    clocks: dict[int, Clock] = field(default_factory=dict)
    """Variable with bounded staleness → the replica's writes in this call."""

    def owe(self, variable: ReplicaVariable) -> None:
        """Record a contribution to a variable: its commit must arrive."""
        variable.owed_to = self.call_id
        variable.owed_index = self.next_index
        self.next_index += 1

    def enter(self, group: tuple[int, ...]) -> int:
        """Record that the program enters a collective; return the position of the collective."""
        if group:
            index = self.in_groups.get(group, 0)
            self.in_groups[group] = index + 1
        else:
            index = self.next_index
            self.next_index += 1
        self.collective = group, index
        return index

    def leave(self) -> None:
        """Record that the replica has joined: commits of any number of collectives can arrive."""
        self.next_index = ENDLESS

    def rejoin(self, joined: Joined) -> None:
        """Record that all replicas have joined, and take part in the collectives again."""
        self.clocks.clear()
        self.next_index = self.left = joined.position + 1

    def take_lock(self, lock: str, location: str) -> None:
        """Record that the program requests a lock.

        Raises:
            ContextError: The replica holds this lock already, or too many locks.
        """
        since = self.locks.get(lock)
        if since is not None:
            raise ContextError(
                f"this replica has held lock {lock!r} since {since}: a replica cannot take a lock "
                "twice. Take it once, around both critical sections"
            )
        if len(self.locks) >= MAX_LOCKS_HELD:
            raise ContextError(
                f"this replica holds {len(self.locks):,} locks, and no more are possible: release "
                "some of them first"
            )
        self.locks[lock] = location

    def leave_lock(self, lock: str) -> None:
        """Record that the program releases a lock.

        Raises:
            ContextError: The replica does not hold this lock.
        """
        if self.locks.pop(lock, None) is None:
            raise ContextError(f"this replica does not hold lock {lock!r}")


def check_settled(call: ReplicaCall, settled: int) -> None:
    """Check how many collectives of a call are committed.

    Raises:
        ProtocolError: The replica has not arrived at so many collectives.
    """
    if not 0 <= settled <= call.next_index:
        raise ProtocolError(
            f"a commit settles {settled} collectives of call {call.call_id}; the replica has "
            f"arrived at {call.next_index}"
        )


def check_start(
    calls: Sequence[ReplicaCall], start: Start, replica_id: int, num_replicas: int
) -> None:
    """Check that a call can start now.

    It can start if no function runs, or if the innermost function waits for an answer.

    Raises:
        ProtocolError: The call runs already, a function runs, or the replica has joined.
    """
    call_id = start.call_id
    if not replica_id < start.present <= num_replicas:
        raise ProtocolError(
            f"call {call_id} starts on replica {replica_id}, but {start.present} of {num_replicas} "
            "replicas take part in it"
        )
    if calls and (not calls[-1].awaits_answer or any(one.call_id == call_id for one in calls)):
        raise ProtocolError(f"call {call_id} starts while call {calls[-1].call_id} runs")


def check_answer(call: ReplicaCall, answer: Answer) -> None:
    """Check that the program waits for this answer.

    Raises:
        ProtocolError: The program waits for another answer.
    """
    fits = type(answer) is call.awaits_answer
    if fits and isinstance(answer, Reduced | Merged):
        group = answer.group if isinstance(answer, Reduced) else ()
        fits = (group, answer.position) == call.collective
    if fits and isinstance(answer, Joined):
        at_or_after = call.collective[1] <= answer.position and call.settled <= answer.position + 1
        fits = at_or_after and answer.last >= 0
    if fits and isinstance(answer, Reduced):
        fits = len(answer.leaves) == call.leaves
    if not fits:
        raise ProtocolError(f"a {answer.name} arrives, for which the program does not wait")
