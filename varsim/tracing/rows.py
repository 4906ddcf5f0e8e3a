"""Make the rows of a history: number them, and add their common columns."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from itertools import count
from typing import Any, Final

import numpy as np

from varsim.extension_dtypes import EXTENSION_SIZES
from varsim.spec import Array, Rows
from varsim.tracing.absent import AbsentMemory
from varsim.tracing.history_file import EventBatch
from varsim.tracing.samples import MOST_ELEMENTS, Sampled

Kept = tuple[str | None, str | None, int | None, bytearray | str | None]
"""The columns of a value: dtype, shape, digest and content; sqlite3 prefers a bytearray.

A sample in place of the content is the text of `Sampled.text`. After all events are written,
`write_batches` moves these texts to the table of samples: so other rows do not pay for it.
"""

KeptRows = tuple[str | None, str | None, int | None, bytearray | str | None, bytearray | None]
"""The columns of rows: those of the values, and the indices. One digest covers both."""

Columns = tuple[Any, ...]
"""The columns of an event after the common columns, in the order of the event's form."""

NO_VALUE: Final[Kept] = (None, None, None, None)
NO_ROWS: Final[KeptRows] = (*NO_VALUE, None)
_OWN_CALL: Final = -1  # in place of a call: the current call of the process

_COMMON: Final = ("event", "process", "number", "time_s", "kind", "call")
_VALUE: Final = ("dtype", "shape", "digest", "value")
_NAMES: Final = {"value": _VALUE, "rows": (*_VALUE, "indices")}
"""Name in a form → the columns that it stands for."""


class Form:
    """The columns that some events have; all other columns are NULL."""

    def __init__(self, *columns: str) -> None:
        """Make a form of extra columns.

        `value` stands for all columns of a value, and `rows` for all columns of rows.
        """
        own = [part for one in columns for part in _NAMES.get(one, (one,))]
        self.columns = (*_COMMON, *own)
        self.cause = self.columns.index("cause") if "cause" in own else None

    @cached_property
    def caused(self) -> Form:
        """Return the form with a cause as its last column."""
        form = Form()
        form.columns = (*self.columns, "cause")
        form.cause = len(self.columns)
        return form


class HistoryRows:
    """The events that were added and not taken yet. `turn_to` sets the process of new events."""

    def __init__(self, num_replicas: int, began_ns: int) -> None:
        self._added: list[EventBatch] = []  # consecutive batches have different columns
        self._columns: tuple[str, ...] = ()  # the columns of the last batch
        self._last: list[Columns] = []  # the events of the last batch
        self._began_ns = began_ns
        self._count = 0
        processes = range(num_replicas + 1)  # the program is process -1, so it is the last one
        self._numbers = [0 for _ in processes]
        self._calls: list[list[int]] = [[] for _ in processes]  # running calls, innermost last
        self._causes: list[int | None] = [None for _ in processes]  # causes of the next events
        self._process, self._time_s = -1, 0.0

    @property
    def count(self) -> int:
        """Return the total number of added events."""
        return self._count

    def take(self) -> list[EventBatch]:
        """Take the events added since the last call."""
        added, self._added, self._columns = self._added, [], ()
        return added

    def turn_to(self, process: int, time_ns: int) -> None:
        """Set the process and time of the next events."""
        self._process, self._time_s = process, (time_ns - self._began_ns) / 1e9

    def add(
        self, kind: str, *, call: int | None = _OWN_CALL, value: Kept | None = None, **columns: Any
    ) -> int:
        """Add an event, and return its number."""
        form = _form(*columns, *(() if value is None else ("value",)))
        return self.add_one(kind, form, (*columns.values(), *(value or ())), call=call)

    def add_one(
        self, kind: str, form: Form, columns: Columns, *, call: int | None = _OWN_CALL
    ) -> int:
        """Add an event, and return its number."""
        process = self._process
        if call == _OWN_CALL:
            calls = self._calls[process]
            call = calls[-1] if calls else None
        self._count = event = self._count + 1
        number = self._numbers[process]
        self._numbers[process] = number + 1
        row = (event, process, number, self._time_s, kind, call, *columns)
        if self._causes[process] is not None:
            form, row = self._caused(form, row)
        if form.columns is not self._columns:
            self._turn_to_columns(form)
        self._last.append(row)
        return event

    def _turn_to_columns(self, form: Form) -> None:
        """Set the columns of the next rows."""
        self._columns, self._last = form.columns, []
        self._added.append((self._columns, self._last))

    def add_all(
        self, kind: str, form: Form, columns: Iterable[Columns], *, call: int | None = _OWN_CALL
    ) -> range:
        """Add several events in a row, and return their numbers."""
        process, time_s = self._process, self._time_s
        if call == _OWN_CALL:
            call = self.call
        first = self._count + 1
        number = self._numbers[process]
        rows: list[Columns] = [
            (event, process, own, time_s, kind, call, *rest)
            for event, own, rest in zip(count(first), count(number), columns)
        ]
        self._count += len(rows)
        self._numbers[process] = number + len(rows)
        if rows and self._causes[process] is not None:
            other, row = self._caused(form, rows[0])
            self._turn_to_columns(other)
            self._last.append(row)
            del rows[0]
        if form.columns is not self._columns:
            self._turn_to_columns(form)
        self._last += rows
        return range(first, self._count + 1)

    def _caused(self, form: Form, row: Columns) -> tuple[Form, Columns]:
        """Return an event with the pending cause, unless the event has its own cause."""
        cause, self._causes[self._process] = self._causes[self._process], None
        if form.cause is None:
            return form.caused, (*row, cause)
        if row[form.cause] is None:
            return form, (*row[: form.cause], cause, *row[form.cause + 1 :])
        return form, row

    def because(self, event: int) -> None:
        """Make an event the cause of this process's next event."""
        self._causes[self._process] = event

    # ------------------------------------------------------------ calls

    @property
    def call(self) -> int | None:
        """Return the current call of the process."""
        calls = self._calls[self._process]
        return calls[-1] if calls else None

    def begin(self, call: int) -> None:
        """Begin a call of the process, inside its current call if there is one."""
        self._calls[self._process].append(call)

    def end(self) -> None:
        """End the innermost call of the process."""
        if self._calls[self._process]:
            self._calls[self._process].pop()


