"""Run programs on real workers with random faults, for some time: `python -m tests.soak`.

An episode is one program: calls that write and read variables, with faults at random places. After
the loss of a worker, the strategy goes on with new workers (`on_worker_lost` is restart or shrink),
or the program makes a new strategy with the values that it can still read. Every value is compared
with an expected number, which the episode computes without varsim. The command prints the counts at
the end. If an episode fails, it prints the command that repeats the episode.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
import warnings
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import varsim as tf
from tests.memory import resident_bytes
from tests.replica_context import replica_id
from varsim.errors import InjectedFault, VarsimWarning, WorkerLost
from varsim.texts.incarnations import Instead

Strategy = tf.distribute.MirroredStrategy
SUM, MEAN = tf.VariableAggregation.SUM, tf.VariableAggregation.MEAN
ON_READ = tf.VariableSynchronization.ON_READ

CALLS = 60
"""The number of calls of an episode."""

WARM_EPISODES = 10
"""The growth of the memory is measured after this number of episodes."""

DONE = 6
"""The place after the last operation of a step."""


@dataclass
class Totals:
    """The counts of all episodes."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    recoveries_s: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """How a program goes on after a lost worker → the durations until it has workers again."""

    def check(self, expected: object, got: object, what: str) -> None:
        """Compare a value with the expected value."""
        assert expected == got, f"{what}: expected {expected}, got {got}"
        self.counts["values checked"] += 1


@dataclass
class Fault:
    """A fault at a call of the episode, before an operation of the step."""

    kind: str
    replica: int
    call: int
    operation: int | None

    def text(self, before: int) -> str:
        """Return the fault for a strategy that is made after `before` calls of the episode."""
        place = "" if self.operation is None else f" operation={self.operation}"
        amount = " s=0.02" if self.kind == "pause" else ""
        return f"{self.kind} replica={self.replica} call={self.call - before}{place}{amount}"


class Episode:
    """One program with its faults, and the expected numbers of its variables."""

    def __init__(self, seed: int, number: int, totals: Totals) -> None:
        rng = random.Random(f"{seed}/{number}")
        self._totals = totals
        self._count = rng.choice((2, 2, 3))
        self._exchange = rng.choice(("star", "shared"))
        self._policy = rng.choice(("fail", "restart", "shrink"))
        self._lasting = [
            text
            for text in ("slow replica=any factor=1.5", "delay replica=all ms=0.2 jitter_ms=0.2")
            if rng.random() < 0.2
        ]
        kinds = rng.choices(("kill", "exit", "raise", "raise", "pause"), k=rng.randint(1, 4))
        calls = sorted(rng.sample(range(1, CALLS + 1), len(kinds)))
        self._faults = [
            Fault(kind, rng.randrange(self._count), call, rng.choice((None, 1, 3, 5)))
            for kind, call in zip(kinds, calls, strict=True)
        ]
        self._done = 0  # number of calls that have ended
        self._total, self._mean = 0.0, 0.0
        self._seen = [0.0] * self._count
        self._assigned: list[float] = []  # the last write of the program to each component

    def run(self) -> None:
        """Run the program; make a new strategy if a strategy does not go on after a loss."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VarsimWarning)  # each recovery causes a warning
            self._run()
        self._totals.counts["episodes"] += 1

    def _run(self) -> None:
        lost_s = 0.0
        while self._done < CALLS:
            here = [
                fault
                for fault in self._faults
                if fault.call > self._done and fault.replica < self._count
            ]
            texts = [fault.text(self._done) for fault in here]
            for lasting in self._lasting:
                self._totals.faults[lasting.split()[0]] += 1
            devices = [f"cpu:{i}" for i in range(self._count)]
            with Strategy(
                devices,
                exchange=self._exchange,
                faults=[*self._lasting, *texts],
                on_worker_lost=self._policy,
                max_restarts=len(self._faults),
            ) as strategy:
                strategy.start()
                if lost_s:
                    self._recovered("new strategy", lost_s)
                self._run_until_lost(strategy)
                lost_s = time.monotonic()

    def _recovered(self, how: str, lost_s: float) -> None:
        self._totals.counts["recoveries"] += 1
        self._totals.recoveries_s[how].append(time.monotonic() - lost_s)

    def _run_until_lost(self, strategy: Strategy) -> None:
        """Run calls until all are done, or until the strategy does not go on after a loss."""
        with strategy.scope():
            total = tf.Variable(self._total, aggregation=SUM, dtype="float64")
            mean = tf.Variable(self._mean, aggregation=MEAN, dtype="float64")
            seen = tf.Variable(0.0, aggregation=SUM, synchronization=ON_READ, dtype="float64")
        for part, value in zip(seen.values, self._seen, strict=True):
            part.assign(value)
        self._assigned = [*self._seen]

        def step(number: float) -> tuple[float, float]:
            mine = replica_id()
            total.assign_add(number + mine)
            first = float(total.read_value())
            mean.assign(2.0 * mine + number)
            second = float(mean.read_value())
            seen.assign_add(1.0)
            return first, second

        while self._done < CALLS:
            self._done += 1
            fault = next((one for one in self._faults if one.call == self._done), None)
            if fault is not None and fault.replica >= self._count:
                fault = None  # the strategy has gone on without this replica
            if fault is not None:
                self._totals.faults[fault.kind] += 1
            fails = fault is not None and fault.kind != "pause"
            self._expect(fault if fails else None)
            try:
                results = strategy.run(step, args=(float(self._done),))
            except InjectedFault:
                assert fails
                self._totals.counts["calls that raised"] += 1
                self._check_values(total, mean, seen, None)
            except WorkerLost as error:
                assert fails
                if not self._goes_on(strategy, error, fault):
                    self._check_values(total, mean, seen, fault)
                    self._seen[fault.replica] = 0.0  # its component is lost
                    return
                self._check_values(total, mean, seen, None)
            else:
                assert not fails, f"{fault} has not happened"
                self._totals.counts["steps"] += 1
                for index, value in enumerate((self._total, self._mean)):
                    got = {
                        float(one) for one in strategy.experimental_local_results(results[index])
                    }
                    self._totals.check({value}, got, f"result {index} of call {self._done}")
                if self._done % 10 == 0:
                    self._check_values(total, mean, seen, None)

    def _goes_on(self, strategy: Strategy, error: WorkerLost, fault: Fault) -> bool:
        """Start the new workers, if the strategy goes on, and change the expected numbers."""
        lost_s, recovery = time.monotonic(), error.recovery
        is_last = self._policy == "shrink" and self._count == 1
        assert (recovery is None) == (self._policy == "fail" or is_last), error
        if recovery is None:
            return False
        if self._policy == "shrink":
            instead = Instead.NO_SHARE
            del self._seen[fault.replica], self._assigned[fault.replica]
            self._count -= 1
        else:
            instead = Instead.WRITTEN
            self._seen[fault.replica] = self._assigned[fault.replica]
        lost = [(one.replica_ids, one.instead) for one in recovery.lost]  # type: ignore[union-attr]
        self._totals.check([((fault.replica,), instead)], lost, f"lost in call {self._done}")
        strategy.start()
        self._totals.check(self._count, strategy.num_replicas_in_sync, "replicas")
        self._recovered(self._policy, lost_s)
        return True

    def _expect(self, fault: Fault | None) -> None:
        """Compute the expected numbers after a call. Operations before a fault have an effect."""
        stop = DONE if fault is None else (fault.operation or 1)
        everyone = range(self._count)
        if stop >= 3:
            self._total += sum(float(self._done) + i for i in everyone)
        if stop >= 5:
            self._mean = sum(2.0 * i + self._done for i in everyone) / self._count
            for i in everyone:
                if fault is None or i != fault.replica:
                    self._seen[i] += 1.0

    def _check_values(self, total: Any, mean: Any, seen: Any, lost: Fault | None) -> None:
        """Compare all values that can be read."""
        check, at = self._totals.check, f"after call {self._done}"
        check(self._total, float(total.numpy()), f"the sum {at}")
        check(self._mean, float(mean.numpy()), f"the mean {at}")
        for i, expected in enumerate(self._seen):
            if lost is None or i != lost.replica:
                check(expected, float(seen.values[i].numpy()), f"component {i} {at}")
        if lost is None:
            check(sum(self._seen), float(seen.numpy()), f"the sum of components {at}")


