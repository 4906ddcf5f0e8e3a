"""The writes that a replica has not sent yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from varsim.protocol.buckets import Bucket, arrange
from varsim.protocol.messages import Contribution, Layout, Message, Write
from varsim.spec import Array, Operation, VariableSpec

MAX_LAYOUTS: Final = 64
"""How many layouts a replica and the coordinator remember; then the oldest is replaced."""


@dataclass(frozen=True, slots=True)
class _Known:
    layout_id: int
    buckets: tuple[Bucket, ...]


class Outbox:
    """Collects the writes of one replica, and packs them when they leave.

    A program writes the same variables in the same lines at every step. So each write is one
    number, which stands for the whole `Write`, and a sequence of them that has left before is
    named by its layout's id.
    """

    def __init__(self, specs: Mapping[int, VariableSpec]) -> None:
        self._specs = specs
        self._numbers: dict[tuple[int, Operation, tuple[int, ...], str], int] = {}
        self._writes: list[Write] = []  # each at its number
        self._waiting: list[int] = []  # numbers of the writes, in program order
        self._values: list[bytes | Array | None] = []  # of each
        self._known: dict[tuple[int, ...], _Known] = {}  # oldest first
        self._sent = 0  # layouts so far
        self._stale = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(
        self,
        variable_id: int,
        operation: Operation,
        shape: tuple[int, ...],
        place: str,
        value: bytes | Array | None,
    ) -> None:
        """Takes a write.

        Args:
            value: Its bytes, or an array that nobody writes to any more; None if not needed.
        """
        key = (variable_id, operation, shape, place)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._writes)
            self._writes.append(Write(*key))
        self._waiting.append(number)
        self._values.append(value)

    def leave(self, call_id: int, index: int) -> list[Message]:
        """Everything in it as messages; it is empty then.

        Args:
            index: Of the meeting that the first write is.
        """
        if not self._waiting:
            return []
        messages: list[Message] = []
        order = tuple(self._waiting)
        known = self._known.get(order)
        if known is None:
            writes = tuple(self._writes[number] for number in order)
            known = self._learn(order, writes)
            messages.append(Layout(layout_id=known.layout_id, writes=writes))
        values = self._values
        contribution = Contribution(
            call_id=call_id,
            index=index,
            layout_id=known.layout_id,
            buckets=tuple(_packed(bucket, values, len(order)) for bucket in known.buckets),
        )
        self.clear()
        return [*messages, contribution]

    def _learn(self, order: tuple[int, ...], writes: tuple[Write, ...]) -> _Known:
        if len(self._known) == MAX_LAYOUTS:
            del self._known[next(iter(self._known))]
        known = self._known[order] = _Known(self._sent % MAX_LAYOUTS, arrange(writes, self._specs))
        self._sent += 1
        return known

    def clear(self) -> None:
        """Drops the writes: the call that they belong to has failed."""
        self._waiting = []
        self._values = []
        if self._stale:
            self._numbers.clear()
            self._writes.clear()
            self._known.clear()
            self._stale = False

    def forget(self) -> None:
        """A variable is gone: what is remembered of writes need not be kept for ever."""
        self._stale = True
        if not self._waiting:
            self.clear()


def _packed(bucket: Bucket, values: list[bytes | Array | None], count: int) -> Array:
    first = values[bucket.positions[0]]
    if first is None:  # nor are the others needed
        return np.empty(0, bucket.dtype)
    if len(bucket.positions) == 1:
        if isinstance(first, np.ndarray):
            return first
        return np.ndarray(bucket.shape, bucket.dtype, first)
    parts: Any = values
    if len(bucket.positions) < count:
        parts = [values[position] for position in bucket.positions]
    return np.ndarray(bucket.shape, bucket.dtype, b"".join(parts))
