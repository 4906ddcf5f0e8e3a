"""Make the rows of collectives other than writes: the arrivals, and the arrays of values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from varsim.protocol.messages import Combine, Join, MergeCall, Reduced
from varsim.tracing.absent import AbsentMemory
from varsim.tracing.rows import Form, HistoryRows, kept

_GIVEN: Final = Form("position", "members", "note", "value")
_RESULTS: Final = Form("position", "members", "replica", "value")


def arrived(
    message: Combine | MergeCall | Join, rows: HistoryRows, absent: AbsentMemory
) -> Sequence[int]:
    """Add the arrival of a replica, and the arrays that it gives; return the event numbers."""
    columns: dict[str, Any] = {"position": message.position, "location": message.location}
    if isinstance(message, Join):
        return (rows.add("arrive", call=message.call_id, operation="join", **columns),)
    if message.performs or message.label is not None:
        columns["note"] = message.performs or message.label
    if isinstance(message, MergeCall):
        operation = "cross_replica" if message.performs else "merge_call"
        return (rows.add("arrive", call=message.call_id, operation=operation, **columns),)
    how, weight, members = message.how, message.weight, members_of(message.how.group)
    if members is not None:
        columns["members"] = members
    first = rows.add("arrive", call=message.call_id, operation=how.kind.value, **columns)
    weighs = {} if weight is None else {"weight": weight}
    arguments = json.dumps({**how.settings(), **weighs})
    position = message.position
    given = ((position, members, arguments, *kept(leaf, absent)) for leaf in message.leaves)
    return (first, *rows.add_all("give", _GIVEN, given, call=message.call_id))


def members_of(group: Sequence[int]) -> str | None:
    """Return the column `members` of a process group; None for all replicas."""
    return json.dumps(group) if group else None


def obtained(
    message: Reduced, replica_id: int, rows: HistoryRows, absent: AbsentMemory
) -> Sequence[int]:
    """Add the arrays of the result that a replica gets; return the event numbers."""
    position, members = message.position, members_of(message.group)
    shown = ((position, members, replica_id, *kept(leaf, absent)) for leaf in message.leaves)
    return rows.add_all("result", _RESULTS, shown, call=message.call_id)
