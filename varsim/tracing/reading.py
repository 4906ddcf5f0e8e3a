"""Read the trace of a process, as far as the trace was written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgpack

from varsim.environment import MAX_REPLICAS
from varsim.errors import TraceError
from varsim.texts.files import TRACE_REMEDY
from varsim.tracing.crash_safe_log import LogDamage, chunks
from varsim.tracing.records import TraceRecord as TraceRecord  # noqa: PLC0414  # for readers
from varsim.tracing.records import is_valid
from varsim.tracing.trace_format import MAGIC, RecordKind

_MAX_RECORD_BYTES: Final = 2**34


class Reading:
    """The records of a trace; if its process was killed, only the complete records."""

    def __init__(self, path: Path, num_replicas: int = MAX_REPLICAS) -> None:
        self._path = path
        self._num_replicas = num_replicas
        self._records = _CompleteRecords()
        self.size_bytes = path.stat().st_size
        """The approximate size: if the process was killed, a small part is in another file."""
        self.damage = ""
        """Which file is damaged, and where; "" as long as no damage is found."""

    @property
    def done_bytes(self) -> int:
        """Return how many bytes have been read."""
        return self._records.done_bytes

    def __iter__(self) -> Iterator[TraceRecord]:
        """Yield the records before the first damaged record.

        Afterwards, `damage` says whether a record is damaged.

        Raises:
            TraceError: The file is not a trace of this version.
        """
        content = filter(None, chunks(self._path))
        try:
            first = next(content, b"")
        except LogDamage:
            first = b""
        if not first.startswith(MAGIC):
            problem = "its beginning is damaged, or another version of varsim wrote it"
            self.damage = f"{self._path.name} is damaged at its beginning"
            raise TraceError(self._path, problem, TRACE_REMEDY)
        try:
            for record in self._records.of(chain([first[len(MAGIC) :]], content)):
                if not is_valid(record, self._num_replicas):
                    self.damage = f"{self._path.name} has a wrong record"
                    return
                yield record
        except LogDamage as damage:
            self.damage = str(damage)
        except ValueError as error:  # all errors of msgpack are ValueErrors
            self.damage = f"{self._path.name} has a wrong record: {error!r}"


class _CompleteRecords:
    """Unpacks records. A record is unpacked only after its last byte was read.

    msgpack allocates a list as soon as it reads the list's length. In a complete record, the length
    is at most the record's number of bytes. So memory is in proportion to the size of the file.
    """

    def __init__(self) -> None:
        self._finder: Any = msgpack.Unpacker(max_buffer_size=_MAX_RECORD_BYTES)
        self._unpacker: Any = msgpack.Unpacker(
            max_buffer_size=_MAX_RECORD_BYTES, unicode_errors="surrogatepass"
        )
        self._buffer = bytearray()  # a record that is not complete yet
        self._before_bytes = 0  # the number of bytes before the buffer

    @property
    def done_bytes(self) -> int:
        """Return how many bytes have been unpacked."""
        return int(self._finder.tell())

    def of(self, content: Iterable[bytes]) -> Iterator[Any]:
        """Yield the complete records.

        Raises:
            ValueError: The content is not msgpack.
        """
        finder, unpacker, buffer = self._finder, self._unpacker, self._buffer
        for chunk in content:
            buffer += chunk
            finder.feed(chunk)
            begin = 0
            try:
                with memoryview(buffer) as content_left:
                    while True:
                        finder.skip()  # after OutOfData, this continues where it stopped
                        end = finder.tell() - self._before_bytes
                        unpacker.feed(content_left[begin:end])
                        begin = end
                        yield unpacker.unpack()
            except msgpack.OutOfData:
                del buffer[:begin]
                self._before_bytes += begin


def records(path: Path) -> Iterator[TraceRecord]:
    """Return the records of a trace.

    Raises:
        TraceError: The file is not a trace of this version.
    """
    return iter(Reading(path))


def begun(path: Path) -> TraceRecord:
    """Return the first record of a trace.

    Raises:
        TraceError: The file is not a trace of this version, or has no record.
    """
    first = next(records(path), None)
    if first is None or first[0] != RecordKind.BEGUN:
        raise TraceError(path, "its first record does not describe its process", TRACE_REMEDY)
    return first
