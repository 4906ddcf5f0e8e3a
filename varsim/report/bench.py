"""The measured times of a host: the content of `bench.json`, which the report shows.

JSON can hold all values, as in `varsim.report.summary`.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from varsim.report.summary import RunStatus

_ENOUGH_FOR_QUARTILES: Final = 4


class Quantity(StrEnum):
    """What is timed."""

    COPY = "copy"  # a copy of memory in the program's own process
    STAR = "bare star"  # ZeroMQ alone: each process receives a payload and sends one back
    START = "start"  # the start of all workers, until they are ready
    STEP = "step"  # one strategy.run in which each replica writes one ON_WRITE MEAN variable
    READ_CHANGED = "read, changed"  # a cross-replica read after a write on all replicas
    READ_UNCHANGED = "read, unchanged"  # the same read, without a write since the last read
    LOCAL_READ = "local read"  # a read of an ON_READ variable in a replica, which sends nothing
    LOCAL_WRITE = "local write"  # a write of an ON_READ variable in a replica, which sends nothing


ALONE: Final = (Quantity.COPY, Quantity.LOCAL_READ, Quantity.LOCAL_WRITE)
"""Quantities within one process; these times do not depend on the number of workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A duration in seconds, measured several times."""

    median: float
    low: float  # lower quartile; the minimum of fewer than four values
    high: float  # upper quartile; the maximum of fewer than four values
    count: int

    @staticmethod
    def of(seconds: Sequence[float]) -> Spread:
        """Summarise a series of measurements."""
        low, high = min(seconds), max(seconds)
        if len(seconds) >= _ENOUGH_FOR_QUARTILES:
            low, _, high = statistics.quantiles(seconds, n=4, method="inclusive")
        median = statistics.median(seconds)
        return Spread(median=median, low=low, high=high, count=len(seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of a host."""

    quantity: Quantity
    workers: int  # number of workers; for a bare star, number of its processes
    size_bytes: int  # size of one value; 0 for a start
    seconds: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The measured host, as far as its operating system describes it."""

    host: str
    processor: str
    cores: int  # number of cores that this process may use
    memory_bytes: int | None
    system: str
    load_before: float | None  # load average of the minute before the measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One measurement of a host."""

    status: RunStatus
    failure: str | None  # why the measurement ended early
    started: str  # in ISO 8601, with the offset from UTC
    directory: str
    machine: Machine
    versions: dict[str, str]  # of varsim and its dependencies
    quick: bool
    took_s: float
    asked: int  # number of figures that were planned
    left_out: list[str]  # sentences: which figures were not measured, and why
    figures: list[Figure]

    def seconds(self, quantity: Quantity, workers: int, size_bytes: int = 0) -> Spread | None:
        """Return one figure, or None if it was not measured."""
        for figure in self.figures:
            if (quantity, workers, size_bytes) == (
                figure.quantity,
                figure.workers,
                figure.size_bytes,
            ):
                return figure.seconds
        return None

    @property
    def workers(self) -> list[int]:
        """Return the numbers of workers for which a figure of a cluster was measured."""
        return sorted({f.workers for f in self.figures if f.quantity not in ALONE})

    @property
    def sizes(self) -> list[int]:
        """Return the sizes for which a figure was measured."""
        return sorted({figure.size_bytes for figure in self.figures if figure.size_bytes})
