"""The history of a run: one SQLite file with all events in causal order.

`docs/history.md` describes the tables for readers; it is generated from `SCHEMA`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from varsim.errors import ConfigError, HistoryError
from varsim.protocol.messages import is_own_call
from varsim.texts.files import (
    CHANGED,
    CHANGED_REMEDY,
    HISTORY_REMEDY,
    HISTORY_WITH_TRACES_REMEDY,
)
from varsim.tracing import old_schemas, run_entries, validation
from varsim.tracing.host_traffic import HostTraffic
from varsim.tracing.kinds import KINDS as KINDS  # noqa: PLC0414  # for readers of the tables
from varsim.tracing.kinds import WITH_VALUES
from varsim.tracing.trace_format import PROGRAM as PROGRAM  # noqa: PLC0414  # for the tables

SCHEMA_VERSION: Final = 6
"""The version of the tables. It increases when the meaning of a column changes (`old_schemas`)."""

HISTORY: Final = "history.db"

TRACES: Final = "trace"
"""The folder in a run's directory for the traces, until they are merged into the history."""

ORACLE: Final = "oracle"
"""The folder in a run's directory for the history of the same program on one replica."""

LEFT_OUT: Final = "left_out"
"""A key of `run`: the list of what an export left out of the record, such as "values"."""

SCHEMA: Final = """
CREATE TABLE run (            -- what was run, and whether the record is complete
    key   TEXT PRIMARY KEY,   -- see RUN_KEYS
    value TEXT NOT NULL       -- JSON
);
CREATE TABLE variables (
    variable        INTEGER PRIMARY KEY,  -- unique in the run, in order of creation
    name            TEXT NOT NULL,        -- the name that the program gave
    shape           TEXT NOT NULL,        -- JSON list; null is an unknown dimension
    dtype           TEXT NOT NULL,        -- as NumPy names it
    requested       TEXT NOT NULL,        -- the synchronization that the program asked for
    synchronization TEXT NOT NULL,        -- the synchronization in force; AUTO only if adaptive
    aggregation     TEXT NOT NULL,        -- NONE, SUM, MEAN or ONLY_FIRST_REPLICA
    trainable       INTEGER NOT NULL,     -- 0 or 1
    created_at      TEXT NOT NULL         -- file:line
);
CREATE TABLE events (
    event     INTEGER PRIMARY KEY,  -- in causal order: the cause of an event has a smaller number
    process   INTEGER NOT NULL,     -- replica_id; -1 is the program
    number    INTEGER NOT NULL,     -- number of the event within its process
    time_s    REAL NOT NULL,        -- seconds since the run began
    kind      TEXT NOT NULL,        -- see KINDS
    call      INTEGER,              -- number of the strategy.run; NULL outside of calls
    variable  INTEGER,              -- number of the variable in `variables`
    operation TEXT,                 -- assign, assign_add, all_reduce, reduced, …: see KINDS
    version   INTEGER,              -- version of the variable, before a read or after a commit
    position  INTEGER,              -- number of a collective within its call and `members`
    replica   INTEGER,              -- owner of the component; NULL for all components
    location  TEXT,                 -- file:line in the program
    dtype     TEXT,                 -- dtype of the value, as NumPy names it
    shape     TEXT,                 -- shape of the value; JSON list
    digest    INTEGER,              -- CRC-32 of the bytes of `indices`, if any, then `value`
    value     BLOB,                 -- the value's bytes; NULL if they were not recorded whole
    indices   BLOB,                 -- of a sparse write: the index of each row of the value
    cause     INTEGER,              -- number of the event of another process that caused this event
    times     INTEGER,              -- number of equal reads in a row; NULL means one
    error     TEXT,                 -- the class of an exception
    note      TEXT,                 -- text of an exception, name of a collective, …
    present   INTEGER,              -- number of replicas in a call; NULL means all replicas
    members   TEXT                  -- process group of a collective: JSON list of replica ids
);
CREATE TABLE samples (              -- of values that were not recorded whole
    of_event   INTEGER PRIMARY KEY, -- number of the event
    elements   BLOB,                -- the bytes of the elements in the sample
    statistics TEXT,                -- of all elements: see below; JSON list
    ordinals   BLOB                 -- of a sparse write: see below
);
CREATE INDEX events_by_variable ON events (variable);
CREATE INDEX events_by_call ON events (call);
"""

