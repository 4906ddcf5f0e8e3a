"""How long does the digits job take: to its first result, and to train?

Whole programs are measured, in turns. *First result* is the time of a program that trains one
epoch, with its start and all imports. *20 epochs* is the time of the first 20 epochs in a program
that has started. The first of these epochs compiles or sends functions. *20 after the first* is the
time of the 20 epochs after the first epoch.

varsim (ON_WRITE) is compared with a TensorFlow program that has the same model, images, batches and
steps. The TensorFlow program uses MirroredStrategy with one logical CPU device for each worker,
inside a `tf.function` that takes all steps of an epoch. This program reads its batches in one of
two ways: from a distributed dataset, as in TensorFlow's guides; or from tensors that were split in
advance, as in varsim's job.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from typing import Any

from benchmarks.measure import Quartiles, Ratio, once_each, timed
from benchmarks.peer import MIRRORED, PYTHON, PeerFailed
from benchmarks.record import ROOT, Measured, Rows, answer

EPOCHS = 20
ROUNDS = 4
TIMEOUT_S = 120.0
SAME = 1e-3
"""Largest allowed difference of results, which are sums of float32 in different orders."""

VARSIM, COMMAND = "varsim", "varsim run"
DATASET, TENSORS = "TF Mirrored, dataset", "TF Mirrored, tensors"
TARGETS = {"first result": 0.3, "20 epochs": 1.0, "20 after the first": 1.0}


class Training:
    """A program that trains, with its outputs."""

    def __init__(self, *words: str) -> None:
        self._words = words
        self.said: list[dict[str, Any]] = []

    def run(self, epochs: int) -> None:
        """Train for a number of epochs, in a new process."""
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
        found = subprocess.run(
            [*self._words, str(epochs)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
        if found.returncode:
            raise PeerFailed(f"{' '.join(self._words)} failed; it said:\n{found.stderr[-2000:]}")
        self.said.append(json.loads(found.stdout.splitlines()[-1]))

    def reached(self) -> dict[str, float]:
        """Return the result of the last training."""
        reached: dict[str, float] = self.said[-1]["reached"]
        return reached

    def seconds(self) -> dict[str, Quartiles]:
        """Return the times of all trainings. Each training had one epoch more than `EPOCHS`."""
        ends = [said["epoch_ends"] for said in self.said]
        return {
            "20 epochs": Quartiles.of([end[EPOCHS - 1] for end in ends]),
            "20 after the first": Quartiles.of([end[EPOCHS] - end[0] for end in ends]),
        }


def command(workers: int) -> float:
    """Return the seconds of `varsim run` for one epoch, with report and saved files."""
    words = [sys.executable, "-m", "varsim", "run", "--workers", str(workers)]
    with tempfile.TemporaryDirectory(prefix="digits-") as out:
        words += ["--mode", "on_write", "--quiet", "--out", out, "params.epochs=1"]
        run = partial(subprocess.run, words, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        return timed(run)


def programs(workers: int) -> dict[str, Training]:
    """Return the available programs by name."""
    job = Training(sys.executable, "-m", "benchmarks.digits_job", str(workers))
    found = {VARSIM: job}
    if reason := MIRRORED.missing():
        print(f"{MIRRORED.name} is left out: {reason}", file=sys.stderr)
        return found
    words = (PYTHON, "-m", "benchmarks.peers.digits")
    found[DATASET] = Training(*words, "dataset", str(workers))
    found[TENSORS] = Training(*words, "tensors", str(workers))
    return found


def check(contenders: dict[str, Training]) -> None:
    """Assert that all programs have reached the same result."""
    ours = contenders[VARSIM].reached()
    for name, program in contenders.items():
        theirs = program.reached()
        for what in ("train_loss", "train_accuracy", "test_accuracy"):
            if abs(theirs[what] - ours[what]) > SAME:
                raise PeerFailed(f"{name}: {what} is {theirs[what]} instead of {ours[what]}")


def measure(workers: int, rounds: int) -> Measured:
    """Return the rows, and the peers' versions."""
    contenders = programs(workers)
    starts = {name: partial(timed, partial(p.run, 1)) for name, p in contenders.items()}
    first = once_each(starts | {COMMAND: partial(command, workers)}, rounds=rounds)
    check(contenders)
    for program in contenders.values():
        program.said.clear()
    trainings = {name: partial(timed, partial(p.run, EPOCHS + 1)) for name, p in contenders.items()}
    once_each(trainings, rounds=rounds)
    check(contenders)
    found = {"first result": first} | {
        work: {name: program.seconds()[work] for name, program in contenders.items()}
        for work in ("20 epochs", "20 after the first")
    }
    rows: Rows = []
    for work, spreads in found.items():
        for name, spread in spreads.items():
            is_peer = name not in (VARSIM, COMMAND)
            ratio = Ratio(spreads[VARSIM].median / spread.median, TARGETS[work])
            row: dict[str, object] = {"workers": workers, "work": work, "contender": name}
            rows.append(row | {"took": spread, "varsim / this": ratio if is_peer else None})
    versions = {n: f"tensorflow {p.said[0]['version']}" for n, p in contenders.items()}
    del versions[VARSIM]
    return rows, versions


def main() -> None:
    """Measure, print, and keep the results if asked."""
    answer("digits", __doc__, measure, "the digits job, {workers} workers", rounds=ROUNDS)


if __name__ == "__main__":
    main()
