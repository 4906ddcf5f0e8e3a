"""Damage the files of a run, from a seed: histories by SQL, other files by bytes."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from typing import Any

import msgpack

from varsim.tracing.history import Event, VariableRow
from varsim.tracing.trace_format import MAGIC

_LOOSE = "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'NOT NULL', '')"
"""Statements that let a column be NULL; they need a new connection to take effect."""

_NUMBERS = (
    "NULL -1 0 1 2 7 2000000000 4294967296 9007199254740993 9223372036854775807 "
    "-9223372036854775808 0.5 1e308 9e999 -9e999"
).split()
_TEXTS = [
    "", "x", "[", "[]", "[1000000, 1000000]", "[-1]", "[1.5]", "[null]", "[[1]]", "null", "[true]",
    "{}", "1e999", "NaN", "\x1b[31mred\x1b[0m", "\u202ehidden", "a\nb", "float64", "object",
    "datetime64", "V8", "(1000000,1000000)f8", "float32,float32", "bfloat16", "S5",
    "create", "commit", "install", "begin", "finish", "read", "write", "component", "fetch",
    "arrive", "assign", "scatter_add", "all_reduce", "merge_call", "host_call", "merged",
    "ON_READ", "ON_WRITE", "NONE", "AUTO", "local_sgd:8", "local_sgd:99999999999999999999",
    "local_sgd:x", "custom:1", "SUM", "MEAN", "ONLY_FIRST_REPLICA", "a.py:1", "99" * 3000,
]  # fmt: skip
_OTHERS = (
    "x''", "x'00ff'", "x'0000803f'", "zeroblob(100000)", "CAST(x'ff41' AS TEXT)",
    "CAST(x'4100' AS TEXT)", "replace(hex(zeroblob(100000)), '00', 'ab')",
    "replace(hex(zeroblob(9000)), '0', '[')",
)  # fmt: skip
_ENTRIES = (
    "2000000000", "-1", "0", "1", "1.5", "null", "true", '"x"', "[]", "{}", "[1, 2]", "[2, 1]",
    "1" * 5000, "[" * 5000, "NaN", "1e999", "[[1]]", '"\\u001b[31m"', "x", "9223372036854775808",
    '{"local_sgd": 1}', '["\\u001b[31m", 3]',
)  # fmt: skip
_KEYS = ("num_replicas", "schema", "level", "complete", "window", "missing", "events", "limited",
         "policies", "policy_files", "left_out", "began")  # fmt: skip
_SCHEMAS = (
    "DROP TABLE events",
    "DROP TABLE run",
    "DROP TABLE variables",
    "DELETE FROM run",
    "DELETE FROM variables",
    "DELETE FROM events",
    "DROP INDEX events_by_variable; ALTER TABLE events DROP COLUMN variable",
    "ALTER TABLE events DROP COLUMN note",
    "ALTER TABLE events RENAME COLUMN kind TO sort",
    "ALTER TABLE events ADD COLUMN more TEXT",
    "ALTER TABLE variables DROP COLUMN created_at",
    "ALTER TABLE run ADD COLUMN more TEXT",
    "ALTER TABLE events RENAME TO e; CREATE VIEW events AS SELECT * FROM e, e AS f",
    "ALTER TABLE events RENAME TO e; CREATE VIEW events AS WITH RECURSIVE n(i) AS (VALUES(1) UNION "
    "ALL SELECT i + 1 FROM n) SELECT i AS event, process, number, time_s, kind, call, variable, "
    "operation, version, position, replica, location, dtype, shape, digest, value, indices, cause, "
    "times, error, note FROM n, (SELECT * FROM e LIMIT 1)",
    "ALTER TABLE run RENAME TO r; CREATE VIEW run AS WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL "
    "SELECT i + 1 FROM n) SELECT 'k' || i AS key, '1' AS value FROM n",
    "ALTER TABLE variables RENAME TO v; CREATE VIEW variables AS WITH RECURSIVE n(i) AS (VALUES(1) "
    "UNION ALL SELECT i + 1 FROM n) SELECT i AS variable, name, shape, dtype, requested, "
    "synchronization, aggregation, trainable, created_at FROM n, (SELECT * FROM v LIMIT 1)",
    "ALTER TABLE events RENAME TO e; CREATE VIRTUAL TABLE events USING fts5(event)",
    "UPDATE run SET value = '1' WHERE key = 'schema'",
    "UPDATE run SET value = '2' WHERE key = 'schema'",
    "PRAGMA user_version = 7",
    "PRAGMA journal_mode = WAL",
    "PRAGMA encoding = 'UTF-16'; VACUUM",
)


def text_of(value: str) -> str:
    """Return an SQL literal."""
    if value.isascii() and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    return f"CAST(x'{value.encode().hex()}' AS TEXT)"


def _literal(chance: random.Random) -> str:
    return chance.choice(
        [chance.choice(_NUMBERS), text_of(chance.choice(_TEXTS)), chance.choice(_OTHERS)]
    )


def statements(chance: random.Random, events: int, variables: int) -> list[str]:
    """Return SQL scripts that damage a history. Each script needs a new connection.

    Args:
        events: The number of events of the history.
        variables: The number of variables of the history.
    """
    scripts = [_LOOSE] if chance.random() < 0.3 else []
    parts = []
    for _ in range(chance.choice([1, 1, 1, 2, 20])):
        kind = chance.random()
        if kind < 0.6:
            column = chance.choice(Event._fields)
            value = _literal(chance)
            if chance.random() < 0.2:
                value = f"(SELECT {column} FROM events ORDER BY random() LIMIT 1)"
                other = chance.randint(1, events)
                value = f"(SELECT {column} FROM events WHERE event = {other})"
            number = chance.randint(1, events)
            parts.append(f"UPDATE OR IGNORE events SET {column} = {value} WHERE event = {number}")
        elif kind < 0.75:
            column = chance.choice(VariableRow._fields)
            number = chance.randint(1, variables)
            value = _literal(chance)
            parts.append(
                f"UPDATE OR IGNORE variables SET {column} = {value} WHERE variable = {number}"
            )
        elif kind < 0.9:
            value, key = chance.choice(_ENTRIES), chance.choice(_KEYS)
            said = text_of(value) if chance.random() < 0.9 else _literal(chance)
            parts.append(f"INSERT OR REPLACE INTO run VALUES ('{key}', {said})")
        elif kind < 0.95:
            number = chance.randint(1, events)
            parts.append(f"DELETE FROM events WHERE event = {number}")
        else:
            parts.append(chance.choice(_SCHEMAS))
    return [*scripts, "; ".join(parts)]


def after_scripts(content: bytes, scripts: Sequence[str]) -> bytes:
    """Return the content of a database after scripts. Each script gets a new connection.

    A statement that SQLite refuses ends its script.
    """
    for script in scripts:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            connection.deserialize(content)
            with suppress(sqlite3.Error):
                connection.executescript(script)
            content = connection.serialize()
    return content


def sizes(content: bytes) -> tuple[int, int]:
    """Return the number of the last event and of the last variable of a history."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(content)
        ((events,),) = connection.execute("SELECT max(event) FROM events")
        ((variables,),) = connection.execute("SELECT max(variable) FROM variables")
    return events, variables