_form = lru_cache(Form)


def kept(value: Array, absent: AbsentMemory) -> Kept:
    """Return the columns of a value whose bytes may not have been recorded."""
    if absent.is_absent(value):
        return kept_part(value.dtype, value.shape, absent.parts_of(value))
    return recorded(value.dtype, value.shape, None, value.tobytes())


def kept_part(dtype: np.dtype[Any] | str, shape: Sequence[int], parts: Sequence[Sampled]) -> Kept:
    """Return the columns of a value of which at most a sample was recorded."""
    if len(parts) != 1:
        return recorded(dtype, shape, None, None)
    return recorded(dtype, shape, parts[0].digest, parts[0])


def recorded(
    dtype: np.dtype[Any] | str,
    shape: Sequence[int],
    digest: int | None,
    content: bytes | Sequence[Any] | None,
) -> Kept:
    """Return the columns of a value. If the bytes are unknown, the digest may also be unknown.

    Args:
        content: The bytes, or the members of a `Sampled`.
    """
    name, sizes = form(dtype, tuple(shape))
    if content is not None and not isinstance(content, bytes):
        found = Sampled(*content)
        if math.prod(shape) > MOST_ELEMENTS:
            return name, sizes, digest, found.text()
        content = found.elements  # the sample has all elements
    if content is not None:
        digest = zlib.crc32(content)
    return name, sizes, digest, None if content is None else bytearray(content)


def kept_rows(rows: Rows, absent: AbsentMemory) -> KeptRows:
    """Return the columns of rows whose bytes may not have been recorded."""
    values, indices = rows.values, rows.indices
    if absent.is_absent(values):
        parts = absent.parts_of(values)
        digest, found = (parts[0].digest, parts[0]) if len(parts) == 1 else (None, None)
        return recorded_rows(values.dtype, values.shape, digest, found, None)
    content = values.tobytes(), indices.tobytes()
    return recorded_rows(values.dtype, values.shape, None, *content)


def recorded_rows(
    dtype: np.dtype[Any] | str,
    shape: Sequence[int],
    digest: int | None,
    content: bytes | Sequence[Any] | None,
    indices: bytes | None,
) -> KeptRows:
    """Return the columns of rows. If their bytes are unknown, the digest may be unknown too."""
    name, sizes = form(dtype, tuple(shape))
    if content is not None and not isinstance(content, bytes):
        return name, sizes, digest, Sampled(*content).text(), None
    if content is None or indices is None:
        return name, sizes, digest, None, None
    digest = zlib.crc32(content, zlib.crc32(indices))
    return name, sizes, digest, bytearray(content), bytearray(indices)


@lru_cache(4096)
def form(dtype: np.dtype[Any] | str, shape: tuple[int, ...]) -> tuple[str, str]:
    """Return dtype and shape as the texts of the columns."""
    return _name_of(dtype), json.dumps(shape)


def _name_of(dtype: np.dtype[Any] | str) -> str:
    return str(dtype if dtype in EXTENSION_SIZES else np.dtype(dtype).name)
