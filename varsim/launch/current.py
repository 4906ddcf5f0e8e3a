"""Which launcher starts the workers of a new strategy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from varsim.launch.launcher import Launcher

_current: ContextVar[Launcher | None] = ContextVar("varsim_launcher", default=None)


@contextmanager
def use_launcher(launcher: Launcher) -> Iterator[None]:
    """Within the block, strategies start their workers by this launcher."""
    token = _current.set(launcher)
    try:
        yield
    finally:
        _current.reset(token)


def current_launcher() -> Launcher:
    """The launcher that a new strategy uses: local processes, unless told otherwise."""
    launcher = _current.get()
    if launcher is not None:
        return launcher
    from varsim.launch.process import ProcessLauncher  # imports ZeroMQ, which replays do without

    return ProcessLauncher()
