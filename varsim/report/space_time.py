"""Space-time diagrams of events: time runs downwards, and each process has a column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from varsim.extension_dtypes import named
from varsim.report import formatting
from varsim.report.json_values import plain
from varsim.report.terminal import WIDTH
from varsim.texts.facts import name_replicas
from varsim.tracing.history import PROGRAM, Event

_CROSS_REPLICA: Final = "cross_replica"
"""The operation of an arrival at an operation of all workers; its note says which."""

_GAP: Final = "  "
_NARROWEST: Final = 17
"""Least width of a process's column. If there is less room, all processes share one column."""

MOST_ROWS: Final = 24
"""Largest number of rows. If there are more events, the middle ones are left out."""

_LAST_ROWS: Final = 12
_NAME_WIDTH: Final = 16
_VALUES: Final = 3
"""Number of elements of an array that a cell shows."""

_INDEX: Final = np.dtype(np.int64)
"""The dtype of the column `indices`."""


def space_time(
    events: Sequence[Event], names: Mapping[int, str], width: int = WIDTH, widest: int = 0
) -> list[str]:
    """Return the lines of a diagram.

    Args:
        events: In causal order.
        names: The variables' names by number.
        width: Number of characters of the widest line.
        widest: The same, if `width` has no room for a column of each process. If this number has
            none either, the processes share a column.
    """
    if not events:
        return []
    processes = sorted({event.process for event in events})
    left = max(len("event"), *(len(str(event.event)) for event in events))
    needed = left + len(processes) * (_NARROWEST + len(_GAP))
    if width < needed <= widest:
        width = needed
    room = width - left
    column = room // len(processes) - len(_GAP)
    if column < _NARROWEST:
        return _in_one_column(events, names, left, room)
    heads = [who(process) for process in processes]
    rows = [_row(["event".rjust(left), *heads], column)]
    rows.append(_row(["─" * left, *["─" * column] * len(processes)], column))
    for event in _shown(events):
        if isinstance(event, str):
            rows.append(f"{'⋮'.rjust(left)}{_GAP}{event}")
            continue
        index = processes.index(event.process)
        lines = formatting.filled(cell(event, names), column, break_words=True)
        for number, line in enumerate(lines):
            label = str(event.event) if number == 0 else ""
            rows.append(_row([label.rjust(left), *[""] * index, line], column))
    return rows


def without_column(events: Sequence[Event], processes: Iterable[int]) -> str:
    """Return a sentence on the processes that have no event in a diagram; "" if all have one.

    Args:
        processes: All processes of the run.
    """
    shown = {event.process for event in events}
    absent = [process for process in processes if process not in shown]
    if not events or not absent:
        return ""
    program = ["the program"] if PROGRAM in absent else []
    replicas = tuple(one for one in absent if one != PROGRAM)
    every = " and ".join([*program, *([name_replicas(replicas)] if replicas else [])])
    return f"No column for {every}: nothing happened there during these events."


def who(process: int) -> str:
    """Return the heading of a process's column."""
    return "program" if process == PROGRAM else f"replica {process}"


def cell(event: Event, names: Mapping[int, str]) -> str:
    """Describe an event in a few words."""
    parts = [event.kind]
    if event.variable is not None:
        name = names.get(event.variable, f"variable {event.variable}")
        parts.append(formatting.middle(name, _NAME_WIDTH))
    elif event.call is not None:
        parts.append(f"call {event.call}")
    if event.replica not in {None, event.process}:
        parts.append(f"of replica {event.replica}")
    of_all_workers = event.operation == _CROSS_REPLICA and event.note is not None
    if event.operation is not None and event.kind != "install":
        parts.append(str(event.note) if of_all_workers else event.operation)
    if event.kind in {"request", "release"} and event.note is not None:
        parts.append(repr(event.note))
    if event.version is not None:
        parts.append(f"v{event.version}")
    if event.kind == "write" and event.position is not None:
        parts.append(f"(collective {event.position} of call {event.call})")
    if event.kind in {"give", "result"}:
        parts.append(f"(collective {event.position})")
    if event.group:
        parts.append(f"(group of {name_replicas(event.group)})")
    if event.kind == "arrive" and event.note is not None and not of_all_workers:
        parts.append(repr(event.note))
    value = value_text(event)
    if value:
        parts.append(value)
    return " ".join(parts)


def value_text(event: Event) -> str:
    """Return the text of a value, or of its digest; "" if neither was recorded."""
    if event.value is not None:
        try:
            array = np.frombuffer(event.value, named(event.dtype or ""))
        except (TypeError, ValueError):
            return "(unreadable)"
        shown = [formatting.number(plain(one)) for one in array[:_VALUES]]
        if len(array) > _VALUES:
            shown.append("…")
        said = shown[0] if event.shape == "[]" and shown else f"[{' '.join(shown)}]"
        return f"rows {_indices(event.indices)}: {said}" if event.indices is not None else said
    return "" if event.digest is None else f"#{event.digest:08x}"


def _indices(content: bytes) -> str:
    """Return the indices of a sparse write as text."""
    if len(content) % _INDEX.itemsize:
        return "(unreadable)"
    indices = np.frombuffer(content, _INDEX) if content else ()
    shown = [str(one) for one in indices[:_VALUES]]
    return f"[{' '.join(shown)}{' …' if len(indices) > _VALUES else ''}]"


def _shown(events: Sequence[Event]) -> Iterator[Event | str]:
    if len(events) <= MOST_ROWS:
        yield from events
        return
    first = MOST_ROWS - _LAST_ROWS
    yield from events[:first]
    yield f"{len(events) - MOST_ROWS:,} more"
    yield from events[-_LAST_ROWS:]


def _row(cells: Sequence[str], column: int) -> str:
    first, *others = cells
    return (first + "".join(_GAP + formatting.padded(one, column) for one in others)).rstrip()


def _in_one_column(
    events: Sequence[Event], names: Mapping[int, str], left: int, room: int
) -> list[str]:
    """Return the lines of a diagram in which all processes share one column."""
    name = max(len(who(event.process)) for event in events)
    column = room - name - 2 * len(_GAP)
    rows = [f"{'event'.rjust(left)}{_GAP}process"]
    rows.append(f"{'─' * left}{_GAP}{'─' * name}{_GAP}{'─' * column}")
    for event in _shown(events):
        if isinstance(event, str):
            rows.append(f"{'⋮'.rjust(left)}{_GAP}{event}")
            continue
        label, process = str(event.event), who(event.process)
        for line in formatting.filled(cell(event, names), column, break_words=True):
            rows.append(f"{label.rjust(left)}{_GAP}{process:{name}}{_GAP}{line}")
            label = process = ""
    return rows
