"""Run varsim from one checkout, as a peer of varsim from another checkout.

The arguments are the folder from which varsim must be imported, the number of workers, and `ops` if
the run is recorded at this level. The program uses only the public interface and the options of a
record, so it runs with any commit that has these.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

import varsim as tf
from benchmarks.peers.member import Step, check, serve
from varsim.tracing.trace import TraceOptions
from varsim.workloads import digits

STEPS_BEFORE = 3  # number of steps that are checked before the measurement
LIMIT_BYTES = 2**33  # so large that no trace reaches it

Synchronization = tf.VariableSynchronization
Aggregation = tf.VariableAggregation


def variables(
    strategy: tf.distribute.Strategy,
    count: int,
    size: int,
    synchronization: tf.VariableSynchronization = Synchronization.ON_WRITE,
    aggregation: tf.VariableAggregation = Aggregation.MEAN,
) -> list[tf.Variable]:
    """Create variables of float32 zeros with `size` elements each; scalars if `size` is 0."""
    zeros = np.zeros((size,) if size else (), np.float32)
    with strategy.scope():
        return [
            tf.Variable(zeros, synchronization=synchronization, aggregation=aggregation)
            for _ in range(count)
        ]


def replica_step(written: list[tf.Variable]) -> Callable[[], None]:
    """Return a function in which a replica adds its number, counted from 1, to each variable."""
    shape = written[0].numpy().shape
    gradients: list[np.ndarray] = []

    def step() -> None:
        if not gradients:
            context = tf.distribute.get_replica_context()
            assert context is not None
            number = float(context.replica_id_in_sync_group) + 1.0
            gradients.append(np.full(shape, number, np.float32))
        (gradient,) = gradients
        for variable in written:
            variable.assign_add(gradient)

    shipped: Callable[[], None] = tf.function(step)
    return shipped


def writes(strategy: tf.distribute.Strategy, count: int, size: int) -> tuple[Step, float]:
    """Return a step that writes `count` ON_WRITE MEAN variables, and the number that it adds."""
    written = variables(strategy, count, size)
    step = replica_step(written)

    def run() -> object:
        strategy.run(step)
        return written[-1]

    return run, (strategy.num_replicas_in_sync + 1) / 2


def reads(strategy: tf.distribute.Strategy, size: int) -> tuple[Step, float]:
    """Return a step whose replicas write an ON_READ SUM variable that the program then reads."""
    count = strategy.num_replicas_in_sync
    (written,) = variables(strategy, 1, size, Synchronization.ON_READ, Aggregation.SUM)
    step = replica_step([written])

    def run() -> object:
        strategy.run(step)
        written.numpy()
        return written

    return run, count * (count + 1) / 2


def outside(strategy: tf.distribute.Strategy, count: int) -> tuple[Step, float]:
    """Return a step in which the program adds 1 to a scalar `count` times, and reads it."""
    (written,) = variables(strategy, 1, 0)
    one = np.float32(1)

    def run() -> object:
        for _ in range(count):
            written.assign_add(one)
        written.numpy()
        return written

    return run, float(count)


def reductions(strategy: tf.distribute.Strategy, count: int) -> tuple[Step, float]:
    """Return a step whose replicas all-reduce an array `count` times, and write the last sum."""
    (written,) = variables(strategy, 1, 0)

    def step() -> None:
        context = tf.distribute.get_replica_context()
        assert context is not None
        one = np.ones(1, np.float32)
        for _ in range(count):
            total = context.all_reduce(tf.distribute.ReduceOp.SUM, one)
        written.assign_add(np.asarray(total)[0])

    shipped = tf.function(step)

    def run() -> object:
        strategy.run(shipped)
        return written

    return run, float(strategy.num_replicas_in_sync)


def training(strategy: tf.distribute.Strategy) -> tuple[Step, float]:
    """Return a step that trains one epoch of `digits` from the beginning, and then adds 1."""
    assert isinstance(strategy, tf.distribute.MirroredStrategy)
    (written,) = variables(strategy, 1, 0)
    job = tf.Job(strategy=strategy, seed=0, steps=None, progress=lambda *_, **__: None)

    def run() -> object:
        digits.run(job, epochs=1)
        written.assign_add(np.float32(1))
        return written

    return run, 1.0


CASES: dict[str, Callable[[tf.distribute.Strategy], tuple[Step, float]]] = {
    "write-1-scalar": partial(writes, count=1, size=0),
    "write-1000-scalars": partial(writes, count=1000, size=0),
    "write-64KiB": partial(writes, count=1, size=2**14),
    "write-1MiB": partial(writes, count=1, size=2**18),
    "write-16MiB": partial(writes, count=1, size=2**22),
    "on-read-write-and-read": partial(reads, size=0),
    "outside-20-assign-adds": partial(outside, count=20),
    "10-all-reduces": partial(reductions, count=10),
    "digits-epoch": training,
}
"""For each case, a function that returns a step and the number that the step adds to a variable."""


def prepare(strategy: tf.distribute.Strategy, case: str) -> Step:
    """Return a case's step, after a check of the sum of its first steps."""
    step, added = CASES[case](strategy)
    for steps_done in range(1, STEPS_BEFORE + 1):
        variable = step()
        assert isinstance(variable, tf.Variable)
        check(float(np.ravel(variable.numpy())[-1]), steps_done * added)
    return step


def module_file() -> str:
    """Return the file that varsim was imported from in this process."""
    return str(tf.__file__)


def came_from(source: Path, strategy: tf.distribute.Strategy) -> None:
    """Check that this process and all workers have imported varsim from `source`.

    Raises:
        ImportError: A process has imported varsim from somewhere else.
    """
    on_workers = strategy.experimental_local_results(strategy.run(module_file))
    for found in (module_file(), *on_workers):
        if not Path(found).resolve().is_relative_to(source.resolve()):
            raise ImportError(f"varsim was imported from {found} instead of {source}")


@contextmanager
def recording_cluster(workers: int, level: str | None) -> Iterator[tf.distribute.MirroredStrategy]:
    """Yield workers that record at this level, into a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="trace-") as folder:
        options = None if level is None else TraceOptions(Path(folder), level, LIMIT_BYTES)
        devices = [f"cpu:{i}" for i in range(workers)]
        with tf.distribute.MirroredStrategy(devices, trace=options) as strategy:
            yield strategy


def main(folder: Path, workers: int, level: str | None = None) -> None:
    """Take steps until the benchmark closes the connection."""
    with recording_cluster(workers, level) as strategy:
        came_from(folder, strategy)
        serve(0, str(folder), partial(prepare, strategy))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
