"""Call a supervisor when a program creates, starts and closes a strategy.

The supervisor of `varsim exec` chooses the number of workers of strategies without named devices,
records their runs, and reads their variables before their workers end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from varsim.distribute.lost_workers import LostWorkers
from varsim.errors import ContextError
from varsim.value_class import value_class

if TYPE_CHECKING:
    from varsim.launch.launcher import Backends, LaunchOptions
    from varsim.launch.link import Link
    from varsim.texts.incarnations import Recovery


@value_class(kw_only=True)
class Choices:
    """The arguments of a strategy that a program creates."""

    strategy: str  # the name of its class
    devices: tuple[str, ...] | None  # None: the supervisor chooses the devices
    backends: Backends
    strict: bool
    auto: str
    uneven: str
    stall_times: tuple[float | None, float | None]  # times to warn, to fail; None: the default
    link_loss_s: float | None  # see `MirroredStrategy`; None: the default
    lost_workers: LostWorkers
    location: str  # file:line at which the program creates the strategy
    has_servers: bool = False  # whether its variables are on parameter servers
    decided: str = ""  # how the program decides the number of workers, as a clause; "" if not


class Supervisor(Protocol):
    """An object whose methods are called for each strategy of a program that has workers."""

    def choose(self, said: Choices) -> Choices:
        """Return the settings of a strategy, given the arguments of the program.

        Raises:
            VarsimError: The supervisor's settings conflict with the arguments.
        """

    def made(self, strategy: Any, location: str) -> None:
        """Handle a strategy that the program has created; no worker has started yet."""

    def launching(self, strategy: Any, options: LaunchOptions) -> LaunchOptions:
        """Return the options with which the strategy's workers are started.

        A strategy starts workers again after some of them were lost: see `options.incarnation`.
        """

    def linked(self, strategy: Any, link: Link) -> Link:
        """Return the link of a strategy whose workers have started; it may observe their waits."""

    def launched(self, strategy: Any) -> None:
        """Handle a strategy whose workers are ready."""

    def ending(self, strategy: Any) -> None:
        """Handle a strategy after lost workers, before its other workers end and new ones start."""

    def going_on(self, strategy: Any, recovery: Recovery, location: str) -> None:
        """Report how the strategy goes on after lost workers.

        Args:
            location: The file:line in the program at which the workers were lost.
        """

    def closing(self, strategy: Any) -> None:
        """Handle a strategy before its workers end; workers that are not busy still answer."""


_current: ContextVar[tuple[int, Supervisor | None]] = ContextVar(
    "varsim_supervisor", default=(0, None)
)
"""The id of the process that set the supervisor, and the supervisor; forks do not use it."""

_refusal: ContextVar[str] = ContextVar("varsim_refusal", default="")
"""Why a program cannot create strategies; "" if it can."""


@contextmanager
def refused(why: str) -> Iterator[None]:
    """Refuse strategies that this thread creates in the `with` block."""
    token = _refusal.set(why)
    try:
        yield
    finally:
        _refusal.reset(token)


@contextmanager
def supervised(supervisor: Supervisor | None) -> Iterator[None]:
    """Call the supervisor for strategies that this thread creates in the `with` block.

    Args:
        supervisor: The supervisor; None to call no supervisor in the block.
    """
    token = _current.set((os.getpid(), supervisor))
    try:
        yield
    finally:
        _current.reset(token)


def are_refused() -> bool:
    """Return whether this thread runs a script of all workers, which cannot create strategies."""
    return bool(_refusal.get())


def current_supervisor() -> Supervisor | None:
    """Return the supervisor for a new strategy; None if there is none.

    Raises:
        ContextError: The program cannot create strategies.
    """
    if _refusal.get():
        raise ContextError(_refusal.get())
    process, supervisor = _current.get()
    return supervisor if process == os.getpid() else None
