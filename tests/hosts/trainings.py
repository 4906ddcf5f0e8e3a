"""Train on two hosts whose network is slow, loses packets, or is cut; print a table.

`python -m tests.hosts.trainings [--large] [NAME...]` starts a cluster by ssh for each network. With
--large, the variable has 800,000 bytes, and the hosts reduce its values in a chain. In each step,
every replica adds a number of its own to a variable that is synchronised at every write. The sums
are whole numbers, so the value after the last step shows whether a message was lost or arrived
twice. *Recovered* is the time from the end of a cut to the end of the next step.
"""

from __future__ import annotations

import json
import os
import select
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from tests.hosts.engine_lab import NOTICE, EngineLab, why_no_engines
from tests.hosts.namespaces import why_impossible
from tests.waiting import MS

PROGRAM: Final = """
import json, select, sys, time
import numpy as np
import varsim as tf

launcher = {"ssh": {"hosts": ["a", "b"]}}
strategy = tf.distribute.MirroredStrategy([f"cpu:{n}" for n in range(4)], launcher=launcher)
with strategy.scope():
    total = tf.Variable(
        np.zeros(int(sys.argv[1])),
        synchronization=tf.VariableSynchronization.ON_WRITE,
        aggregation=tf.VariableAggregation.SUM,
    )

def step(number):
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    total.assign_add(np.full(total.shape, float(number * (replica + 1))))
    value = total.numpy()
    return float(value.min()), float(value.max())

number = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    number += 1
    seen = strategy.experimental_local_results(strategy.run(step, args=(number,)))
    print(json.dumps({"step": number, "at_s": time.monotonic(), "seen": seen}), flush=True)
"""

RECOVERED_S: Final = 1.0
"""Within so many seconds of the end of a cut, a step must end."""

SMALL: Final = 2_000  # elements of a variable of 16,000 bytes
LARGE: Final = 100_000  # elements of a variable that hosts reduce in a chain
_BEFORE_S: Final = 0.5  # of training before a cut
_AFTER: Final = 20  # number of steps after a cut
_SHAPED: Final = 100  # number of steps on a network without a cut
_READ_BYTES: Final = 64 * 1024
_DEADLINE_S: Final = 60_000 * MS
_SUM_OF_REPLICAS: Final = 1 + 2 + 3 + 4


@dataclass(frozen=True, slots=True)
class Network:
    """The network of a training. Wires are between host 0, with the program, and host 1."""

    name: str
    shape: dict[str, float] = field(default_factory=dict)
    cut: tuple[tuple[int, int], ...] = ()  # the directions (sender, receiver) that are cut
    time_s: float = 0.0  # of the cut


