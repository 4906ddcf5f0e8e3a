"""Launcher "ray": an agent on each node of a Ray cluster, started by a Ray actor.

The program itself does not import Ray. A child process, the driver (`ray_driver.py`), connects to
the cluster: Ray's threads and signal handlers stay out of the program, and the driver sees at once
when the program is killed. The key of the cluster goes from the program to the driver through its
stdin, and from there to the actors as an argument of a method, over Ray's own connections.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from varsim.errors import ConfigError
from varsim.launch.host_checks import Check, State
from varsim.launch.launcher import LaunchOptions
from varsim.launch.remote.engines import END_S, EndedHost, Engine
from varsim.launch.remote.host_launcher import HostLauncher, split
from varsim.launch.remote.join_key import JoinKey
from varsim.launch.remote.ray_connection import RayDriver, ensure_ray
from varsim.launch.remote.settings import HostSettings
from varsim.nearest import did_you_mean
from varsim.texts.facts import times

PLACEMENTS: Final = ("spread", "pack")
"""How replicas are placed: on as many nodes as possible, or on as few."""

_ROOM: Final = "resources of Ray"  # the subject of a check

_RESERVE_SHARE: Final = 0.9
"""Share of the time for a start after which the driver says that Ray has not enough resources; the
program's own error, at the end of the time, knows less."""


