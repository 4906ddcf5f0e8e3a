"""The devices of a cluster: a name for each replica."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

DEFAULT_WORKERS: Final = 2


def cpus(count: int) -> tuple[str, ...]:
    """The names of so many devices, if nothing else is said of them."""
    return tuple(f"cpu:{i}" for i in range(count))


def problem_with(names: Sequence[object]) -> str:
    """Why these cannot be the devices of a cluster; "" if they can."""
    for number, name in enumerate(names, start=1):
        if not isinstance(name, str):
            return f"{name!r} is not possible: a device has a name, such as 'cpu:0'"
        if not name.strip():
            return f"name {number} of {len(names)} is empty: each replica's device needs a name"
        if len(name.split()) > 1 or name != name.strip():
            return f"{name!r} contains blanks: a name must not, and commas separate names"
        if name in names[: number - 1]:
            return f"{name!r} is given twice: each replica needs its own device"
    return ""