_BOTH: Final = ((0, 1), (1, 0))
NETWORKS: Final = (
    Network("as it is"),
    Network("10 ms", {"delay_s": 0.01}),
    Network("1 % loss", {"loss": 0.01}),
    Network("100 Mbit/s", {"bit_per_s": 1e8}),
    Network("cut of 0.2 s", cut=_BOTH, time_s=0.2),
    Network("cut of 3 s", cut=_BOTH, time_s=3.0),
    Network("cut of 15 s", cut=_BOTH, time_s=15.0),
    Network("cut to the host, 3 s", cut=_BOTH[:1], time_s=3.0),
    Network("cut from the host, 3 s", cut=_BOTH[1:], time_s=3.0),
    Network("10 ms, 1 % loss, cut of 3 s", {"delay_s": 0.01, "loss": 0.01}, _BOTH, 3.0),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A training that has ended."""

    steps: int
    step_s: float  # the median time of a step, without the cut
    recovered_s: float | None  # None: no cut
    packets_lost: int
    wrong: str  # "" if each step had the values of its number


class _Training:
    """A running program."""

    def __init__(self, engines: EngineLab, elements: int) -> None:
        self.process: subprocess.Popen[bytes] = engines.popen(
            0,
            [sys.executable, "-c", PROGRAM, str(elements)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.steps: list[dict[str, Any]] = []
        self._lines: deque[bytes] = deque()
        self._rest = b""  # the beginning of a line

    def read(self, deadline_s: float) -> bool:
        """Read the end of the next step; return False if none comes until `deadline_s`."""
        assert self.process.stdout is not None
        while not self._lines:
            left_s = max(0.0, deadline_s - time.monotonic())
            if not select.select([self.process.stdout], [], [], left_s)[0]:
                return False
            chunk = os.read(self.process.stdout.fileno(), _READ_BYTES)
            if not chunk:
                return False  # the program has ended
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            self._lines.extend(lines)
        line = self._lines.popleft().decode()
        if line.startswith(NOTICE):
            return self.read(deadline_s)
        assert line.startswith("{"), line
        self.steps.append(json.loads(line))
        return True

    def read_until(self, deadline_s: float) -> None:
        """Read all steps that end until `deadline_s`."""
        while self.read(deadline_s):
            pass

    def read_steps(self, count: int) -> None:
        """Read so many steps.

        Raises:
            AssertionError: The training does not go on.
        """
        for _ in range(count):
            assert self.read(time.monotonic() + _DEADLINE_S), "no step has ended"

    def end(self) -> None:
        """Tell the program to end after its next step, and read what it prints."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.close()
        self.read_until(time.monotonic() + _DEADLINE_S)
        self.process.wait(_DEADLINE_S)


def tried(network: Network, engines: EngineLab, elements: int = SMALL) -> Outcome:
    """Train a variable with so many elements on a network.

    Raises:
        AssertionError: The training does not go on.
    """
    switch = engines.lab.switch
    before = sum(one.lost + one.cut for one in switch.counts().values())
    training = _Training(engines, elements)
    with training.process:
        training.read_steps(1)
        switch.shape(**network.shape)
        recovered_s = None
        if network.cut:
            training.read_until(time.monotonic() + _BEFORE_S)
            for sender, receiver in network.cut:
                switch.cut(sender, receiver)
            training.read_until(time.monotonic() + network.time_s)
            switch.heal()
            healed_s = time.monotonic()
            training.read_steps(_AFTER)
            recovered_s = min(one["at_s"] for one in training.steps if one["at_s"] > healed_s)
            recovered_s -= healed_s
        else:
            training.read_steps(_SHAPED)
        training.end()
    switch.shape(delay_s=0.0, loss=0.0, bit_per_s=None)
    lost = sum(one.lost + one.cut for one in switch.counts().values()) - before
    ends_s = [one["at_s"] for one in training.steps]
    step_s = statistics.median(b - a for a, b in pairwise(ends_s[1:]))
    return Outcome(len(ends_s), step_s, recovered_s, lost, _wrong(training, recovered_s))


def _wrong(training: _Training, recovered_s: float | None) -> str:
    expected = 0
    for number, one in enumerate(training.steps, 1):
        expected += number * _SUM_OF_REPLICAS
        if one["step"] != number or one["seen"] != [[expected, expected]] * 4:
            return f"step {number} should have {expected}: {one}"
    if training.process.returncode:
        return f"the program exited with code {training.process.returncode}"
    if recovered_s is not None and recovered_s > RECOVERED_S * MS * 1_000:
        return f"recovered after {recovered_s:.2f} s"
    return ""


def main(names: Sequence[str]) -> None:
    """Print the table; exit with 1 if something was wrong."""
    elements = LARGE if "--large" in names else SMALL
    names = [one for one in names if one != "--large"]
    if why := why_impossible() or why_no_engines():
        raise SystemExit(why)
    right = True
    print("| network | steps | ms per step | packets lost | recovered, s | values |")
    print("| --- |" + " ---: |" * 4 + " --- |", flush=True)
    for network in NETWORKS:
        if not names or network.name in names:
            with EngineLab(2) as engines:
                one = tried(network, engines, elements)
            right = right and not one.wrong
            recovered = "–" if one.recovered_s is None else f"{one.recovered_s:.2f}"
            numbers = f"{one.steps} | {1e3 * one.step_s:.1f} | {one.packets_lost} | {recovered}"
            print(f"| {network.name} | {numbers} | {one.wrong or 'as expected'} |", flush=True)
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main(sys.argv[1:])
