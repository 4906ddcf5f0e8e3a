"""Random programs under LocalSGD, and a plain model of what their components must be.

Between two averages a write changes only the component of its replica. After the k-th write of each
replica since the last average, all components are their mean. The number of writes begins at 0
again after a failed call, and goes on after a restart of the workers. Writes of the program do not
change it. A join of replicas is refused.

`python -m tests.properties.local_sgd_programs` runs 3,000 programs, each in another order of
events, and has their records judged. `--count 40 --processes` runs 40 programs on real workers.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

import varsim as tf
from tests.judged import not_valid
from tests.properties.model import Array, mean_of
from tests.replica_context import replica_id
from varsim.analysis.outcome import Verdict
from varsim.errors import MismatchError, VarsimError, WorkerLost
from varsim.launch.link import Lost
from varsim.testing import SimulatedCluster, simulated_cluster
from varsim.tracing.trace import TraceOptions

ROWS: Final = 2
"""The number of rows of a variable; a row is one number."""

Change = tuple[str, float] | tuple[str, list[tuple[int, float]]]
"""A dense write of one value to all rows, or a sparse write of pairs of a row and its value."""

DENSE: Final = ("assign", "assign_add", "assign_add", "assign_sub")
SPARSE: Final = ("scatter_add", "scatter_mul", "scatter_max", "scatter_update")
BY_PROGRAM: Final = ("assign", "assign_add", "assign_add", "each", "read", "save", "restore")
OF_CLUSTER: Final = ("restart", "lose", "join", "absent")


def changed(before: Array, change: Change) -> Array:
    """Return a component after one write, computed row by row."""
    operation, operand = change
    everywhere = [(row, operand) for row in range(ROWS)]
    after = before.copy()
    for row, number in operand if isinstance(operand, list) else everywhere:
        value = np.float32(number)  # type: ignore[arg-type]
        after[row] = {
            "assign": value,
            "assign_add": after[row] + value,
            "assign_sub": after[row] - value,
            "scatter_add": after[row] + value,
            "scatter_mul": after[row] * value,
            "scatter_max": max(after[row], value),
            "scatter_update": value,
        }[operation]
    return after


def same(one: Array, other: Array) -> bool:
    """Return whether two components are equal; NaN equals NaN."""
    return bool(np.array_equal(one, other, equal_nan=True))


# ---------------------------------------------------------------- the model

Stage = list[list[tuple[int, Array]]]
"""For each replica: its numbers of writes in the call, and its component after these writes."""


class Components:
    """The components of one variable, and the numbers of writes since the last average."""

    def __init__(self, count: int, every: int) -> None:
        self.every = every
        self.now: list[Array] = [np.ones(ROWS, np.float32)] * count
        self.writes = [0] * count
        self.checkpoint = self.now, self.writes
        self.instead: list[Array] = []
        """What a new replica gets after a loss: of the last checkpoint or write of the program."""

    def stages(self, calls: Sequence[Sequence[Change]]) -> tuple[list[Stage], bool]:
        """Return the components during a call, from each average to the next.

        Args:
            calls: The writes of each replica.
        Returns:
            The stages, and whether the call can end: no replica waits for an average.
        """
        now, writes, done = [*self.now], [*self.writes], [0] * len(calls)
        stages: list[Stage] = []
        while True:
            stage: Stage = [[(done[i], now[i])] for i in range(len(calls))]
            stages.append(stage)
            for i, own in enumerate(calls):
                while done[i] < len(own) and writes[i] < self.every:
                    now[i] = changed(now[i], own[done[i]])
                    done[i], writes[i] = done[i] + 1, writes[i] + 1
                    stage[i].append((done[i], now[i]))
            if min(writes) < self.every:
                return stages, max(writes) < self.every
            now, writes = [mean_of(now)] * len(now), [0] * len(now)

    def end(self, stages: list[Stage], calls: Sequence[Sequence[Change]]) -> list[list[Array]]:
        """End a call without a failure; return what a read after each write has returned."""
        averages = len(stages) - 1
        self.now = [own[-1][1] for own in stages[-1]]
        self.writes = [
            before + len(own) - averages * self.every
            for before, own in zip(self.writes, calls, strict=True)
        ]
        return [
            [*dict(pair for stage in stages for pair in stage[i]).values()][1:]
            for i in range(len(calls))
        ]

    def fail(self, stages: list[Stage], found: list[Array], raised: tuple[int, int] | None) -> None:
        """End a call that has failed: check the components, and count from 0.

        All replicas have had the same averages. Each has made some of its writes.

        Args:
            raised: A replica that has raised an exception, and the number of its writes until then.
        """

        def is_possible(i: int, own: list[tuple[int, Array]]) -> bool:
            who, writes = raised or (None, 0)
            return any(same(found[i], one) for n, one in own if i != who or n == writes)

        assert any(all(is_possible(i, own) for i, own in enumerate(stage)) for stage in stages), (
            f"impossible after a failed call: {found}, not of {stages}"
        )
        self.now, self.writes = found, [0] * len(found)

    def set(self, values: list[Array]) -> None:
        """Store a write of the program, which changes no number of writes."""
        self.now = self.instead = values

    def save(self) -> None:
        """Store a checkpoint."""
        self.instead = self.now
        self.checkpoint = self.now, self.writes

    def restore(self) -> None:
        """Return to the last checkpoint, also to its numbers of writes."""
        self.set(self.checkpoint[0])
        self.writes = self.checkpoint[1]

    def lose(self, lost: int, found: list[Array], *, in_call: bool) -> None:
        """Check the components after the loss of a worker; the new replica counts as the others."""
        others = [i for i in range(len(found)) if i != lost]
        assert all(same(self.now[i], found[i]) for i in others)
        instead = self.instead[lost] if self.instead else mean_of([self.now[i] for i in others])
        assert any(same(one, found[lost]) for one in (self.now[lost], instead)), (found, instead)
        numbers = {self.writes[i] for i in others}
        number = numbers.pop() if len(numbers) == 1 and not in_call else 0
        self.now, self.writes = found, [number] * len(found)


# ---------------------------------------------------------------- programs


@dataclass(frozen=True)
class Call:
    """The writes of each replica, and the replica that raises an exception, if any."""

    writes: list[list[Change]]
    reads: bool  # whether the replicas read after each write
    raises: tuple[int, int] | None  # the replica, and the number of its writes before

    @property
    def is_even(self) -> bool:
        """Return whether all replicas write equally often."""
        return len({len(own) for own in self.writes}) == 1


@dataclass(frozen=True)
class Program:
    """A random program: calls, operations of the program, and restarts and losses of workers."""

    seed: int
    count: int
    every: tuple[int, int]  # of the variables v and u
    steps: list[Call | tuple[str, list[float]]]


def random_program(seed: int, *, largest: int = 5) -> Program:
    """Return a program with 2 to `largest` replicas."""
    rng = Random(seed)
    count = rng.randint(2, largest)
    steps: list[Call | tuple[str, list[float]]] = []
    for _ in range(rng.randint(4, 10)):
        if rng.random() < 0.6:
            steps.append(_random_call(rng, count))
        else:
            kind = rng.choice(BY_PROGRAM if rng.random() < 0.7 else OF_CLUSTER)
            steps.append((kind, [rng.randint(-8, 8) / 4 for _ in range(count)]))
    return Program(seed, count, (rng.choice([1, 2, 3, 3, 4]), rng.choice([1, 2, 3])), steps)


def _random_call(rng: Random, count: int) -> Call:
    lengths = [rng.randint(0, 6)] * count
    if rng.random() < 0.15:
        lengths[rng.randrange(count)] += rng.choice([1, 1, 4])
    writes = [[_random_change(rng) for _ in range(length)] for length in lengths]
    who = rng.randrange(count)
    raises = (who, rng.randint(0, lengths[who])) if rng.random() < 0.2 else None
    return Call(writes, rng.random() < 0.5, raises)


def _random_change(rng: Random) -> Change:
    if rng.random() < 0.7:
        return rng.choice(DENSE), rng.randint(-8, 8) / 4
    rows = [(rng.randrange(ROWS), rng.randint(-8, 8) / 4) for _ in range(rng.randint(0, 3))]
    return rng.choice(SPARSE), rows


class Stop(Exception):
    """A replica of a program raises it."""


def perform(
    variables: Sequence[tf.Variable],
    merged: tf.Variable | None,
    changes: Sequence[Change],
    raises: int | None,
    reads: bool,
) -> str:
    """Make the writes of one replica; return what it has read from the first variable, in hex."""
    seen = ""
    for number, (operation, operand) in enumerate(changes):
        if number == raises:
            raise Stop
        for v in variables:
            if isinstance(operand, list):
                indices = np.array([row for row, _ in operand], np.int64)
                values = np.array([value for _, value in operand], np.float32)
                getattr(v, operation)(tf.IndexedSlices(values, indices))
            else:
                getattr(v, operation)(np.full(ROWS, operand, np.float32), read_value=False)
        if merged is not None:  # its writes travel with the averages
            merged.assign_add(np.ones(ROWS, np.float32), read_value=False)
        if reads:
            seen += np.asarray(variables[0].read_value()).tobytes().hex()
    if raises is not None:
        raise Stop
    return seen


def join_one() -> None:
    """Let replica 0 join."""
    if replica_id() == 0:
        tf.distribute.get_replica_context().join()


def nothing(_: float) -> None:
    """Do nothing in a call without some replicas."""


def die(lost: int) -> None:
    """Kill the worker of a replica."""
    if replica_id() == lost:
        os.kill(os.getpid(), signal.SIGKILL)


class Run:
    """A running program: its strategy and variables, beside their models."""

    def __init__(
        self,
        program: Program,
        strategy: tf.distribute.MirroredStrategy,
        folder: Path,
        simulated: SimulatedCluster | None,
    ) -> None:
        self.program, self._strategy, self._folder = program, strategy, folder
        self._simulated = simulated
        self.counts: Counter[str] = Counter()
        self._checkpoint = ""
        self._models = [Components(program.count, every) for every in program.every]
        with strategy.scope():
            self._variables = [
                tf.Variable(np.ones(ROWS, "f"), name=name, synchronization=tf.LocalSGD(every))
                for name, every in zip("vu", program.every, strict=True)
            ]
            self._merged = tf.Variable(
                np.ones(ROWS, "f"), name="w", aggregation=tf.VariableAggregation.MEAN
            )

    def all(self) -> None:
        """Make all steps, and check the components after each."""
        for step in self.program.steps:
            if isinstance(step, Call):
                self._call(step)
            elif step[0] in BY_PROGRAM:
                self._by_program(*step)
            else:
                self._of_cluster(*step)
            for i, model in enumerate(self._models):
                found = self._found(i)
                assert all(map(same, found, model.now)), (step, found, model.now)

    def _found(self, index: int) -> list[Array]:
        return [np.array(one.read_value()) for one in self._variables[index].values]

    def _call(self, call: Call) -> None:
        """Run a call. After unequal writes of v, only v is written: the averages have an order."""
        is_even = call.is_even and len({*self._models[0].writes}) == 1
        models = self._models if is_even else self._models[:1]
        written = self._variables[: len(models)], self._merged if is_even else None
        who, at = call.raises or (None, 0)
        writes = [own[:at] if i == who else own for i, own in enumerate(call.writes)]
        both = [model.stages(writes) for model in models]
        ends = call.raises is None and all(can_end for _, can_end in both)
        raises = [at if i == who else None for i in range(self.program.count)]
        arguments = map(tf.distribute.PerReplica, (call.writes, raises))
        try:
            result = self._strategy.run(perform, (*written, *arguments, call.reads))
        except (Stop, MismatchError):
            if ends:
                raise
            self.counts["failed calls"] += 1
            for index, (model, (stages, _)) in enumerate(zip(models, both, strict=True)):
                # After unequal writes, a mismatch can end the call before the exception does.
                raised = call.raises if is_even else None
                model.fail(stages, self._found(index), raised)
            self._count_from_zero()
            return
        assert ends
        found = self._strategy.experimental_local_results(result)
        seen = [model.end(stages, writes) for model, (stages, _) in zip(models, both, strict=True)]
        self.counts["averages"] += sum(len(stages) - 1 for stages, _ in both)
        if call.reads:
            expected = ["".join(one.tobytes().hex() for one in own) for own in seen[0]]
            same_text = len(found) == 1  # then the strategy has one result
            assert expected == [*found] * (self.program.count if same_text else 1), (
                expected,
                found,
            )

    def _count_from_zero(self) -> None:
        for model in self._models:
            model.writes = [0] * self.program.count

    def _by_program(self, kind: str, numbers: list[float]) -> None:
        """Read or write all variables in cross-replica context, or save or restore them."""
        if kind == "save" or (kind == "restore" and not self._checkpoint):
            self._checkpoint = str(self._strategy.save(self._folder / "saved"))
            for model in self._models:
                model.save()
            return
        if kind == "restore":
            self._strategy.restore(self._checkpoint)
            for model in self._models:
                model.restore()
            return
        each = [np.full(ROWS, number, np.float32) for number in numbers]
        for v, model in zip(self._variables, self._models, strict=True):
            if kind == "read":
                assert same(np.array(v.read_value()), mean_of(model.now))
            elif kind == "assign":
                v.assign(each[0])
                model.set(each[:1] * len(each))
            elif kind == "each":
                v.assign(tf.distribute.PerReplica(each))
                model.set(each)
            elif kind == "assign_add":
                v.assign_add(each[0])
                model.set([one + each[0] for one in model.now])

    def _of_cluster(self, kind: str, numbers: list[float]) -> None:
        """Restart the workers, lose one of them, or try what is refused."""
        self.counts[kind] += 1
        count = self.program.count
        if kind == "restart":
            self._strategy.restart()
        elif kind == "join":
            with suppressed_but_raised(VarsimError):
                self._strategy.run(join_one)
            self._count_from_zero()
        elif kind == "absent":
            some = tf.distribute.PerReplica(numbers[1:], 1)
            with suppressed_but_raised(ValueError):
                self._strategy.run(nothing, (some,))
        else:
            one: list[Change] = [("assign_add", number) for number in numbers[:1]]
            self._call(Call([one] * count, reads=False, raises=None))  # nothing knows the values
            lost = round(4 * numbers[0]) % count
            in_call = self._lose(lost, in_call=numbers[1] > 0)
            for index, model in enumerate(self._models):
                model.lose(lost, self._found(index), in_call=in_call)

    def _lose(self, lost: int, *, in_call: bool) -> bool:
        """End a worker, and go on with a new one; return whether this has failed a call."""
        if self._simulated is None:
            with suppressed_but_raised(WorkerLost):
                self._strategy.run(die, (lost,))
            return True
        network = self._simulated.networks[-1]
        network.end(lost, "")
        network.from_worker(lost, [Lost("was killed by SIGKILL", "", "")])
        if in_call:
            with suppressed_but_raised(WorkerLost):
                self._strategy.run(nothing, (0.0,))
        else:
            self._strategy.restart()
        return in_call


@contextmanager
def suppressed_but_raised(expected: type[BaseException]) -> Iterator[None]:
    """Suppress an exception of the block, and fail if there is none."""
    try:
        yield
    except expected:
        return
    raise AssertionError(f"no {expected.__name__}")


Cluster = Callable[[int | None], AbstractContextManager[SimulatedCluster | None]]


def real_workers(_: int | None) -> AbstractContextManager[None]:
    """Use processes instead of a simulated cluster."""
    return nullcontext()


def record(program: Program, folder: Path, cluster: Cluster = simulated_cluster) -> Counter[str]:
    """Run a program with a trace; return what has happened.

    Args:
        cluster: Makes a simulated cluster for a seed; `real_workers` for processes.
    Raises:
        AssertionError: A component, or a value that was read, is not that of the model.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tf.VarsimWarning)
        with (
            cluster(program.seed if program.seed % 3 else None) as simulated,
            tf.distribute.MirroredStrategy(
                [f"cpu:{i}" for i in range(program.count)],
                trace=TraceOptions(folder),
                uneven="join",
                on_worker_lost="restart",
                max_restarts=20,
            ) as strategy,
        ):
            running = Run(program, strategy, folder, simulated)
            running.all()
    return running.counts


