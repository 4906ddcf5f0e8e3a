"""Write the file of a history: the events in batches, and the samples of large values."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

from varsim.private import write_private
from varsim.tracing.history import (
    COLUMNS,
    OF_SAMPLES,
    RUN_KEYS,
    SCHEMA,
    SCHEMA_VERSION,
    VariableRow,
)
from varsim.tracing.samples import columns_in
from varsim.tracing.signals import heeding_signals

EventBatch = tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]
"""Events with the same columns: the column names, and rows. Other columns are NULL."""


def write_history(
    path: Path,
    run: Mapping[str, Any],
    variables: Iterable[VariableRow],
    events: Iterable[tuple[Any, ...]],
) -> None:
    """Write a history of given events, which have all fields of `Event`; see `write_batches`."""
    sampled: list[tuple[Any, ...]] = []

    def rows() -> Iterator[tuple[Any, ...]]:
        for event in events:
            yield event[: len(COLUMNS)]
            if event[len(COLUMNS) :].count(None) < len(OF_SAMPLES):
                sampled.append((event[0], *event[len(COLUMNS) :]))

    write_batches(path, run, variables, [(COLUMNS, rows())], samples=sampled)


def write_batches(
    path: Path,
    run: Mapping[str, Any],
    variables: Iterable[VariableRow],
    events: Iterable[EventBatch],
    check: Callable[[sqlite3.Connection], None] | None = None,
    samples: Iterable[tuple[Any, ...]] | None = None,
) -> None:
    """Write a whole history. If this fails, write nothing.

    Args:
        run: The entries of the table `run`, which are read last. The entries `schema` and `events`
            (the number of events) are added.
        variables: The variables, which are read after the events, because reading the events may
            add variables.
        events: The events, in order.
        samples: The samples, which are read after the events. None: an event with a sample has its
            text as the value (see `Sampled.text`).
        check: A function that gets the written tables. If it raises an error, no history is left.
    """
    assert run.keys() <= RUN_KEYS.keys()
    temporary = path.with_name(f".{path.name}")
    temporary.unlink(missing_ok=True)
    try:
        write_private(temporary, b"")  # SQLite gives its own files the mode of this file
        with closing(sqlite3.connect(temporary)) as connection, heeding_signals(connection):
            connection.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;")
            tables, _, indices = SCHEMA.partition("CREATE INDEX")
            connection.executescript(tables)
            for columns, rows in events:  # no NULLs: writing one takes as long as a text
                _insert(connection, "events", columns, rows)
            count = connection.total_changes
            if samples is None:
                _move_samples(connection)
            else:
                _insert(connection, "samples", ("of_event", *OF_SAMPLES), samples)
            _insert(connection, "variables", VariableRow._fields, variables)
            entries = [(key, json.dumps(value)) for key, value in run.items()]
            entries += [("schema", json.dumps(SCHEMA_VERSION)), ("events", json.dumps(count))]
            _insert(connection, "run", ("key", "value"), entries)
            if check is not None:
                check(connection)
            connection.executescript(f"CREATE INDEX {indices}")
            connection.commit()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _move_samples(connection: sqlite3.Connection) -> None:
    """Move the texts of samples from the values of events to their own table."""
    rows = connection.execute("SELECT event, value FROM events WHERE typeof(value) = 'text'")
    moved = ((event, *columns_in(text)) for event, text in rows)
    _insert(connection, "samples", ("of_event", *OF_SAMPLES), moved)
    connection.execute("UPDATE events SET value = NULL WHERE typeof(value) = 'text'")


def _insert(
    connection: sqlite3.Connection, table: str, columns: tuple[str, ...], rows: Iterable[Any]
) -> None:
    connection.executemany(_insertion(table, columns), rows)


@lru_cache
def _insertion(table: str, columns: tuple[str, ...]) -> str:
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608  # our own
