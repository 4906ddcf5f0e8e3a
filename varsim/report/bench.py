"""What is known of a host that was measured: all that a report shows, and that `bench.json` holds.

Only plain values, as in `varsim.report.summary`.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from varsim.report.summary import Status

_ENOUGH_FOR_QUARTILES: Final = 4


class Quantity(StrEnum):
    """What was timed."""

    COPY = "copy"  # of memory, in the program's own process
    STAR = "bare star"  # every process gets a payload, and answers with one: ZeroMQ alone
    START = "start"  # of all workers, until they are ready
    STEP = "step"  # one strategy.run in which every replica writes one ON_WRITE MEAN variable
    READ_CHANGED = "read, changed"  # outside, of an ON_READ SUM variable that all have written
    READ_UNCHANGED = "read, unchanged"  # again, when nobody has written it since
    LOCAL_READ = "local read"  # of an ON_READ variable by its replica; nothing is sent
    LOCAL_WRITE = "local write"  # likewise


ALONE: Final = (Quantity.COPY, Quantity.LOCAL_READ, Quantity.LOCAL_WRITE)
"""What happens within one process, so that the number of workers does not matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Some seconds, measured several times."""

    median: float
    low: float  # the quartiles; minimum and maximum of fewer than four
    high: float
    count: int

    @staticmethod
    def of(seconds: Sequence[float]) -> Spread:
        """What describes a series of measurements."""
        low, high = min(seconds), max(seconds)
        if len(seconds) >= _ENOUGH_FOR_QUARTILES:
            low, _, high = statistics.quantiles(seconds, n=4, method="inclusive")
        median = statistics.median(seconds)
        return Spread(median=median, low=low, high=high, count=len(seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of a host."""

    quantity: Quantity
    workers: int  # or processes, of a bare star
    size_bytes: int  # of one value; 0 of a start
    seconds: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where it was measured, as far as the system tells."""

    host: str
    processor: str
    cores: int  # that this process may use
    memory_bytes: int | None
    system: str
    load_before: float | None  # processes that wanted to run, in the minute before


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One measurement of a host."""

    status: Status
    failure: str | None  # why it ended before its end
    started: str  # in ISO 8601, with the offset from UTC
    directory: str
    machine: Machine
    versions: dict[str, str]  # of varsim, and of what it stands on
    quick: bool
    took_s: float
    asked: int  # how many figures were to be measured
    left_out: list[str]  # what of it was not, and why, as a sentence
    figures: list[Figure]

    def seconds(self, quantity: Quantity, workers: int, size_bytes: int = 0) -> Spread | None:
        """One figure, if it was measured."""
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
        """The numbers of workers for which there is any figure of a cluster."""
        return sorted({f.workers for f in self.figures if f.quantity not in ALONE})

    @property
    def sizes(self) -> list[int]:
        """The sizes for which there is any figure."""
        return sorted({figure.size_bytes for figure in self.figures if figure.size_bytes})