def damaged_bytes(content: bytes, chance: random.Random) -> bytes:
    """Change, remove or repeat some bytes."""
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 3, 30])):
        at = chance.randrange(len(changed)) if changed else 0
        match chance.randrange(6):
            case 0:
                changed[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                changed[at : at + 1] = bytes([chance.choice([0, 1, 0x7F, 0x80, 0xC1, 0xDF, 0xFF])])
            case 2:
                del changed[at:]
            case 3:
                del changed[at : at + chance.randint(1, 40)]
            case 4:
                changed[at:at] = changed[at : at + chance.randint(1, 40)]
            case _:
                size = chance.randint(1, 9)
                changed[at : at + size] = chance.randbytes(size)
    return bytes(changed)


_MEMBERS: list[Any] = [
    None, -1, -2, 0, 1, 5, 10**6, 2**31, 2**53, 2**63 - 1, -(2**63), 2**64 - 1, 0.5, float("nan"),
    True, "", "x", "\x1b[31m", "float64", "V8", "assign", "scatter_add", "a.py:1", "z" * 5000, b"",
    b"\0\0\x80?", bytes(8), [], [1], [10**6, 10**6], [-1], [None], ["x"], {}, {"x": 1},
    ["float32", [], None, None], ["float32", [2], None, bytes(8)], ["float32", [2**40], 7, None],
    ["float32", "x", None, bytes(3)], ["float32", [1], None, bytes(4), bytes(8)],
]  # fmt: skip


def damaged_records(content: bytes, chance: random.Random) -> bytes:
    """Replace, remove, repeat or add some members of the records in the content of a trace."""
    unpacker = msgpack.Unpacker(unicode_errors="surrogatepass", max_buffer_size=0)
    unpacker.feed(content.removeprefix(MAGIC))
    records = list(unpacker)
    for _ in range(chance.choice([1, 1, 2, 10])):
        index = chance.randrange(len(records))
        places = list(_places([records[index]]))
        match chance.randrange(8):
            case 0:
                del records[index]
                records = records or [[]]
            case 1:
                records.insert(chance.randrange(len(records)), records[index])
            case 2:
                container, key = chance.choice(places)
                if container is not records[index]:
                    key = 0
                    container = records[index] = [None]
                del container[key]
            case 3:
                records[index] = [*records[index], chance.choice(_MEMBERS)]
            case 4:
                frames = [one for one in places if isinstance(one[0][one[1]], bytes)]
                for container, key in frames[:1]:
                    container[key] = damaged_bytes(container[key], chance)
            case _:
                container, key = chance.choice(places)
                if container[key] is records[index]:
                    records[index] = chance.choice(_MEMBERS)
                else:
                    container[key] = chance.choice(_MEMBERS)
    pack = msgpack.Packer(unicode_errors="surrogatepass").pack
    return MAGIC + b"".join(map(pack, records))


_VALUES: list[Any] = [
    None, -1, 0, 1.5, 10**30, 2**31, True, "", "x", "\x1b[31m", "\u202e", [], {}, [None], [[]],
    ["\x1b[2J"], {"x": 1}, "NaN", "Infinity", float("nan"), float("inf"), "9" * 5000,
]  # fmt: skip


def damaged_json(content: str, chance: random.Random) -> str:
    """Replace, remove or add some values of a JSON document."""
    values = json.loads(content)
    for _ in range(chance.choice([1, 1, 2, 10])):
        places = list(_places(values))
        if not places:
            break
        container, key = chance.choice(places)
        match chance.randrange(4):
            case 0:
                del container[key]
            case 1 if isinstance(container, dict):
                container[f"{key}\x1b[31m"] = chance.choice(_VALUES)
            case _:
                container[key] = chance.choice(_VALUES)
    return json.dumps(values)


def _places(value: Any) -> Sequence[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    items: Callable[[], Any] | None = None
    if isinstance(value, dict):
        items = value.items
    elif isinstance(value, list):
        items = lambda: enumerate(value)  # noqa: E731
    for key, inner in list(items()) if items is not None else ():
        found += [(value, key), *_places(inner)]
    return found
