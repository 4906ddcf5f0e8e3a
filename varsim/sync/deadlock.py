"""Find out whether waiting replicas of a call can never continue, and describe why."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from varsim.errors import DeadlockError
from varsim.protocol.messages import (
    BarrierArrival,
    BoundedWrite,
    Combine,
    HostCall,
    Join,
    LockRequest,
    ReceiveRequest,
    SendRequest,
    SyncRequest,
    Waiting,
)
from varsim.spec import VariableSpec
from varsim.sync.description import describe, doing
from varsim.sync.meetings import Meetings
from varsim.sync.pairing import Pairing
from varsim.sync.participant import Participant, Wait
from varsim.sync.wait_graph import find_deadlock
from varsim.texts.deadlocks import (
    Deadlock,
    Kind,
    NotArrived,
    NotJoined,
    NotWritten,
    Returned,
    WaitsFor,
)
from varsim.texts.facts import Fact
from varsim.texts.replicas import grouped

_MEETINGS = (LockRequest, BarrierArrival, SendRequest, ReceiveRequest, BoundedWrite)

Lacking = Callable[[SyncRequest], Collection[int]]
"""Returns the replicas that have not made the deferred writes for which a read waits."""


def needed(
    replica_id: int,
    wait: Wait,
    pairing_of: Callable[[tuple[int, ...]], Pairing],
    meetings: Meetings | None,
    lacking: Lacking,
) -> Iterator[tuple[int, Fact]]:
    """Yield the replicas for which a waiting replica waits, and what they have not done.

    Yield nothing if the replica waits for the program, or if its answer is on its way.

    Args:
        pairing_of: Returns the pairing of a process group, or of all replicas for ().
        meetings: The locks, barriers and sends of the call; None if there are none.
    """
    if isinstance(wait, _MEETINGS):
        assert meetings is not None, "a replica waits in one of them"
        yield from meetings.needs(replica_id, wait)
    elif isinstance(wait, SyncRequest):
        yield from ((other, NotWritten()) for other in lacking(wait))
    elif isinstance(wait, Join):
        for member in pairing_of(()).members.values():
            if not member.has_joined:
                yield member.replica_id, NotJoined()
    else:
        pairing = pairing_of(wait.how.group if isinstance(wait, Combine) else ())
        own = pairing.members[replica_id]
        last = own.position - 1 if isinstance(wait, HostCall) else wait.position
        if isinstance(wait, HostCall) and not own.arrivals:
            return
        why = NotWritten() if isinstance(wait, HostCall | Waiting) else NotArrived()
        for member in pairing.members.values():
            if member.position <= last and not member.has_joined:
                yield member.replica_id, why


def deadlock_of(
    participants: Sequence[Participant],
    pairing_of: Callable[[tuple[int, ...]], Pairing],
    meetings: Meetings | None,
    lacking: Lacking,
    specs: Mapping[int, VariableSpec],
) -> DeadlockError | None:
    """Return the error if some replicas can never continue, whatever the others do; else None.

    Args:
        pairing_of: Returns the pairing of a process group, or of all replicas for (). No pairing of
            the call is doomed.
        meetings: The locks, barriers and sends of the call; None if there are none.
    """

    def needs(replica_id: int, wait: Wait) -> Iterator[tuple[int, Fact]]:
        return needed(replica_id, wait, pairing_of, meetings, lacking)

    waiting = {i: one.waits_for for i, one in enumerate(participants) if one.waits_for is not None}
    ended = {i for i, one in enumerate(participants) if one.ended is not None}
    found = find_deadlock(
        {i: {other for other, _ in needs(i, wait)} for i, wait in waiting.items()}, ended
    )
    if not found:
        return None
    waits = []
    for replica_id, other in zip(found, (*found[1:], found[0]), strict=True):
        if replica_id in waiting:
            wait = waiting[replica_id]
            why = Returned() if other in ended else dict(needs(replica_id, wait))[other]
            kind = _kind(wait)
            waits.append(WaitsFor(replica_id, describe(wait, specs), kind, other, why))
    others = {i: doing(one, specs) for i, one in enumerate(participants) if i not in found}
    return DeadlockError(Deadlock(tuple(waits), grouped(others)))


def _kind(wait: Wait) -> Kind:
    if isinstance(wait, LockRequest):
        return Kind.LOCK
    if isinstance(wait, BoundedWrite):
        return Kind.PACE
    if isinstance(wait, Join):
        return Kind.JOIN
    return Kind.POST if isinstance(wait, SendRequest | ReceiveRequest) else Kind.ALL
