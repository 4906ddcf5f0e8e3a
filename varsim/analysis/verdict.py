"""Judges a history: one pass over its events, which every checker sees.

The judge shares no code with the engine. It knows what the documents promise, replays what the
history says was done, and compares. A history may be damaged in any way: whatever cannot be
concluded from it is UNKNOWN, with the reason.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Final

from varsim.analysis.checker import Checker, Conclusion
from varsim.analysis.checkers.agreement import Agreement
from varsim.analysis.checkers.atomic import Atomic
from varsim.analysis.checkers.gathered_reads import GatheredReads
from varsim.analysis.checkers.local_only import LocalOnly
from varsim.analysis.checkers.lost_update import LostUpdate
from varsim.analysis.checkers.monotonic_reads import MonotonicReads
from varsim.analysis.checkers.read_your_writes import ReadYourWrites
from varsim.analysis.checkers.record import Record
from varsim.analysis.checkers.reduction import Reduction
from varsim.analysis.checkers.versions import Versions
from varsim.analysis.outcome import Outcome, Verdict, overall
from varsim.analysis.promises import promise_of
from varsim.analysis.replay import Replay
from varsim.analysis.wholeness import Rows, missing
from varsim.tracing.history import PROGRAM, Event, History
from varsim.tracing.progress import Tell, telling

__all__ = ["CHECKERS", "Outcome", "Verdict", "is_whole", "judge", "overall", "sound"]

CHECKERS: Final[tuple[type[Checker], ...]] = (
    Agreement,
    Versions,
    Reduction,
    GatheredReads,
    LocalOnly,
    LostUpdate,
    ReadYourWrites,
    MonotonicReads,
    Atomic,
)
"""What is promised of a run, in the order in which it is printed; `Record` comes before them."""

MAX_REPLICAS: Final = 2**16
"""More than a run can have: a number above it is a damaged one, and would fill the memory."""

Handler = Callable[[Event], None]


def judge(history: History, *, tell: Tell | None = None) -> tuple[Verdict, ...]:
    """What every checker says of a history.

    Args:
        tell: Is told how much of the history has been seen.
    Returns:
        One verdict for the record itself and one for each promise, in the order of `CHECKERS`.
        INVALID is said only of what stands before the first event that may be missing; VALID only
        if none is.
    """
    try:
        replay, rows, last, reason = _prepare(history)
    except (sqlite3.Error, LookupError, ValueError, TypeError) as error:
        return tuple(_nothing_known(error))
    record = Record(replay, rows)
    checkers = [checker(replay) for checker in CHECKERS]
    try:
        if not _pass(history, record, checkers, last, tell):
            reason = reason or "the record makes no sense from some event on"
    except sqlite3.Error as error:
        reason = f"the record cannot be read to its end: {error}"
    if not reason:
        for checker in checkers:
            checker.end()
    if not reason and history.run.get("window"):
        reason = "in what was recorded nothing is wrong, but only a window of steps was"
    return tuple(_with_events(history, one, one.conclude(reason)) for one in (record, *checkers))


def is_whole(verdicts: Sequence[Verdict]) -> bool:
    """Whether the record itself is as it should be, so that more can be asked of it."""
    return all(one.outcome is Outcome.VALID for one in verdicts if one.checker == Record.name)


def sound(oracle: History | None) -> History | None:
    """An oracle that a run can be compared with: the whole record of one replica; else None."""
    if oracle is None or not is_whole(judge(oracle)) or oracle.num_replicas != 1:
        return None
    return oracle


def _prepare(history: History) -> tuple[Replay, Rows, int | None, str]:
    promises = {number: promise_of(row) for number, row in history.variables.items()}
    num_replicas = history.run["num_replicas"]
    if type(num_replicas) is not int or not 1 <= num_replicas <= MAX_REPLICAS:
        raise ValueError(f"a run of {num_replicas!r} replicas")
    replay = Replay(num_replicas, promises, from_start=not history.run.get("window"))
    return replay, Rows(num_replicas, promises), *missing(history)


def _nothing_known(error: Exception) -> Iterator[Verdict]:
    reason = f"the history does not say what was run: {error}"
    for name in (Record.name, *(checker.name for checker in CHECKERS)):
        yield Verdict(name, Outcome.UNKNOWN, reason)


def _pass(
    history: History,
    record: Record,
    checkers: Sequence[Checker],
    last: int | None,
    tell: Tell | None,
) -> bool:
    """Shows every event to all that want it; whether the record made sense to the end."""
    replay = record.replay
    handlers = {kind: [take] for kind, take in replay.handlers().items()}
    for checker in checkers:
        for kind, handler in checker.handlers().items():
            handlers.setdefault(kind, []).append(handler)
    events = history.events() if last is None else history.events("event <= ?", (last,))
    for event in telling(events, history.last_event, tell):
        if not record.accepts(event):
            return False
        for handler in handlers.get(event.kind, ()):
            handler(event)
        if event.process == PROGRAM and event.kind not in {"fetch", "receive"}:
            replay.moves_on()
    return True


_AT_ONCE: Final = 500
"""Events that are looked up by one statement; SQLite allows 999 parameters everywhere."""


def _with_events(history: History, checker: Checker, conclusion: Conclusion) -> Verdict:
    numbers = conclusion.events
    parts = [numbers[i : i + _AT_ONCE] for i in range(0, len(numbers), _AT_ONCE)]
    try:
        found = tuple(chain.from_iterable(_events(history, part) for part in parts))
    except sqlite3.Error:
        found = ()  # the reason names what there is to say
    return Verdict(checker.name, conclusion.outcome, conclusion.reason, found, conclusion.variable)


def _events(history: History, numbers: Sequence[int]) -> Iterator[Event]:
    marks = ", ".join("?" * len(numbers))
    return history.events(f"event IN ({marks})", numbers)
