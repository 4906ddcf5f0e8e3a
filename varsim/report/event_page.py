"""The page of `varsim check --event`: all columns of an event, and the events around it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.text import Text

from varsim.analysis.sampled import statistics_of
from varsim.errors import ConfigError
from varsim.extension_dtypes import named
from varsim.protocol.messages import OWN_CALLS, is_own_call
from varsim.report.event_sentence import belonging, sentence_of
from varsim.report.formatting import count, number, visible, wrapped
from varsim.report.json_values import plain
from varsim.report.space_time import space_time, who
from varsim.texts.facts import name_replicas, times
from varsim.tracing.history import KINDS, Event, History
from varsim.tracing.recorded_values import FRAME_LIMIT_BYTES, READ_LIMIT_BYTES

_LABEL_WIDTH: Final = 11
_INDENT: Final = 2
_AROUND: Final = 4  # number of events shown before the event, and number shown after it
_MOST_ELEMENTS: Final = 64  # elements shown of a value


def event_text(history: History, wanted: int, width: int) -> list[str]:
    """Return the lines on one event.

    Raises:
        ConfigError: The history has no event with this number.
    """
    event = _event(history, wanted)
    lines = [f"event {event.event} of {count(history.last_event)}"]
    lines += [*wrapped(visible(sentence_of(history, event)), width)]
    if chain := belonging(history, event):
        lines += wrapped(f"What belongs together: {chain}.", width)
    lines.append("")
    room = width - _INDENT - _LABEL_WIDTH
    for label, text in _fields(history, event):
        told = wrapped(visible(text), room)
        for index, line in enumerate(told):
            lines.append(f"{'':{_INDENT}}{label if not index else '':{_LABEL_WIDTH}}{line}")
    around = _around(history, event)
    if len(around) > 1:
        names = {key: row.name for key, row in history.variables.items()}
        lines += ["", _about(history, event), *space_time(around, names, width)]
    return lines


def print_events(console: Console, history: History, wanted: Sequence[int], part: str = "") -> None:
    """Print events one below the other.

    Args:
        part: The incarnation that the record is of; "" if there is only one.
    Raises:
        ConfigError: The history has no event with one of these numbers.
    """
    told = [event_text(history, one, console.width) for one in wanted]
    if part:
        console.print(Text(part, style="bold"))
    for index, lines in enumerate(told):
        for line in ["", *lines] if index else lines:
            console.print(Text(line), soft_wrap=True)


def event_plain(history: History, wanted: int) -> dict[str, Any]:
    """Return the event as a JSON object: its columns, with its value as a list.

    Raises:
        ConfigError: The history has no event with this number.
    """
    event = _event(history, wanted)
    told = event._asdict()
    told["value"] = None if event.value is None else plain(_array(event))
    told["indices"] = None if event.indices is None else _indices(event)
    told["elements"] = None if event.elements is None else plain(_sample(event))
    told["statistics"] = _statistics(event)
    told["ordinals"] = None if event.ordinals is None else _numbers(event.ordinals)
    told["shape"] = None if event.shape is None else json.loads(event.shape)
    told["step"] = _step(history, event)
    told["around"] = [one.event for one in _around(history, event)]
    return told


def _event(history: History, wanted: int) -> Event:
    known = 0 < wanted <= history.last_event  # SQLite refuses integers of more than 64 bits
    event = next(history.events("event = ?", (wanted,)), None) if known else None
    if event is None:
        last = history.last_event
        events = f"events 1 to {last}" if last > 1 else times(last, "event") if last else "no event"
        raise ConfigError(f"--event {wanted}: no such event; the record has {events}")
    return event


def _fields(history: History, event: Event) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every column that is not empty."""
    known = "docs/history.md explains its columns"
    yield "kind", f"{event.kind} ({known if event.kind in KINDS else 'of another varsim version'})"
    yield "process", f"{who(event.process)}; event {count(event.number)} of this process"
    yield "time", f"{event.time_s:.6f} s into the run"
    yield "call", _where(history, event)
    if event.present is not None:
        everyone = history.num_replicas
        yield "replicas", f"{event.present} of {everyone} take part; the last ones have joined"
    if event.position is not None:
        group = f", in the group of {name_replicas(event.group)}" if event.group else ""
        yield "collective", f"number {event.position} of this call{group}"
    row = history.variables.get(event.variable or 0)
    if row is not None:
        settings = f"{row.synchronization}, {row.aggregation}, {row.dtype} {row.shape}"
        yield "variable", f"{row.name} ({settings}), created at {row.created_at}"
    if event.operation is not None:
        yield "operation", event.operation
    if event.version is not None:
        yield "version", str(event.version)
    if event.replica is not None:
        yield "component", f"of replica {event.replica}"
    if event.location:
        yield "location", event.location
    if event.dtype is not None:
        yield "value", value_of(event)
    if event.indices is not None:
        yield "rows", _rows(event)
    if event.times is not None:
        yield "times", f"{count(event.times)} equal reads in a row"
    if event.error is not None:
        yield "error", event.error
    if event.note is not None:
        yield "note", event.note
    if event.cause is not None:
        yield "cause", f"event {event.cause}"


