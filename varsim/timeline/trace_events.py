"""Write the Trace Event Format: the JSON that Perfetto and chrome://tracing read.

The format is described in "Trace Event Format" (Google, 2016). Its times are in microseconds; here
they are in nanoseconds, and the file has three decimals. Perfetto drops a thread with the number 0,
so processes and threads are numbered from 1.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import count
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, NamedTuple

from varsim.private import whole_private_file

Entry = dict[str, Any]
"""One object of the list `traceEvents`."""

Args = Mapping[str, Any]

_NS_PER_US: Final = 1000
_LEVEL: Final = 6  # of the compression

FINDING: Final = "finding"
"""The category of the marks of findings."""

INSIDE_NS: Final = 1
"""How long after the start of a slice a point of a flow is, so that it belongs to this slice."""


class Track(NamedTuple):
    """The row of a thread in the viewer."""

    pid: int
    tid: int


def process_name(pid: int, name: str) -> Entry:
    """Return the entry that names a group of tracks."""
    return {"ph": "M", "name": "process_name", "pid": pid, "tid": 1, "args": {"name": name}}


def process_labels(pid: int, text: str) -> Entry:
    """Return the entry of a text that viewers show beside the name of a group of tracks."""
    return {"ph": "M", "name": "process_labels", "pid": pid, "tid": 1, "args": {"labels": text}}


def thread_name(track: Track, name: str) -> Iterator[Entry]:
    """Yield the entries that name a track, and keep the tracks in the order of their numbers."""
    yield {"ph": "M", "name": "thread_name", **_place(track), "args": {"name": name}}
    order = {"sort_index": track.tid}
    yield {"ph": "M", "name": "thread_sort_index", **_place(track), "args": order}


def slice_(track: Track, name: str, category: str, start_ns: int, end_ns: int, args: Args) -> Entry:
    """Return the entry of a slice: what happened from `start_ns` to `end_ns`."""
    return {
        "ph": "X",
        "name": name,
        "cat": category,
        **_place(track),
        "ts": start_ns / _NS_PER_US,
        "dur": (end_ns - start_ns) / _NS_PER_US,
        "args": dict(args),
    }


def instant(track: Track, name: str, at_ns: int, args: Args, category: str = "mark") -> Entry:
    """Return the entry of a mark on a track."""
    about = {"ph": "i", "s": "t", "name": name, "cat": category, **_place(track)}
    return {**about, "ts": at_ns / _NS_PER_US, "args": dict(args)}


def counter(pid: int, name: str, at_ns: int, values: Mapping[str, int]) -> Entry:
    """Return the entry of a counter's new values."""
    args = dict(values)
    return {"ph": "C", "name": name, "pid": pid, "tid": 1, "ts": at_ns / _NS_PER_US, "args": args}


class Point(NamedTuple):
    """A point of a flow: the slice on a track that starts at a time."""

    track: Track
    start_ns: int


def flow(number: int, name: str, points: list[Point]) -> Iterator[Entry]:
    """Yield the entries of the arrows from point to point, of which there are at least two."""
    last = len(points) - 1
    for index, (track, start_ns) in enumerate(points):
        at = {"ts": (start_ns + INSIDE_NS) / _NS_PER_US, "cat": "flow", "name": name, "id": number}
        if index == 0:
            yield {"ph": "s", **_place(track), **at}
        elif index < last:
            yield {"ph": "t", **_place(track), **at}
        else:
            yield {"ph": "f", "bp": "e", **_place(track), **at}


def _place(track: Track) -> dict[str, int]:
    return {"pid": track.pid, "tid": track.tid}


class TraceFile:
    """A file that is being written."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._first_s: float | None = None
        self._empty = True
        self.numbers = count(1)
        """The numbers of flows, unique in the file."""
        file.write('{"displayTimeUnit":"ms","traceEvents":[\n')

    def write(self, entry: Entry) -> None:
        """Append an entry."""
        self._file.write(f"{'' if self._empty else ','}{json.dumps(entry)}\n")
        self._empty = False

    def start_of(self, began_s: float) -> float:
        """Return when a record began, in seconds after the first record of the file."""
        if self._first_s is None:
            self._first_s = began_s
        return began_s - self._first_s

    def finish(self, about: Mapping[str, Any]) -> None:
        """Write the end of the file.

        Args:
            about: What the viewer shows as metadata of the trace.
        """
        self._file.write(f'],"otherData":{json.dumps(dict(about))}}}\n')


@contextmanager
def trace_file(path: Path) -> Iterator[TraceFile]:
    """Open a file for writing; it gets its name only when it is complete.

    Args:
        path: If its name ends with `.gz`, the file is compressed.
    Raises:
        OSError: The file cannot be written.
    """
    with (
        whole_private_file(path) as content,
        _compressed(content) if path.suffix == ".gz" else nullcontext(content) as written,
        io.TextIOWrapper(written, encoding="utf-8") as text,
    ):
        yield TraceFile(text)


def _compressed(content: BinaryIO) -> gzip.GzipFile:
    """Return a file that compresses; equal entries give equal bytes."""
    return gzip.GzipFile("", "wb", _LEVEL, content, mtime=0)
