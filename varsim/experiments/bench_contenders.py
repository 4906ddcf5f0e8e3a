"""Define the contenders that `varsim bench` times on a host, and time them in turns.

Because the contenders take turns, a load on the host affects all of them. At the end, each
contender checks its result, because the time of a wrong result has no meaning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import numpy as np

import varsim as tf

# ---------------------------------------------------------------- turns

_TURN_S: Final = 0.01  # long enough to make the wake-up negligible, short enough to alternate
_MAX_TURN: Final = 20  # largest number of samples in a turn
_FEWEST_ROUNDS: Final = 3  # fewer rounds do not show the spread

Name = TypeVar("Name")
Sample = Callable[[], Sequence[float]]
"""A function that does a contender's work a single time, and returns the seconds of each part."""


@dataclass(frozen=True, slots=True)
class Effort:
    """The time that contenders have for their turns."""

    seconds: float  # time for all contenders together; more if `_FEWEST_ROUNDS` take longer
    deadline_s: float  # no round begins after this time, on the clock of `now_s`

    @property
    def over(self) -> bool:
        """Return whether the deadline has passed."""
        return now_s() >= self.deadline_s


def now_s() -> float:
    """Return the time of a monotonic clock."""
    return time.perf_counter()


def timed(action: Callable[[], object]) -> float:
    """Run an action and return the seconds that it takes."""
    began_s = now_s()
    action()
    return now_s() - began_s


def once(action: Callable[[], object]) -> Sample:
    """Return a contender with one part."""
    return lambda: (timed(action),)


def per_call(action: Callable[[], object], limit_s: float) -> float:
    """Return the mean seconds of an action that is too short to be timed alone."""
    action()
    first_s = timed(action)
    times = range(max(1, min(1000, int(limit_s / max(first_s, 1e-9)))))
    loop_s = timed(lambda: [None for _ in times])
    return max(0.0, timed(lambda: [action() for _ in times]) - loop_s) / len(times) or first_s


def take_turns(contenders: Mapping[Name, Sample], effort: Effort) -> dict[Name, list[list[float]]]:
    """Return the seconds of each part of each contender.

    The first sample of a turn wakes processes that slept during other contenders' turns. If the
    turn has more samples, the first sample is not counted.
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
    sample()  # warm up: imports, and first accesses to memory
    return max(1, min(_MAX_TURN, int(_TURN_S / timed(sample))))


# ---------------------------------------------------------------- contenders

_LOCAL_S = 0.004  # time for the repetitions of an operation that is too short to be timed alone
_FLOAT_BYTES = 4


def copies(size_bytes: int) -> Sample:
    """Return a contender that copies memory; small copies may stay in the caches."""
    here = np.ones(size_bytes, np.uint8)
    there = np.zeros_like(here)
    return lambda: (per_call(partial(np.copyto, there, here), _LOCAL_S),)


class StepContender:
    """A step: one `strategy.run` in which every replica writes an ON_WRITE MEAN variable."""

    def __init__(self, strategy: tf.distribute.MirroredStrategy, size_bytes: int) -> None:
        shape = (size_bytes // _FLOAT_BYTES,)
        with strategy.scope():
            self._variable = tf.Variable(
                np.zeros(shape, np.float32),
                synchronization=tf.VariableSynchronization.ON_WRITE,
                aggregation=tf.VariableAggregation.MEAN,
            )
        self._strategy = strategy
        self._step = _writing(self._variable, shape)
        self._done = 0
        self.sample = once(self._run)

    def _run(self) -> None:
        self._strategy.run(self._step)
        self._done += 1

    def check(self) -> None:
        """Assert that every step has added the mean of 1…N."""
        mean = (self._strategy.num_replicas_in_sync + 1) / 2
        _same(self._done * mean, self._variable.numpy())


class ReadContender:
    """Two cross-replica reads of an ON_READ SUM variable, after all replicas have written it."""

    def __init__(self, strategy: tf.distribute.MirroredStrategy, size_bytes: int) -> None:
        shape = (size_bytes // _FLOAT_BYTES,)
        self._variable = counter(strategy, size_bytes)
        self._strategy = strategy
        self._write = _writing(self._variable, shape)
        self._done = 0

    def sample(self) -> tuple[float, float]:
        """Return the seconds of the two reads; the write before the reads is not timed."""
        self._strategy.run(self._write)
        self._done += 1
        return timed(self._variable.read_value), timed(self._variable.read_value)

    def check(self) -> None:
        """Assert that every write has added 1…N."""
        replicas = self._strategy.num_replicas_in_sync
        _same(self._done * replicas * (replicas + 1) / 2, self._variable.numpy())


def counter(strategy: tf.distribute.MirroredStrategy, size_bytes: int) -> tf.Variable:
    """Create an ON_READ SUM variable of zeros."""
    with strategy.scope():
        return tf.Variable(
            np.zeros((size_bytes // _FLOAT_BYTES,), np.float32),
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )


def local(strategy: tf.distribute.MirroredStrategy, size_bytes: int) -> Sample:
    """Return a contender in which the first replica reads and writes an ON_READ variable."""
    variable, length = counter(strategy, size_bytes), size_bytes // _FLOAT_BYTES

    def operate() -> tuple[float, float]:
        if _replica_number() > 1:
            return 0.0, 0.0
        ones = np.ones(length, np.float32)
        return (
            per_call(variable.read_value, _LOCAL_S),
            per_call(partial(variable.assign_add, ones), _LOCAL_S),
        )

    shipped = tf.function(operate)

    def sample() -> tuple[float, float]:
        read_s, write_s = strategy.run(shipped)
        first = strategy.experimental_local_results
        return float(first(read_s)[0]), float(first(write_s)[0])

    return sample


def _writing(variable: tf.Variable, shape: tuple[int, ...]) -> Callable[[], None]:
    """Return a function that adds i + 1 on replica i, and that is sent to the workers only once."""
    updates: dict[float, np.ndarray] = {}  # each replica makes and keeps its own update

    def write() -> None:
        number = _replica_number()
        if number not in updates:
            updates[number] = np.full(shape, number, np.float32)
        variable.assign_add(updates[number])

    shipped: Callable[[], None] = tf.function(write)
    return shipped


def _replica_number() -> float:
    context = tf.distribute.get_replica_context()
    assert context is not None
    return float(context.replica_id_in_sync_group) + 1.0


def _same(expected: float, found: np.ndarray) -> None:
    ends = found[:1], found[-1:]
    assert all(np.allclose(expected, end) for end in ends), f"{ends} is not {expected}"
