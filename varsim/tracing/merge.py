"""From the traces of all processes to the history of the run."""

from __future__ import annotations

import json
import zlib
from collections import defaultdict, deque
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import Any

import numpy as np

from varsim.errors import ProtocolError
from varsim.protocol.codec import decode
from varsim.protocol.messages import Commit, Message, Raised, Returned, Start
from varsim.tracing.absent import Absent
from varsim.tracing.history import HISTORY, PROGRAM, Event, write_history
from varsim.tracing.reading import Record, begun, records
from varsim.tracing.trace import Kind, file_name
from varsim.tracing.unfold import (
    Fields,
    FromProgram,
    FromReplica,
    Meetings,
    Sent,
    Variables,
    installed,
)


def merge(directory: Path, history: Path) -> None:
    """Writes the history that the traces in a directory tell.

    Args:
        directory: Where the traces are.
        history: The file to be written, or a directory for a `history.db`.
    Raises:
        ProtocolError: There is no trace of the program, or another version wrote it.
        OSError: The history cannot be written.
    """
    first = begun(directory / file_name(PROGRAM))
    about = {"num_replicas": first[3], "level": first[4], "began": first[6], "window": None}
    merger = _Merger(directory, num_replicas=int(first[3]), began_ns=int(first[1]))

    def events() -> Iterator[Event]:
        yield from merger.events()
        about["complete"] = merger.whole

    file = history / HISTORY if history.is_dir() else history
    write_history(file, about, merger.variables.rows(), events())


