"""What one process writes down while it runs: what it sent, what it heard, and what it read.

A trace is a file: `MAGIC`, then msgpack arrays `[kind, time_ns, …]`, the first of which is `BEGUN`.
The time is the system's steady clock, which all processes of a host share. What is sent is kept as
the bytes that travel (see `protocol.codec`), so recording it costs next to nothing; whoever
receives it only notes when. The file is mapped into memory: what is written survives the process,
however that ends.
"""

from __future__ import annotations

import mmap
import os
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import msgpack
import numpy as np

from varsim.protocol.buffers import Frame
from varsim.protocol.codec import PROTOCOL_VERSION, encode
from varsim.protocol.messages import Message
from varsim.spec import Array, Operation

MAGIC: Final = b"varsim-trace-1\n"
"""The number grows when a record changes its meaning."""

OPS, MESSAGES, OFF = "ops", "messages", "off"
LEVELS: Final = (OPS, MESSAGES, OFF)
"""How much is recorded: operations with values that are not large; all bytes; nothing."""

LIMIT_BYTES: Final = 2**28
"""Of one process's trace, unless told otherwise; it ends there, and says so."""

FRAME_LIMIT_BYTES: Final = 2**16
"""Of a frame whose bytes are kept at `ops`, or of a value that the program reads or writes."""

READ_LIMIT_BYTES: Final = 2**10
"""Of a value that a replica reads and whose bytes are kept at `ops`; else it is a digest."""

_MAX_PENDING: Final = 256  # records that are not written yet: those of reads and local writes

_CHUNK_BYTES: Final = 2**20
_MADV_POPULATE_WRITE: Final = 23
"""Linux 5.14: makes all pages at once, which takes a third of the time of making one by one."""

_CLOSING_BYTES: Final = 64  # room for the last record, beyond the limit


PROGRAM: Final = -1
"""In place of a replica_id: the coordinator's process, in which the program runs."""


class Kind(IntEnum):
    """Of a record: its first member. What follows the time is said behind each."""

    BEGUN = 1  # process, num_replicas, level, protocol version, seconds since the epoch
    SENT = 2  # peer, frames (a number: so many bytes, not kept), or None: the same as before
    RECEIVED = 3  # peer: the next of its envelopes has come here
    READ = 4  # variable_id, replica or None, version, place, value: (dtype, shape, digest, bytes)
    WROTE = 5  # variable_id, replica or None, operation, place, value
    FINISHED = 6  # call_id, what its error said or None
    LOST = 7  # replica, how its worker ended
    ENDED = 8  # the process has closed its trace: nothing is missing
    CUT = 9  # the trace has reached its limit
    AGAIN = 10  # how often what was read last was read again right after it, in the same place
    DECIDED = 11  # frames: commits that no replica waits for, and that leave with what comes next
    WITHHELD = (
        12  # variable_id, value: of a contribution that is sent without, as it does not count
    )


_READ, _WROTE, _AGAIN = int(Kind.READ), int(Kind.WROTE), int(Kind.AGAIN)
_WITHHELD: Final = int(Kind.WITHHELD)


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """What a run records, and where."""

    directory: Path
    level: str = OPS  # or MESSAGES
    limit_bytes: int = LIMIT_BYTES  # of each process


def file_name(process: int) -> str:
    """The name of a process's trace."""
    return "program.trace" if process < 0 else f"replica-{process}.trace"


