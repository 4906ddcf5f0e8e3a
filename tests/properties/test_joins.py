"""Random programs in which replicas join give the values of a plain model, or an error.

Each replica has another number of batches, and joins after its last one; then all of them continue.
The model says whether such a program can end: the simulated cluster must then give the same values,
and otherwise an error, at once and in any order of messages. The judge must find both VALID.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.effort import many, thorough
from tests.replica_context import replica_id
from varsim.analysis.outcome import Outcome
from varsim.analysis.verdict import judge
from varsim.errors import DeadlockError, MismatchError
from varsim.testing import simulated_cluster
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

PROGRAMS = 50
"""The number of programs in `make test`, and of others in `make check`; each runs in the order of
another seed."""

NONE, ON_WRITE = tf.VariableSynchronization.NONE, tf.VariableSynchronization.ON_WRITE
Aggregation = tf.VariableAggregation

WITHOUT_JOINED = ("SUM", "MEAN", "weighted", "add", "add unread", "mean", "mean unread", "barrier")
"""Operations that are possible without the replicas that have joined."""

NEEDING_ALL = ("MAX", "gather", "group", "first", "sync", "merge_call")
"""Operations that need every replica; `group` needs the replicas 0 and 1, and `first` replica 0."""

_WITHOUT_POSITION = ("group", "barrier")
"""Operations that are no collectives of all replicas."""


@dataclass(frozen=True)
class Program:
    """The operations of each replica in each epoch; a join follows at the end of each epoch."""

    count: int
    epochs: tuple[tuple[tuple[str, ...], ...], ...]  # epoch → replica → operations
    ends_early: int | None  # a replica whose function ends before its last join


def random_program(number: int) -> Program:
    chooser = random.Random(number)
    count = chooser.randint(2, 4)
    epochs = []
    for _ in range(chooser.randint(1, 3)):
        common = [chooser.choice(WITHOUT_JOINED) for _ in range(chooser.randint(1, 6))]
        if chooser.random() < 0.4:
            needing_all = [one for one in NEEDING_ALL if count > 2 or one != "group"]
            common[chooser.randrange(len(common))] = chooser.choice(needing_all)
        epochs.append(tuple(tuple(common[: chooser.randint(0, len(common))]) for _ in range(count)))
    ends_early = chooser.randrange(count) if chooser.random() < 0.1 else None
    return Program(count, tuple(epochs), ends_early)


def value_of(replica: int, step: int) -> np.float64:
    return np.float64(2**replica + 8 * step)


# ---------------------------------------------------------------- the model


class Model:
    """What the replicas of a program see; `None` in a result stands for a program without end."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.total = 0.0
        self.mean = 0.0

    def run(self, program: Program) -> list[list[float]] | None:
        """Return the values that each replica sees."""
        seen: list[list[float]] = [[] for _ in range(self.count)]
        for epoch in program.epochs:
            longest = max(map(len, epoch))
            for step in range(longest):
                here = [i for i, own in enumerate(epoch) if len(own) > step]
                what = epoch[here[0]][step]
                if not self.is_possible(what, here):
                    return None
                result = self.result(what, here, [value_of(i, step) for i in here])
                for i in here:
                    seen[i] += [] if result is None else [result]
            took = [[what not in _WITHOUT_POSITION for what in own].count(True) for own in epoch]
            last = max(i for i, own in enumerate(took) if own == max(took))
            for own in seen:
                own.append(float(last))
        for own in seen:
            own += [self.total, self.mean]
        return None if program.ends_early is not None else seen

    def is_possible(self, what: str, here: list[int]) -> bool:
        if what == "first":
            return 0 in here
        if what == "group":
            return len({0, 1} & {*here}) != 1
        return what in WITHOUT_JOINED or len(here) == self.count

    def result(self, what: str, here: list[int], given: list[np.float64]) -> float | None:
        sum_ = float(reduce(np.add, given))
        match what:
            case "SUM":
                return sum_
            case "MEAN":
                return sum_ / self.count
            case "weighted":
                weights = [i + 1 for i in here]
                return float(np.dot(given, weights) / sum(weights))
            case "add" | "add unread":
                self.total += sum_
                return self.total if what == "add" else None
            case "mean" | "mean unread":
                self.mean += sum_ / len(given)
                return self.mean if what == "mean" else None
        return None


