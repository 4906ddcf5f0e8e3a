"""What does a sparse write of a few rows cost, and how many bytes does it move?

A step is one `strategy.run` in which every replica changes 128 rows of an ON_WRITE SUM table of
100,000 × 64 float32 by `scatter_add`. This step takes turns with a dense `assign_add` that moves as
many bytes, and with a dense `assign_add` of the whole table, which would be needed without sparse
writes.

The bytes are those of all envelopes between the program and the workers, with exchange "star", in
which no value is in shared memory. A row needs its values and an index of 8 bytes. Every replica
sends its own rows once, and receives the rows of all replicas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import varsim as tf
from benchmarks.measure import Ratio, Turn, in_bytes, side_by_side, turn_of
from benchmarks.ours import cluster
from benchmarks.record import Measured, Rows, answer

ROWS, WIDTH, CHANGED = 100_000, 64, 128
DRAWN = 1000  # number of steps whose rows are drawn at once
ROW_BYTES = WIDTH * 4 + 8
TO_NEEDED = 1.2  # target: moved bytes ÷ bytes that the rows need
TO_DENSE = 1.5  # target: time of the sparse step ÷ time of a dense step of as many bytes
SPARSE, DENSE, WHOLE = "scatter_add of 128 rows", "assign_add, as many bytes", "assign_add, table"
ROUNDS = 15
COUNTED = 10  # number of steps whose bytes are counted
BUDGET_S = 20.0


def table(strategy: tf.distribute.Strategy, shape: tuple[int, ...]) -> tf.Variable:
    """Create an ON_WRITE SUM variable of float32 zeros."""
    with strategy.scope():
        return tf.Variable(np.zeros(shape, np.float32), aggregation=tf.VariableAggregation.SUM)


def sparse_step(variable: tf.Variable) -> Callable[[], None]:
    """Return a function in which a replica changes rows, which are different in each step.

    The rows are drawn in advance, because drawing them is not a part of the write.
    """
    cached: list[np.ndarray] = []

    def step() -> None:
        if not cached:
            context = tf.distribute.get_replica_context()
            assert context is not None
            chance = np.random.default_rng(int(context.replica_id_in_sync_group))
            cached.extend(chance.integers(0, ROWS, (DRAWN, CHANGED)))
        rows = cached.pop()
        variable.scatter_add(tf.IndexedSlices(np.ones((CHANGED, WIDTH), np.float32), rows))

    shipped: Callable[[], None] = tf.function(step)
    return shipped


def dense_step(variable: tf.Variable, shape: tuple[int, ...]) -> Callable[[], None]:
    """Return a function in which a replica adds ones to a whole variable."""

    def step() -> None:
        variable.assign_add(np.ones(shape, np.float32))

    shipped: Callable[[], None] = tf.function(step)
    return shipped


@contextmanager
def counted(strategy: Any) -> Iterator[list[int]]:
    """Count the bytes of all envelopes in the block."""
    exchange = strategy.coordinator.link.exchange
    encode, decode, sizes = exchange.encode, exchange.decode, [0]

    def count_encoded(*arguments: Any) -> Any:
        frames = encode(*arguments)
        sizes[0] += sum(map(len, frames))
        return frames

    def count_decoded(replica_id: int, frames: Any) -> Any:
        sizes[0] += sum(memoryview(frame).nbytes for frame in frames)
        return decode(replica_id, frames)

    exchange.encode, exchange.decode = count_encoded, count_decoded
    try:
        yield sizes
    finally:
        exchange.encode, exchange.decode = encode, decode


def measure(workers: int, rounds: int) -> Measured:
    """Return a row for each contender."""
    with cluster(workers, exchange="star") as strategy:  # all values go through sockets
        # A dense add moves its value 2 N times. A sparse add moves its rows N + N × N times.
        moved = workers * (1 + workers) * CHANGED * ROW_BYTES
        small = (moved // (2 * workers * 4),)
        sparse, dense, whole = (
            table(strategy, one) for one in ((ROWS, WIDTH), small, (ROWS, WIDTH))
        )
        steps = {
            SPARSE: sparse_step(sparse),
            DENSE: dense_step(dense, small),
            WHOLE: dense_step(whole, (ROWS, WIDTH)),
        }
        turns: dict[str, Turn] = {}
        bytes_of: dict[str, float] = {}
        for name, step in steps.items():
            strategy.run(step)
            with counted(strategy) as sizes:
                for _ in range(COUNTED):
                    strategy.run(step)
            bytes_of[name] = sizes[0] / COUNTED
            turns[name] = turn_of(lambda step=step: strategy.run(step))  # type: ignore[misc]
        total = float(sparse.numpy().sum(dtype=np.float64))
        if total != (COUNTED + 1) * workers * CHANGED * WIDTH:
            raise AssertionError(f"the table's sum is {total}")
        # The table's turns would remove all rows from the caches of the processor, just before the
        # turns of the sparse write. So the table is measured afterwards.
        afterwards = {WHOLE: turns.pop(WHOLE)}
        spreads = side_by_side(turns, rounds=rounds, budget_s=BUDGET_S)
        spreads |= side_by_side(afterwards, rounds=rounds, budget_s=BUDGET_S)
    rows: Rows = []
    for name, spread in spreads.items():
        is_sparse = name == SPARSE
        to_needed = Ratio(bytes_of[name] / moved, TO_NEEDED if is_sparse else None)
        to_dense = spread.median / spreads[DENSE].median
        rows.append(
            {
                "workers": workers,
                "step": name,
                "took": spread,
                "moved": in_bytes(round(bytes_of[name])),
                "moved / needed": to_needed,
                "this / dense, as many bytes": Ratio(to_dense, TO_DENSE if is_sparse else None),
            }
        )
    return rows, {}


def main() -> None:
    """Measure, print, and keep the results if asked."""
    answer(
        "sparse",
        __doc__,
        measure,
        "a table of 100,000 × 64 float32, {workers} workers",
        rounds=ROUNDS,
    )


if __name__ == "__main__":
    main()
