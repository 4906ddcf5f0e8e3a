"""Register the implementations that a cluster can use: launchers, transports and exchanges."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from varsim.errors import ConfigError
from varsim.exchange.exchange import EXCHANGES
from varsim.launch.launcher import Backends, Launcher
from varsim.registry import BuiltIn, Registry
from varsim.transport.transport import TRANSPORTS

LAUNCHERS: Final = Registry[Launcher](
    "launcher",
    {
        "process": BuiltIn("varsim.launch.process:ProcessLauncher", "processes of this machine"),
        "ssh": BuiltIn("varsim.launch.remote.ssh:SshLauncher", "processes of hosts, over ssh"),
        "mpirun": BuiltIn("varsim.launch.remote.mpirun:MpirunLauncher", "by Open MPI's mpirun"),
        "srun": BuiltIn("varsim.launch.remote.srun:SrunLauncher", "nodes of a Slurm allocation"),
        "ray": BuiltIn("varsim.launch.remote.ray_launcher:RayLauncher", "nodes of a Ray cluster"),
        "join": BuiltIn(
            "varsim.launch.remote.by_hand:JoinLauncher", "hosts that run `varsim worker`"
        ),
    },
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
    for setting, registry in REGISTRIES.items():
        registry.check(getattr(backends, setting))
    if backends.launcher_settings:
        _with_settings(backends)


def named_launcher(launcher: object) -> dict[str, str]:
    """Return the fields of `Backends` for the value of a setting `launcher`.

    Args:
        launcher: A name, or a mapping of one name to the launcher's settings.
    Raises:
        ConfigError: The launcher does not exist, or a setting is wrong.
    """
    name, settings = launcher, ""
    if isinstance(launcher, Mapping):
        if len(launcher) != 1:
            raise ConfigError(
                f"launcher names {len(launcher)} launchers: write one name, as in "
                "launcher: {ssh: {hosts: [a, b]}}"
            )
        ((name, given),) = launcher.items()
        if not isinstance(given, Mapping):
            raise ConfigError(f"the settings of launcher {name!r} must be a mapping, not {given!r}")
        settings = json.dumps(dict(given))
    LAUNCHERS.check(name)
    chosen = Backends(launcher=str(name), launcher_settings=settings)
    check_backends(chosen)
    return {"launcher": chosen.launcher, "launcher_settings": settings}


def transport_of(backends: Backends) -> str:
    """Return the transport of a new strategy; AUTO is the launcher's own one."""
    own = getattr(LAUNCHERS.load(backends.launcher), "transport", "ipc")
    return backends.settled(own).transport


def _with_settings(backends: Backends) -> Launcher:
    """Return the named launcher with its settings."""
    kind = LAUNCHERS.load(backends.launcher)
    if not hasattr(kind, "from_settings"):
        raise ConfigError(f"launcher {backends.launcher!r} has no settings: write its name only")
    made: Launcher = kind.from_settings(json.loads(backends.launcher_settings))
    return made


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
    used = _in_use.get()
    if used is not None:
        return used
    if backends.launcher_settings:
        return _with_settings(backends)
    return LAUNCHERS.make(backends.launcher)