# ---------------------------------------------------------------- the simulated cluster


def simulated(program: Program, seed: int, folder: Path) -> list[list[float]] | None:
    """Return the values that each replica sees; None if the call fails."""
    seen: list[list[float]] = [[] for _ in range(program.count)]
    with simulated_cluster(seed):
        devices = [f"cpu:{i}" for i in range(program.count)]
        strategy = tf.distribute.MirroredStrategy(devices, trace=TraceOptions(folder))
        do = operations(strategy)

        def step() -> None:
            context, own = tf.distribute.get_replica_context(), seen[replica_id()]
            for number, epoch in enumerate(program.epochs, 1):
                for index, what in enumerate(epoch[replica_id()]):
                    result = do(what, value_of(replica_id(), index), context)
                    own.extend([] if result is None else [float(result)])
                if number == len(program.epochs) and replica_id() == program.ends_early:
                    return
                own.append(float(context.join()))
            own.extend(float(do(what, np.float64(), context)) for what in ("add", "mean"))

        try:
            strategy.run(step)
        except (MismatchError, DeadlockError) as error:
            return None if "test_joins.py:" in str(error) else [[]]  # an error has locations
        finally:
            strategy.close()
    return seen


def operations(strategy: Any) -> Callable[[str, np.float64, Any], Any]:
    """Return a function that does an operation on the calling replica, and returns its result."""
    pair = strategy.group([0, 1])
    with strategy.scope():
        total = tf.Variable(np.zeros(()), synchronization=ON_WRITE, aggregation=Aggregation.SUM)
        mean = tf.Variable(np.zeros(()), synchronization=ON_WRITE, aggregation=Aggregation.MEAN)
        first = tf.Variable(
            np.zeros(()), synchronization=ON_WRITE, aggregation=Aggregation.ONLY_FIRST_REPLICA
        )
        own = tf.Variable(np.zeros(()), synchronization=NONE)

    def do(what: str, value: np.float64, context: Any) -> Any:
        match what:
            case "SUM" | "MEAN":
                return context.all_reduce(what, value)
            case "weighted":
                return context.all_reduce("MEAN", value, weight=replica_id() + 1)
            case "add" | "add unread":
                total.assign_add(value, read_value=False)
                return total.read_value() if what == "add" else None
            case "mean" | "mean unread":
                mean.assign_add(value, read_value=False)
                return mean.read_value() if what == "mean" else None
            case "MAX":
                context.all_reduce("MAX", value)
            case "gather":
                context.all_gather(np.array([value]), axis=0)
            case "group" if replica_id() in pair:
                context.all_reduce("SUM", value, group=pair)
            case "barrier":
                context.barrier()
            case "first":
                first.assign(value)
            case "sync":
                own.sync("MEAN")
            case "merge_call":
                context.merge_call(lambda _: None)
        return None

    return do


def check(numbers: Iterable[int]) -> Counter[bool]:
    """Compare the programs with the model; return how many end, and how many cannot."""
    outcomes = Counter[bool]()
    for number in numbers:
        program = random_program(number)
        expected = Model(program.count).run(program)
        with TemporaryDirectory() as folder:
            got = simulated(program, number, Path(folder))
            merge(Path(folder), Path(folder))
            with open_history(Path(folder)) as history:
                verdicts = judge(history)
        outcomes[expected is not None] += 1
        assert expected == got, (number, program)
        wrong = [one for one in verdicts if one.outcome is not Outcome.VALID]
        assert [] == wrong, (number, program)
    return outcomes


@pytest.mark.filterwarnings("ignore::varsim.VarsimWarning")
@pytest.mark.parametrize("first", [0, thorough(PROGRAMS)])
def test_programs_with_joins_give_the_values_of_the_model(first: int) -> None:
    outcomes = check(range(first, first + PROGRAMS))

    assert outcomes[True] > PROGRAMS / 2
    assert outcomes[False] > PROGRAMS / 5


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore::varsim.VarsimWarning")
@pytest.mark.parametrize("part", range(4))
def test_thousands_of_programs_with_joins_give_the_values_of_the_model(part: int) -> None:
    count = many(500)
    first = 2 * PROGRAMS + part * count
    check(range(first, first + count))
