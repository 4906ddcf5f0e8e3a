"""Choose the unit of an axis, so that its labels are short."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Unit(NamedTuple):
    """A unit of an axis: a number divided by `size` is in this unit."""

    name: str
    size: float


def byte_unit(largest: float) -> Unit:
    """Return the unit for sizes in bytes, of which one is the largest."""
    return _unit(largest, [("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10), ("B", 1)])


def time_unit(largest: float) -> Unit:
    """Return the unit for times in seconds, of which one is the largest."""
    return _unit(largest, [("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)])


def _unit(largest: float, units: Iterable[tuple[str, float]]) -> Unit:
    every = [Unit(*one) for one in units]
    return next((one for one in every if largest >= one.size), every[-1])