def verdicts(folder: Path) -> list[Verdict]:
    """Return the verdicts on the records of all incarnations that are not VALID."""
    folders = [folder, *folder.glob("incarnation-*")]
    return [one for each in folders for one in not_valid(each)]


def run(
    program: Program, cluster: Cluster = simulated_cluster
) -> tuple[Counter[str], list[Verdict]]:
    """Run a program; return what has happened, and the verdicts that are not VALID."""
    with TemporaryDirectory() as folder:
        counts = record(program, Path(folder), cluster)
        return counts, verdicts(Path(folder))


def main() -> int:
    """Run many programs, and print what has happened in them."""
    parser = argparse.ArgumentParser(prog="python -m tests.properties.local_sgd_programs")
    parser.add_argument("--count", type=int, default=3000, help="the number of programs")
    parser.add_argument("--processes", action="store_true", help="use real workers, at most 3")
    options = parser.parse_args()
    largest, cluster = (3, real_workers) if options.processes else (5, simulated_cluster)
    began_s, happened, failed = time.perf_counter(), Counter[str](), []
    for seed in range(options.count):
        try:
            counts, wrong = run(random_program(seed, largest=largest), cluster)
            happened += counts
        except AssertionError as error:
            failed.append((seed, str(error)))
        else:
            failed += [(seed, f"{one.checker}: {one.outcome} {one.reason}") for one in wrong]
    where = "processes" if options.processes else "the simulated cluster"
    print(f"local_sgd: {options.count:,} programs on {where}, with {dict(happened)}")
    print(f"{time.perf_counter() - began_s:.1f} s; failed: {failed[:10]}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
