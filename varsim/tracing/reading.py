"""Reads the trace of a process back, as far as it was written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgpack

from varsim.errors import ProtocolError
from varsim.tracing.trace import MAGIC, Kind

Record = list[Any]
"""`[kind, time_ns, …]`: see `Kind`."""

_MAX_RECORD_BYTES: Final = 2**34


def records(path: Path) -> Iterator[Record]:
    """The records of a trace; of one whose process was killed, those that are whole.

    Raises:
        ProtocolError: It is no trace, or another version wrote it.
    """
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ProtocolError(f"{path} does not begin as a trace of this version does")
        unpacker = msgpack.Unpacker(
            file, max_buffer_size=_MAX_RECORD_BYTES, unicode_errors="surrogatepass"
        )
        try:
            for record in unpacker:
                if type(record) is not list:
                    return  # behind what was written, there is memory that was not used
                yield record
        except ValueError:  # as all of msgpack's own are: the last record is torn
            return


def begun(path: Path) -> Record:
    """A trace's first record.

    Raises:
        ProtocolError: It is no trace, or has none.
    """
    first = next(records(path), None)
    if first is None or first[0] != Kind.BEGUN:
        raise ProtocolError(f"{path} does not say of which process it is")
    return first
