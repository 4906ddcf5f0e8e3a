"""Build histories from a compact description: one event per line.

    replicas 2
    variable w ON_WRITE MEAN float32 []

    program create w v=0 = 1.0
    program call call=1                              as start
    0 begin call=1                                   after start
    0 write w assign_add call=1 position=0 = 2.0

`= 2.0` is the value; `~ 2.0` is a value of which only the digest was recorded. In a sparse write,
`at [0,2]` before the value gives the indices. `as start` gives an event the name `start`, and
`after start` says that the event with this name caused the event of the line. An array of a
collective has no variable, but a dtype: `dtype=float32 = [1.0]`.
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from varsim.spec import SCATTERS
from varsim.tracing.history import (
    HISTORY,
    KINDS,
    PROGRAM,
    Event,
    History,
    VariableRow,
    open_history,
)
from varsim.tracing.history_file import write_history

SHORT = {"v": "version"}
OPERATIONS = ("assign", "assign_add", "assign_sub", *(one.value for one in SCATTERS))
LOCAL = ("write", "read")
TEXTS = ("note", "location", "operation", "error", "dtype", "members")


class HistoryBuilder:
    """Build a history event by event."""

    def __init__(self, replicas: int = 2) -> None:
        self.run: dict[str, Any] = {
            "num_replicas": replicas,
            "level": "ops",
            "complete": True,
            "window": None,
        }
        self.variables: dict[str, VariableRow] = {}
        self.events: list[Event] = []
        self._numbers: defaultdict[int, int] = defaultdict(int)
        self._passed_s = 0.0

    def pass_time(self, time_s: float) -> None:
        """Let time pass before the next event, besides the millisecond between two events."""
        self._passed_s += time_s

    def variable(self, name: str, synchronization: str, aggregation: str, dtype: str, shape: str):
        number = len(self.variables) + 1
        row = (number, name, shape, dtype, synchronization, synchronization, aggregation)
        self.variables[name] = VariableRow(*row, 0, "program.py:1")

    def add(
        self, process: int, kind: str, name: str | None = None, value: Any = None, **columns: Any
    ) -> int:
        """Append an event with the whole `value`, or with only the digest of `digest_of`.

        Args:
            at: The indices of a sparse write. The value has a row for each index.
        """
        seen, at = columns.pop("digest_of", None), columns.pop("at", None)
        row = None if name is None else self.variables[name]
        dtype = columns.get("dtype") if row is None else row.dtype
        if row is not None:
            columns["variable"] = row.variable
        if dtype is not None:
            content = value if seen is None else seen
            if content is not None:
                array = np.asarray(content, dtype)
                columns |= {"dtype": dtype, "shape": json.dumps(array.shape)}
                content, indices = array.tobytes(), b""
                if at is not None:
                    indices = np.array(at, np.int64).tobytes()
                    columns["indices"] = indices if seen is None else None
                columns["digest"] = zlib.crc32(content, zlib.crc32(indices))
                columns["value"] = content if seen is None else None
        if process != PROGRAM and kind in LOCAL and "position" not in columns:
            columns.setdefault("replica", process)
        number = self._numbers[process]
        self._numbers[process] += 1
        event = Event(
            len(self.events) + 1,
            process,
            number,
            len(self.events) / 1e3 + self._passed_s,
            kind,
            **columns,
        )
        self.events.append(event)
        return event.event

    def write(self, path: Path) -> Path:
        return write(path, self.run, self.variables.values(), self.events)

    @contextmanager
    def history(self, folder: Path) -> Iterator[History]:
        with open_history(self.write(folder)) as history:
            yield history


def write(folder: Path, run: Any, rows: Any, events: Sequence[Event]) -> Path:
    path = folder / HISTORY
    write_history(path, run, rows, iter(events))
    return path


def parse_history(text: str) -> HistoryBuilder:
    """Return the history that a text describes."""
    builder, names = HistoryBuilder(), dict[str, int]()
    for line in text.splitlines():
        words = line.split("#")[0].split()
        match words:
            case []:
                continue
            case ["replicas", count]:
                builder = HistoryBuilder(int(count))
            case ["run", *entries]:
                builder.run |= {k: json.loads(v) for k, v in (one.split("=") for one in entries)}
            case ["variable", name, synchronization, aggregation, dtype, *shape]:
                builder.variable(name, synchronization, aggregation, dtype, " ".join(shape))
            case _:
                _parse_event(builder, words, names)
    return builder


def merge(name: str, writes: Sequence[str], commit: str, position: int = 0) -> str:
    """Return the lines of a merge of variable `name` in call 1: contributions, commit, installs.

    The version is `position` + 1.

    Args:
        writes: The operation and the value of each replica, such as `assign_add = [1.0]`.
        commit: The operation and the value of the commit.
    """
    at, version = f"call=1 position={position}", position + 1
    sent = [
        _at(at, f"{i} write {name} {write} as p{position}r{i}") for i, write in enumerate(writes)
    ]
    received = [f"program receive replica={i} after p{position}r{i}" for i in range(len(writes))]
    agreed = _at(f"{at} v={version}", f"program commit {name} {commit} as c{version}")
    installs = [
        f"{i} install {name} v={version} call=1 after c{version}" for i in range(len(writes))
    ]
    return "\n".join([*sent, *received, agreed, *installs])


def _at(where: str, line: str) -> str:
    """Insert columns after the operation of an event."""
    process, kind, name, operation, value = line.split(" ", 4)
    return f"{process} {kind} {name} {operation} {where} {value}"


def in_call(before: str, *parts: str, then: str = "") -> str:
    """Return a history of two replicas: `before`, call 1 with these parts, and `then`."""
    begin = ["program call call=1 as start", *(f"{i} begin call=1 after start" for i in (0, 1))]
    ends = [f"{i} return call=1 as end{i}" for i in (0, 1)]
    received = [f"program receive replica={i} after end{i}" for i in (0, 1)]
    lines = [before.strip(), *begin, *parts, *ends, *received, "program finish call=1", then]
    return "\n".join(lines)


def _parse_event(builder: HistoryBuilder, words: list[str], names: dict[str, int]) -> None:
    columns: dict[str, Any] = {}
    name = label = None
    rest = iter(words[2:])
    for word in rest:
        if word == "as":
            label = next(rest)
        elif word == "after":
            columns["cause"] = names[next(rest)]
        elif word in {"=", "~"}:
            columns["value" if word == "=" else "digest_of"] = json.loads(next(rest))
        elif word == "at":
            columns["at"] = json.loads(next(rest))
        elif word in OPERATIONS:
            columns["operation"] = word
        elif word in builder.variables:
            name = word
        else:
            column, _, value = word.partition("=")
            known = SHORT.get(column, column)
            columns[known] = value if known in TEXTS else int(value)
    assert words[1] in KINDS, f"{words[1]} is not a kind of event"
    process = PROGRAM if words[0] == "program" else int(words[0])
    number = builder.add(process, words[1], name, **columns)
    if label is not None:
        names[label] = number