RUN_KEYS: Final[Mapping[str, str]] = {
    "schema": "version of the tables",
    "num_replicas": "number of replicas",
    "level": "level of the trace: ops or messages",
    "began": "start of the record: seconds since 1970",
    "window": "first recorded call, and the first call after the window; null without a window",
    "events": "number of events when the history was written",
    "complete": "whether every process ended its record, and all of it could be read",
    "missing": "reasons why the record is not complete",
    "cut_short": "only if nothing else is missing: the replicas whose records end where their "
    "workers ended → how they ended, such as `its worker was killed by SIGKILL`. Such a record has "
    "everything that other processes know of the replica, so it is judged",
    "limited": "whether a process stopped its record at the limit of its size",
    "simulated": "only in the record of a simulated cluster: true; replicas took turns in one "
    "process, so `time_s` shows no waits",
    "policies": "only with policies of other packages: the keyword of each → its package, with the "
    "version",
    "policy_files": "only with policies that the program itself defines: the keyword of each → the "
    "file of its class",
    "counted": "uses of the number of replicas by the program: the first one of each process, such "
    "as num_replicas_in_sync at train.py:12; missing in histories of earlier versions",
    "continued": "only after a restart: `calls`, the number of the program's calls in earlier "
    "incarnations, and `kept`, the numbers of the variables that the restart created again",
    "hosts": "only if workers ran on other hosts: a list with the `name` of each host, its "
    "`replicas`, and `clock_error_s`: by how much times of these replicas can be wrong, because "
    "the clocks of two hosts are compared by messages; null if they were not compared; and the "
    "`devices` of these replicas",
    "traffic": "only with `hosts`: what the hosts and the program sent to each other, as in "
    "`traffic` of [summary.json](results.md#hosttraffic); missing in histories of earlier versions",
    LEFT_OUT: "what an export left out of the record, such as values",
}


class Event(NamedTuple):
    """One row of `events`, with the columns in the same order, and its row of `samples`, if any."""

    event: int
    process: int
    number: int
    time_s: float
    kind: str
    call: int | None = None
    variable: int | None = None
    operation: str | None = None
    version: int | None = None
    position: int | None = None
    replica: int | None = None
    location: str | None = None
    dtype: str | None = None
    shape: str | None = None
    digest: int | None = None
    value: bytes | None = None
    indices: bytes | None = None
    cause: int | None = None
    times: int | None = None
    error: str | None = None
    note: str | None = None
    present: int | None = None
    members: str | None = None
    elements: bytes | None = None
    statistics: str | None = None
    ordinals: bytes | None = None

    @property
    def occurrences(self) -> int:
        """Return the number of occurrences: consecutive equal reads are one event."""
        return self.times or 1

    @property
    def group(self) -> tuple[int, ...]:
        """Return the process group of a collective; () for all replicas."""
        return () if self.members is None else tuple(json.loads(self.members))

    @property
    def begins_step(self) -> bool:
        """Return whether a call of the program begins. varsim's own calls are not steps."""
        return self.kind == "call" and not is_own_call(self.call)

    @property
    def ends_step(self) -> bool:
        """Return whether a call of the program ends."""
        return self.kind == "finish" and not is_own_call(self.call)


OF_SAMPLES: Final = ("elements", "statistics", "ordinals")
"""The columns of an event that are in the table `samples`."""

COLUMNS: Final = Event._fields[: -len(OF_SAMPLES)]
"""The columns of the table `events`."""

_as_event: Final = partial(tuple.__new__, Event)
"""Makes an event from a row with all columns. Without checks, this is faster than `_make`."""


class VariableRow(NamedTuple):
    """One row of `variables`."""

    variable: int
    name: str
    shape: str
    dtype: str
    requested: str
    synchronization: str
    aggregation: str
    trainable: int
    created_at: str


