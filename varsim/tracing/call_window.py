"""Select the events of some calls of a history."""

from __future__ import annotations

from typing import Final

from varsim.tracing.history import History

_LARGEST: Final = 2**63 - 1  # the largest integer of SQLite


def events_of_calls(history: History, first: int, after: int) -> tuple[str, tuple[int, int]]:
    """Return an SQL condition, with its parameters, for the events of some calls.

    What the program does after a call, before it begins the next one, belongs to the call before.

    Args:
        first: The number of the first call.
        after: The number of the first call after the window.
    """
    last = history.last_event
    begin, end = (
        history.connection.execute(
            "SELECT min(event) FROM events WHERE kind = 'call' AND call >= ?",
            (min(number, _LARGEST),),
        ).fetchone()[0]
        for number in (first, after)
    )
    return "event >= ? AND event < ?", (
        last + 1 if begin is None else begin,
        last + 1 if end is None else end,
    )


NO_CALLS_OF_SERVERS: Final = "--calls: the record of parameter servers has no calls of strategy.run"


def outside(calls: tuple[int, int], last_call: int) -> str:
    """Return what is wrong with a window without events.

    Args:
        calls: The number of the first call, and of the first call after the window.
        last_call: The number of the last call of all records; 0 for none.
    """
    known = (
        f"the record has the calls 1 to {last_call:,}" if last_call else "the record has no call"
    )
    return f"--calls {calls[0]}:{calls[1]}: {known}"
