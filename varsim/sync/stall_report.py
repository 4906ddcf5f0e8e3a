"""Describe replicas that make no progress, for a warning or an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from varsim.sync.call_state import CallState
from varsim.sync.stalls import Sighting, Stalls
from varsim.sync.stragglers import Stragglers
from varsim.texts.stalls import HeldLock, Stall, StalledReplica


def describe_stall(
    replica_ids: Sequence[int],
    sightings: Mapping[int, Sighting],
    stalls: Stalls,
    call: CallState | None,
    stragglers: Stragglers,
    now_s: float,
) -> Stall:
    """Return what the stalled replicas of a call and the other replicas do.

    Args:
        sightings: What was just seen of the replicas' processes.
        call: The call that the program waits for; None if it waits for the value of a variable.
    """
    earlier = {one.replica_id: one.site.described for one in stragglers.among(replica_ids)}
    stalled = []
    for replica_id in replica_ids:
        activity, since_s = stalls.activity(replica_id)
        sighting = sightings[replica_id]
        one = StalledReplica(
            replica_id,
            activity,
            now_s - since_s,
            sighting.process_id,
            "" if call is None else call.last_operation(replica_id),
            sighting.stack,
            earlier.get(replica_id, ""),
            () if call is None else _held_locks(call, replica_id),
        )
        stalled.append(one)
    if call is None:
        return Stall(tuple(stalled), "")
    return Stall(tuple(stalled), call.title, call.groups(replica_ids))


def _held_locks(call: CallState, replica_id: int) -> tuple[HeldLock, ...]:
    awaited = call.awaited_locks(replica_id)
    return tuple(HeldLock(name, tuple(waiting)) for name, waiting in awaited.items())
