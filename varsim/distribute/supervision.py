"""Who runs a program as it is, and takes part when it makes, starts and closes a strategy.

`varsim exec` is one: it gives workers to strategies that name no devices, records what they do, and
looks at their variables before their workers end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from varsim.distribute.mirrored import MirroredStrategy
    from varsim.launch.launcher import LaunchOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a program says of a strategy that it makes."""

    devices: tuple[str, ...] | None  # None: it leaves them to others
    transport: str
    strict: bool
    auto: str
    place: str  # where it makes the strategy, file:line


class Supervisor(Protocol):
    """Who takes part."""

    def choose(self, said: Choices) -> Choices:
        """What is true of a strategy, where the program says this of it.

        Raises:
            VarsimError: The two do not fit together.
        """

    def made(self, strategy: MirroredStrategy, place: str) -> None:
        """The program has made it; no worker has started yet."""

    def launching(self, strategy: MirroredStrategy, options: LaunchOptions) -> LaunchOptions:
        """How its workers start, which happens next."""

    def launched(self, strategy: MirroredStrategy) -> None:
        """Its workers are ready."""

    def closing(self, strategy: MirroredStrategy) -> None:
        """Its workers will end; they still answer, unless they are busy or dead."""


_current: ContextVar[tuple[int, Supervisor | None]] = ContextVar(
    "varsim_supervisor", default=(0, None)
)
"""The process that it is for, and the supervisor: a fork of the program is another program."""


@contextmanager
def supervised(supervisor: Supervisor | None) -> Iterator[None]:
    """Within the block, what this thread makes of strategies is the supervisor's business, too.

    Args:
        supervisor: None: it is no one's.
    """
    token = _current.set((os.getpid(), supervisor))
    try:
        yield
    finally:
        _current.reset(token)


def current_supervisor() -> Supervisor | None:
    """Of a strategy that is made now; None if a program runs on its own."""
    process, supervisor = _current.get()
    return supervisor if process == os.getpid() else None
