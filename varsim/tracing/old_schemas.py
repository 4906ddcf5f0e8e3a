"""Read histories of earlier versions of varsim as if they had the current columns."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any, Final

READABLE: Final = (1, 2, 3, 4, 5)
"""Earlier schemas that are still read."""

_EVENTS: Final[dict[int, str]] = {
    1: """
SELECT event, process, number, time_s,
    CASE kind WHEN 'meet' THEN 'arrive' ELSE kind END AS kind,
    call, variable,
    CASE kind
        WHEN 'meet' THEN CASE note WHEN 'question' THEN 'host_call'
            ELSE substr(note, 1, instr(note || ' ', ' ') - 1) END
        WHEN 'answer' THEN CASE note WHEN 'answered' THEN 'host_result' ELSE note END
        ELSE operation
    END AS operation,
    version, meeting AS position, replica, place AS location, dtype, shape, digest, value,
    NULL AS indices, cause,
    CASE WHEN kind = 'read' AND note GLOB '[0-9]* reads like the one before'
        THEN CAST(note AS INTEGER) END AS times,
    CASE WHEN kind IN ('raise', 'finish')
        THEN substr(note, 1, instr(note || ':', ':') - 1) END AS error,
    CASE kind
        WHEN 'meet' THEN nullif(substr(note, instr(note || ' ', ' ') + 1), '')
        WHEN 'answer' THEN NULL
        WHEN 'read' THEN NULL
        ELSE note
    END AS note,
    NULL AS present, NULL AS members
FROM main.events
""",
    2: """
SELECT event, process, number, time_s, kind, call, variable, operation, version, position, replica,
    location, dtype, shape, digest, value, NULL AS indices, cause, times, error, note,
    NULL AS present, NULL AS members
FROM main.events
""",
    3: """
SELECT event, process, number, time_s, kind, call, variable, operation, version, position, replica,
    location, dtype, shape, digest, value, indices, cause, times, error, note, NULL AS present,
    NULL AS members
FROM main.events
""",
    4: """
SELECT event, process, number, time_s, kind, call, variable, operation, version, position, replica,
    location, dtype, shape, digest, value, indices, cause, times, error, note, present,
    NULL AS members
FROM main.events
""",
    5: """
SELECT event, process, number, time_s, kind, call, variable, operation, version, position, replica,
    location, dtype, shape, digest, value, indices, cause, times, error, note, present, members
FROM main.events
""",
}
"""Schema → a query for the events of a history of this schema, with the current columns.

In schema 1 the operation, the name and the number of reads were texts in `note`. In schemas 1 and 2
a sparse write had neither indices nor values. Before schema 4, all replicas took part in each call,
and before schema 5 in each collective. Before schema 6, there were no samples of large values.
"""


_NO_SAMPLES: Final = """
CREATE TEMP VIEW samples AS
SELECT NULL AS of_event, NULL AS elements, NULL AS statistics, NULL AS ordinals WHERE 0
"""


def show_as_current(connection: sqlite3.Connection, schema: int) -> None:
    """Let queries of `events` use the current columns. The file is not changed."""
    assert schema in READABLE
    connection.execute(f"CREATE TEMP VIEW events AS {_EVENTS[schema]}")
    connection.execute(_NO_SAMPLES)


def upgrade(connection: sqlite3.Connection, schema: int, current: int, tables: str) -> None:
    """Rewrite the tables of a file.

    Args:
        current: The schema of the rewritten file.
        tables: The statements that create the tables and indices of that schema.
    """
    assert schema in READABLE
    connection.execute("ALTER TABLE events RENAME TO old_events")
    connection.execute("ALTER TABLE run RENAME TO old_run")
    connection.execute("ALTER TABLE variables RENAME TO old_variables")
    for (index,) in connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
    ).fetchall():
        connection.execute(f"DROP INDEX {index}")
    connection.executescript(tables)
    rows = _EVENTS[schema].replace("main.events", "main.old_events")
    connection.execute(f"INSERT INTO events {rows}")
    run = {key: json.loads(value) for key, value in connection.execute("SELECT * FROM old_run")}
    entries = {**entries_of(run, schema), "schema": current}
    connection.executemany(
        "INSERT INTO run VALUES (?, ?)", [(key, json.dumps(one)) for key, one in entries.items()]
    )
    connection.execute("INSERT INTO variables SELECT * FROM old_variables")
    for table in ("events", "run", "variables"):
        connection.execute(f"DROP TABLE old_{table}")


def entries_of(run: Mapping[str, Any], schema: int) -> dict[str, Any]:
    """Return the entries of an older history's table `run`, with the current keys."""
    if schema > 1:
        return dict(run)
    missing = run.get("missing")
    limited = isinstance(missing, list) and any("limit" in str(one) for one in missing)
    return {**run, "limited": limited}
