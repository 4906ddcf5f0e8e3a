"""Put the records of all processes into one order, in which causes come before effects."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import heapify, heappop, heappush, heappushpop
from pathlib import Path

from varsim.errors import TraceError
from varsim.protocol.messages import Message
from varsim.tracing.deliveries import Events
from varsim.tracing.reading import Reading, TraceRecord
from varsim.tracing.trace_endings import TraceEndings
from varsim.tracing.trace_format import PROGRAM, RecordKind, file_name

Sent = list[tuple[Message, Events]]
"""The messages of an envelope, each with its events."""

Mail = defaultdict[tuple[int, int], deque[Sent]]
"""(sender, receiver) → the envelopes that are sent, and not received yet."""

_SENT, _RECEIVED = int(RecordKind.SENT), int(RecordKind.RECEIVED)


class CausalOrder:
    """The records of all traces of a run in one order.

    The records are ordered by time. But the receipt of an envelope always comes after its sending,
    even if the recorded times contradict this.

    Args:
        mail: The envelopes under way. The caller of `records` adds and removes them.
        endings: Gets what the traces lack, and how each of them ended.
        conversions: How the times of some processes are converted; see `host_clocks`.
    """

    def __init__(
        self,
        directory: Path,
        num_replicas: int,
        mail: Mail,
        endings: TraceEndings,
        conversions: Mapping[int, Callable[[int], int]],
    ) -> None:
        self._directory = directory
        self._num_replicas = num_replicas
        self._mail = mail
        self._endings = endings
        self._conversions = conversions
        self._traces: dict[int, Reading] = {}

    def done(self) -> float:
        """Return the fraction of all traces that has been read, from 0 to 1."""
        size_bytes = sum(trace.size_bytes for trace in self._traces.values())
        done_bytes = sum(trace.done_bytes for trace in self._traces.values())
        return min(done_bytes / max(size_bytes, 1), 1.0)

    def records(self) -> Iterator[tuple[int, TraceRecord]]:
        """Yield each record with its process; the caller puts sent envelopes into the mail."""
        sources = {process: self._open_trace(process) for process in self._processes()}
        heads = {process: self._first(process, source) for process, source in sources.items()}
        ready = [(record[1], process) for process, record in heads.items() if record is not None]
        heapify(ready)
        late: set[int] = set()  # processes that wait for an envelope that is not sent yet
        while ready or late:
            if not ready:  # a sender's trace ends too early
                self._endings.flaw()
                process = late.pop()
                self._mail[heads[process][2], process].append([])  # type: ignore[index]
            else:
                _, process = heappop(ready)
            while True:
                record = heads[process]
                assert record is not None, "only processes with a record are ready or late"
                if record[0] == _RECEIVED and not self._mail[record[2], process]:
                    late.add(process)
                    break
                yield process, record
                head = heads[process] = next(sources[process], None)
                if record[0] == _SENT and record[2] in late:
                    late.discard(record[2])
                    heappush(ready, (heads[record[2]][1], record[2]))  # type: ignore[index]
                if head is None:
                    self._check_end(process, record)
                    break
                _, process = heappushpop(ready, (head[1], process))

    def _processes(self) -> Iterator[int]:
        for process in range(PROGRAM, self._num_replicas):
            if (self._directory / file_name(process)).exists():
                yield process
            else:
                self._endings.flaw()

    def _open_trace(self, process: int) -> Iterator[TraceRecord]:
        trace = Reading(self._directory / file_name(process), self._num_replicas)
        self._traces[process] = trace
        convert = self._conversions.get(process)
        return iter(trace) if convert is None else _converted(trace, convert)

    def _first(self, process: int, source: Iterator[TraceRecord]) -> TraceRecord | None:
        """Return the first record of a trace; None if the file has no record or is no trace."""
        try:
            first = next(source, None)
        except TraceError:
            first = None
            self._endings.flaw()
        if first is None:
            self._check_end(process, None)
        return first

    def _check_end(self, process: int, last: TraceRecord | None) -> None:
        self._endings.ends(process, last, self._traces[process].damage)


def _converted(
    records: Iterable[TraceRecord], convert: Callable[[int], int]
) -> Iterator[TraceRecord]:
    """Yield the records with converted times."""
    for record in records:
        record[1] = convert(record[1])
        yield record
