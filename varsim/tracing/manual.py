"""Decode manual operations, policy states and writes to copies into events of the history."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from varsim.protocol.messages import (
    BoundedWrite,
    Combination,
    Combine,
    CopyRequest,
    FetchPublished,
    Message,
    Publish,
    Pull,
    Push,
    SetPolicyState,
    SharedValue,
)
from varsim.spec import VariableSpec
from varsim.tracing import bounded
from varsim.tracing.absent import AbsentMemory
from varsim.tracing.rows import HistoryRows, Kept, kept


class OneSidedRows:
    """Adds the events of one-sided operations of one replica."""

    def __init__(self, rows: HistoryRows, absent: AbsentMemory) -> None:
        self._rows = rows
        self._absent = absent
        self._asked: FetchPublished | Pull | None = None  # a replica waits for one answer at a time

    def sent(self, message: Message) -> Sequence[int]:
        """Return the events of a message to the program; none if it has no events."""
        add = self._rows.add
        match message:
            case Publish(call_id=call, variable_id=number, value=value, location=at):
                shown = kept(value, self._absent)
                return (add("publish", call=call, variable=number, location=at, value=shown),)
            case Push(call_id=call, variable_id=number, delta=delta, location=at):
                shown = kept(delta, self._absent)
                return (add("push", call=call, variable=number, location=at, value=shown),)
            case FetchPublished(call_id=call, variable_id=number, replica_id=owner, location=at):
                self._asked = message
                what: dict[str, Any] = {
                    "variable": number,
                    "operation": "fetch",
                    "replica": owner,
                    "location": at,
                }
                return (add("ask", call=call, **what),)
            case Pull(call_id=call, variable_id=number, location=at):
                self._asked = message
                return (add("ask", call=call, variable=number, operation="pull", location=at),)
            case BoundedWrite():
                return bounded.advanced(message, self._rows, self._absent)
            case CopyRequest():
                return bounded.asked(message, self._rows)
        return ()

    def synced(self, message: Combine) -> None:
        """Add the event before the arrival at a collective that synchronises a variable, if any."""
        how, (leaf, *_) = message.how, message.leaves
        if how.variable_id is None:
            return
        columns: dict[str, Any] = {
            "variable": how.variable_id,
            "operation": sync_name(how),
            "position": message.position,
            "location": message.location,
        }
        if how.root is not None:
            columns["replica"] = how.root
        if how.group:
            columns["members"] = json.dumps(how.group)
        self._rows.add("sync", call=message.call_id, value=kept(leaf, self._absent), **columns)

    def obtained(self, message: SharedValue, cause: int) -> None:
        """Add the event of a replica that has received a shared value."""
        asked, self._asked = self._asked, None
        if asked is not None:  # else the beginning of the trace is missing
            owner = asked.replica_id if isinstance(asked, FetchPublished) else None
            what = message.variable_id, owner, message.version, message.age_ns, asked.location
            obtained(self._rows, what, kept(message.value, self._absent), cause)


def sync_name(how: Combination) -> str:
    """Return the `operation` of a sync: sync_mean and the like, or broadcast."""
    return "broadcast" if how.op is None else f"sync_{how.op.value.lower()}"


def obtained(
    rows: HistoryRows,
    what: tuple[int, int | None, int, int, str],
    value: Kept,
    cause: int | None = None,
) -> None:
    """Add the event of a process that has read a shared value.

    Args:
        what: The variable, the owner of the component or None for the authoritative copy, the
            version, the age in nanoseconds, and the location.
    """
    variable, owner, version, age_ns, location = what
    columns: dict[str, Any] = {
        "variable": variable,
        "operation": "pull" if owner is None else "fetch",
        "version": version,
        "replica": owner,
        "location": location,
        "note": f"{age_ns / 1e9:.9f}",
    }
    if cause is not None:
        columns["cause"] = cause
    rows.add("obtain", value=value, **columns)


def state_set(
    message: SetPolicyState,
    replica_id: int,
    spec: VariableSpec | None,
    rows: HistoryRows,
    absent: AbsentMemory,
) -> int:
    """Add the event of the program that replaces what a policy keeps beside a component.

    The first array that has the form of the variable is the value of the event.
    """
    note = json.dumps(
        {
            name: array.tolist()
            if array.ndim == 0 and array.dtype.kind in "biuf"
            else f"{array.dtype.name} {list(array.shape)}"
            for name, array in zip(message.names, message.arrays, strict=True)
        }
    )
    columns: dict[str, Any] = {"variable": message.variable_id, "replica": replica_id, "note": note}
    for array in message.arrays:
        if spec is not None and (array.shape, array.dtype) == (spec.shape, spec.dtype):
            return rows.add("state", value=kept(array, absent), **columns)
    return rows.add("state", **columns)
