"""Merge the traces of all processes into the history of the run."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from varsim.errors import ProtocolError, TraceError
from varsim.protocol.codec import decode
from varsim.protocol.messages import (
    Commit,
    ComponentCommit,
    FreshCopy,
    Message,
    Raised,
    Returned,
    ScatterCommit,
    SharedValue,
    Start,
    is_own_call,
)
from varsim.protocol.tracebacks import class_of
from varsim.spec import ManualOperation
from varsim.texts.files import TRACE_REMEDY
from varsim.tracing import bounded
from varsim.tracing.absent import AbsentMemory, RecordedReader
from varsim.tracing.causal_order import CausalOrder, Mail, Sent
from varsim.tracing.decode import (
    FromProgram,
    FromReplica,
    OpenCollectives,
    RecordedVariables,
    installed,
)
from varsim.tracing.history import HISTORY, PROGRAM, check_tables
from varsim.tracing.history_file import EventBatch, write_batches
from varsim.tracing.host_clocks import conversions, described, read_hosts
from varsim.tracing.layout import LayoutError
from varsim.tracing.manual import obtained
from varsim.tracing.notices import SIMULATED
from varsim.tracing.progress import EVERY, Tell
from varsim.tracing.reading import begun
from varsim.tracing.round_trips import RoundTrips
from varsim.tracing.rows import Columns, Form, HistoryRows, recorded, recorded_rows
from varsim.tracing.run_facts import RunFacts
from varsim.tracing.taken import add_taken
from varsim.tracing.trace_endings import TraceEndings
from varsim.tracing.trace_format import CARRY, RecordKind, file_name, name_process
from varsim.tracing.uncollected import uncollected
from varsim.tracing.validation import DamageError

Recorded = tuple[str, list[int], int | None, bytes | list[Any] | None]
"""A value as in a trace: dtype, shape, digest, and bytes or the members of a sample."""

RecordedRows = tuple[str, list[int], int | None, bytes | list[Any] | None, bytes | None]
"""Rows as in a trace: the members of a value, and then the bytes of the indices."""

_TOGETHER: Final = 1000
"""Approximate number of events that are passed on together."""

_READS: Final = Form("variable", "version", "replica", "location", "operation", "value")
_REPEATED_READS: Final = Form(
    "variable", "version", "replica", "location", "operation", "value", "times"
)
_WRITES: Final = Form("variable", "operation", "replica", "location", "value")
_SPARSE_WRITES: Final = Form("variable", "operation", "replica", "location", "rows")


def merge(directory: Path, history: Path, *, tell: Tell | None = None) -> None:
    """Merge the traces in a directory into a history; write the whole history, or nothing.

    Args:
        directory: The directory of the traces.
        history: The file to write, or a directory for a `history.db`.
        tell: A function that gets the fraction of the traces that is merged, from 0 to 1.
    Raises:
        TraceError: The trace of the program is damaged, or another version wrote it.
        OSError: There is no trace of the program, or the history cannot be written.
    """
    first = begun(directory / file_name(PROGRAM))
    about = {"num_replicas": first[3], "level": first[4], "began": first[6], "window": first[7]}
    recorded_hosts = read_hosts(directory)
    hosts = recorded_hosts.hosts
    if hosts:
        about["hosts"] = described(hosts)
    merger = _Merger(
        directory,
        num_replicas=int(first[3]),
        began_ns=int(first[1]),
        window=first[7],
        conversions=conversions(hosts),
        trips=RoundTrips() if hosts else None,
    )

    def batches() -> Iterator[EventBatch]:
        yield from merger.events(tell)
        about.update(merger.endings.entries())
        about.update(merger.variables.policies())
        about.update(merger.facts.entries())
        if merger.trips is not None:
            traffic = recorded_hosts.traffic(merger.trips)
            about.update({} if traffic is None else {"traffic": traffic.packed()})

    file = history / HISTORY if history.is_dir() else history
    try:
        with uncollected():
            write_batches(file, about, merger.variables.rows(), batches(), check=check_tables)
    except _UNSTORABLE as error:
        problem = f"the traces cannot be merged: {error}"
        raise TraceError(directory, problem, TRACE_REMEDY) from error


_UNSTORABLE: Final = (
    DamageError,
    OverflowError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)
"""Errors that only messages with impossible numbers or texts cause."""


class _Merger:
    """Decodes the records of all processes, in causal order."""

    def __init__(
        self,
        directory: Path,
        num_replicas: int,
        began_ns: int,
        window: tuple[int, int] | None,
        conversions: Mapping[int, Callable[[int], int]],
        trips: RoundTrips | None,
    ) -> None:
        self.trips = trips
        """Measures how long messages are under way; None if all processes ran on one host."""
        self.variables = RecordedVariables()
        self.endings = TraceEndings()
        self.facts = RunFacts()
        self._absent = AbsentMemory()
        self._rows = HistoryRows(num_replicas, began_ns)
        self._collectives = OpenCollectives()
        self._program = FromProgram(
            self.variables, self._collectives, num_replicas, self._rows, self._absent
        )
        self._replicas = [
            FromReplica(self.variables, self._collectives, self._rows, self._absent, replica_id)
            for replica_id in range(num_replicas)
        ]
        self._mail: Mail = defaultdict(deque)
        self._order = CausalOrder(directory, num_replicas, self._mail, self.endings, conversions)
        self._last_messages: dict[int, list[Message]] = {}  # sender → messages of its last envelope
        self._window = window
        self._open = window is None
        """Whether events are in the window; events before the window are dropped."""
        self._shares: dict[int, list[int]] = {}  # call → number of rows of each replica
        self._reads: dict[int, Columns] = {}  # process → its last read, without `times`

    def events(self, tell: Tell | None = None) -> Iterator[EventBatch]:
        """Yield all events, in causal order."""
        rows, tells, trips = self._rows, self._by_kind(), self.trips
        # With a window, take the events after each record, which may open or close the window.
        most, taken = _TOGETHER if self._window is None else 1, 0
        for count, (process, record) in enumerate(self._order.records()):
            if tell is not None and not count % EVERY:
                tell(self._order.done())
            try:
                rows.turn_to(process, record[1])
                if trips is not None:
                    trips.take(process, record)
                what = tells.get(record[0])
                if what is not None:
                    what(process, *record[2:])
            except LayoutError as error:
                self.endings.flaw(f"a contribution of {name_process(process)} has {error}")
            except (ProtocolError, ValueError, TypeError, LookupError):
                self.endings.flaw()  # a damaged record: its events are missing
            if rows.count - taken >= most:
                taken, batches = rows.count, rows.take()
                if self._open:
                    yield from batches
        yield from rows.take()
        if tell is not None:
            tell(1.0)

    def _by_kind(self) -> dict[int, Callable[..., None]]:
        """Return the method for each kind of record; other kinds have no events."""
        return {
            int(RecordKind.SENT): self._sent,
            int(RecordKind.RECEIVED): self._received,
            int(RecordKind.READ): self._read,
            int(RecordKind.AGAIN): self._again,
            int(RecordKind.WROTE): self._wrote,
            int(RecordKind.WITHHELD): self._withheld,
            int(RecordKind.COMPRESSED): self._compressed,
            int(RecordKind.DECIDED): self._decided,
            int(RecordKind.FINISHED): self._finished,
            int(RecordKind.LOST): self._lost,
            int(RecordKind.SHARES): self._shares_of_call,
            int(RecordKind.CONTINUED): self.facts.continued,
            int(RecordKind.SHARED): self._shared,
            int(RecordKind.NOTICED): self._noticed,
            int(RecordKind.COUNTED): self.facts.counted,
            int(RecordKind.TAKEN): partial(add_taken, self._rows),
        }

    def _read(
        self,
        process: int,
        variable: int,
        replica: int | None,
        version: int,
        location: str,
        value: Recorded,
        own: str | None = None,
    ) -> None:
        read = variable, version, replica, location, own
        columns = self._reads[process] = (*read, *recorded(*value))
        self._rows.add_one("read", _READS, columns)

    def _again(self, process: int, count: int) -> None:
        if count == 1:
            self._rows.add_one("read", _READS, self._reads[process])
        else:
            self._rows.add_one("read", _REPEATED_READS, (*self._reads[process], count))

    def _withheld(self, process: int, variable: int, value: Recorded | RecordedRows) -> None:
        replica = self._replicas[process]
        match value:
            case [_, _, _, _, _]:
                replica.withheld_rows(variable, recorded_rows(*value))
            case _:
                replica.withheld(variable, recorded(*value))

    def _compressed(
        self,
        process: int,  # noqa: ARG002
        variable: int,
        replica: int,
        operation: str,
        location: str,
        value: Recorded,
    ) -> None:
        columns = variable, operation, replica, location, *recorded(*value)
        self._rows.add_one("compress", _WRITES, columns)

    def _decided(
        self,
        process: int,  # noqa: ARG002
        replica_ids: list[int],
        frames: Sequence[bytes],
        samples: Sequence[Any] = (),
    ) -> None:
        for replica_id, message in zip(replica_ids, self._messages(frames, samples), strict=False):
            self._program.decided(replica_id, message)

    def _finished(self, process: int, call: int, note: str | None) -> None:  # noqa: ARG002
        if note is None:
            self._rows.add("finish", call=call)
        else:
            self._rows.add("finish", call=call, error=class_of(note), note=note)
        self._collectives.end(call)
        self._program.end(call)

    def _lost(self, process: int, replica: int, note: str) -> None:  # noqa: ARG002
        self._rows.add("lost", replica=replica, note=note)
        self.endings.lost(replica, note)

    def _shares_of_call(self, process: int, call: int, rows: list[int]) -> None:  # noqa: ARG002
        self._shares[call] = rows

    def _shared(
        self,
        process: int,  # noqa: ARG002
        operation: str,
        variable: int,
        owner: int | None,
        version: int,
        age_ns: int,
        location: str,
        value: Recorded,
        members: list[int],
    ) -> None:
        rows, shown = self._rows, recorded(*value)
        if operation == CARRY:
            rows.add("carry", variable=variable, version=version, replica=owner, value=shown)
        elif operation == "broadcast" or operation.startswith("sync_"):
            columns: dict[str, Any] = {} if owner is None else {"replica": owner}
            columns |= {"members": json.dumps(members)} if members else {}
            columns |= {"variable": variable, "operation": operation, "location": location}
            rows.add("sync", value=shown, **columns)
        elif operation == ManualOperation.PUSH.value:
            rows.add("push", variable=variable, location=location, value=shown)
        else:
            obtained(rows, (variable, owner, version, age_ns, location), shown)

    def _noticed(
        self,
        process: int,  # noqa: ARG002
        call: int | None,
        operation: str,
        replica: int | None,
        location: str,
        note: str,
        value: Recorded | None = None,
    ) -> None:
        if operation == SIMULATED:
            self.facts.simulated = True
            return
        columns: dict[str, Any] = {"operation": operation, "location": location, "note": note}
        columns |= {} if call is None else {"call": call}
        columns |= {} if replica is None else {"replica": replica}
        shown = None if value is None else recorded(*value)
        self._rows.add("notice", value=shown, **columns)

    def _begin(self, process: int, call: int, cause: int) -> None:
        self._rows.begin(call)
        rows = self._shares.get(call)
        if rows is None:
            self._rows.add("begin", call=call, cause=cause)
        else:
            note = f"{rows[process]} of {sum(rows)} rows"
            self._rows.add("begin", call=call, cause=cause, note=note)

    def _messages(self, frames: Sequence[bytes], samples: Sequence[Any]) -> list[Message]:
        self._absent.expect(samples)
        return decode(frames, self._absent, RecordedReader)

    def _wrote(
        self,
        process: int,
        variable: int,
        replica: int | None,
        operation: str,
        location: str,
        value: Recorded | RecordedRows,
    ) -> None:
        if process == PROGRAM and replica is not None:
            self._program.writes_to_one(variable, replica)
        columns = variable, operation, replica, location
        match value:
            case [_, _, _, _, _]:
                rows = recorded_rows(*value)
                self._rows.add_one("write", _SPARSE_WRITES, (*columns, *rows))
            case _:
                self._rows.add_one("write", _WRITES, (*columns, *recorded(*value)))

    def _sent(
        self,
        process: int,
        peer: int,
        frames: Sequence[bytes] | None,
        samples: Sequence[Any] = (),
    ) -> None:
        if frames is not None:
            self._last_messages[process] = self._messages(frames, samples) if frames else []
        sent: Sent = []
        for message in self._last_messages[process]:
            if process == PROGRAM:
                if (
                    self._window is not None
                    and isinstance(message, Start)
                    and not is_own_call(message.call_id)
                ):
                    self._open = self._window[0] <= message.call_id < self._window[1]
                if isinstance(message, Start):
                    self.endings.begins(peer, message.call_id)
                events = self._program.events_of(peer, message)
            else:
                events = self._replicas[process].events_of(message)
                if isinstance(message, Returned | Raised):
                    self._rows.end()
            sent.append((message, events))
        self._mail[process, peer].append(sent)

    def _received(self, process: int, peer: int) -> None:
        sent = self._mail[peer, process].popleft()
        rows = self._rows
        if process == PROGRAM:
            if any(isinstance(message, Returned | Raised) for message, _ in sent):
                self.endings.returned(peer)
            last = [events[-1] for _, events in sent if events]
            if last:
                rows.add("receive", replica=peer, cause=last[-1])
            return
        for message, events in sent:
            match message:
                case Commit() | ScatterCommit() | ComponentCommit():
                    installed(message, events, rows)
                case Start(call_id=call):
                    self._begin(process, call, events[0])
                case FreshCopy():
                    bounded.renewed(message, events[-1], rows, self._absent)
                case SharedValue():
                    self._replicas[process].one_sided.obtained(message, events[-1])
                case _ if events:
                    rows.because(events[-1])