class History:
    """A history opened for reading; `open_history` validates it."""

    def __init__(self, connection: sqlite3.Connection, path: Path = Path(HISTORY)) -> None:
        self.connection = connection
        self.path = path
        self.run: dict[str, Any] = {
            key: json.loads(value) for key, value in connection.execute("SELECT * FROM run")
        }
        schema = self.run.get("schema")
        if schema in old_schemas.READABLE:
            old_schemas.show_as_current(connection, schema)
            self.run = old_schemas.entries_of(self.run, schema)
        self._tables = "events.*, NULL, NULL, NULL FROM events"
        if connection.execute("SELECT EXISTS (SELECT 1 FROM samples)").fetchone()[0]:
            sampled = ", ".join(OF_SAMPLES)
            self._tables = f"events.*, {sampled} FROM events LEFT JOIN samples ON of_event = event"
        rows = connection.execute("SELECT * FROM variables ORDER BY variable")
        self.variables: dict[int, VariableRow] = {row[0]: VariableRow(*row) for row in rows}

    @property
    def num_replicas(self) -> int:
        """Return the number of replicas of the run."""
        return int(self.run["num_replicas"])

    @property
    def last_event(self) -> int:
        """Return the number of the last event; 0 if there is no event."""
        ((last,),) = self.connection.execute("SELECT max(event) FROM events")
        return int(last or 0)

    @property
    def last_call(self) -> int:
        """Return the number of the program's last call; 0 if there is none."""
        found = self.connection.execute("SELECT DISTINCT call FROM events WHERE kind = 'call'")
        return max((call for (call,) in found if not is_own_call(call)), default=0)

    @property
    def counts_replicas(self) -> bool | None:
        """Return whether the program has used the number of replicas; None if not recorded."""
        uses = self.run.get("counted")
        return None if uses is None else bool(uses)

    @property
    def hosts(self) -> list[dict[str, Any]]:
        """Return the hosts of the workers; [] if all of them ran on the program's host.

        Each has a `name`, its `replicas`, and `clock_error_s`, in seconds, or None if unknown.
        """
        found: list[dict[str, Any]] = self.run.get("hosts", [])
        return found

    def host_of(self, replica_id: int) -> str:
        """Return the name of a replica's host; "" if it is the program's."""
        return self.place_of(replica_id)[0]

    def place_of(self, replica_id: int) -> tuple[str, str]:
        """Return the names of a replica's host and device; "" for what is not recorded."""
        for one in self.hosts:
            if replica_id in one["replicas"]:
                devices = one.get("devices", [])
                position = one["replicas"].index(replica_id)
                return one["name"], devices[position] if position < len(devices) else ""
        return "", ""

    @property
    def traffic(self) -> HostTraffic | None:
        """Return what hosts sent to each other; None without hosts, or if it is not recorded."""
        found = self.run.get("traffic")
        return None if found is None else HostTraffic.unpacked(found)

    @property
    def calls_before(self) -> int:
        """Return the number of the program's calls in earlier incarnations of the strategy."""
        return int(self.run.get("continued", {}).get("calls", 0))

    @property
    def kept(self) -> frozenset[int]:
        """Return the variables of earlier incarnations, which this incarnation created again.

        Right after its creation, the program writes the components of such a variable, unless they
        are all equal.
        """
        return frozenset(self.run.get("continued", {}).get("kept", ()))

    def puts_back(self, event: Event) -> bool:
        """Return whether a component of a kept variable is written as the restart writes it.

        Only the first such events after the creation of the variable are those of the restart.
        """
        number = event.variable
        return (
            number in self.kept
            and event.process == PROGRAM
            and event.call is None
            and (event.replica is not None or event.kind == "carry")
            and (
                event.kind in ("carry", "commit")
                or (event.kind == "write" and event.location == self.variables[number].created_at)
            )
        )

    def is_summarised(self, variable: int | None) -> bool:
        """Return whether samples or checksums replace values, and no value is missing altogether.

        Args:
            variable: The number of a variable; None for collectives.
        """
        return variable in self._summarised

    @cached_property
    def _summarised(self) -> frozenset[int | None]:
        kinds = ", ".join(f"'{kind}'" for kind in sorted(WITH_VALUES))
        found = self.connection.execute(
            "SELECT +variable FROM events WHERE value IS NULL GROUP BY +variable "  # noqa: S608  # our own
            "HAVING SUM(digest IS NOT NULL) AND NOT SUM(digest IS NULL AND "
            f"(dtype IS NOT NULL OR kind IN ({kinds})))"
        )
        return frozenset(number for (number,) in found)

    def events(self, where: str = "1", parameters: Iterable[Any] = ()) -> Iterator[Event]:
        """Yield the events that satisfy an SQL condition, in causal order."""
        rows = self.connection.execute(
            f"SELECT {self._tables} WHERE {where} ORDER BY event",  # our own conditions
            tuple(parameters),
        )
        return map(_as_event, rows)


@contextmanager
def open_history(path: Path, *, validated: bool = False) -> Iterator[History]:
    """Open a history for reading, and validate it.

    A file that SQLite cannot read, or that changes within the block, also causes a HistoryError.

    Args:
        path: A run's directory, or a `history.db`.
        validated: Whether this process has just merged the history: the merge validates it.
    Raises:
        ConfigError: There is no such file, or another version of varsim wrote the history.
        HistoryError: The file is damaged.
    """
    file = path / HISTORY if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(
            f"{path} has no {HISTORY}: give the directory of a run that was traced "
            "(trace: ops, which is the default)"
        )
    uri = f"{file.absolute().as_uri()}?mode=ro"
    before = _state_of(file)
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            with validation.limited(connection, file):
                history = History(connection, file) if validated else _validated(connection, file)
            yield history
        _check_unchanged(file, before)
    except validation.DamageError as error:
        raise HistoryError(file, str(error), _remedy(file)) from None
    except (sqlite3.InterfaceError, sqlite3.ProgrammingError):
        raise  # wrong use of the connection
    except sqlite3.Error as error:
        _check_unchanged(file, before, error)
        problem = f"it is not the history of a run, or it is damaged: {error}"
        raise HistoryError(file, problem, _remedy(file)) from error
    except ConfigError:
        raise
    except Exception as error:
        _check_unchanged(file, before, error)
        raise


