"""Random programs under the policies of examples/policies, and their invariants.

`python -m tests.examples.policy_programs` runs 3,000 seeds for each policy.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import varsim as tf
from tests.judged import judged
from tests.replica_context import replica_id
from varsim.analysis.outcome import Outcome, Verdict
from varsim.sync.policies.custom import CustomPolicy
from varsim.testing import simulated_cluster
from varsim.tracing.trace import TraceOptions

SIZE = 3
"""The number of elements of the variable."""


@dataclass
class Program:
    """A random program: how often and what the replicas and the program write.

    The written numbers are multiples of 1/4, so that sums of them are exact.
    """

    seed: int
    replicas: int = field(init=False)
    start: float = field(init=False)
    calls: list[list[list[float]]] = field(init=False)  # call → replica → added numbers
    assigned: list[float | None] = field(init=False)  # what the program assigns after each call

    def __post_init__(self) -> None:
        rng = Random(self.seed)
        self.replicas = rng.randint(2, 5)
        self.start = rng.randint(-8, 8) / 4
        self.calls, self.assigned = [], []
        for _ in range(rng.randint(1, 4)):
            writes = rng.randint(0, 5)
            self.calls.append(
                [[rng.randint(-8, 8) / 4 for _ in range(writes)] for _ in range(self.replicas)]
            )
            self.assigned.append(rng.randint(-8, 8) / 4 if rng.random() < 0.2 else None)


@dataclass
class Result:
    """The end of a program, and the verdicts on its record."""

    components: list[np.ndarray]
    value: np.ndarray  # of a read by the program
    added: float  # the sum of all numbers since the last assign, or since the start
    start: float  # the value at this point
    verdicts: tuple[Verdict, ...]
    threshold: float = 0.0

    @property
    def faults(self) -> list[tuple[str, str]]:
        """Return the checkers that found something, each with its reason."""
        wrong = (one for one in self.verdicts if one.outcome is not Outcome.VALID)
        return [(one.checker, one.reason) for one in wrong]


Cluster = Callable[[int], AbstractContextManager[Any]]


def run(program: Program, policy: CustomPolicy, cluster: Cluster = simulated_cluster) -> Result:
    """Run a program under a policy, and judge its record."""
    rng = Random(program.seed)
    with TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore", tf.VarsimWarning)
        folder = Path(name)
        with cluster(program.seed):
            strategy = tf.distribute.MirroredStrategy(
                [f"cpu:{i}" for i in range(program.replicas)], trace=TraceOptions(folder)
            )
            with strategy.scope():
                v = tf.Variable(
                    np.full(SIZE, program.start, np.float32), name="v", synchronization=policy
                )
                w = tf.Variable(0.0, name="w", aggregation=tf.VariableAggregation.SUM)

            alone = policy.keyword == ALONE

            def step(numbers: Sequence[float], reads: bool) -> None:
                for number in numbers:
                    if number < -1:  # one element alone
                        v.scatter_add(tf.IndexedSlices(np.array([number], "f"), [1]))
                    else:
                        v.assign_add(np.full(SIZE, number, np.float32), read_value=False)
                    if not alone:
                        w.assign_add(1.0, read_value=False)
                    if reads and replica_id() == 1:
                        v.read_value()

            start, added = program.start, 0.0
            for made, assigned in zip(program.calls, program.assigned, strict=True):
                call = [one[i % 2 :] if alone else one for i, one in enumerate(made)]
                strategy.run(step, (tf.distribute.PerReplica(call), rng.random() < 0.5))
                added += sum(sum(numbers) for numbers in call)
                if assigned is not None:
                    v.assign(np.full(SIZE, assigned, np.float32))
                    start, added = assigned, 0.0
            components = [np.asarray(one.read_value()) for one in v.values]
            value = np.asarray(v.read_value())
            strategy.close()
        verdicts = judged(folder)
    return Result(components, value, added, start, verdicts, getattr(policy, "threshold", 0.0))


def gossip_problem(result: Result) -> str:
    """Return "" if the mean of the components is that of the written numbers."""
    count = len(result.components)
    mean = np.mean([one[1] for one in result.components])  # element 1 gets all numbers
    expected = result.start + result.added / count
    return "" if abs(mean - expected) < 1e-3 else f"the mean is {mean} instead of {expected}"


def elastic_problem(result: Result) -> str:
    """Return "" if the sum of the components and the centre is that of the written numbers."""
    count = len(result.components)
    total = float(np.sum([one[1] for one in result.components]) + result.value[1])
    expected = result.start * (count + 1) + result.added
    return "" if abs(total - expected) < 1e-3 else f"the sum is {total} instead of {expected}"


def checked(program: Program, policy: CustomPolicy, cluster: Cluster = simulated_cluster) -> str:
    """Run a program; return "" if the invariant of the policy holds and the record is valid."""
    result = run(program, policy, cluster)
    problem = PROBLEMS[policy.keyword](result)
    return problem or "; ".join(f"{name}: {reason}" for name, reason in result.faults)


def event_problem(result: Result) -> str:
    """Return "" if the copy lacks at most what each replica may keep: a drift of the threshold.

    Element 1 of a drift is at most as large as its norm.
    """
    count = len(result.components)
    lacking = result.added - count * (float(result.value[1]) - result.start)
    most = count * result.threshold + 1e-3
    return "" if abs(lacking) <= most else f"the copy lacks {lacking}, which is more than {most}"


ALONE = "event_triggered"
"""The keyword of the policy under which replicas write differently often."""

PROBLEMS = {
    "gossip": gossip_problem,
    "elastic_averaging": elastic_problem,
    ALONE: event_problem,
}
"""Keyword of a policy → the check of its invariant at the end of a program."""


def policy_of(keyword: str, seed: int) -> CustomPolicy:
    """Return the policy with random parameters."""
    from varsim_elastic_averaging import ElasticAveraging
    from varsim_event_triggered import EventTriggered
    from varsim_gossip import Gossip

    rng = Random(f"{keyword} {seed}")
    if keyword == "gossip":
        return Gossip(rng.randint(1, 2), rng.randint(1, 4))
    if keyword == ALONE:
        return EventTriggered(rng.choice([0.0, 0.5, 1.5, 4.0]))
    return ElasticAveraging(rng.choice([0.05, 0.1, 0.25]), rng.randint(1, 4))


def main() -> int:
    """Run many seeds for each policy; the packages must be importable."""
    from benchmarks.policies import POLICIES, install

    parser = argparse.ArgumentParser(prog="python -m tests.examples.policy_programs")
    parser.add_argument("--count", type=int, default=3000, help="seeds for each policy")
    options = parser.parse_args()
    failed, began_s = [], time.perf_counter()
    with TemporaryDirectory() as folder:
        sys.path[:0] = install(POLICIES, Path(folder))
        for keyword in PROBLEMS:
            for seed in range(options.count):
                problem = checked(Program(seed), policy_of(keyword, seed))
                if problem:
                    failed.append((keyword, seed, problem))
            print(f"{keyword}: {options.count:,} programs")
    print(f"{time.perf_counter() - began_s:.1f} s; failed: {failed[:10]}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
