"""What do ON_READ variables cost: to write and read on a replica, and to read from outside?

On a replica nothing is sent, so only Python code is timed. One call does many operations, and the
result is the mean processor time of an operation. This time is compared with the times of two other
counters: a plain attribute, whose cost is the lower limit for any library, and a 0-dimensional
array of NumPy.

A read from outside fetches the components. Before each timed read, all replicas write, or only the
first replica writes, or none; these writes are not timed. The read takes turns with the round trip
of a bare star of ROUTER and DEALER, in which every worker answers with as many bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import numpy as np

import varsim as tf
from benchmarks.measure import Quartiles, Ratio, Turn, in_bytes, side_by_side, timed, turn_of
from benchmarks.ours import cluster
from benchmarks.record import Rows, keep, question, show
from benchmarks.star import RawStar

OPERATIONS = 2_000  # number of operations in one call
TARGET_S = 3e-6  # largest processor time of a local assign_add of a scalar
SIZES = (8, 2**20)
ROUNDS = 15
BUDGET_S = 6.0


class Plain:
    """A counter that is an attribute, with a method to add to it."""

    value = 0.0

    def assign_add(self, delta: float) -> None:
        """Add to the value."""
        self.value += delta


def on_read(strategy: tf.distribute.Strategy, shape: tuple[int, ...]) -> tf.Variable:
    """Create an ON_READ SUM variable of float32 zeros."""
    with strategy.scope():
        return tf.Variable(
            np.zeros(shape, np.float32),
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )


def per_operation(operation: Callable[[], object]) -> float:
    """Return the mean seconds of processor time of an operation, without the loop.

    Only the first replica does the operation. The other replicas return 0 and wait, so that they do
    not use the first replica's core.
    """
    context = tf.distribute.get_replica_context()
    assert context is not None
    if int(context.replica_id_in_sync_group):
        return 0.0
    numbers = range(OPERATIONS)
    start = time.process_time()
    for _ in numbers:
        operation()
    end = time.process_time()
    for _ in numbers:
        pass
    return (end - start - (time.process_time() - end)) / OPERATIONS


def on_replica(strategy: tf.distribute.Strategy, operation: Callable[[], object]) -> Turn:
    """Return a function that times an operation on the first replica."""
    shipped = tf.function(lambda: per_operation(operation))

    def take(steps: int) -> list[float]:
        results = (strategy.run(shipped) for _ in range(steps))
        return [float(strategy.experimental_local_results(result)[0]) for result in results]

    return take


def local_turns(strategy: tf.distribute.Strategy) -> dict[str, Turn]:
    """Return the contenders on a replica."""
    scalar, plain, array = on_read(strategy, ()), Plain(), np.zeros((), np.float32)
    one = np.float32(1)
    turns = {
        "assign_add(1.0)": on_replica(strategy, lambda: scalar.assign_add(1.0)),
        "assign_add(np.float32(1))": on_replica(strategy, lambda: scalar.assign_add(one)),
        "read_value()": on_replica(strategy, scalar.read_value),
        "a plain object's method": on_replica(strategy, lambda: plain.assign_add(1.0)),
        "np.add(array, 1, out=array)": on_replica(strategy, lambda: np.add(array, one, out=array)),
    }
    for turn in turns.values():
        turn(1)
    if float(scalar.numpy()) != 2 * OPERATIONS:
        raise AssertionError(f"{scalar.numpy()} was counted instead of {2 * OPERATIONS}")
    return turns


def read_turns(strategy: tf.distribute.Strategy, size_bytes: int) -> Iterator[tuple[str, Turn]]:
    """Yield reads from outside, after some replicas have written."""
    shape = (size_bytes // 4,)
    variable, ones = on_read(strategy, shape), np.broadcast_to(np.float32(1), shape)
    written = 0

    def write(replicas: int) -> None:
        context = tf.distribute.get_replica_context()
        assert context is not None
        if int(context.replica_id_in_sync_group) < replicas:
            variable.assign_add(np.array(ones))

    def take(replicas: int, steps: int) -> list[float]:
        nonlocal written
        taken = []
        for _ in range(steps):
            if replicas:
                strategy.run(shipped, args=(replicas,))
                written += replicas
            taken.append(timed(variable.read_value))
        if float(variable.numpy()[0]) != written:
            raise AssertionError(f"{variable.numpy()} was read instead of {written}")
        return taken

    shipped = tf.function(write)
    for name, replicas in {
        "all components": strategy.num_replicas_in_sync,
        "one component": 1,
        "no component": 0,
    }.items():
        yield f"read, {name} changed", partial(take, replicas)


def local_rows(workers: int, rounds: int) -> Rows:
    """Return a row for each operation on a replica."""
    with cluster(workers) as strategy:
        spreads = side_by_side(local_turns(strategy), rounds=rounds, budget_s=BUDGET_S)
    plain = spreads["a plain object's method"].median
    return [
        {
            "workers": workers,
            "operation": name,
            "took": spread,
            "this / 3 µs": Ratio(spread.median / TARGET_S, 1.0 if "assign_add(" in name else None),
            "this / plain": Ratio(spread.median / plain),
        }
        for name, spread in spreads.items()
    ]


def read_rows(workers: int, size_bytes: int, rounds: int) -> Rows:
    """Return a row for each read from outside."""
    with ExitStack() as stack:
        strategy = stack.enter_context(cluster(workers))
        star = stack.enter_context(RawStar(workers))
        turns = dict(read_turns(strategy, size_bytes))
        turns["raw star"] = turn_of(partial(star.gather, size_bytes))
        spreads: dict[str, Quartiles] = side_by_side(turns, rounds=rounds, budget_s=BUDGET_S)
    floor = spreads["raw star"].median
    return [
        {
            "workers": workers,
            "size": in_bytes(size_bytes),
            "operation": name,
            "took": spread,
            "this / star": Ratio(spread.median / floor),
        }
        for name, spread in spreads.items()
    ]


def main() -> None:
    """Measure, print, and keep the results if asked."""
    options = question(__doc__, (4,)).parse_args()
    rounds = options.rounds or ROUNDS
    rows: Rows = []
    for workers in options.workers:
        found = local_rows(workers, rounds)
        show(f"ON_READ on a replica, {workers} workers", found)
        rows += found
        for size_bytes in SIZES:
            found = read_rows(workers, size_bytes, rounds)
            show(f"ON_READ from outside, {in_bytes(size_bytes)}, {workers} workers", found)
            rows += found
    if options.keep:
        keep("reads", rows)


if __name__ == "__main__":
    main()
