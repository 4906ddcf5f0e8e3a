"""What does one slow replica cost under bounded staleness, and how old are the reads?

Every replica makes 40 writes in one `strategy.run`: it reads a variable of one number per replica,
and adds 1 to its own number. So a read shows how many writes of each replica it contains. Its
staleness is the number of the reader's own writes minus those of the slowest replica in it. The
fault `delay` before each read and each write stands for the work of a device: 1 ms per write.

In "one is slow" the last replica needs ten times as long for each write. In "each in turn" a
replica needs ten times as long for 10 of its 40 writes, and these are different writes for each
replica.

Contenders: ON_WRITE, where each read waits for all replicas; BoundedStaleness(s); and asynchronous
replicas, which use `v.pull` and `v.push` and never wait for each other.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import varsim as tf
from benchmarks.measure import Quartiles, Turn, side_by_side
from benchmarks.ours import cluster
from benchmarks.record import Measured, Rows, answer

WRITES = 40
WORK_MS, FACTOR = 1.0, 10
BOUNDS = (0, 1, 4, 16)
ROUNDS = 5
BUDGET_S = 30.0
SLOW, IN_TURN = "one is slow", "each in turn"


@dataclass
class Contender:
    """One setting: how to read and to write, and what was measured besides the fastest replica."""

    name: str
    variable: tf.Variable
    read: Callable[[], Any]
    write: Callable[[Any], None]
    bound: int | None = None
    all_s: list[float] = field(default_factory=list)  # per write, of the slowest replica
    stalest: int = 0
    calls: int = 0


def contenders(strategy: tf.distribute.MirroredStrategy, workers: int) -> list[Contender]:
    """Create a variable for each setting."""
    warnings.simplefilter("ignore", tf.VarsimWarning)  # about NONE, which push and pull need
    total = tf.VariableAggregation.SUM
    found = []

    def add(name: str, synchronization: Any, bound: int | None = None) -> None:
        with strategy.scope():
            v = tf.Variable(
                np.zeros(workers, np.int64),
                synchronization=synchronization,
                aggregation=total,
                name=name,
            )
        if name == "push/pull":
            found.append(Contender(name, v, lambda: v.pull().value, v.push))
            return

        def write(delta: Any) -> None:
            v.assign_add(delta, read_value=False)

        found.append(Contender(name, v, v.read_value, write, bound))

    add("ON_WRITE", tf.VariableSynchronization.ON_WRITE)
    for bound in BOUNDS:
        add(f"s = {bound}", tf.BoundedStaleness(bound), bound)
    add("push/pull", tf.VariableSynchronization.NONE)
    return found


def work(one: Contender, workers: int) -> Callable[[int], tuple[float, int]]:
    """Return the function of a replica: it returns its time per write, and its stalest read."""
    read, write = one.read, one.write

    def step(earlier_calls: int) -> tuple[float, int]:
        context = tf.distribute.get_replica_context()
        assert context is not None
        me = int(context.replica_id_in_sync_group)
        own = np.zeros(workers, np.int64)
        own[me] = 1
        stalest = 0
        start = time.perf_counter()
        for number in range(WRITES):
            seen = read() - WRITES * earlier_calls
            stalest = max(stalest, number - int(seen.min()))
            write(own)
        return (time.perf_counter() - start) / WRITES, stalest

    return step


def delays(scenario: str, workers: int) -> Iterator[str]:
    """Yield the faults of a scenario. A replica has two operations for each write."""
    for replica_id in range(workers):
        is_slow = scenario == SLOW and replica_id == workers - 1
        yield f"delay replica={replica_id} ms={WORK_MS / 2 * (FACTOR if is_slow else 1)}"
        if scenario == IN_TURN:
            first, last = (2 * WRITES * i // workers for i in (replica_id, replica_id + 1))
            for operation in range(first + 1, last + 1):
                more_ms = WORK_MS / 2 * (FACTOR - 1)
                yield f"delay replica={replica_id} operation={operation} ms={more_ms}"


def turn(
    strategy: tf.distribute.MirroredStrategy, one: Contender, step: Callable[[int], Any]
) -> Turn:
    """Return a turn that measures the fastest replica."""

    def run(steps: int) -> list[float]:
        fastest = []
        for _ in range(steps):
            took, stalest = strategy.run(step, (one.calls,))
            times_s = [float(own) for own in strategy.experimental_local_results(took)]
            fastest.append(min(times_s))
            one.all_s.append(max(times_s))
            one.stalest = max(one.stalest, *strategy.experimental_local_results(stalest))
            one.calls += 1
        return fastest

    return run


def measure(workers: int, rounds: int) -> Measured:
    """Return a row for each scenario and contender."""
    rows: Rows = []
    for scenario in (SLOW, IN_TURN):
        faults = [*delays(scenario, workers)]
        with ExitStack() as stack:
            strategy = stack.enter_context(cluster(workers, faults=faults))
            every = contenders(strategy, workers)
            turns = {one.name: turn(strategy, one, work(one, workers)) for one in every}
            spreads = side_by_side(turns, rounds=rounds, budget_s=BUDGET_S)
            for one in every:
                check(one, workers)
                rows.append(row(scenario, workers, one, spreads[one.name], strategy))
    return rows, {}


def check(one: Contender, workers: int) -> None:
    """Check that no write is lost, and that no read is staler than its bound allows."""
    value = one.variable.pull().value if one.name == "push/pull" else one.variable.numpy()
    if value.tolist() != [WRITES * one.calls] * workers:
        raise AssertionError(f"{one.name}: the value is {value}")
    if one.bound is not None and one.stalest > one.bound:
        raise AssertionError(f"{one.name}: a read was {one.stalest} writes stale")


def row(
    scenario: str,
    workers: int,
    one: Contender,
    spread: Quartiles,
    strategy: tf.distribute.MirroredStrategy,
) -> dict[str, object]:
    """Return what the table shows of a contender."""
    account = next(own for own in strategy.statistics() if own.name == one.name)
    return {
        "scenario": scenario,
        "workers": workers,
        "setting": one.name,
        "fastest replica, per write": spread,
        "slowest replica, per write": Quartiles.of(one.all_s),
        "stalest read, in writes": one.stalest,
        "messages per write": account.messages / (WRITES * one.calls * workers),
    }


def main() -> None:
    """Measure, print, and keep the results if asked."""
    answer(
        "ssp",
        __doc__,
        measure,
        "40 writes of each of {workers} replicas in one call",
        rounds=ROUNDS,
    )


if __name__ == "__main__":
    main()
