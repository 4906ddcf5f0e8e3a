r"""Random interleavings under BoundedStaleness: the bound holds, and reads see what they must see.

`make test` runs a few seeds. The 3,000 interleavings are one command:

    VARSIM_TEST_EFFORT=250 python -m pytest -k fresh_enough \
        tests/properties/test_bounded_staleness.py
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
import pytest

import varsim as tf
from tests.effort import many
from tests.judged import not_valid
from varsim.analysis.outcome import Verdict
from varsim.errors import WorkerLost
from varsim.testing import simulated_cluster
from varsim.tracing.trace import TraceOptions

SUM = tf.VariableAggregation.SUM
MEAN = tf.VariableAggregation.MEAN


class Program:
    """A random program. Replica i adds 1 to element i, so a value shows every replica's clock."""

    def __init__(self, seed: int, count: int | None = None) -> None:
        rng = Random(seed)
        self.count = rng.randint(1, 4) if count is None else count
        self.bound = rng.choice([0, 0, 1, 2, 5, 100])
        self.counts: Counter[str] = Counter()
        self.seed = seed
        self.before = np.zeros(self.count, np.int64)  # before the call
        self.outside = 0  # what the program has added to each element
        self.present = self.count
        self.writes: list[int] = []  # the numbers of writes of the replicas in the call

    def run(self, folder: Path | None = None) -> None:
        """Run the program in a simulated cluster, with a random order of events."""
        trace = None if folder is None else TraceOptions(folder)
        with simulated_cluster(self.seed if self.seed % 3 else None):
            devices = [f"cpu:{i}" for i in range(self.count)]
            with tf.distribute.MirroredStrategy(devices, trace=trace, uneven="join") as strategy:
                self.run_on(strategy)

    def run_on(self, strategy: tf.distribute.MirroredStrategy) -> None:
        """Run the program on a cluster."""
        policy, rng = tf.BoundedStaleness(self.bound), Random(f"{self.seed} program")
        with strategy.scope():
            self.v = tf.Variable(self.before, name="v", synchronization=policy, aggregation=SUM)
            self.m = tf.Variable(
                0.0, name="m", dtype="float64", synchronization=policy, aggregation=MEAN
            )
            self.w = tf.Variable(0.0, name="w", aggregation=SUM)
        added = 0.0
        for _ in range(3):
            meetings = rng.randrange(4)
            self.writes = [rng.choice([0, 1, 3, 7]) for _ in range(self.count)]
            if meetings in (
                1,
                2,
            ):  # with a collective after unequal writes, replicas could wait forever
                self.writes = [self.writes[0]] * self.count
            present = self.present = rng.randint(1, self.count)
            self.writes[present:] = [0] * (self.count - present)
            rounds = max(1, meetings)
            values = tf.distribute.PerReplica(
                [rng.randrange(2**32) for _ in range(present)], self.count - present
            )
            strategy.run(self.step, (values, rounds, meetings))
            self.before = self.before + rounds * np.array(self.writes)
            added += rounds * sum(self.writes) / self.count
            assert self.before.tolist() == self.v.numpy().tolist()
            assert abs(added - float(self.m.numpy())) < 1e-9
            if rng.random() < 0.5:
                self.v.assign_add(np.ones(self.count, np.int64))
                self.before = self.before + 1
        number = self.v.spec.variable_id  # type: ignore[attr-defined]
        bounded = next(one.bounded for one in strategy.statistics() if one.variable_id == number)
        assert bounded is not None
        assert bounded.most_ahead <= self.bound
        self.counts["waits"] += sum(one.waits for one in bounded.waits.values())
        self.counts["ahead"] += bounded.most_ahead > 0
        self.counts["at the bound"] += bounded.most_ahead == self.bound > 0

    def step(self, seed: int, rounds: int, meetings: int) -> None:
        context = tf.distribute.get_replica_context()
        me = context.replica_id_in_sync_group
        own, before = Random(seed), self.before
        one = np.zeros(self.count, np.int64)
        one[me] = 1
        clock, last = 0, 1 if meetings == 3 else rounds
        for _ in range(rounds):
            for _ in range(self.writes[me]):
                if own.random() < 0.6:
                    self.check(me, clock, before, last)
                if own.random() < 0.5:
                    self.v.assign_add(one, read_value=False)
                else:
                    self.v.assign_sub(-one, read_value=False)
                clock += 1
                self.m.assign_add(1.0, read_value=own.random() < 0.2)
            if meetings == 1:
                self.w.assign_add(1.0)
                context.all_reduce("SUM", 1.0)
            elif meetings == 2:
                context.merge_call(lambda _: None)
            elif meetings == 3:  # the clocks begin at 0 again
                context.join()
                before, clock = before + np.array(self.writes), 0
            if meetings:
                seen = (self.v.read_value() - before).tolist()
                assert clock == seen[me] == min(seen[: self.present])
        self.check(me, clock, before, last)

    def check(self, me: int, clock: int, before: np.ndarray, rounds: int) -> None:
        """Check what a replica sees: its own writes, and at least the first c - s of the others.

        Args:
            before: The value when the clocks began to count.
        """
        seen = (self.v.read_value() - before).tolist()
        assert clock == seen[me]
        for other, writes in enumerate(self.writes):
            assert min(clock - self.bound, rounds * writes) <= seen[other] <= clock + self.bound


