"""Describe in few words what a replica of a running program does, for the live view."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from varsim.report.live_frame import LiveReplica
from varsim.sync.activity import ReplicaActivity
from varsim.sync.participant import Status
from varsim.texts.facts import Fact, name_replicas, times
from varsim.texts.replicas import CollectiveAt, HostCallAt, ReadAt, WriteAt

_MOST_NAMED = 4  # more replicas are counted


def live_replica(
    one: ReplicaActivity,
    now_s: float,
    idle: float | None,
    held_up_by: int | None,
    *,
    in_script: bool = False,
) -> LiveReplica:
    """Return the row of a replica.

    Args:
        now_s: The time on the clock of the activity.
        idle: The share of the last seconds in which the replica waited.
        held_up_by: The replica for which it waited most in this time.
        in_script: Whether it runs a whole script, whose progress is its number of collectives.
    """
    for_s = None if one.since_s is None else max(0.0, now_s - one.since_s)
    kind, rest = _does(one)
    if in_script and one.status is Status.RUNNING:
        rest = f"after {times(one.collectives, 'collective')}"
    return LiveReplica(one.replica_id, kind, for_s, rest, idle, held_up_by)


def _does(one: ReplicaActivity) -> tuple[str, str]:
    if one.is_lost:
        return "lost", "(its process has ended)"
    match one.status:
        case None:
            return "idle", "(no call runs)"
        case Status.RUNNING:
            return "computes", ""
        case Status.ENDED:
            others = _named(one.waits_for)
            rest = f"(the call waits for {others})" if others else ""
            return "raised" if one.has_raised else "returned", rest
        case Status.WAITING:
            what = "" if one.operation is None else f": {operation_in_short(one.operation)}"
            return "waits", f"for {_named(one.waits_for) or 'the program'}{what}"


def _named(replica_ids: Sequence[int]) -> str:
    if len(replica_ids) > _MOST_NAMED:
        return f"{len(replica_ids)} replicas"
    return name_replicas(replica_ids) if replica_ids else ""


def operation_in_short(operation: Fact) -> str:
    """Return an operation with its variable and its line: "read of w (train.py:41)"."""
    match operation:
        case ReadAt(variable=variable, location=location):
            return f"read of {variable}{_at(location)}"
        case WriteAt(variable=variable, operation=kind, location=location):
            return f"{variable}.{kind.value}{_at(location)}"
        case CollectiveAt(operation=name, location=location):
            arguments = f"({', '.join(operation.arguments)})" if operation.arguments else ""
            return f"{name}{arguments}{_at(location)}"
        case HostCallAt(location=location):
            return f"request{_at(location)}"
    return str(operation)


def _at(location: str) -> str:
    return f" ({PurePath(location).name})" if location else ""