class Trace:
    """The record of one process."""

    def __init__(self, options: TraceOptions, process: int, num_replicas: int) -> None:
        """Opens the file.

        Raises:
            OSError: It cannot be made.
        """
        self._everything = options.level == MESSAGES
        self._file = _MappedFile(options.directory / file_name(process), options.limit_bytes)
        self._file.append(MAGIC)
        self._pack = msgpack.Packer(unicode_errors="surrogatepass").pack
        self._sent: Sequence[Frame] = ()  # last, by the very same list
        self._pending: list[tuple[Any, ...]] = []  # reads and writes, which come thick and fast
        self._read: tuple[Any, ...] = ()  # what was read last
        self._again = 0  # and how often since
        about = (process, num_replicas, options.level, PROTOCOL_VERSION, time.time())
        self._note(Kind.BEGUN, *about)

    def _note(self, kind: Kind, *what: Any) -> None:
        if self._pending:
            self._settle()
        if not self._file.append(self._pack((kind, time.monotonic_ns(), *what))):
            self._file.close(self._pack((Kind.CUT, time.monotonic_ns())))

    def sent(self, peer: int, frames: Sequence[Frame], messages: Sequence[Message]) -> None:
        """An envelope leaves for a peer, as these frames, which may show shared memory."""
        if frames is self._sent:
            self._note(Kind.SENT, peer, None)
            return
        if self._everything:
            frames = encode(messages)
        # What shows an array's memory is not held: that memory is to be used again.
        self._sent = frames if all(type(frame) is bytes for frame in frames) else ()
        self._note(Kind.SENT, peer, [self._kept(frame) for frame in frames])

    def _kept(self, frame: Frame) -> bytes | memoryview | int:
        return frame if self._everything or len(frame) <= FRAME_LIMIT_BYTES else len(frame)

    def received(self, peer: int) -> None:
        """The next envelope of a peer has come."""
        self._note(Kind.RECEIVED, peer)

    def read(
        self, variable_id: int, replica: int | None, version: int, place: str, value: Array
    ) -> None:
        """The program, or a replica, has read a variable.

        Args:
            replica: Whose component; None: the value of all together.
        """
        read = variable_id, replica, version, place, id(value)
        if read == self._read and self._pending:
            self._again += 1
            return
        self._defer(_READ, variable_id, replica, version, place, self._shown(value))
        self._read = read

    def wrote(
        self, variable_id: int, replica: int | None, operation: Operation, place: str, value: Array
    ) -> None:
        """The program, or a replica, writes by itself; contributions are in what is sent.

        Args:
            replica: Whose component; None: all of them.
        """
        kept = value.tobytes() if self._is_kept(value) else None  # the caller may change it
        shown = value.dtype.char, value.shape, None, kept
        self._defer(_WROTE, variable_id, replica, operation._value_, place, shown)

    def withheld(self, variable_id: int, value: Array) -> None:
        """A replica contributes a value that does not count: its digest tells if it differs."""
        digest = zlib.crc32(value.tobytes()) if self._is_kept(value) else None
        self._defer(_WITHHELD, variable_id, (value.dtype.char, value.shape, digest, None))

    def _is_kept(self, value: Array) -> bool:
        return value.nbytes <= FRAME_LIMIT_BYTES or self._everything

    def _shown(self, value: Array) -> Any:
        """A value that nobody changes any more: itself, until there is time for it."""
        return value if self._is_kept(value) else (value.dtype.char, value.shape, None, None)

    def _defer(self, *record: Any) -> None:
        if self._again:
            self._again = self._note_again()
        self._pending.append((record[0], time.monotonic_ns(), *record[1:]))
        if len(self._pending) >= _MAX_PENDING:
            self._settle()

    def _note_again(self) -> int:
        self._pending.append((_AGAIN, time.monotonic_ns(), self._again))
        return 0

    def _settle(self) -> None:
        """Writes what is pending: before anything else is written, and when it is much."""
        if self._again:
            self._again = self._note_again()
        pending, self._pending = self._pending, []
        packed = b"".join([self._pack(self._packable(record)) for record in pending])
        if not self._file.append(packed):
            self._file.close(self._pack((Kind.CUT, time.monotonic_ns())))

    def _packable(self, record: tuple[Any, ...]) -> tuple[Any, ...]:
        value = record[-1]
        if not isinstance(value, np.ndarray | np.generic):
            return record
        content = value.tobytes()
        limit = FRAME_LIMIT_BYTES if record[3] is None else READ_LIMIT_BYTES
        if len(content) <= limit or self._everything:
            return (*record[:-1], (value.dtype.char, value.shape, None, content))
        return (*record[:-1], (value.dtype.char, value.shape, zlib.crc32(content), None))

    def decided(self, commits: Sequence[Message]) -> None:
        """There are commits that have not left yet."""
        self._note(Kind.DECIDED, [self._kept(frame) for frame in encode(commits)])

    def finished(self, call_id: int, error: str | None) -> None:
        """The program has what a call led to."""
        self._note(Kind.FINISHED, call_id, error)

    def lost(self, replica: int, reason: str) -> None:
        """A worker has ended before its time."""
        self._note(Kind.LOST, replica, reason)

    def close(self) -> None:
        """Nothing more is recorded. Does nothing the second time."""
        if self._pending:
            self._settle()
        self._file.close(self._pack((Kind.ENDED, time.monotonic_ns())))


def open_trace(options: TraceOptions | None, process: int, num_replicas: int) -> Trace | None:
    """The record of a process; None if nothing is to be recorded."""
    return None if options is None else Trace(options, process, num_replicas)


class _MappedFile:
    """A file that is appended to through memory: no system call for each record."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        self._limit = limit_bytes
        self._map: mmap.mmap | None = None
        self._start = self._end = self._position = 0
        self._owner = os.getpid()

    def append(self, record: bytes) -> bool:
        """Writes a record; False if there is no more room, or it is closed."""
        end = self._position + len(record)
        if end > self._limit or (end > self._end and not self._grow(end)):
            return False
        assert self._map is not None
        self._map[self._position - self._start : end - self._start] = record
        self._position = end
        return True

    def _grow(self, end: int) -> bool:
        if self._descriptor < 0:
            return False
        start = self._position - self._position % mmap.ALLOCATIONGRANULARITY
        size = max(_CHUNK_BYTES, -(-(end - start) // _CHUNK_BYTES) * _CHUNK_BYTES)
        try:
            os.posix_fallocate(self._descriptor, start, size)  # else SIGBUS on a full disk
            mapped = mmap.mmap(self._descriptor, size, offset=start)
        except OSError:
            return False
        with suppress(OSError):  # it is an older Linux: each page is made when it is touched
            mapped.madvise(_MADV_POPULATE_WRITE)
        if self._map is not None:
            self._map.close()
        self._map, self._start, self._end = mapped, start, start + size
        return True

    def close(self, last: bytes) -> None:
        """Writes the last record, cuts the file where it ends, and closes it."""
        if self._descriptor < 0 or os.getpid() != self._owner:
            return
        self._limit += _CLOSING_BYTES
        self.append(last)
        if self._map is not None:
            self._map.close()
        with suppress(OSError):
            os.ftruncate(self._descriptor, self._position)
        os.close(self._descriptor)
        self._descriptor = -1
        self._map, self._limit = None, 0


def as_array(dtype: str, shape: Sequence[int], content: bytes) -> Array:
    """The array whose bytes were kept."""
    return np.frombuffer(content, np.dtype(dtype)).reshape(shape)
