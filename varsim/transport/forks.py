"""Pin shared blocks at a fork, because the child process cannot report when it releases them.

A pinned block is never reused.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol

from varsim.spec import Array


class PinnableMemory(Protocol):
    """Shared memory in blocks."""

    def in_use(self) -> list[Array]:
        """Return the base objects of the blocks in use: they prevent reuse of the blocks."""


_pinned: weakref.WeakKeyDictionary[PinnableMemory, list[Array]] = weakref.WeakKeyDictionary()


def watch(memory: PinnableMemory) -> None:
    """Pin the blocks of this memory that are in use at each fork of this process."""
    _pinned[memory] = []


def _pin() -> None:
    for memory, bases in tuple(_pinned.items()):
        bases.extend(memory.in_use())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_parent=_pin)
