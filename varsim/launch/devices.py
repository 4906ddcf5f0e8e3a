"""Name the devices of a cluster, one per replica, from a list, a text or the environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from varsim import environment

DEFAULT_WORKERS: Final = 2

MAX_WORKERS: Final = environment.MAX_REPLICAS
"""Largest number of workers. A larger number is a mistake: one machine could not run them well."""


def cpus(count: int) -> tuple[str, ...]:
    """Return the default names of `count` devices: cpu:0, cpu:1 and so on."""
    return tuple(f"cpu:{i}" for i in range(count))


def default_devices() -> tuple[str, ...]:
    """Return the default devices of a strategy. VARSIM_WORKERS sets their number.

    Raises:
        ConfigError: VARSIM_WORKERS is not a number of workers.
    """
    return cpus(workers_of_environment() or DEFAULT_WORKERS)


def workers_of_environment() -> int | None:
    """Return the number of workers from VARSIM_WORKERS; None if the variable is not set.

    Raises:
        ConfigError: VARSIM_WORKERS is not a number of workers.
    """
    must_be = f"a number from 1 to {MAX_WORKERS}"
    return environment.whole_number(environment.WORKERS, must_be, 1, MAX_WORKERS)


def split_names(text: str) -> list[str]:
    """Split a text at its commas into names; do not check the names."""
    return [name.strip() for name in text.split(",")]


def problem_with(names: Sequence[object]) -> str:
    """Return why a cluster cannot have devices with these names; "" if it can."""
    if not names:
        return "a cluster needs at least one device"
    if len(names) > MAX_WORKERS:
        return f"a cluster can have at most {MAX_WORKERS} devices, not {len(names)}"
    for number, name in enumerate(names, start=1):
        if not isinstance(name, str):
            return f"invalid name {name!r}: expected a text such as 'cpu:0'"
        if not name.strip():
            return f"name {number} of {len(names)} is empty: each replica's device needs a name"
        if len(name.split()) > 1 or name != name.strip():
            return f"{name!r} contains blanks: names have no blanks, and are separated by commas"
        if name in names[: number - 1]:
            return f"duplicate device {name!r}: each replica needs its own device"
    return ""


def host_of(name: str) -> str:
    """Return the host in the name of a device: "node1" for "node1/gpu:0"; "" for "gpu:0"."""
    return name.rpartition("/")[0]


def place_on_host(devices: Sequence[str], replica_id: int) -> tuple[int, int]:
    """Return a replica's number among the replicas of its host, and how many these are.

    Args:
        devices: The device of each replica.
    """
    hosts = [host_of(device) for device in devices]
    own = hosts[replica_id]
    return hosts[:replica_id].count(own), hosts.count(own)


def kind_of(name: str) -> str:
    """Return the kind of a device in lower case: "gpu" for "gpu:0" and for "node1/device:GPU:0"."""
    device = name.rpartition("/")[2].lower().removeprefix("device:")
    return device.partition(":")[0]
