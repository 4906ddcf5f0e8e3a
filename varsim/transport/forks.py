"""What a fork of this process may look at is never used again: nobody hears what the fork does."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

from varsim.spec import Array


class Memory(Protocol):
    """Shared memory, in blocks."""

    def in_use(self) -> list[Array]:
        """What keeps the blocks that are in use now from being used again."""


_pinned: weakref.WeakKeyDictionary[Memory, list[Array]] = weakref.WeakKeyDictionary()


def watch(memory: Memory) -> None:
    """Pins what is in use at each fork, as long as this memory is known here."""
    _pinned[memory] = []


def _pin() -> None:
    for memory, bases in tuple(_pinned.items()):
        bases.extend(memory.in_use())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_parent=_pin)
