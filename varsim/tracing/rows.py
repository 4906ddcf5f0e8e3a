"""The rows of a history while it is made: numbered, in causal order, with what all of them need."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import count
from typing import Any, Final

import numpy as np

from varsim.spec import Array
from varsim.tracing.absent import Absent
from varsim.tracing.history import Event

Kept = tuple[str | None, str | None, int | None, bytes | None]
"""The columns of a value: dtype, shape, digest and value."""

Columns = tuple[Any, ...]
"""Of an event, all from `variable` to `note`."""

NO_VALUE: Final[Kept] = (None, None, None, None)
_CAUSE: Final = Event._fields.index("cause")
_OWN_CALL: Final = -1  # in place of a call: the one that the process is in


class Rows:
    """The events that were told and not taken yet. Whoever tells says first whose they are."""

    def __init__(self, num_replicas: int, began_ns: int) -> None:
        self.told: list[Columns] = []
        self._began_ns = began_ns
        self._count = 0
        everybody = range(num_replicas + 1)  # the program is process -1, so it is the last one
        self._numbers = [0 for _ in everybody]
        self._calls: list[list[int]] = [[] for _ in everybody]  # innermost last
        self._causes: list[int | None] = [None for _ in everybody]  # of each one's next event
        self._process, self._time_s = -1, 0.0

    def turn_to(self, process: int, time_ns: int) -> None:
        """What follows happened in that process, at that time."""
        self._process, self._time_s = process, (time_ns - self._began_ns) / 1e9

    def tell(
        self,
        kind: str,
        *,
        call: int | None = _OWN_CALL,
        variable: int | None = None,
        operation: str | None = None,
        version: int | None = None,
        meeting: int | None = None,
        replica: int | None = None,
        place: str | None = None,
        value: Kept = NO_VALUE,
        cause: int | None = None,
        note: str | None = None,
    ) -> int:
        """One more event; its number."""
        where = (variable, operation, version, meeting, replica, place)
        return self.tell_all(kind, ((*where, *value, cause, note),), call=call)[0]

    def tell_all(
        self, kind: str, columns: Iterable[Columns], *, call: int | None = _OWN_CALL
    ) -> range:
        """Events that happened one after another, at once; their numbers."""
        process, time_s = self._process, self._time_s
        if call == _OWN_CALL:
            call = self.call
        first = self._count + 1
        number = self._numbers[process]
        rows: list[Columns] = [
            (event, process, place, time_s, kind, call, *rest)
            for event, place, rest in zip(count(first), count(number), columns)
        ]
        self._count += len(rows)
        self._numbers[process] = number + len(rows)
        cause = self._causes[process]
        if cause is not None and rows:
            self._causes[process] = None
            if rows[0][_CAUSE] is None:
                rows[0] = (*rows[0][:_CAUSE], cause, *rows[0][_CAUSE + 1 :])
        self.told += rows
        return range(first, self._count + 1)

    def because(self, event: int) -> None:
        """The next event of this process is caused by that one."""
        self._causes[self._process] = event

    # ------------------------------------------------------------ calls

    @property
    def call(self) -> int | None:
        """The call that the process is in."""
        calls = self._calls[self._process]
        return calls[-1] if calls else None

    def begin(self, call: int) -> None:
        """The process begins a call, in the one that it is in."""
        self._calls[self._process].append(call)

    def end(self) -> None:
        """The process ends the call that it is in."""
        if self._calls[self._process]:
            self._calls[self._process].pop()


def kept(value: Array, absent: Absent) -> Kept:
    """The columns of a value, of which the bytes may be absent."""
    content = None if absent.is_absent(value) else value.tobytes()
    return recorded(value.dtype, value.shape, None, content)


def recorded(
    dtype: np.dtype[Any] | str, shape: Sequence[int], digest: int | None, content: bytes | None
) -> Kept:
    """The columns of a value, of which the bytes or at least their digest may be known."""
    if content is not None:
        digest = zlib.crc32(content)
    return (*form(dtype, tuple(shape)), digest, content)


@lru_cache(4096)
def form(dtype: np.dtype[Any] | str, shape: tuple[int, ...]) -> tuple[str, str]:
    """Dtype and shape as the columns have them."""
    return np.dtype(dtype).name, json.dumps(shape)
