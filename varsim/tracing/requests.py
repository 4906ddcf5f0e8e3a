"""Decode recorded messages about locks, barriers, and values that replicas send to each other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, assert_never, get_args

from varsim.protocol.messages import (
    BarrierArrival,
    FreshCopy,
    Granted,
    HostResult,
    Joined,
    LockRelease,
    LockRequest,
    Meeting,
    Merged,
    Passed,
    ReceiveRequest,
    Reduced,
    SendRequest,
    SharedValue,
)

REQUESTS: Final = (*get_args(Meeting), LockRelease)
"""The classes of these messages of replicas."""

ANSWERS: Final[Mapping[type, str]] = {
    Reduced: "reduced",
    Merged: "merged",
    Joined: "joined",
    HostResult: "host_result",
    SharedValue: "shared",
    Granted: "granted",
    Passed: "passed",
    FreshCopy: "copy",
}
"""Class of an answer of the program → the `operation` of its event."""


def request_of(message: Meeting | LockRelease) -> dict[str, Any]:
    """Return the columns of the event of a message, and its kind."""
    columns = {"call": message.call_id, "location": message.location}
    match message:
        case LockRelease(lock=name):
            return columns | {"kind": "release", "note": name}
        case LockRequest(lock=name, is_shared=is_shared):
            columns |= {"operation": "read_lock" if is_shared else "lock", "note": name}
        case BarrierArrival(barrier=barrier, group=group):
            columns |= {"operation": "barrier", "note": barrier or ""}
            columns |= {"members": json.dumps(group)} if group else {}
        case SendRequest(to=to):
            columns |= {"operation": "send", "note": str(to)}
        case ReceiveRequest(source=source):
            columns |= {"operation": "recv", "note": str(source)}
        case _:
            assert_never(message)
    return columns | {"kind": "request"}