class _Merger:
    """Puts the records of all processes into one order, and tells what they mean.

    The order is that of the clock, but an envelope is received after it was sent, whatever the
    clocks say.
    """

    def __init__(self, directory: Path, num_replicas: int, began_ns: int) -> None:
        self.variables = Variables()
        self.whole = True
        """Whether every trace was closed by its process, and all of it was understood."""
        self._began_ns = began_ns
        self._absent = Absent()
        meetings = Meetings()
        self._program = FromProgram(self.variables, self._absent, meetings)
        self._meetings = meetings
        self._replicas = [
            FromReplica(self.variables, self._absent, meetings) for _ in range(num_replicas)
        ]
        self._directory = directory
        self._mail: defaultdict[tuple[int, int], deque[Sent]] = defaultdict(deque)
        self._last_messages: dict[int, list[Message]] = {}  # of each sender, the last that it sent
        self._calls: defaultdict[int, list[int]] = defaultdict(
            list
        )  # of each process, innermost last
        self._numbers: defaultdict[int, int] = defaultdict(int)  # events of each process
        self._causes: dict[int, int] = {}  # of each process's next event
        self._reads: dict[int, Fields] = {}  # each process's last
        self._made: list[Event] = []
        self._next = 1

    def events(self) -> Iterator[Event]:
        """All events, in causal order."""
        for process, record in self._ordered():
            try:
                self._tell(process, record)
            except (ProtocolError, ValueError, TypeError, LookupError):
                self.whole = False  # a record that was damaged; what it told is missing
            yield from self._made
            self._made.clear()

    # ------------------------------------------------------------ the order

    def _ordered(self) -> Iterator[tuple[int, Record]]:
        sources = {process: self._source(process) for process in self._processes()}
        heads = {process: next(source, None) for process, source in sources.items()}
        ready = [(record[1], process) for process, record in heads.items() if record is not None]
        heapify(ready)
        late: set[int] = set()  # processes whose next envelope has not been sent yet
        while ready or late:
            if not ready:  # a sender's trace ends too early
                self.whole = False
                process = late.pop()
                self._mail[heads[process][2], process].append([])  # type: ignore[index]
            else:
                _, process = heappop(ready)
            record = heads[process]
            assert record is not None, "only those with a record are ready or late"
            if record[0] == Kind.RECEIVED and not self._mail[record[2], process]:
                late.add(process)
                continue
            yield process, record
            head = heads[process] = next(sources[process], None)
            if head is not None:
                heappush(ready, (head[1], process))
            if record[0] == Kind.SENT and record[2] in late:
                late.discard(record[2])
                heappush(ready, (heads[record[2]][1], record[2]))  # type: ignore[index]

    def _processes(self) -> Iterator[int]:
        for process in range(PROGRAM, len(self._replicas)):
            if (self._directory / file_name(process)).exists():
                yield process
            else:
                self.whole = False

    def _source(self, process: int) -> Iterator[Record]:
        last = None
        try:
            for last in records(self._directory / file_name(process)):
                yield last
        except ProtocolError:
            self.whole = False
        if last is None or last[0] != Kind.ENDED:
            self.whole = False

    # ------------------------------------------------------------ what a record tells

    def _tell(self, process: int, record: Record) -> None:
        kind, time_ns, *what = record

        def emit(fields: Fields) -> int:
            return self._emit(process, time_ns, fields)

        match kind:
            case Kind.SENT:
                self._sent(process, what[0], what[1], emit)
            case Kind.RECEIVED:
                self._received(process, what[0], emit)
            case Kind.READ:
                variable, replica, version, place, value = what
                fields = {"variable": variable, "replica": replica, "version": version}
                self._reads[process] = {"kind": "read", "place": place, **fields, **_value(value)}
                emit(dict(self._reads[process]))
            case Kind.AGAIN:
                more = None if what[0] == 1 else f"{what[0]} reads like the one before"
                emit(self._reads[process] | {"note": more})
            case Kind.WROTE:
                variable, replica, operation, place, value = what
                if process == PROGRAM and replica is not None:
                    self._program.writes_to_one(variable, replica)
                fields = {"variable": variable, "replica": replica, "operation": operation}
                emit({"kind": "write", "place": place, **fields, **_value(value)})
            case Kind.WITHHELD:
                self._replicas[process].withheld(what[0], _value(what[1]))
            case Kind.DECIDED:
                kept = [self._absent.frame(frame) for frame in what[0]]
                for message in decode(kept, self._absent):
                    self._program.tell(PROGRAM, message, emit)
            case Kind.FINISHED:
                emit({"kind": "finish", "call": what[0], "note": what[1]})
                self._meetings.end(what[0])
            case Kind.LOST:
                emit({"kind": "lost", "replica": what[0], "note": what[1]})

    def _emit(self, process: int, time_ns: int, fields: Fields) -> int:
        event = self._next
        self._next += 1
        number = self._numbers[process]
        self._numbers[process] = number + 1
        cause = self._causes.pop(process, None)
        calls = self._calls[process]
        time_s = (time_ns - self._began_ns) / 1e9
        fields.setdefault("call", calls[-1] if calls else None)
        if fields.get("cause") is None:
            fields["cause"] = cause
        self._made.append(Event(event, process, number, time_s, **fields))
        return event

    def _sent(self, process: int, peer: int, frames: Any, emit: Any) -> None:
        if frames is not None:
            kept = [self._absent.frame(frame) for frame in frames]
            self._last_messages[process] = decode(kept, self._absent)
        sent: Sent = []
        for message in self._last_messages[process]:
            if process == PROGRAM:
                events = self._program.tell(peer, message, emit)
            else:
                events = self._replicas[process].tell(message, emit)
                if isinstance(message, Returned | Raised) and self._calls[process]:
                    self._calls[process].pop()
            sent.append((message, events))
        self._mail[process, peer].append(sent)

    def _received(self, process: int, peer: int, emit: Any) -> None:
        sent = self._mail[peer, process].popleft()
        if process == PROGRAM:
            told = [event for _, events in sent for event in events]
            if told:
                emit({"kind": "receive", "replica": peer, "cause": told[-1]})
            return
        for message, events in sent:
            match message:
                case Commit():
                    installed(message, events, emit)
                case Start(call_id=call):
                    self._calls[process].append(call)
                    emit({"kind": "begin", "call": call, "cause": events[0]})
                case _ if events:
                    self._causes[process] = events[-1]


def _value(value: tuple[str, list[int], int | None, bytes | None]) -> Fields:
    dtype, shape, digest, content = value
    name = np.dtype(dtype).name
    if content is not None:
        digest = zlib.crc32(content)
    return {"dtype": name, "shape": json.dumps(shape), "digest": digest, "value": content}
