"""From the traces of all processes to the history of the run."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import Any

from varsim.errors import ProtocolError
from varsim.protocol.codec import decode
from varsim.protocol.messages import Commit, Message, Raised, Returned, Start
from varsim.tracing.absent import Absent
from varsim.tracing.history import HISTORY, PROGRAM, write_history
from varsim.tracing.progress import EVERY, Tell
from varsim.tracing.reading import Reading, Record, begun
from varsim.tracing.rows import Columns, Kept, Rows, recorded
from varsim.tracing.trace import Kind, file_name
from varsim.tracing.unfold import Events, FromProgram, FromReplica, Meetings, Variables, installed

Sent = list[tuple[Message, Events]]
"""The messages of an envelope, and the events that its sending was."""


def merge(directory: Path, history: Path, *, tell: Tell | None = None) -> None:
    """Writes the history that the traces in a directory tell: the whole of it, or nothing.

    Args:
        directory: Where the traces are.
        history: The file to be written, or a directory for a `history.db`.
        tell: Is told how much of the traces is merged.
    Raises:
        ProtocolError: There is no trace of the program, or another version wrote it.
        OSError: The history cannot be written.
    """
    first = begun(directory / file_name(PROGRAM))
    about = {"num_replicas": first[3], "level": first[4], "began": first[6], "window": first[7]}
    merger = _Merger(directory, num_replicas=int(first[3]), began_ns=int(first[1]), window=first[7])

    def events() -> Iterator[Columns]:
        yield from merger.events(tell)
        about["complete"] = merger.whole
        about["missing"] = merger.missing

    file = history / HISTORY if history.is_dir() else history
    write_history(file, about, merger.variables.rows(), events())


class _Merger:
    """Puts the records of all processes into one order, and tells what they mean.

    The order is that of the clock, but an envelope is received after it was sent, whatever the
    clocks say.
    """

    def __init__(
        self,
        directory: Path,
        num_replicas: int,
        began_ns: int,
        window: tuple[int, int] | None = None,
    ) -> None:
        self.variables = Variables()
        self.whole = True
        """Whether every trace was closed by its process, and all of it was understood."""
        self.missing: list[str] = []
        """Why not, as far as that is known."""
        self._directory = directory
        self._absent = Absent()
        self._rows = Rows(num_replicas, began_ns)
        self._meetings = Meetings()
        self._program = FromProgram(
            self.variables, self._meetings, num_replicas, self._rows, self._absent
        )
        self._replicas = [
            FromReplica(self.variables, self._meetings, self._rows, self._absent)
            for _ in range(num_replicas)
        ]
        self._mail: defaultdict[tuple[int, int], deque[Sent]] = defaultdict(deque)
        self._last_messages: dict[int, list[Message]] = {}  # of each sender, the last that it sent
        self._window = window
        self._open = window is None
        """Whether what is told is in the window: what came before it is not known, for anybody."""
        self._reads: dict[int, Columns] = {}  # each process's last, without the note
        self._traces: list[Reading] = []

    def events(self, tell: Tell | None = None) -> Iterator[Columns]:
        """All events, in causal order, as rows of the history."""
        told = self._rows.told
        for count, (process, record) in enumerate(self._ordered()):
            if tell is not None and not count % EVERY:
                tell(self._done())
            try:
                self._tell(process, record)
            except (ProtocolError, ValueError, TypeError, LookupError):
                self.whole = False  # a record that was damaged; what it told is missing
            if self._open:
                yield from told
            told.clear()
        if tell is not None:
            tell(1.0)

    def _done(self) -> float:
        """How much of all traces has been read, as a fraction."""
        size_bytes = sum(trace.size_bytes for trace in self._traces)
        return min(sum(trace.done_bytes for trace in self._traces) / max(size_bytes, 1), 1.0)

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
        trace = Reading(self._directory / file_name(process))
        self._traces.append(trace)
        try:
            for last in trace:
                yield last
        except ProtocolError:
            self.whole = False
        if last is None or last[0] != Kind.ENDED:
            self.whole = False
            who = "the program" if process == PROGRAM else f"replica {process}"
            cut = last is not None and last[0] == Kind.CUT
            why = "reached its limit" if cut else "was not closed, as of a process that is killed"
            self.missing.append(f"the record of {who} {why}")

    # ------------------------------------------------------------ what a record tells

    def _tell(self, process: int, record: Record) -> None:
        kind, time_ns, *what = record
        rows = self._rows
        rows.turn_to(process, time_ns)
        match kind:
            case Kind.SENT:
                self._sent(process, what[0], what[1])
            case Kind.RECEIVED:
                self._received(process, what[0])
            case Kind.READ:
                variable, replica, version, place, value = what
                where = variable, None, version, None, replica, place
                read = self._reads[process] = (*where, *_kept(value), None)
                rows.tell_all("read", ((*read, None),))
            case Kind.AGAIN:
                more = None if what[0] == 1 else f"{what[0]} reads like the one before"
                rows.tell_all("read", ((*self._reads[process], more),))
            case Kind.WROTE:
                self._wrote(process, *what)
            case Kind.WITHHELD:
                self._replicas[process].withheld(what[0], _kept(what[1]))
            case Kind.DECIDED:
                for message in self._messages(what[0]):
                    self._program.decided(message)
            case Kind.FINISHED:
                rows.tell("finish", call=what[0], note=what[1])
                self._meetings.end(what[0])
            case Kind.LOST:
                rows.tell("lost", replica=what[0], note=what[1])

    def _messages(self, frames: Iterable[bytes | int]) -> list[Message]:
        return decode([self._absent.frame(frame) for frame in frames], self._absent)

    def _wrote(
        self,
        process: int,
        variable: int,
        replica: int | None,
        operation: str,
        place: str,
        value: Any,
    ) -> None:
        if process == PROGRAM and replica is not None:
            self._program.writes_to_one(variable, replica)
        where = variable, operation, None, None, replica, place
        self._rows.tell_all("write", ((*where, *_kept(value), None, None),))

    def _sent(self, process: int, peer: int, frames: Iterable[bytes | int] | None) -> None:
        if frames is not None:
            self._last_messages[process] = self._messages(frames) if frames else []
        sent: Sent = []
        for message in self._last_messages[process]:
            if process == PROGRAM:
                if self._window is not None and isinstance(message, Start):
                    self._open = self._window[0] <= message.call_id < self._window[1]
                events = self._program.tell(peer, message)
            else:
                events = self._replicas[process].tell(message)
                if isinstance(message, Returned | Raised):
                    self._rows.end()
            sent.append((message, events))
        self._mail[process, peer].append(sent)

    def _received(self, process: int, peer: int) -> None:
        sent = self._mail[peer, process].popleft()
        rows = self._rows
        if process == PROGRAM:
            told = [events[-1] for _, events in sent if events]
            if told:
                rows.tell("receive", replica=peer, cause=told[-1])
            return
        for message, events in sent:
            match message:
                case Commit():
                    installed(message, events, rows)
                case Start(call_id=call):
                    rows.begin(call)
                    rows.tell("begin", call=call, cause=events[0])
                case _ if events:
                    rows.because(events[-1])


def _kept(value: tuple[str, list[int], int | None, bytes | None]) -> Kept:
    """The columns of a value, as a trace has it."""
    dtype, shape, digest, content = value
    return recorded(dtype, shape, digest, content)
