"""Collect the writes that a replica has not sent yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from varsim.protocol.buckets import Bucket, arrange
from varsim.protocol.limits import MAX_DECODED_BYTES, decoded_bytes
from varsim.protocol.messages import Contribution, Layout, Message, Write
from varsim.spec import Array, VariableSpec
from varsim.sync.participant import MAX_LAYOUTS
from varsim.value_class import value_class

MAX_WRITES: Final = 2**13
"""Largest number of writes in one layout, so that a layout is within the limits of a header. The
writes of a fuller outbox are sent in several contributions."""


@value_class(eq=False)
class KnownWrite:
    """A write that a program can repeat. Equal writes are one object."""

    write: Write


@value_class
class _Known:
    layout_id: int
    buckets: tuple[Bucket, ...]


class Outbox:
    """Collects the writes of one replica, and packs the writes into messages.

    A program writes the same variables in the same lines at every step. So equal writes are one
    object, and a sequence of writes is described only once: later contributions refer to its layout
    by number.
    """

    def __init__(self, specs: Mapping[int, VariableSpec]) -> None:
        self._specs = specs
        self._waiting: list[Any] = []  # writes in program order, each followed by its value
        self.add: Callable[[tuple[KnownWrite, bytes | Array | None]], None] = self._waiting.extend
        """Adds a write and its value. A step can add thousands of writes; a method would be slower.

        A value is bytes, or an array that never changes again; None if no value is needed.
        """
        self._known: dict[tuple[KnownWrite, ...], _Known] = {}  # oldest first
        self._sent = 0  # number of layouts that were sent
        self._messages: list[
            Message
        ] = []  # the writes up to the last one with its own message, as messages
        self._written = 0  # number of writes in these messages

    def __len__(self) -> int:
        return self._written + len(self._waiting) // 2

    def add_alone(self, call_id: int, index: int, made_at: Callable[[int], Message]) -> None:
        """Add a write that has its own message, after the earlier writes.

        Args:
            index: See `leave`.
            made_at: Makes the message for a position. The arrays of the message never change again.
        """
        self._pack(call_id, index)
        self._messages.append(made_at(index + self._written))
        self._written += 1

    def leave(self, call_id: int, index: int) -> list[Message]:
        """Return all writes as messages, and empty the outbox.

        Args:
            index: The position of the first write in the outbox.
        """
        self._pack(call_id, index)
        messages = self._messages
        self._messages, self._written = [], 0
        return messages

    def _pack(self, call_id: int, index: int) -> None:
        """Convert the writes since the last sparse write to messages."""
        if not self._waiting:
            return
        order: tuple[KnownWrite, ...] = tuple(self._waiting[::2])
        values: list[bytes | Array | None] = self._waiting[1::2]
        self._waiting.clear()
        if len(order) <= MAX_WRITES:
            self._contribute(call_id, index, order, values)
            return
        for start in range(0, len(order), MAX_WRITES):
            part = slice(start, start + MAX_WRITES)
            self._contribute(call_id, index, order[part], values[part])

    def _contribute(
        self,
        call_id: int,
        index: int,
        order: tuple[KnownWrite, ...],
        values: list[bytes | Array | None],
    ) -> None:
        """Add the message for consecutive writes, or two messages if their layout is too large."""
        known = self._known.get(order)
        if known is None:
            writes = tuple(one.write for one in order)
            if len(order) > 1 and sum(map(_memory_bytes, writes)) > _MAX_LAYOUT_BYTES:
                middle = len(order) // 2
                self._contribute(call_id, index, order[:middle], values[:middle])
                self._contribute(call_id, index, order[middle:], values[middle:])
                return
            known = self._learn(order, writes)
            self._messages.append(Layout(layout_id=known.layout_id, writes=writes))
        contribution = Contribution(
            call_id=call_id,
            position=index + self._written,
            layout_id=known.layout_id,
            buckets=tuple(_packed(bucket, values, len(order)) for bucket in known.buckets),
        )
        self._messages.append(contribution)
        self._written += len(order)

    def _learn(self, order: tuple[KnownWrite, ...], writes: tuple[Write, ...]) -> _Known:
        if len(self._known) == MAX_LAYOUTS:
            del self._known[next(iter(self._known))]
        known = self._known[order] = _Known(self._sent % MAX_LAYOUTS, arrange(writes, self._specs))
        self._sent += 1
        return known

    def clear(self) -> None:
        """Drop the writes, because their call has failed. Layouts stay: later writes use them."""
        self._waiting.clear()
        self._messages = [one for one in self._messages if isinstance(one, Layout)]
        self._written = 0


_MAX_LAYOUT_BYTES: Final = MAX_DECODED_BYTES // 2


def _memory_bytes(write: Write) -> int:
    """Return an upper bound of the memory for a write in a decoded header."""
    return 1000 + decoded_bytes(write.location.encode("utf-8", "surrogatepass"))


def _packed(bucket: Bucket, values: list[bytes | Array | None], count: int) -> Array:
    first = values[bucket.positions[0]]
    if first is None:  # the aggregation uses none of the values
        return np.empty(0, bucket.dtype)
    if len(bucket.positions) == 1:
        if isinstance(first, np.ndarray):
            return first
        return np.ndarray(bucket.shape, bucket.dtype, first)
    parts: Any = values
    if len(bucket.positions) < count:
        parts = [values[position] for position in bucket.positions]
    return np.ndarray(bucket.shape, bucket.dtype, b"".join(parts))