def _validated(connection: sqlite3.Connection, file: Path) -> History:
    """Return a history after validating all its tables.

    Raises:
        DamageError: A table is invalid; the text says where.
        ConfigError: Another version of varsim wrote the history.
        sqlite3.DatabaseError: The file is not an SQLite file, or is cut.
    """
    validation.check_tables(connection)
    schema = run_entries.entries(connection).get("schema")
    if type(schema) is not int:
        raise validation.DamageError(f"its schema is {_shown(schema)}, and must be a number")
    if schema not in (*old_schemas.READABLE, SCHEMA_VERSION):
        raise ConfigError(
            f"{file} has schema {_shown(schema)}: this version of varsim reads "
            f"{', '.join(map(str, (*old_schemas.READABLE, SCHEMA_VERSION)))}"
        )
    validation.check_columns(connection, "run", ("key", "value"))
    validation.check_columns(connection, "variables", VariableRow._fields)
    history = History(connection, file)
    check_tables(connection, history.run)
    return history


def check_tables(connection: sqlite3.Connection, run: Mapping[str, Any] | None = None) -> None:
    """Check the rows of all tables.

    Args:
        run: The entries of the table `run`, with the current keys; by default they are read.
    Raises:
        DamageError: A row is invalid; the text says where.
    """
    validation.check_variables(connection, VariableRow._fields)
    entries = run_entries.entries(connection) if run is None else run
    run_entries.check_entries(entries)
    validation.check_events(connection, COLUMNS, entries["num_replicas"])
    validation.check_samples(connection)


def _state_of(file: Path) -> tuple[int, int, int]:
    """Return the inode, the size and the time of the last change."""
    state = file.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns


def _check_unchanged(
    file: Path, before: tuple[int, int, int], error: Exception | None = None
) -> None:
    """Raise an error if a file was changed. A file that was replaced or removed is still readable.

    Args:
        error: The error that the change has caused, if any.
    Raises:
        HistoryError: The file was changed.
    """
    try:
        now = _state_of(file)
    except FileNotFoundError:
        return
    if now[0] == before[0] and now != before:
        raise HistoryError(file, CHANGED, CHANGED_REMEDY) from error


def _remedy(file: Path) -> str:
    traces = file.parent / TRACES
    return HISTORY_WITH_TRACES_REMEDY if traces.is_dir() else HISTORY_REMEDY


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


_MOST_SHOWN: Final = 40


@contextmanager
def open_oracle(path: Path) -> Iterator[History | None]:
    """Open the history of a run's oracle for reading; None if there is none that can be read.

    The run can be judged without its oracle; `oracle_problem` returns the reason.

    Args:
        path: The run's directory, or its `history.db`.
    """
    with ExitStack() as stack:
        oracle = None
        with suppress(ConfigError):
            oracle = stack.enter_context(open_history(_oracle_folder(path)))
        yield oracle


def oracle_problem(path: Path, *, requested: bool) -> str:
    """Return why the history of a run's oracle cannot be read, as a clause; "" if it can be.

    Args:
        path: The run's directory, or its `history.db`.
        requested: Whether the run has had an oracle. If not, a missing history is no problem.
    """
    folder = _oracle_folder(path)
    if not (folder / HISTORY).is_file():
        missing = requested or folder.is_dir()
        return f"the oracle's record {folder / HISTORY} is missing" if missing else ""
    try:
        with open_history(folder):
            return ""
    except HistoryError as error:
        return f"the oracle's record {folder / HISTORY} is damaged: {error.problem}"
    except ConfigError as error:
        return str(error).partition("\n")[0]


def _oracle_folder(path: Path) -> Path:
    return (path if path.is_dir() else path.parent) / ORACLE


def upgrade(connection: sqlite3.Connection) -> None:
    """Rewrite the tables of a history of an older schema; leave a current history unchanged.

    Raises:
        sqlite3.Error: The file is not the history of a run.
    """
    found = connection.execute("SELECT value FROM run WHERE key = 'schema'").fetchone()
    schema = json.loads(found[0]) if found else None
    if schema in old_schemas.READABLE:
        old_schemas.upgrade(connection, schema, SCHEMA_VERSION, SCHEMA)
