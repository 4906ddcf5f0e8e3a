"""Supervisors, which are called when a program makes, starts and closes a strategy.

`varsim exec` uses one: it gives workers to strategies without named devices, records their runs,
and reads their variables before their workers end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from varsim.launch.launcher import Backends, LaunchOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The arguments of a strategy that a program makes."""

    devices: tuple[str, ...] | None  # None: the supervisor chooses them
    backends: Backends
    strict: bool
    auto: str
    location: str  # file:line where the program makes the strategy


class Supervisor(Protocol):
    """Takes part in the life of a program's strategies; each is a `MirroredStrategy`."""

    def choose(self, said: Choices) -> Choices:
        """Return the settings of a strategy, given the arguments of the program.

        Raises:
            VarsimError: The supervisor's settings conflict with the arguments.
        """

    def made(self, strategy: Any, location: str) -> None:
        """Take a strategy that the program has made; no worker has started yet."""

    def launching(self, strategy: Any, options: LaunchOptions) -> LaunchOptions:
        """Return the options with which its workers start next."""

    def launched(self, strategy: Any) -> None:
        """Take a strategy whose workers are ready."""

    def closing(self, strategy: Any) -> None:
        """Take a strategy whose workers end next; they still answer, unless busy or dead."""


_current: ContextVar[tuple[int, Supervisor | None]] = ContextVar(
    "varsim_supervisor", default=(0, None)
)
"""The supervisor and its process: it does not apply to a fork of the program."""


@contextmanager
def supervised(supervisor: Supervisor | None) -> Iterator[None]:
    """Call the supervisor for strategies that this thread makes within the block.

    Args:
        supervisor: None: no supervisor is called.
    """
    token = _current.set((os.getpid(), supervisor))
    try:
        yield
    finally:
        _current.reset(token)


def current_supervisor() -> Supervisor | None:
    """Return the supervisor for a new strategy; None if there is none."""
    process, supervisor = _current.get()
    return supervisor if process == os.getpid() else None
