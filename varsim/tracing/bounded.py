"""Decode recorded messages about variables with bounded staleness into events of the history."""

from __future__ import annotations

from collections.abc import Sequence

from varsim.protocol.messages import BoundedWrite, CopyRequest, FreshCopy
from varsim.tracing.absent import AbsentMemory
from varsim.tracing.rows import HistoryRows, kept

WAITS = "waits"
"""The note of a write after which its replica waits for the copy."""

COPY = "copy"
"""The operation of a request for the copy, and of its answer."""


def advanced(message: BoundedWrite, rows: HistoryRows, absent: AbsentMemory) -> Sequence[int]:
    """Add the event of a replica's write to a copy, and return its number."""
    event = rows.add(
        "advance",
        call=message.call_id,
        variable=message.variable_id,
        operation=message.operation.value,
        version=message.clock,
        location=message.location,
        value=kept(message.operand, absent),
        **({"note": WAITS} if message.waits else {}),
    )
    return (event,)


def asked(message: CopyRequest, rows: HistoryRows) -> Sequence[int]:
    """Add the event of a replica's request for a copy, and return its number."""
    number, location = message.variable_id, message.location
    event = rows.add(
        "ask", call=message.call_id, variable=number, operation=COPY, location=location
    )
    return (event,)


def renewed(message: FreshCopy, cause: int, rows: HistoryRows, absent: AbsentMemory) -> None:
    """Add the event of a replica that has renewed its cache."""
    rows.add(
        "renew",
        call=message.call_id,
        variable=message.variable_id,
        version=message.version,
        cause=cause,
        value=kept(message.value, absent),
    )
