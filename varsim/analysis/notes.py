"""Notes on unexamined parts: what the record lacks, and the option that would record it.

Without these notes, a reader would assume that everything was examined.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from varsim.analysis.losses import unjudged
from varsim.analysis.outcome import Note, Verdict
from varsim.analysis.sampled import MESSAGES
from varsim.analysis.verdict import is_whole
from varsim.texts.facts import times
from varsim.tracing.history import LEFT_OUT, History
from varsim.tracing.recorded_values import FRAME_LIMIT_BYTES, READ_LIMIT_BYTES
from varsim.tracing.samples import MOST_ELEMENTS

ORACLE: Final = "--oracle"
EVERYTHING: Final = MESSAGES
LIMIT: Final = "a larger `trace: {limit: …}`"
WHOLE: Final = "--trace ops"

IN_NO_VARIABLE: Final = (
    "values outside variables, except small results of functions and collectives"
)

_MOST_NAMES: Final = 3


ENDING: Final = Note(
    text="how the program ended: there is no summary.json beside the record, or this version of "
    "varsim cannot read it"
)


def not_looked_at(
    history: History, verdicts: Sequence[Verdict], no_oracle: str, *, compared: bool
) -> Iterator[Note]:
    """Yield the notes about the record, the comparison with a single device, and values.

    Args:
        no_oracle: The reason why a requested oracle is missing; "" if no oracle was requested.
        compared: Whether the run was compared with an oracle.
    """
    whole = is_whole(verdicts)
    if not whole:
        yield _of_record(history, verdicts[0].reason)
    else:
        yield from unjudged(history)
    if not compared and history.run.get("num_replicas") != 1:
        text = "whether values equal those of a single device"
        yield Note(text=f"{text}: {no_oracle}") if no_oracle else Note(text=text, option=ORACLE)
    try:
        yield from _of_values(history)
    except sqlite3.Error:
        assert not whole, "a whole record can be read"


def _of_record(history: History, flaw: str) -> Note:
    """Return the note on a record that is not whole."""
    match history.run.get("window"):
        case [int(first), int(after)]:
            text = f"the calls of strategy.run before number {first} and after number {after - 1}"
            return Note(text=f"{text}, and findings: only this window was recorded", option=WHOLE)
    option = LIMIT if history.run.get("limited") else ""
    match history.run.get("missing"):
        case [str(why), *others]:
            flaw = f"{why} (and {len(others)} more)" if others else why
    return Note(text=f"findings: the record is not whole: {flaw}", option=option)


def _of_values(history: History) -> Iterator[Note]:
    """Yield notes on values that were not recorded, or recorded only as a checksum."""
    if history.run.get(LEFT_OUT):
        yield Note(text="values: they were left out when the run was exported")
        return
    sparse_writes = history.connection.execute(
        "SELECT +variable, COUNT(*) FROM events WHERE kind IN ('write', 'commit') "
        "AND dtype IS NULL AND operation LIKE 'scatter_%' GROUP BY +variable"
    ).fetchall()
    if sparse_writes:
        yield Note(
            text=f"the rows of {_counted(history, sparse_writes, 'sparse write')}: an earlier "
            "version of varsim recorded this run without them; record it again"
        )
    rows = history.connection.execute(
        "SELECT +variable, SUM(digest IS NULL), SUM(of_event IS NOT NULL), COUNT(*) "
        "FROM events LEFT JOIN samples ON of_event = event "
        "WHERE value IS NULL AND dtype IS NOT NULL GROUP BY +variable"
    ).fetchall()
    bare = [(variable, count) for variable, count, _, _ in rows if count]
    sampled = [(variable, count) for variable, _, count, _ in rows if count]
    summed = [(variable, count - bare - part) for variable, bare, part, count in rows]
    summed = [(variable, count) for variable, count in summed if count]
    if bare:
        yield Note(
            text=f"{_counted(history, bare, 'value')}: alone or with other values of the same "
            f"message, these values are larger than {_kib(FRAME_LIMIT_BYTES)}, so they were not "
            "recorded",
            option=EVERYTHING,
        )
    if sampled:
        yield Note(
            text=f"the elements of {_counted(history, sampled, 'value')} outside of a sample: "
            "alone or with other values of the same message, these values are larger than "
            f"{_kib(FRAME_LIMIT_BYTES)}, so up to {MOST_ELEMENTS} elements of each were recorded, "
            "and statistics and a checksum of all elements",
            option=EVERYTHING,
        )
    if summed:
        yield Note(
            text=f"{_counted(history, summed, 'value')}: these values are larger than "
            f"{_kib(READ_LIMIT_BYTES)}, so only checksums were recorded, which show only whether "
            "values are equal",
            option=EVERYTHING,
        )
    yield Note(text=f"{IN_NO_VARIABLE}: they are not recorded")


def _counted(history: History, counted: Iterable[tuple[int | None, int]], noun: str) -> str:
    """Return, as text, the number of values or sparse writes, and the names of their variables."""
    total, names = 0, dict[str, None]()
    for variable, count in counted:
        total += count
        row = None if variable is None else history.variables.get(variable)
        other = "collectives" if variable is None else f"variable {variable}"
        names[other if row is None else row.name] = None
    shown = list(names)[:_MOST_NAMES]
    more = len(names) - len(shown)
    return f"{times(total, noun)} of {', '.join(shown)}" + (f" and {more} more" if more else "")


def _kib(size_bytes: int) -> str:
    return f"{size_bytes // 1024} KiB"