def value_of(event: Event, most: int = _MOST_ELEMENTS) -> str:
    """Return the value with its first elements, or why it was not recorded."""
    form = f"{event.dtype} {event.shape}"
    if event.value is not None:
        array = _array(event).ravel()
        shown = " ".join(number(plain(one)) for one in array[:most])
        more = len(array) - most
        return f"{form}: {shown}{f' and {count(more)} more' if more > 0 else ''}"
    if event.elements is not None:
        return f"{form}: {_sampled(event, most)}"
    if event.digest is not None:
        limit = f"larger than {READ_LIMIT_BYTES // 1024} KiB"
        known = f"only its checksum, #{event.digest:08x}, was recorded"
    else:
        limit = f"larger than {FRAME_LIMIT_BYTES // 1024} KiB, alone or with its message's values"
        known = "it was not recorded"
    return f"{form}; {known}, because it is {limit}: use --trace messages"


def _sampled(event: Event, most: int) -> str:
    """Return what was recorded of a value in place of all its elements."""
    shown = " ".join(number(plain(one)) for one in _sample(event)[:most])
    kept = len(_sample(event))
    more = f" and {count(kept - most)} more" if kept > most else ""
    of_all = ", ".join(
        f"{name.replace('_', ' ')} {number(one)}"
        for name, one in (_statistics(event) or {}).items()
        if one is not None
    )
    return (
        f"a sample of {times(kept, 'element')}: {shown}{more}; of all elements: {of_all}; its "
        f"checksum is #{event.digest or 0:08x}. For all elements, use --trace messages"
    )


def _sample(event: Event) -> np.ndarray:
    return np.frombuffer(event.elements or b"", named(event.dtype or ""))


def _statistics(event: Event) -> dict[str, Any] | None:
    found = statistics_of(event)
    return None if found is None else {k: plain(v) for k, v in found._asdict().items()}


def _rows(event: Event) -> str:
    """Return the indices of a sparse write."""
    indices = _indices(event)
    shown = " ".join(str(one) for one in indices[:_MOST_ELEMENTS])
    more = len(indices) - _MOST_ELEMENTS
    return f"{shown}{f' and {count(more)} more' if more > 0 else ''}" if indices else "none"


def _indices(event: Event) -> list[int]:
    return _numbers(event.indices) if event.indices else []


def _numbers(content: bytes) -> list[int]:
    numbers: list[int] = np.frombuffer(content, np.int64).tolist()
    return numbers


def _array(event: Event) -> np.ndarray:
    assert event.value is not None, "it was recorded"
    shape = json.loads(event.shape or "[]")
    return np.frombuffer(event.value, named(event.dtype or "")).reshape(shape)


def _where(history: History, event: Event) -> str:
    """Return in which call an event is, or after which call of the program."""
    if event.call is not None and not is_own_call(event.call):
        return f"in call {event.call} of strategy.run"
    where = "outside all calls" if event.call is None else "in a call of varsim itself"
    return f"{where}, after call {_step(history, event)}"


def _step(history: History, event: Event) -> int:
    """Return the number of the program's calls that had begun at an event.

    Calls of earlier incarnations count, too.
    """
    ((step,),) = history.connection.execute(
        "SELECT MAX(call) FROM events WHERE kind = 'call' AND call < ? AND event <= ?",
        (OWN_CALLS, event.event),
    )
    return int(step or history.calls_before)


def _around(history: History, event: Event) -> list[Event]:
    """Return the event, its neighbours of the same variable or call, and its cause."""
    where, parameters = "1", tuple[int, ...]()
    for column in ("call", "variable"):
        number = getattr(event, column)
        if number is not None:
            where, parameters = f"{column} = ?", (number,)
    found = {event.event: event}
    for compare, order in (("<", "DESC"), (">", "ASC")):
        near = history.events(
            f"event IN (SELECT event FROM events WHERE {where} AND event {compare} ? "  # noqa: S608  # our own
            f"ORDER BY event {order} LIMIT {_AROUND})",
            (*parameters, event.event),
        )
        found |= {one.event: one for one in near}
    if event.cause is not None:
        found |= {one.event: one for one in history.events("event = ?", (event.cause,))}
    return [found[key] for key in sorted(found)]


def _about(history: History, event: Event) -> str:
    row = history.variables.get(event.variable or 0)
    if row is not None:
        what = f" of {visible(row.name)}"
    else:
        what = "" if event.call is None else f" in call {event.call}"
    cause = ", and the cause of the event" if event.cause is not None else ""
    return f"neighbouring events{what}{cause}"
