"""Measure contenders side by side in one run, with medians and spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

TURN_S = 0.05  # a switch between contenders takes much less; a round is still short
MAX_STEPS = 50  # largest number of steps of a turn
MIN_ROUNDS = 5  # fewer rounds do not show the spread

Name = TypeVar("Name", bound=Hashable)
Turn = Callable[[int], list[float]]
"""A function that takes a number of steps, and returns the seconds of each step."""


@dataclass(frozen=True, slots=True)
class Quartiles:
    """The median and the quartiles of a series of durations in seconds."""

    median: float
    low: float  # lower quartile; the minimum of fewer than four values
    high: float  # upper quartile; the maximum of fewer than four values
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
    """A median divided by another median of the same run, and the largest value allowed for it."""

    value: float
    target: float | None = None

    @property
    def met(self) -> bool | None:
        """Return whether the target is met; None without a target."""
        return None if self.target is None else self.value <= self.target

    def __str__(self) -> str:
        shown = f"{self.value:.3g}×"
        if self.target is None:
            return shown
        return f"{shown} ({'met' if self.met else 'missed'}: ≤ {self.target:g})"


def in_units(seconds: float) -> str:
    """Return seconds as text, in a suitable unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def in_bytes(size_bytes: int) -> str:
    """Return a size as text, in a suitable unit."""
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
    """Return a turn in which each step runs the action once."""
    return lambda steps: [timed(action) for _ in range(steps)]


def side_by_side(
    contenders: Mapping[Name, Turn], *, rounds: int, budget_s: float
) -> dict[Name, Quartiles]:
    """Let the contenders take turns, so that a load on the machine affects all of them.

    A turn is several steps in a row that together take about `TURN_S`. If a turn has several
    steps, the first step is not counted, because it wakes processes that slept during other turns.

    Args:
        rounds: The number of turns of each contender.
        budget_s: After this time no further round begins. The first `MIN_ROUNDS` rounds
            always take place.
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
    """Return how many steps of a contender fill `TURN_S`, after two steps as a warm-up."""
    turn(2)  # imports, traces, first touches of memory
    return max(1, min(MAX_STEPS, int(TURN_S / turn(1)[0])))


def once_each(
    contenders: Mapping[Name, Callable[[], float]], *, rounds: int
) -> dict[Name, Quartiles]:
    """Let every contender measure itself once per round.

    Use this for actions without a warm-up, such as a start.

    Args:
        contenders: Functions that return the seconds that they took.
    """
    seconds: dict[Name, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            seconds[name].append(contender())
    return {name: Quartiles.of(taken) for name, taken in seconds.items()}
