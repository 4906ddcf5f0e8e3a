"""Read what parameter servers have recorded: the operations on their variables, in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from varsim.errors import ConfigError
from varsim.extension_dtypes import named
from varsim.spec import Array, Rows
from varsim.tracing.reading import Reading
from varsim.tracing.trace import RecordKind

_INDEX: Final = np.dtype(np.int64)
"""The dtype of the indices of rows."""

NOT_READ: Final = -1
"""In place of a version: the closure had not read the variable."""

_VARIABLE, _SERVED = int(RecordKind.SERVED_VARIABLE), int(RecordKind.SERVED)
_ENDED, _CUT = int(RecordKind.ENDED), int(RecordKind.CUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedOperation:
    """One operation of a server, in its order.

    Attributes:
        number: The number of the operation on its server, from 1.
        operation: create, read, or the name of a write.
        version: The version that was read, or that the write made.
        read_version: The version that the closure had read before the write; NOT_READ if none.
        dtype: The name of the dtype of the value.
        content: The bytes of the value or of the operand; None if they were not recorded.
    """

    number: int
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

    @property
    def is_write(self) -> bool:
        """Return whether the operation changes the variable."""
        return self.operation not in {"create", "read"}

    def value(self) -> Array | None:
        """Return the recorded value without its shape; None if it was not recorded."""
        if self.content is None or self.indices is not None:
            return None
        return np.frombuffer(self.content, named(self.dtype))

    def operand(self) -> Array | Rows | None:
        """Return the recorded operand of a write; None if it was not recorded."""
        if self.indices is None or self.content is None:
            return self.value()
        indices = np.frombuffer(self.indices, _INDEX)
        values = np.frombuffer(self.content, named(self.dtype))
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

    def operations(self) -> Iterator[ServedOperation]:
        """Yield the operations in the order of the server.

        Raises:
            TraceError: The file is not a trace of this version.
        """
        reading, last, number = Reading(self.path), 0, 0
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


def server_records(directory: Path) -> list[ServerRecord]:
    """Return the records of all servers in a directory, in the order of the servers.

    Raises:
        ConfigError: There is none.
    """
    paths = sorted(directory.glob("server-*.trace"), key=lambda path: (len(path.name), path.name))
    if not paths:
        raise ConfigError(f"{directory} has no record of a parameter server (server-0.trace)")
    return [ServerRecord(path) for path in paths]


def _operation(number: int, record: list[Any]) -> ServedOperation:
    process, closure, variable, operation, version, read_version, location, value = record[2:]
    dtype, shape, digest, content, *rest = value
    return ServedOperation(
        number=number,
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
        content=content,
        indices=rest[0] if rest else None,
    )
