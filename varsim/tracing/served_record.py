"""Read what parameter servers have recorded: the operations on their variables, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgpack
import numpy as np

from varsim.errors import ConfigError
from varsim.extension_dtypes import named
from varsim.spec import Array, Rows
from varsim.tracing.crash_safe_log import CrashSafeLog
from varsim.tracing.reading import Reading
from varsim.tracing.samples import Sampled
from varsim.tracing.trace_format import MAGIC, RecordKind

_INDEX: Final = np.dtype(np.int64)
"""The dtype of the indices of rows."""

NOT_READ: Final = -1
"""In place of a version: the closure had not read the variable."""

_NO_LIMIT_BYTES: Final = 2**62  # a copy is as large as its original

_PATTERN: Final = "server-*.trace"

_VARIABLE, _SERVED = int(RecordKind.SERVED_VARIABLE), int(RecordKind.SERVED)
_ENDED, _CUT = int(RecordKind.ENDED), int(RecordKind.CUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedOperation:
    """One operation of a server, in its order.

    Attributes:
        number: The number of the operation in the records of all servers, from 1: all operations
            of server 0 come before those of server 1.
        time_ns: The time on the steady clock of the host.
        operation: create, read, or the name of a write.
        version: The version that was read, or that the write made.
        read_version: The version that the closure had read before the write; NOT_READ if none.
        dtype: The key of the dtype of the value; see `varsim.extension_dtypes`.
        content: The bytes of the value or of the operand; None if they were not recorded.
        sampled: What was recorded in place of the content; None if nothing was.
    """

    number: int
    time_ns: int
    process: int
    closure_id: int
    variable: int
    operation: str
    version: int
    read_version: int
    location: str
    dtype: str
    shape: tuple[int, ...]
    digest: int | None
    content: bytes | None
    indices: bytes | None
    sampled: Sampled | None = None

    @property
    def is_write(self) -> bool:
        """Return whether the operation changes the variable."""
        return self.operation not in {"create", "read"}

    @property
    def dtype_name(self) -> str:
        """Return the name of the dtype, such as float32."""
        return named(self.dtype).name

    def elements(self) -> Array | None:
        """Return the elements of the value or of the rows, flat; None if they were not recorded."""
        return None if self.content is None else np.frombuffer(self.content, named(self.dtype))

    def row_indices(self) -> Array | None:
        """Return the indices of a sparse write; None for another operation, or if not recorded."""
        return None if self.indices is None else np.frombuffer(self.indices, _INDEX)

    def value(self) -> Array | None:
        """Return the recorded value without its shape; None if it was not recorded."""
        return None if self.indices is not None else self.elements()

    def operand(self) -> Array | Rows | None:
        """Return the recorded operand of a write; None if it was not recorded."""
        indices, values = self.row_indices(), self.elements()
        if indices is None or values is None:
            return self.value()
        size = int(np.prod(self.shape[1:], dtype=_INDEX))
        return Rows(indices, values.reshape(len(indices), size))


@dataclass(slots=True)
class ServerRecord:
    """The record of one server.

    Attributes:
        names: Variable → its name.
        missing: Why the record is not whole; "" if it is. It is known after the last operation.
    """

    path: Path
    names: dict[int, str] = field(default_factory=dict)
    missing: str = ""

    def variable_names(self) -> list[str]:
        """Return the names of the variables, in the order of their creation.

        Raises:
            TraceError: The file is not a trace of this version.
        """
        return [record[3] for record in Reading(self.path) if record[0] == _VARIABLE]

    def operations(self, before: int = 0) -> Iterator[ServedOperation]:
        """Yield the operations in the order of the server.

        Args:
            before: The number of operations in the records of the servers before this one.
        Raises:
            TraceError: The file is not a trace of this version.
        """
        reading, last, number = Reading(self.path), 0, before
        for record in reading:
            last = record[0]
            if last == _VARIABLE:
                self.names[record[2]] = record[3]
            elif last == _SERVED:
                number += 1
                yield _operation(number, record)
            elif last == _CUT:
                self.missing = f"it reached its limit ({record[2] or 'of its size'})"
        if reading.damage:
            self.missing = f"{reading.damage}"
        elif last != _ENDED and not self.missing:
            self.missing = "it was not closed, as after a kill"


def record_files(folder: Path) -> list[Path]:
    """Return the records of parameter servers in a folder, in the order of the servers."""
    return sorted(folder.glob(_PATTERN), key=lambda path: (len(path.name), path.name))


def has_server_records(folder: Path) -> bool:
    """Return whether a folder contains records of parameter servers."""
    return next(folder.glob(_PATTERN), None) is not None


def server_records(directory: Path) -> list[ServerRecord]:
    """Return the records of all servers in a directory, in the order of the servers.

    Raises:
        ConfigError: There is none.
    """
    paths = record_files(directory)
    if not paths:
        raise ConfigError(f"{directory} has no record of a parameter server (server-0.trace)")
    return [ServerRecord(path) for path in paths]


def rewrite(path: Path, copy: Path, change: Callable[[str], str], *, values: bool) -> None:
    """Write a copy of the record of a server, for another machine.

    Records after a damaged one are left out, and the copy is then a record that was not closed.

    Args:
        change: Returns what the copy has in place of a location in the program.
        values: Whether to include the values of variables.
    Raises:
        TraceError: The file is not a trace of this version.
        OSError: The copy cannot be written.
    """
    pack = msgpack.Packer(unicode_errors="surrogatepass").pack
    log = CrashSafeLog(copy, _NO_LIMIT_BYTES)
    log.append(MAGIC)
    for record in Reading(path):
        changed = list(record)
        if record[0] == _VARIABLE:
            changed[4] = change(record[4])
        elif record[0] == _SERVED:
            changed[8] = change(record[8])
            if not values:
                form, shape, *rest = record[9]
                changed[9] = [form, shape, *[None] * len(rest)]
        log.append(pack(changed))
    log.close(b"")
    if log.error is not None:
        raise OSError(f"{copy}: {log.error}")


def _operation(number: int, record: list[Any]) -> ServedOperation:
    process, closure, variable, operation, version, read_version, location, value = record[2:]
    dtype, shape, digest, content, *rest = value
    return ServedOperation(
        number=number,
        time_ns=record[1],
        process=process,
        closure_id=closure,
        variable=variable,
        operation=operation,
        version=version,
        read_version=read_version,
        location=location,
        dtype=dtype,
        shape=tuple(shape),
        digest=digest,
        content=content if isinstance(content, bytes) else None,
        sampled=Sampled(*content) if isinstance(content, list) else None,
        indices=rest[0] if rest else None,
    )