def run(seed: int) -> list[Verdict]:
    """Run a program; return the verdicts that are not VALID."""
    with TemporaryDirectory() as folder:
        Program(seed).run(Path(folder))
        return not_valid(Path(folder))


@pytest.mark.parametrize("seed", range(many(12)))
def test_no_replica_is_too_far_ahead_and_reads_are_fresh_enough(seed: int) -> None:
    assert [] == run(seed)


def test_the_random_programs_wait_and_reach_the_bound() -> None:
    counts: Counter[str] = Counter()
    for seed in range(30):
        program = Program(seed)
        program.run()
        counts += program.counts

    assert {"waits", "ahead", "at the bound"} == {*counts}


class Stop(Exception):
    """A replica of the program below raises it."""


def run_with_failures(seed: int, folder: Path) -> None:
    """Run calls of which some fail, in a random order of events; use the copy after each."""
    rng = Random(seed)
    with simulated_cluster(seed):
        devices = [f"cpu:{i}" for i in range(3)]
        with tf.distribute.MirroredStrategy(devices, trace=TraceOptions(folder)) as strategy:
            with strategy.scope():
                v = tf.Variable(
                    0.0,
                    name="v",
                    synchronization=tf.BoundedStaleness(rng.choice([0, 1, 4])),
                    aggregation=MEAN,
                )

            def step(step_seed: int) -> None:
                me = tf.distribute.get_replica_context().replica_id_in_sync_group
                own = Random(f"{step_seed} {me}")
                for _ in range(own.randrange(8)):
                    v.assign_add(own.random(), read_value=False)
                    if own.random() < 0.3:
                        v.read_value()
                    if own.random() < 0.1:
                        raise Stop

            for _ in range(5):
                with suppress(Stop):
                    strategy.run(step, (rng.randrange(2**32),))
                if rng.random() < 0.5:
                    v.read_value()
                if rng.random() < 0.3:
                    v.assign_add(0.7, read_value=False)


@pytest.mark.parametrize("seed", range(many(8)))
def test_the_record_of_calls_that_fail_is_valid(seed: int, tmp_path: Path) -> None:
    """After a failure the copy has the writes that the program had received until then."""
    run_with_failures(seed, tmp_path)

    assert [] == not_valid(tmp_path)


@pytest.mark.filterwarnings("ignore::varsim.errors.VarsimWarning")
def test_the_copy_survives_a_lost_worker() -> None:
    """No write of another replica is lost, and the next call goes on from the copy."""
    for death in (1, 4, 7, 10, 13):
        with simulated_cluster(seed=3, deaths={1: death}):
            devices = [f"cpu:{i}" for i in range(3)]
            strategy = tf.distribute.MirroredStrategy(devices, on_worker_lost="restart")
            with strategy.scope():
                v = tf.Variable(
                    np.zeros(3, np.int64),
                    synchronization=tf.BoundedStaleness(1),
                    aggregation=SUM,
                )

            def step(v: tf.Variable = v) -> None:
                one = np.zeros(3, np.int64)
                one[tf.distribute.get_replica_context().replica_id_in_sync_group] = 1
                for _ in range(6):
                    v.assign_add(one, read_value=False)

            with pytest.raises(WorkerLost):
                strategy.run(step)
            before = v.numpy()
            assert max(before) - min(before) <= 1
            strategy.run(step)
            assert [6, 6, 6] == (v.numpy() - before).tolist()
            strategy.close()
