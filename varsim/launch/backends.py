"""Register the implementations that a cluster can use: launchers, transports and exchanges."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields
from typing import Any, Final

from varsim.exchange.exchange import EXCHANGES
from varsim.launch.launcher import Backends, Launcher
from varsim.registry import BuiltIn, Registry
from varsim.transport.transport import TRANSPORTS

LAUNCHERS: Final = Registry[Launcher](
    "launcher",
    {"process": BuiltIn("varsim.launch.process:ProcessLauncher", "processes of this machine")},
    group="varsim.launchers",
)
"""Every launcher. A new launcher is one file, with an entry here or in a package's metadata."""

REGISTRIES: Final[dict[str, Registry[Any]]] = {
    one.setting: one for one in (LAUNCHERS, TRANSPORTS, EXCHANGES)
}
"""Field of `Backends` → registry of its names."""


def check_backends(backends: Backends) -> None:
    """Check that all named implementations exist.

    Raises:
        ConfigError: An implementation does not exist; the text lists the existing ones.
    """
    for field in fields(backends):
        REGISTRIES[field.name].check(getattr(backends, field.name))


_in_use: ContextVar[Launcher | None] = ContextVar("varsim_launcher", default=None)


@contextmanager
def use_launcher(launcher: Launcher) -> Iterator[None]:
    """Use this launcher for all strategies that are created in the `with` block."""
    token = _in_use.set(launcher)
    try:
        yield
    finally:
        _in_use.reset(token)


def launcher_of(backends: Backends) -> Launcher:
    """Return the launcher for a new strategy: the one of `use_launcher`, or else the named one."""
    return _in_use.get() or LAUNCHERS.make(backends.launcher)
