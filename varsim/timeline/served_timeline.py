"""The records of parameter servers as tracks: one for each server, with all its operations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from varsim.timeline.lanes import Lane
from varsim.timeline.trace_events import Entry, Point, Track, flow, process_name, thread_name
from varsim.tracing.served_record import NOT_READ, ServedOperation, ServerRecord


class ServedTimeline:
    """Turns the operations of parameter servers into entries of a trace.

    An arrow leads from the read of a closure to its write of the same variable.
    """

    def __init__(
        self, records: Sequence[ServerRecord], pid: int, title: str, numbers: count[int]
    ) -> None:
        """Describe where the entries stand.

        Args:
            pid: The number of the group of tracks, unique in the file.
            title: The name of the group.
            numbers: Yields the numbers of flows, unique in the file.
        """
        self._records = records
        self._pid = pid
        self._title = title
        self._numbers = numbers
        self.events = 0
        """The number of operations so far."""

    def entries(self) -> Iterator[Entry]:
        """Yield the entries of all operations; the first operation of all is at time 0.

        Raises:
            TraceError: A file is not a trace of this version.
        """
        yield process_name(self._pid, self._title)
        firsts = (next(record.operations(), None) for record in self._records)
        start_ns = min((one.time_ns for one in firsts if one is not None), default=0)
        for number, record in enumerate(self._records, 1):
            lane = Lane(Track(self._pid, number))
            yield from thread_name(lane.track, f"parameter server {number - 1}")
            reads: dict[tuple[int, int, int], Point] = {}
            for one in record.operations(self.events):
                self.events += 1
                yield from lane.at(one.time_ns - start_ns)
                name = record.names.get(one.variable, f"variable {one.variable}")
                lane.event(f"{one.operation} {name}", one.operation, _args(one))
                key = one.process, one.closure_id, one.variable
                if one.operation == "read":
                    reads[key] = lane.point
                elif one.is_write and one.read_version != NOT_READ and key in reads:
                    yield from flow(next(self._numbers), "closure", [reads.pop(key), lane.point])
            yield from lane.finish()


def _args(one: ServedOperation) -> dict[str, Any]:
    """Return what the viewer shows of an operation that is selected."""
    return {
        "event": one.number,
        "process": one.process,
        "closure": one.closure_id,
        "version": one.version,
        "location": one.location,
        "dtype": one.dtype_name,
        "shape": list(one.shape),
    }
