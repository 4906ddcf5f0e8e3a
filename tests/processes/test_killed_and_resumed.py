"""Runs that are killed at random points, and resumed from their checkpoints."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.effort import many
from tests.waiting import MS

pytestmark = [pytest.mark.processes, pytest.mark.slow]

PROGRAM = Path(__file__).parents[1] / "experiments" / "resumable.py"
STEPS = 200
KILLS = many(8)  # `make test-random` multiplies this number
SEED = 12
TIMEOUT_S = 60_000 * MS


def command(out: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "varsim", "run", *words, "--out", str(out), "--json"]


def finished(words: list[str]) -> dict[str, Any]:
    done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert 0 == done.returncode, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def killed_after(words: list[str], delay_s: float) -> None:
    """Start a command, and kill its process after this time, unless the process has ended."""
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            process.wait(delay_s)
        except subprocess.TimeoutExpired:
            process.kill()


def _kept(summary: dict[str, Any]) -> dict[str, Any]:
    """Return the result without `last`, a local variable that gets its value only in the steps.

    If a run is killed after its last checkpoint, the resumed run has no step left. Then the local
    variable has its value from before the loop, and a warning says this.
    """
    return {name: value for name, value in summary["result"].items() if name != "last"}


@pytest.mark.timeout(KILLS * 60)
def test_a_killed_and_resumed_run_equals_a_run_without_interruption(tmp_path):
    """Each run is killed at one or two random points, and resumed with --exact."""
    chance = random.Random(SEED)
    new = [str(PROGRAM), "checkpoint=3", f"steps={STEPS}", "workers=2", "trace=off"]
    began_s = time.monotonic()
    whole = finished(command(tmp_path / "whole", *new))
    duration_s = time.monotonic() - began_s
    equal = resumed = 0
    for number in range(KILLS):
        out = tmp_path / str(number)
        words = new
        for _ in range(chance.randint(1, 2)):
            killed_after(command(out, *words), chance.uniform(0.01, duration_s))
            runs = sorted(one for one in out.glob("2*") if (one / "experiment.yaml").exists())
            if runs:
                words = ["--resume", str(runs[-1]), "--exact"]
        last = finished(command(out, *words))
        resumed += bool(last["resumed"])
        equal += _kept(whole) == _kept(last)
    print(f"{equal} of {KILLS} bit for bit; {resumed} continued from a checkpoint")

    assert KILLS == equal
