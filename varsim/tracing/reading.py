"""Read the trace of a process, as far as the trace was written."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgpack

from varsim.errors import ProtocolError
from varsim.tracing.crash_safe_log import chunks
from varsim.tracing.trace import MAGIC, RecordKind

TraceRecord = list[Any]
"""`[kind, time_ns, …]`: see `RecordKind`."""

_MAX_RECORD_BYTES: Final = 2**34
_ENVELOPES: Final = (int(RecordKind.SENT), int(RecordKind.RECEIVED))


class Reading:
    """The records of a trace; if its process was killed, only the complete records."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unpacker = msgpack.Unpacker(
            max_buffer_size=_MAX_RECORD_BYTES, unicode_errors="surrogatepass"
        )
        self.size_bytes = path.stat().st_size
        """The approximate size: if the process was killed, a small part is in another file."""

    @property
    def done_bytes(self) -> int:
        """Return how many bytes have been read."""
        return int(self._unpacker.tell())

    def __iter__(self) -> Iterator[TraceRecord]:
        """Yield the records.

        Raises:
            ProtocolError: The file is not a trace of this version.
        """
        content = filter(None, chunks(self._path))
        first = next(content, b"")
        if not first.startswith(MAGIC):
            raise ProtocolError(f"{self._path} does not begin as a trace of this version does")
        unpacker = self._unpacker
        for chunk in chain([first[len(MAGIC) :]], content):
            unpacker.feed(chunk)
            try:
                for record in unpacker:
                    if _is_damaged(record):
                        return
                    yield record
            except ValueError:  # all errors of msgpack are ValueErrors: the trace is damaged
                return


def _is_damaged(record: object) -> bool:
    """Return whether a record has no valid time, or an envelope has no valid peer."""
    if type(record) is not list or len(record) < 2 or type(record[1]) is not int:
        return True
    return record[0] in _ENVELOPES and (len(record) < 3 or type(record[2]) is not int)


def records(path: Path) -> Iterator[TraceRecord]:
    """Return the records of a trace.

    Raises:
        ProtocolError: The file is not a trace of this version.
    """
    return iter(Reading(path))


def begun(path: Path) -> TraceRecord:
    """Return the first record of a trace.

    Raises:
        ProtocolError: The file is not a trace of this version, or has no record.
    """
    first = next(records(path), None)
    if first is None or first[0] != RecordKind.BEGUN:
        raise ProtocolError(f"{path} does not name its process")
    return first
