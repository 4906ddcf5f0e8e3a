"""What each replica of a cluster does now, and for which other replicas it waits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from varsim.protocol.messages import Raised
from varsim.sync.coordinator_state import CoordinatorState
from varsim.sync.description import describe
from varsim.sync.participant import Status
from varsim.texts.facts import Fact


@dataclass(frozen=True, slots=True)
class ReplicaActivity:
    """What one replica does, as far as its messages say."""

    replica_id: int
    status: Status | None  # None if the replica takes no part in a call
    operation: Fact | None = None  # the operation in which the replica waits
    waits_for: tuple[int, ...] = ()
    """The replicas that must act before it continues. If it waits, and this is empty, it waits for
    the program. A replica whose function has ended waits for the other functions to end."""
    since_s: float | None = None  # when it began to run or to wait; None if it has ended
    has_raised: bool = False
    is_lost: bool = False
    collectives: int = 0  # the number of collectives at which it has arrived in the call


def activities(state: CoordinatorState) -> Iterator[ReplicaActivity]:
    """Yield what each replica does in the innermost call, in replica order."""
    call, lost, specs = state.running_call, state.registry.losses, state.registry.specs
    if call is None:
        for replica_id in range(state.num_replicas):
            yield ReplicaActivity(replica_id, None, is_lost=replica_id in lost)
        return
    running = [i for i, one in enumerate(call.participants) if one.ended is None]
    for replica_id, one in enumerate(call.participants):
        collectives = call.arrivals(replica_id)
        if one.ended is not None:
            raised = isinstance(one.ended, Raised)
            yield ReplicaActivity(
                replica_id,
                one.status,
                waits_for=tuple(running),
                has_raised=raised,
                collectives=collectives,
            )
            continue
        wait = one.waits_for
        yield ReplicaActivity(
            replica_id,
            one.status,
            None if wait is None else describe(wait, specs),
            tuple(call.needed(replica_id, state.registry.exchanges.lacking)),
            call.moved_s(replica_id),
            collectives=collectives,
        )
    for replica_id in range(len(call.participants), state.num_replicas):
        yield ReplicaActivity(replica_id, None)


def idle(state: CoordinatorState) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield each replica that does not run its function in a call, with those it waits for."""
    call = state.running_call
    if call is None:
        return
    running = tuple(i for i, one in enumerate(call.participants) if one.ended is None)
    for replica_id, one in enumerate(call.participants):
        if one.ended is not None:
            yield replica_id, running
        elif one.status is not Status.RUNNING:
            yield replica_id, tuple(call.needed(replica_id, state.registry.exchanges.lacking))
