"""Measure contenders side by side in one run, with medians and spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

TURN_S = 0.05  # long enough to make the switch negligible, short enough to interleave
MAX_STEPS = 50  # of one turn
MIN_ROUNDS = 5  # fewer do not show the spread

Name = TypeVar("Name", bound=Hashable)
Turn = Callable[[int], list[float]]
"""Takes so many steps, one after another, and returns the seconds of each."""


@dataclass(frozen=True, slots=True)
class Quartiles:
    """The median and the quartiles of some seconds."""

    median: float
    low: float  # the quartiles; minimum and maximum of fewer than four
    high: float
    count: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Quartiles:
        """Return the quartiles of a series of measurements."""
        if len(seconds) < 4:
            return cls(statistics.median(seconds), min(seconds), max(seconds), len(seconds))
        low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
        return cls(median, low, high, len(seconds))

    def times(self, factor: float) -> Quartiles:
        """Return the seconds multiplied by a factor."""
        return Quartiles(self.median * factor, self.low * factor, self.high * factor, self.count)

    def __str__(self) -> str:
        return f"{in_units(self.median)} ({in_units(self.low)} – {in_units(self.high)})"


@dataclass(frozen=True, slots=True)
class Ratio:
    """A median divided by another of the same run, and the largest value that it should have."""

    value: float
    target: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target."""
        return None if self.target is None else self.value <= self.target

    def __str__(self) -> str:
        shown = f"{self.value:.3g}×"
        if self.target is None:
            return shown
        return f"{shown} ({'met' if self.met else 'missed'}: ≤ {self.target:g})"


def in_units(seconds: float) -> str:
    """Return seconds as text, in a fitting unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def in_bytes(size_bytes: int) -> str:
    """Return a size as text, in a fitting unit."""
    for unit, size in (("MiB", 2**20), ("KiB", 2**10)):
        if size_bytes >= size:
            return f"{size_bytes / size:g} {unit}"
    return f"{size_bytes} B"


def timed(action: Callable[[], object]) -> float:
    """Run an action and return the seconds that it takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def turn_of(action: Callable[[], object]) -> Turn:
    """Return a function that takes turns with an action."""
    return lambda steps: [timed(action) for _ in range(steps)]


def side_by_side(
    contenders: Mapping[Name, Turn], *, rounds: int, budget_s: float
) -> dict[Name, Quartiles]:
    """Let the contenders take turns, so that a load on the machine affects all of them.

    A turn is a few steps one after another, about as many for each contender as fill `TURN_S`. If a
    turn has several, the first is not counted: it wakes processes that slept during the others'
    turns.

    Args:
        rounds: The number of turns of each; fewer, but `MIN_ROUNDS`, once `budget_s` is spent.
    """
    seconds: dict[Name, list[float]] = {name: [] for name in contenders}
    steps = {name: steps_that_fill_a_turn(turn) for name, turn in contenders.items()}
    start = time.perf_counter()
    for number in range(rounds):
        if number >= MIN_ROUNDS and time.perf_counter() - start > budget_s:
            break
        for name, turn in contenders.items():
            unfair = 1 if steps[name] > 1 else 0
            seconds[name] += turn(steps[name] + unfair)[unfair:]
    return {name: Quartiles.of(taken) for name, taken in seconds.items()}


def steps_that_fill_a_turn(turn: Turn) -> int:
    """Return how many steps of a contender fill `TURN_S`, after two that warm it up."""
    turn(2)  # imports, traces, first touches of memory
    return max(1, min(MAX_STEPS, int(TURN_S / turn(1)[0])))


def once_each(
    contenders: Mapping[Name, Callable[[], float]], *, rounds: int
) -> dict[Name, Quartiles]:
    """Let every contender measure itself once per round; for actions without warm-up (a start).

    Args:
        contenders: Each returns the seconds that it took.
    """
    seconds: dict[Name, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            seconds[name].append(contender())
    return {name: Quartiles.of(taken) for name, taken in seconds.items()}
