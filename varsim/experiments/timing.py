"""How a host is timed: contenders take turns, so that what else the host does happens to all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

_TURN_S: Final = 0.01  # long enough to drown what waking up costs, short enough to alternate
_MAX_TURN: Final = 20  # samples
_FEWEST_ROUNDS: Final = 3  # fewer say nothing about the spread

Name = TypeVar("Name")
Sample = Callable[[], Sequence[float]]
"""Does its work once, and says how many seconds each part of it took."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long contenders take turns."""

    seconds: float  # for all of them together; more if `_FEWEST_ROUNDS` take longer
    deadline_s: float  # on the clock of `now_s`: from then on only what was begun is ended

    @property
    def over(self) -> bool:
        """Whether nothing more is to be begun."""
        return now_s() >= self.deadline_s


def now_s() -> float:
    """The time on a steady clock."""
    return time.perf_counter()


def timed(action: Callable[[], object]) -> float:
    """How many seconds an action takes."""
    began_s = now_s()
    action()
    return now_s() - began_s


def once(action: Callable[[], object]) -> Sample:
    """A contender of one part."""
    return lambda: (timed(action),)


def per_call(action: Callable[[], object], limit_s: float) -> float:
    """Mean seconds of an action so short that only many together can be timed."""
    action()
    first_s = timed(action)
    times = range(max(1, min(1000, int(limit_s / max(first_s, 1e-9)))))
    loop_s = timed(lambda: [None for _ in times])
    return max(0.0, timed(lambda: [action() for _ in times]) - loop_s) / len(times) or first_s


def take_turns(contenders: Mapping[Name, Sample], effort: Effort) -> dict[Name, list[list[float]]]:
    """For each contender, the seconds of each of its parts, in order.

    The first sample of a turn wakes processes that have slept through the others' turns, and is
    not counted if there are more.
    """
    counts = {name: _per_turn(sample) for name, sample in contenders.items()}
    taken: dict[Name, list[Sequence[float]]] = {name: [] for name in contenders}
    began_s, rounds = now_s(), 0
    while rounds < _FEWEST_ROUNDS or now_s() - began_s < effort.seconds:
        for name, sample in contenders.items():
            unfair = 1 if counts[name] > 1 else 0
            taken[name] += [sample() for _ in range(counts[name] + unfair)][unfair:]
        rounds += 1
        if effort.over:
            break
    return {name: [list(part) for part in zip(*rows, strict=True)] for name, rows in taken.items()}


def _per_turn(sample: Sample) -> int:
    sample()  # imports, first touches of memory
    return max(1, min(_MAX_TURN, int(_TURN_S / timed(sample))))