def descriptors() -> int:
    """Return the number of open files of this process; 0 if the system does not show it."""
    with suppress(OSError):
        return len(list(Path("/proc/self/fd").iterdir()))
    return 0


def children() -> int:
    """Return the number of child processes; 0 if the system does not show it."""
    with suppress(OSError):
        path = Path(f"/proc/self/task/{os.getpid()}/children")
        return len(path.read_text("ascii").split())
    return 0


def soak(seed: int, seconds: float) -> int:
    """Run episodes for some time, and print the counts."""
    totals, number = Totals(), 0
    started_s = time.monotonic()
    warm = (0, 0, 0)
    while time.monotonic() - started_s < seconds or number <= WARM_EPISODES:
        try:
            Episode(seed, number, totals).run()
        except Exception:
            print(f"repeat it: python -m tests.soak --seed {seed} --episode {number}")
            raise
        number += 1
        if number == WARM_EPISODES:
            warm = resident_bytes(), descriptors(), totals.counts["steps"]
    grew_bytes, opened = resident_bytes() - warm[0], descriptors() - warm[1]
    steps = totals.counts["steps"] - warm[2]
    rows = {f"fault: {kind}": count for kind, count in sorted(totals.faults.items())}
    rows |= {f"recovery: {how}": len(each) for how, each in sorted(totals.recoveries_s.items())}
    rows = {"seconds": round(time.monotonic() - started_s), **totals.counts, **rows}
    for name, value in rows.items():
        print(f"{value:12,}  {name}")
    for how, each in sorted(totals.recoveries_s.items()):
        print(f"{median(each):12.2f}  s until new workers, median ({how})")
        print(f"{max(each):12.2f}  s until new workers, at most ({how})")
    print(f"{grew_bytes / 2**20:12.1f}  MiB more memory in {steps:,} steps")
    print(f"{grew_bytes / 2**20 * 10_000 / max(1, steps):12.2f}  MiB per 10,000 steps")
    print(f"{opened:12}  more descriptors")
    print(f"{children():12}  child processes at the end")
    return int(opened > 0 or children() > 0)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--episode", type=int, help="repeat only this episode")
    options = parser.parse_args()
    if options.episode is None:
        return soak(options.seed, options.seconds)
    Episode(options.seed, options.episode, Totals()).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
