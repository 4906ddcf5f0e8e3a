"""Build short histories, and examine them.

A `ProgramHistory` keeps the values of all components (float32 scalars), so that reads and commits
have the values that they would have in a run. An event takes 10 µs, or `takes_ms`.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import numpy as np

from varsim.analysis.findings.model import Finding
from varsim.analysis.observer import Audience
from varsim.analysis.outcome import Note
from varsim.analysis.search import Search, find
from varsim.extension_dtypes import named
from varsim.tracing.history import COLUMNS, PROGRAM, SCHEMA, Event, History, VariableRow

SHORT_MS = 0.01


class ProgramHistory:
    """Build a history operation by operation."""

    def __init__(self, num_replicas: int = 2, *, values: bool = True, **variables: str) -> None:
        self.num_replicas = num_replicas
        self.replicas = range(num_replicas)
        self.about: dict[str, Any] = {}  # further entries of the table `run`
        self.events: list[Event] = []
        self.now_s = 0.0
        self.rows: list[VariableRow] = []
        self.holds: dict[str, list[float]] = {}
        self.versions: dict[str, list[int]] = {}
        self._values = values
        self._call: int | None = None
        self._calls = 0
        self._position = 0
        self._numbers: dict[str, int] = {}
        for name, settings in variables.items():
            self._create(name, *settings.split())

    def _create(self, name: str, synchronization: str, aggregation: str) -> None:
        number = len(self.rows)
        self._numbers[name] = number
        self.holds[name] = [0.0] * self.num_replicas
        self.versions[name] = [0] * self.num_replicas
        row = (number, name, "[]", "float32", synchronization, synchronization, aggregation)
        self.rows.append(VariableRow(*row, 1, "model.py:1"))
        self.event(PROGRAM, "create", name, value=0.0)

    def event(
        self,
        process: int,
        kind: str,
        name: str | None = None,
        *,
        value: float | None = None,
        takes_ms: float = SHORT_MS,
        **columns: Any,
    ) -> int:
        """Append an event, and return its number."""
        self.now_s += takes_ms / 1e3
        number = len(self.events) + 1
        if name is not None:
            columns["variable"] = self._numbers[name]
        if value is not None:
            data = np.float32(value).tobytes()
            columns |= {"dtype": "float32", "shape": "[]", "digest": zlib.crc32(data)}
            columns["value"] = data if self._values else None
        columns.setdefault("call", self._call)
        self.events.append(Event(number, process, number, self.now_s, kind, **columns))
        return number

    # The program

    def call(self) -> None:
        """Let the program call a function, and let all replicas begin the call."""
        self._calls, self._position = self._calls + 1, 0
        self._call = self._calls
        cause = self.event(PROGRAM, "call")
        for replica_id in self.replicas:
            self.event(replica_id, "begin", cause=cause)

    def end(self, order: Iterable[int] | None = None) -> None:
        """Let all replicas return, in this order, and let the program receive their results."""
        for replica_id in self.replicas if order is None else order:
            self.done(replica_id)
        self.finish()

    def done(self, replica_id: int, takes_ms: float = SHORT_MS) -> None:
        """Let one replica return, and let the program receive its result."""
        cause = self.event(replica_id, "return", takes_ms=takes_ms)
        self.event(PROGRAM, "receive", cause=cause, replica=replica_id)

    def finish(self) -> None:
        """Let the program finish the call."""
        self.event(PROGRAM, "finish")
        self._call = None

    def assign(self, name: str, value: float, at: str | None = None) -> None:
        """Let the program assign a value to all components."""
        self.event(PROGRAM, "write", name, value=value, operation="assign", location=at)
        version = max(self.versions[name]) + 1
        self.holds[name] = [value] * self.num_replicas
        self.versions[name] = [version] * self.num_replicas
        self._commit(name, value, version)

    def assign_one(self, name: str, replica_id: int, value: float, at: str | None = None) -> None:
        """Let the program assign a value to one component."""
        columns = {"operation": "assign", "replica": replica_id}
        self.event(PROGRAM, "write", name, value=value, location=at, **columns)
        self.holds[name][replica_id] = value
        self.versions[name][replica_id] = max(self.versions[name]) + 1
        version = self.versions[name][replica_id]
        self.event(PROGRAM, "commit", name, value=value, version=version, **columns)

    def show(self, name: str, at: str | None = None, replica: int | None = None) -> None:
        """Let the program read a variable, or one of its components."""
        for asked in self.replicas if replica is None else (replica,):
            cause = self.event(PROGRAM, "fetch", name, replica=asked)
            held = self.holds[name][asked]
            cause = self.event(asked, "component", name, value=held, cause=cause)
            self.event(PROGRAM, "receive", cause=cause, replica=asked)
        held = self.holds[name][replica or 0]
        version = self.versions[name][replica or 0]
        self.event(PROGRAM, "read", name, value=held, version=version, replica=replica, location=at)

    # Replicas

    def write(
        self, replica_id: int, name: str, value: float, at: str | None = None, add: bool = False
    ) -> None:
        """Let a replica write its own component."""
        operation = "assign_add" if add else "assign"
        self.holds[name][replica_id] = value + (self.holds[name][replica_id] if add else 0)
        columns = {"operation": operation, "replica": replica_id, "location": at}
        self.event(replica_id, "write", name, value=value, **columns)

    def read(
        self, replica_id: int, name: str, at: str | None = None, version: int | None = None
    ) -> None:
        """Let a replica read its own component."""
        held = self.holds[name][replica_id]
        version = self.versions[name][replica_id] if version is None else version
        self.event(replica_id, "read", name, value=held, version=version, location=at)

    def merge(
        self,
        name: str,
        values: Sequence[float],
        at: str | None = None,
        works_ms: Sequence[float] | None = None,
        operation: str = "assign",
    ) -> None:
        """Let all replicas work for a while, write, wait, and get the mean.

        Args:
            works_ms: How long each replica works before its write. All replicas work at the same
                time, so the replica with the shortest time writes first.
        """
        start_s, works = self.now_s, works_ms or [1] * self.num_replicas
        order = sorted(self.replicas, key=lambda replica_id: works[replica_id])
        for replica_id in order:
            self.now_s = max(start_s + works[replica_id] / 1e3, start_s)
            columns = {"operation": operation, "position": self._position, "location": at}
            self.event(replica_id, "write", name, value=values[replica_id], takes_ms=0, **columns)
            cause = self.event(replica_id, "wait", name)
            self.event(PROGRAM, "receive", cause=cause, replica=replica_id)
        value, version = sum(values) / len(values), max(self.versions[name]) + 1
        self._commit(name, value, version, position=self._position)
        self.holds[name] = [value] * self.num_replicas
        self.versions[name] = [version] * self.num_replicas
        self._position += 1

    def merge_at_end(self, name: str, values: Sequence[float], at: str | None = None) -> None:
        """Let all replicas write and return. The commit is sent with the next messages."""
        for replica_id in self.replicas:
            columns = {"operation": "assign", "position": self._position, "location": at}
            self.event(replica_id, "write", name, value=values[replica_id], **columns)
        call = self._call
        self.end()
        value, version = sum(values) / len(values), max(self.versions[name]) + 1
        self.holds[name] = [value] * self.num_replicas
        self.versions[name] = [version] * self.num_replicas
        self.late = (name, value, version, call)

    def send_late(self) -> None:
        """Let the program send the pending commit after the end of the call."""
        name, value, version, call = self.late
        columns = {"operation": "assign", "version": version, "call": call}
        cause = self.event(PROGRAM, "commit", name, value=value, **columns)
        for replica_id in self.replicas:
            self.event(replica_id, "install", name, version=version, cause=cause)

    def collective(
        self,
        operation: str = "all_reduce",
        name: str | None = None,
        works_ms: Sequence[float] | None = None,
        locations: Sequence[str] = (),
        given: Sequence[Any] = (),
        op: str = "SUM",
        dtype: str = "float32",
        result: float | None = None,
    ) -> None:
        """Let all replicas work for a while, and then do a collective without a variable.

        Args:
            locations: The line of each replica, by default the same line for all.
            given: The value of each replica; none to record none.
            op: The op of a collective with values, which have the given dtype.
            result: The float32 result that all replicas get; None to record none.
        """
        start_s, works = self.now_s, works_ms or [1] * self.num_replicas
        for replica_id in sorted(self.replicas, key=lambda one: works[one]):
            self.now_s = start_s + works[replica_id] / 1e3
            columns = {"position": self._position, "operation": operation, "note": name}
            location = locations[replica_id] if locations else "step.py:9"
            cause = self.event(replica_id, "arrive", location=location, takes_ms=0, **columns)
            if len(given):
                value = np.asarray(given[replica_id], named(dtype))
                about = {"position": self._position, "note": json.dumps({"op": op})}
                about |= {"dtype": dtype, "shape": json.dumps(value.shape)}
                about["digest"] = zlib.crc32(value.tobytes())
                cause = self.event(replica_id, "give", takes_ms=0, **about)
                self.events[-1] = self.events[-1]._replace(value=value.tobytes())
            self.event(PROGRAM, "receive", cause=cause, replica=replica_id)
        answer = "merged" if operation == "merge_call" else "reduced"
        cause = self.event(PROGRAM, "answer", position=self._position, operation=answer)
        self._answered = cause
        if result is not None:
            for replica_id in self.replicas:
                about = {"position": self._position, "replica": replica_id}
                self.event(PROGRAM, "result", value=result, **about)
        self._position += 1

    def hear(self, replica_id: int, cause: int | None = None) -> None:
        """Let a replica receive the message of event `cause`, by default the last answer."""
        self.event(replica_id, "install", cause=self._answered if cause is None else cause)

    def ask(self, replica_id: int, lock: str = "a", operation: str = "lock", **others: str) -> None:
        """Let a replica request a lock, and let the program receive the request."""
        columns = {"operation": operation, "note": lock, "location": f"step.py:{replica_id}"}
        columns |= others
        cause = self.event(replica_id, "request", **columns)
        self.event(PROGRAM, "receive", cause=cause, replica=replica_id)

    def grant(self, replica_id: int) -> None:
        """Let the program grant the lock that a replica has requested."""
        self._answered = self.event(PROGRAM, "answer", operation="granted", replica=replica_id)
        self.hear(replica_id)

    def lock(self, replica_id: int, lock: str = "a", operation: str = "lock") -> None:
        """Let a replica request a lock, and get it."""
        self.ask(replica_id, lock, operation)
        self.grant(replica_id)

    def unlock(self, replica_id: int, lock: str = "a") -> None:
        """Let a replica release a lock, and let the program receive the release."""
        cause = self.event(replica_id, "release", note=lock)
        self.event(PROGRAM, "receive", cause=cause, replica=replica_id)

    def _commit(self, name: str, value: float, version: int, position: int | None = None) -> None:
        columns = {"operation": "assign", "version": version, "position": position}
        cause = self.event(PROGRAM, "commit", name, value=value, takes_ms=SHORT_MS, **columns)
        for replica_id in self.replicas:
            self.event(replica_id, "install", name, version=version, cause=cause)

    # Results

    def findings(self) -> tuple[Finding, ...]:
        """Return the findings in the history."""
        with self._history() as history:
            return find(history)

    def notes(self) -> list[Note]:
        """Return the notes of finders, after their findings."""
        with self._history() as history:
            search = Search(history)
            Audience(search.observers).show(history.events())
            search.conclude()
            return search.notes()

    @contextmanager
    def _history(self) -> Iterator[History]:
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.executescript(SCHEMA)
            about = {"num_replicas": self.num_replicas, **self.about}
            told = [(key, json.dumps(value)) for key, value in about.items()]
            connection.executemany("INSERT INTO run VALUES (?, ?)", told)
            for table, rows in (
                ("variables", self.rows),
                ("events", [one[: len(COLUMNS)] for one in self.events]),
            ):
                if not rows:
                    continue
                marks = ", ".join("?" * len(rows[0]))
                connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
            yield History(connection)

    def found(self) -> list[str]:
        """Return kind, variable, count and most frequent location of each finding."""
        return [
            f"{one.kind.name}: {one.variable or '–'} ×{one.count}"
            + "".join(f" at {location}" for location, _ in one.locations[:1])
            for one in self.findings()
        ]
