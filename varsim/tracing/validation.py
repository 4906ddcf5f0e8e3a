"""Validate a history when it is opened, so that its readers can rely on types and limits.

After the validation, every column has a value of its type within limits, each value has the size
that its dtype and shape imply, and every event refers only to known processes and variables. The
order and the meaning of events are not validated: `varsim.analysis` judges them.

The validation takes time in proportion to the size of the file. SQL executes it, because most
histories have millions of rows.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from varsim.extension_dtypes import SIZES
from varsim.protocol.limits import MAX_DIMENSIONS, MAX_FRAME_BYTES
from varsim.spec import VariableAggregation, synchronization_named
from varsim.tracing.records import MAX_NAME_CHARACTERS, MAX_NUMBER
from varsim.tracing.samples import MOST_ELEMENTS, Statistics
from varsim.tracing.signals import heeding_signals

MAX_WORD: Final = 64  # the length of a kind, an operation or a dtype
_MAX_SHAPE: Final = 1_000  # the length of a shape as text: 64 dimensions
MAX_SECONDS: Final = 10**10  # 300 years
_STEPS_PER_BYTE: Final = 200
"""Limit for the instructions of SQLite per byte of the file. A row has at least 20 bytes, and its
validation takes 400 instructions. Only a file whose pages refer to each other in a circle needs
more."""

_INDEX_BYTES: Final = np.dtype(np.int64).itemsize


class DamageError(Exception):
    """A fault of a history, with its place in the tables."""


def _number(column: str, low: int, high: int, *, null: bool = True) -> str:
    """Return a condition: the column is not a whole number in a range."""
    types = "('integer', 'null')" if null else "('integer')"
    return f"typeof({column}) NOT IN {types} OR {column} NOT BETWEEN {low} AND {high}"


def not_text(column: str, limit: int, *, null: bool = True) -> str:
    """Return a condition: the column is not a text, or longer than a limit."""
    types = "('text', 'null')" if null else "('text')"
    return f"typeof({column}) NOT IN {types} OR length({column}) > {limit}"


def _column_checks(last_replica: int) -> dict[str, tuple[str, str]]:
    """Return, for each column of `events`: an SQL condition for wrong values, and the right values.

    An integer is smaller than every text and every blob in SQLite, so BETWEEN refuses these too.
    """
    count, word = f"a number from 0 to {MAX_NUMBER}", f"a word of at most {MAX_WORD} characters"
    return {
        "event": (_number("event", 1, MAX_NUMBER, null=False), f"a number to {MAX_NUMBER}"),
        "process": (
            _number("process", -1, last_replica, null=False),
            f"a process: a number from -1 to {last_replica}",
        ),
        "number": (_number("number", 0, MAX_NUMBER, null=False), count),
        "time_s": (
            "typeof(time_s) NOT IN ('real', 'integer') "
            f"OR time_s NOT BETWEEN -{MAX_SECONDS} AND {MAX_SECONDS}",
            "a time in seconds",
        ),
        "kind": (not_text("kind", MAX_WORD, null=False), word),
        "call": (_number("call", 0, MAX_NUMBER), count),
        "variable": (
            "typeof(variable) NOT IN ('integer', 'null') OR variable IS NOT NULL "
            "AND variable NOT IN (SELECT variable FROM variables)",
            "the number of a variable of the run",
        ),
        "operation": (not_text("operation", MAX_WORD), word),
        "version": (_number("version", 0, MAX_NUMBER), count),
        "position": (_number("position", 0, MAX_NUMBER), count),
        "replica": (
            _number("replica", 0, last_replica),
            f"a replica: a number from 0 to {last_replica}",
        ),
        "location": (not_text("location", MAX_NAME_CHARACTERS), "file:line"),
        "digest": (_number("digest", 0, 2**32 - 1), "a CRC-32"),
        "value": ("typeof(value) NOT IN ('blob', 'null')", "bytes"),
        "indices": ("typeof(indices) NOT IN ('blob', 'null')", "bytes"),
        "cause": (_number("cause", 0, MAX_NUMBER), "the number of an event"),
        "times": (_number("times", 1, MAX_NUMBER), f"a number from 1 to {MAX_NUMBER}"),
        "error": ("typeof(error) NOT IN ('text', 'null')", "a text"),
        "note": ("typeof(note) NOT IN ('text', 'null')", "a text"),
        "present": (
            _number("present", 1, last_replica + 1),
            f"a number of replicas: from 1 to {last_replica + 1}",
        ),
        "members": (not_text("members", MAX_NAME_CHARACTERS), "a list of replicas"),
    }


_TABLES: Final = ("run", "variables", "events")
_SAMPLES: Final = "samples"
"""A table that histories of earlier schemas do not have."""


# ---------------------------------------------------------------- limits of SQLite


@contextmanager
def limited(connection: sqlite3.Connection, file: Path) -> Iterator[None]:
    """Let SQLite execute no code of a file, and only as many steps as its size allows.

    Raises:
        DamageError: The file needs too many steps, or a name in it is not UTF-8.
    """
    size_bytes = file.stat().st_size
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, min(max(size_bytes, 2**20), 2**31 - 1))
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    try:
        with heeding_signals(connection, _STEPS_PER_BYTE * size_bytes):
            yield
    except UnicodeDecodeError:  # sqlite3 cannot decode the text of an error that quotes the name
        raise DamageError("a name in its schema is not UTF-8") from None
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            raise DamageError("its pages refer to each other in a circle") from None
        raise


# ---------------------------------------------------------------- tables


def check_tables(connection: sqlite3.Connection) -> None:
    """Check that the tables are plain tables: a view or a virtual table could be endless.

    Raises:
        DamageError: A table is missing, or is not a plain table.
    """
    rows = connection.execute(
        "SELECT name, type, sql FROM main.sqlite_schema WHERE type IN ('table', 'view')"
    )
    found = {name: (kind, sql) for name, kind, sql in rows if name in (*_TABLES, _SAMPLES)}
    for name in (*_TABLES, *([_SAMPLES] if _SAMPLES in found else ())):
        kind, sql = found.get(name, ("", ""))
        plain = kind == "table" and str(sql).lstrip().upper().startswith("CREATE TABLE")
        if not plain:
            problem = f"{name!r} is not a table" if kind else f"it has no table {name!r}"
            raise DamageError(problem)


def check_columns(connection: sqlite3.Connection, table: str, expected: Sequence[str]) -> None:
    """Check that a table, or the view of an older schema, has exactly these columns.

    Raises:
        DamageError: A column is missing, additional, computed, or at another position.
    """
    rows = list(connection.execute(f"PRAGMA table_xinfo({table})"))
    found = [name for _, name, *_ in rows]
    computed = any(hidden for *_, hidden in rows)
    if found != list(expected) or computed:
        wrong = sorted({*map(str, found)} ^ {*expected})
        what = f": {', '.join(wrong[:5])}" if wrong else ""
        raise DamageError(f"its table {table!r} does not have the columns of a history{what}")


# ---------------------------------------------------------------- variables


def check_variables(connection: sqlite3.Connection, columns: Sequence[str]) -> None:
    """Check the rows of `variables`.

    Raises:
        DamageError: A row is invalid; the text names it.
    """
    check_columns(connection, "variables", columns)
    texts = ("name", "shape", "dtype", "requested", "synchronization", "aggregation", "created_at")
    wrong = connection.execute(
        "SELECT variable FROM variables WHERE "  # noqa: S608  # our own conditions
        + " OR ".join(not_text(one, MAX_NAME_CHARACTERS, null=False) for one in texts)
        + f" OR {_number('variable', 0, MAX_NUMBER, null=False)}"
        + f" OR {_number('trainable', 0, 1, null=False)} LIMIT 1"
    ).fetchone()
    if wrong is not None:
        raise DamageError(f"variable {wrong[0]} has a column of another type or length")
    for number, shape, dtype, synchronization, aggregation in connection.execute(
        "SELECT variable, shape, dtype, synchronization, aggregation FROM variables"
    ):
        flaw = _variable_flaw(shape, dtype, synchronization, aggregation)
        if flaw:
            raise DamageError(f"variable {number} has {flaw}")


def _variable_flaw(shape: str, dtype: str, synchronization: str, aggregation: str) -> str:
    sizes = _sizes_in(shape, unknown=True)
    if sizes is None:
        return f"the invalid shape {shape[:MAX_WORD]!r}"
    if dtype not in SIZES:
        return f"the invalid dtype {dtype[:MAX_WORD]!r}"
    if _size_bytes(sizes, dtype) > MAX_FRAME_BYTES:
        return f"the shape {shape[:MAX_WORD]}, which is too large"
    if aggregation not in VariableAggregation.__members__:
        return f"the invalid aggregation {aggregation[:MAX_WORD]!r}"
    try:
        synchronization_named(synchronization)
    except ValueError:
        return f"the invalid synchronization {synchronization[:MAX_WORD]!r}"
    return ""


def is_count(value: object, low: int = 0, high: int = MAX_NUMBER) -> bool:
    """Return whether a value is a whole number in a range."""
    return type(value) is int and low <= value <= high


def _sizes_in(shape: object, *, unknown: bool = False) -> list[int | None] | None:
    """Return the sizes in a JSON list; None if it is not the shape of a value.

    Args:
        unknown: Whether a size may be unknown (null).
    """
    if not isinstance(shape, str) or len(shape) > _MAX_SHAPE or shape.count("[") != 1:
        return None
    try:
        sizes = json.loads(shape)
    except ValueError:
        return None
    valid = isinstance(sizes, list) and len(sizes) <= MAX_DIMENSIONS
    if not valid or not all(
        is_count(one, 0, MAX_FRAME_BYTES) or (one is None and unknown) for one in sizes
    ):
        return None
    found: list[int | None] = sizes
    return found


def _size_bytes(sizes: Sequence[int | None], dtype: str) -> int:
    """Return the size of a value; an unknown dimension counts as 1.

    A dimension of size 0 counts as 1, too: other dimensions must still be within limits.
    """
    return math.prod(one or 1 for one in sizes) * SIZES[dtype]


# ---------------------------------------------------------------- events


def check_events(connection: sqlite3.Connection, columns: Sequence[str], num_replicas: int) -> None:
    """Check the rows of `events`.

    Raises:
        DamageError: A row is invalid; the text names its number and its column.
    """
    check_columns(connection, "events", columns)
    checks = _column_checks(num_replicas - 1)
    anything = " OR ".join(condition for condition, _ in checks.values())
    wrong = connection.execute(
        f"SELECT event FROM events WHERE {anything} LIMIT 1"  # noqa: S608  # our own conditions
    ).fetchone()
    if wrong is not None:
        raise DamageError(_column_flaw(connection, checks, wrong[0]))
    forms = "dtype, shape, length(value), length(indices)"
    for form in connection.execute(f"SELECT DISTINCT {forms} FROM events"):  # noqa: S608
        flaw = _form_flaw(*form)
        if flaw:
            where = " AND ".join(f"{one} IS ?" for one in forms.split(", "))
            event = connection.execute(
                f"SELECT event FROM events WHERE {where} LIMIT 1",  # noqa: S608
                form,
            ).fetchone()
            raise DamageError(f"event {event[0]} has {flaw}")
    for (members,) in connection.execute(
        "SELECT DISTINCT members FROM events WHERE members IS NOT NULL"
    ):
        if not _are_replicas(members, num_replicas):
            (event,) = connection.execute(
                "SELECT event FROM events WHERE members = ? LIMIT 1", (members,)
            ).fetchone()
            raise DamageError(
                f"event {event} has {members[:MAX_WORD]!r} in the column 'members', which must "
                f"be a JSON list of replicas from 0 to {num_replicas - 1}"
            )


def check_samples(connection: sqlite3.Connection) -> None:
    """Check the rows of `samples`, after the events.

    Raises:
        DamageError: A row is invalid; the text names its event.
    """
    check_columns(connection, _SAMPLES, ("of_event", "elements", "statistics", "ordinals"))
    rows = connection.execute(
        "SELECT of_event, typeof(elements), length(elements), typeof(statistics), statistics, "
        "typeof(ordinals), length(ordinals), dtype, shape, value IS NULL FROM samples "
        "LEFT JOIN events ON event = of_event"
    )
    for event, *columns in rows:
        flaw = _sample_flaw(*columns)
        if flaw:
            raise DamageError(f"the sample of event {event} has {flaw}")


def _sample_flaw(
    kind: str,
    size_bytes: int,
    kind_of_statistics: str,
    statistics: Any,
    kind_of_ordinals: str,
    ordinals_bytes: int | None,
    dtype: str | None,
    shape: str | None,
    is_alone: object,
) -> str:
    """Return what is wrong with a sample; "" if it is valid."""
    if kind != "blob" or kind_of_statistics != "text" or not is_alone:
        return "no event without a value, no elements or no statistics"
    sizes = _sizes_in(shape)
    if dtype not in SIZES or sizes is None or None in sizes:
        return "no dtype or shape"
    try:
        numbers = json.loads(statistics) if len(statistics) <= _MAX_SHAPE else None
    except (ValueError, RecursionError):
        numbers = None
    known = isinstance(numbers, list) and len(numbers) in (0, len(Statistics._fields))
    if not known or not all(one is None or type(one) in {int, float} for one in numbers or ()):
        return "wrong statistics"
    count, rest = divmod(size_bytes, SIZES[dtype])
    if kind_of_ordinals == "null":
        whole = math.prod(one or 0 for one in sizes)
        return "" if not rest and count == min(whole, MOST_ELEMENTS) else "wrong elements"
    fits = kind_of_ordinals == "blob" and ordinals_bytes == count * _INDEX_BYTES
    return "" if fits and not rest else "wrong ordinals"


def _are_replicas(members: str, num_replicas: int) -> bool:
    try:
        ids = json.loads(members)
    except (ValueError, RecursionError):
        return False
    return isinstance(ids, list) and all(
        type(one) is int and 0 <= one < num_replicas for one in ids
    )


def _column_flaw(
    connection: sqlite3.Connection, checks: Mapping[str, tuple[str, str]], event: int
) -> str:
    for column, (condition, expected) in checks.items():
        found = connection.execute(
            f"SELECT typeof({column}) FROM events WHERE event = ? AND ({condition})",  # noqa: S608
            (event,),
        ).fetchone()
        if found is not None:
            what = {"integer": "a number out of range", "real": "a fraction", "null": "nothing",
                    "text": "another text", "blob": "bytes"}[found[0]]  # fmt: skip
            return f"event {event} has {what} in the column {column!r}, which must be {expected}"
    return f"event {event} is invalid"


def _form_flaw(dtype: object, shape: object, value: int | None, indices: int | None) -> str:
    """Return what is wrong with the form of a value; "" if it is valid."""
    if dtype is None and shape is None:
        return "a value without dtype and shape" if (value, indices) != (None, None) else ""
    if type(dtype) is not str or dtype not in SIZES:
        return f"the invalid dtype {str(dtype)[:MAX_WORD]!r}"
    sizes = _sizes_in(shape)
    if sizes is None:
        return f"the invalid shape {str(shape)[:MAX_WORD]!r}"
    if _size_bytes(sizes, dtype) > MAX_FRAME_BYTES:
        return f"the shape {str(shape)[:MAX_WORD]}, which is too large"
    known = [one for one in sizes if one is not None]
    if value is not None and value != math.prod(known) * SIZES[dtype]:
        return f"a value of {value:,} bytes, which does not fit dtype {dtype} and shape {shape}"
    if indices is not None and (not known or value is None or indices != known[0] * _INDEX_BYTES):
        return f"{indices:,} bytes of indices, which do not fit the shape {shape}"
    return ""