@dataclass(frozen=True, slots=True)
class RaySettings(HostSettings):
    """Where a cluster runs in Ray.

    Args:
        hosts: The number of nodes, each with an equal share of the replicas; (): as Ray places the
            replicas.
        address: The address of the Ray cluster, as "ADDRESS:PORT"; "auto": RAY_ADDRESS, or the
            cluster of this machine; "local": a new one on this machine, which ends with the cluster
            of varsim.
        placement: "spread" or "pack".
        resources_per_worker: What Ray reserves for each replica.
        runtime_env: Ray's runtime environment of the agents.
    """

    address: str = "auto"
    placement: str = PLACEMENTS[0]
    resources_per_worker: Mapping[str, float] = field(default_factory=lambda: {"CPU": 1})
    runtime_env: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Return nothing: Ray chooses the nodes, also if there is a TF_CONFIG."""
        return ()

    @classmethod
    def setting_names(cls) -> list[str]:
        """Return the names of the settings that the launcher has."""
        own = ["address", "placement", "resources_per_worker", "runtime_env"]
        return [*own, "hosts", "listen", "start_timeout_s"]

    @classmethod
    def checked(cls, whose: str, name: str, value: Any) -> Any:
        """Return the value of a setting.

        Raises:
            ConfigError: The value is wrong.
        """
        if name == "start_timeout_s":
            return HostSettings.checked(whose, name, value)
        expected = ""
        if name == "placement" and value not in PLACEMENTS:
            near = did_you_mean(value, PLACEMENTS) if isinstance(value, str) else ""
            expected = f"{' or '.join(PLACEMENTS)}{near}"
        elif name == "hosts" and (not isinstance(value, int) or value is True or value < 1):
            expected = "the number of nodes: Ray chooses which ones"
        elif name == "resources_per_worker" and not _are_resources(value):
            expected = "a mapping of resources to positive numbers, such as {CPU: 1}"
        elif name == "runtime_env" and not isinstance(value, Mapping):
            expected = "a mapping, such as {pip: [numpy]}"
        elif name in ("address", "listen") and (not isinstance(value, str) or not value):
            expected = "a text, such as 203.0.113.1:6379"
        if expected:
            raise ConfigError(f"{whose}: {name} is {value!r}, and must be {expected}")
        return value


def _are_resources(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(
            isinstance(name, str)
            and isinstance(amount, (int, float))
            and not isinstance(amount, bool)
            and 0 < amount < float("inf")
            for name, amount in value.items()
        )
    )


class RayLauncher(HostLauncher):
    """Starts one actor on each node, in a placement group with a place for each replica."""

    name = "ray"
    settings_type = RaySettings

    def __init__(self, settings: HostSettings | None = None) -> None:
        super().__init__(RaySettings() if settings is None else settings)

    def engine(self, options: LaunchOptions, folder: Path, deadline_s: float) -> Engine:  # noqa: ARG002  # of the base class
        """Return the engine, connected to the Ray cluster.

        Raises:
            ConfigError: Ray is not installed, or too old; there are more nodes than replicas.
            StartError: Ray cannot be reached.
        """
        ensure_ray("launcher 'ray'")
        assert isinstance(self.settings, RaySettings), "from_settings has made them"
        counts = _bundles(len(options.devices), self.settings.number)
        return RayEngine(self.settings, counts, deadline_s)

    def engine_everywhere(self, folder: Path, deadline_s: float) -> Engine:  # noqa: ARG002  # of the base class
        """Return an engine that starts an agent on each node, and reserves nothing.

        Raises:
            ConfigError: Ray is not installed, or too old.
            StartError: Ray cannot be reached.
        """
        ensure_ray("launcher 'ray'")
        assert isinstance(self.settings, RaySettings), "from_settings has made them"
        return RayEngine(self.settings, None, deadline_s)


def _bundles(num_replicas: int, num_hosts: int | None) -> list[int]:
    """Return the number of replicas in each bundle of the placement group.

    With a number of nodes, each node gets one bundle. Otherwise each replica gets one.
    """
    if num_hosts is None:
        return [1] * num_replicas
    if num_hosts > num_replicas:
        raise ConfigError(
            f"{times(num_replicas, 'worker')} on {num_hosts} hosts: use at most as many hosts as "
            "workers"
        )
    return [len(one) for one in split(num_replicas, num_hosts)]


class RayEngine:
    """The agents of a cluster in Ray, seen by a driver."""

    def __init__(self, settings: RaySettings, counts: list[int] | None, deadline_s: float) -> None:
        """Start the driver, and wait until it has connected to the Ray cluster.

        Args:
            counts: The number of replicas in each bundle of the placement group; None: an agent on
                each node, without a reservation.
            deadline_s: Until when the cluster must have started.
        Raises:
            StartError: Ray cannot be reached.
        """
        self.shares: tuple[int, ...] = ()
        self.names: tuple[str, ...] = ()
        self._resources = dict(settings.resources_per_worker)
        self._free: dict[str, float] = {}
        self._total: dict[str, float] = {}  # {} if not known
        self._deadline_s = deadline_s
        request = {
            "serves": "agents",
            "address": settings.address,
            "strategy": "STRICT_SPREAD" if settings.number else settings.placement.upper(),
            "bundles": counts,
            "resources": self._resources,
            "runtime_env": dict(settings.runtime_env),
        }
        self._driver = RayDriver(request, deadline_s)
        self.outputs = self._driver.outputs
        try:
            self.endpoints = settings.endpoints(self._driver.address)
        except BaseException:
            self.end(0.0)
            raise

    def start(self, endpoint: str, key: JoinKey) -> None:
        """Let the driver reserve places for the replicas, and start an agent on each node."""
        left_s = max(0.0, self._deadline_s - time.monotonic())
        request = {
            "endpoint": endpoint,
            "key": key.to_line(),
            "reserve_s": left_s * _RESERVE_SHARE,
        }
        self._driver.tell(request)

    def ended(self) -> list[EndedHost]:
        """Return the nodes that have ended since the last call, as the driver reports."""
        ended = []
        for report in self._driver.reports():
            if "shares" in report:
                self.shares = tuple(report["shares"])
                self.names = tuple(report["names"])
                self._free, self._total = report.get("free", {}), report.get("total", {})
            else:
                ended.append(EndedHost(report.get("rank"), report["ended"]))
        return ended

    def room(self, num_workers: int) -> list[Check]:
        """Return whether Ray's nodes have, and have free, what so many workers reserve."""
        if not self._total:
            return []
        needed = {name: one * num_workers for name, one in self._resources.items()}
        return [_room(num_workers, needed, self._free, self._total)]

    def lose(self, host: int | None) -> None:
        """Do nothing: Ray ends actors on nodes that it does not reach."""

    def end(self, timeout_s: float = END_S) -> None:
        """Let the driver end, and with it all actors."""
        self._driver.end(timeout_s)


def _room(
    num_workers: int,
    needed: Mapping[str, float],
    free: Mapping[str, float],
    total: Mapping[str, float],
) -> Check:
    """Return whether a Ray cluster has what workers reserve."""
    found = ", ".join(
        f"{free.get(name, 0):g} of {total.get(name, 0):g} {name} free, and {num_workers} workers "
        f"reserve {amount:g}"
        for name, amount in needed.items()
    )
    if any(total.get(name, 0) < amount for name, amount in needed.items()):
        remedy = "start more nodes, or reserve less for each worker (resources_per_worker)"
    elif any(free.get(name, 0) < amount for name, amount in needed.items()):
        remedy = "wait for the other programs on this cluster, or reserve less for each worker"
    else:
        return Check(_ROOM, State.OK, found)
    return Check(_ROOM, State.PROBLEM, found, remedy)
