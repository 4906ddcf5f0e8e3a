"""Reads the trace of a process back, as far as it was written."""

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
    """The records of a trace, one after another; of a killed process's, those that are whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unpacker = msgpack.Unpacker(
            max_buffer_size=_MAX_RECORD_BYTES, unicode_errors="surrogatepass"
        )
        self.size_bytes = path.stat().st_size
        """About: of a process that was killed, a little may lie beside the file."""

    @property
    def done_bytes(self) -> int:
        """How much has been read."""
        return int(self._unpacker.tell())

    def __iter__(self) -> Iterator[TraceRecord]:
        """The records.

        Raises:
            ProtocolError: It is no trace, or another version wrote it.
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
            except ValueError:  # as all of msgpack's own are: it is damaged
                return


def _is_damaged(record: object) -> bool:
    """Whether it cannot be put into an order, or among the envelopes."""
    if type(record) is not list or len(record) < 2 or type(record[1]) is not int:
        return True
    return record[0] in _ENVELOPES and (len(record) < 3 or type(record[2]) is not int)


def records(path: Path) -> Iterator[TraceRecord]:
    """The records of a trace.

    Raises:
        ProtocolError: It is no trace, or another version wrote it.
    """
    return iter(Reading(path))


def begun(path: Path) -> TraceRecord:
    """A trace's first record.

    Raises:
        ProtocolError: It is no trace, or has none.
    """
    first = next(records(path), None)
    if first is None or first[0] != RecordKind.BEGUN:
        raise ProtocolError(f"{path} does not say of which process it is")
    return first
