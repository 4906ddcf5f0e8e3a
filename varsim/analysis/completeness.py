"""Completeness of a history: whether events are missing, and where."""

from __future__ import annotations

from typing import Any, Final

from varsim.tracing.history import PROGRAM, History
from varsim.tracing.trace_format import name_process

_MOST_LAST_EVENTS: Final = 64
"""Largest number of replicas whose last events are looked up one by one."""


def missing(history: History) -> tuple[int | None, str]:
    """Return where events may be missing from a history, and why.

    Returns:
        The last event before the first gap (None if there is no gap), and the reason.
    """
    window = history.run.get("window")
    if not window and not _unfinished(history) and _is_gapless(history):
        return None, ""
    rows = history.connection.execute(
        "SELECT process, COUNT(*), MIN(number), MAX(number), MAX(event) FROM events "
        "GROUP BY process"
    ).fetchall()
    last: int | None = None
    reason = ""
    for process, count, first, end, _ in rows:
        if any(type(one) is not int for one in (process, first, end)):
            continue  # the check of rows reports such an event
        lowest = first if window else 0
        if end - lowest + 1 != count:
            before, number = _gap(history, process, lowest)
            if last is None or before < last:
                last, reason = before, f"event {number} of {name_process(process)} is missing"
    flaw = _unfinished(history) or _removed(history, sum(count for _, count, *_ in rows))
    if flaw:
        ends = {process: end for process, *_, end in rows if type(end) is int}
        processes = range(PROGRAM, history.num_replicas)
        over = min((ends.get(process, 0) for process in processes), default=0)
        if last is None or over < last:
            last, reason = over, flaw
    return last, reason


def cut_short(history: History) -> dict[int, str]:
    """Return how the workers ended of the replicas whose records end there; usually {}."""
    return {int(one): how for one, how in history.run.get("cut_short", {}).items()}


def incompleteness(history: History) -> str:
    """Return why the record does not show the whole program; "" if it does."""
    _, reason = missing(history)
    window = history.run.get("window")
    if not reason and window:
        return "only a window of steps was recorded"
    ends = cut_short(history).items()
    return reason or "; ".join(
        f"the record of {name_process(one)} ends early: {how}" for one, how in ends
    )


def _is_gapless(history: History) -> bool:
    """Return whether every process has as many events as its last event number implies.

    This is fast, because only the last event of each process is read. If the result is False,
    events may be missing.
    """
    (count,) = history.connection.execute("SELECT COUNT(*) FROM events").fetchone()
    if history.num_replicas > _MOST_LAST_EVENTS or history.run.get("events", count) != count:
        return False
    total = 0
    for process in range(PROGRAM, history.num_replicas):
        last = history.connection.execute(
            "SELECT number FROM events WHERE process = ? ORDER BY event DESC LIMIT 1", (process,)
        ).fetchone()
        number = -1 if last is None else last[0]
        if type(number) is not int:
            return False
        total += number + 1
    return bool(total == count)


def _unfinished(history: History) -> str:
    """Return a sentence about the processes that did not close their traces; "" if all did.

    A record that is only cut short is judged to its end: see `cut_short`.
    """
    if history.run.get("complete") is True or cut_short(history):
        return ""
    known = history.run.get("missing") or []
    why = f" ({'; '.join(map(str, known))})" if isinstance(known, list) and known else ""
    return f"not every process's record ended properly{why}"


def _removed(history: History, count: int) -> str:
    """Return a sentence about events that were removed or added later; "" if there are none.

    If only the last events of a process are missing, the event numbers have no gap. So the number
    of events is compared with the number that was recorded when the history was written.
    """
    recorded = history.run.get("events", count)  # older histories lack this entry
    if recorded == count:
        return ""
    return f"the record has {count:,} events, and had {_shown(recorded)} when it was written"


def _shown(count: Any) -> str:
    return f"{count:,}" if type(count) is int else repr(count)


def _gap(history: History, process: int, lowest: int) -> tuple[int, int]:
    """Return the last event before a gap in a process's events, and the first missing number."""
    before, expected = 0, lowest
    for event, number in history.connection.execute(
        "SELECT event, number FROM events WHERE process = ? ORDER BY number", (process,)
    ):
        if number != expected:
            break
        before, expected = event, expected + 1
    return before, expected
