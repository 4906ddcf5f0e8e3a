"""Supervisors, which are called when a program makes, starts and closes a strategy.

`varsim exec` uses a supervisor. This supervisor gives workers to strategies without named devices,
records their runs, and reads their variables before their workers end.
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

    devices: tuple[str, ...] | None  # None: the supervisor chooses the devices
    backends: Backends
    strict: bool
    auto: str
    location: str  # file:line where the program makes the strategy


class Supervisor(Protocol):
    """Is called for each of a program's strategies; `strategy` is a `MirroredStrategy`."""

    def choose(self, said: Choices) -> Choices:
        """Return the settings of a strategy, given the arguments of the program.

        Raises:
            VarsimError: The supervisor's settings conflict with the arguments.
        """

    def made(self, strategy: Any, location: str) -> None:
        """Handle a strategy that the program has made; no worker has started yet."""

    def launching(self, strategy: Any, options: LaunchOptions) -> LaunchOptions:
        """Return the options with which the strategy's workers are started."""

    def launched(self, strategy: Any) -> None:
        """Handle a strategy whose workers are ready."""

    def closing(self, strategy: Any) -> None:
        """Handle a strategy before its workers end; workers that are not busy still answer."""


_current: ContextVar[tuple[int, Supervisor | None]] = ContextVar(
    "varsim_supervisor", default=(0, None)
)
"""The supervisor, and the id of its process: a fork of the program has no supervisor."""


@contextmanager
def supervised(supervisor: Supervisor | None) -> Iterator[None]:
    """Call the supervisor for strategies that this thread makes within the block.

    Args:
        supervisor: The supervisor; None if no supervisor is to be called.
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
