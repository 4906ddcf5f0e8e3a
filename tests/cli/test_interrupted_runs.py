"""Ctrl-C at a random time of `varsim run`: `varsim check` never says that the run is INVALID."""

from __future__ import annotations

import json
import random
import select
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.effort import many
from tests.waiting import MS, wait_for
from varsim.cli.main import main
from varsim.experiments.store import load_summary

pytestmark = [pytest.mark.processes, pytest.mark.slow]

TIMEOUT_S = 30_000 * MS

KINDS = (
    ("--mode", "on_write"),
    ("--mode", "on_write", "--exchange", "star", "--trace", "messages"),
    ("--mode", "on_read", "--oracle"),
    ("--mode", "none"),
    ("--mode", "adaptive"),
    ("--mode", "local_sgd:4"),
)
"""The options of one run each; the runs use them in turn."""

STEPS = 1000
LATEST_S = 1.5
"""The latest time of a SIGINT, in seconds after the start of the workers. At this time, an idle
machine has done all `STEPS` steps, and merges or judges the record."""


def is_training(folder: Path) -> bool:
    return any(folder.glob("*/trace/replica-0.trace-tail"))


def interrupted_run(folder: Path, options: tuple[str, ...], after_s: float) -> tuple[int, str]:
    """Run varsim, and send SIGINT `after_s` after the start of its workers.

    Returns:
        The exit code, and everything that the run has printed.
    """
    run = ["run", "--workers", "2", "--steps", str(STEPS), "--out", str(folder), *options]
    process = subprocess.Popen(
        [sys.executable, "-m", "varsim", *run],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for(lambda: is_training(folder) or process.poll() is not None, TIMEOUT_S)
        select.select([], [], [], after_s)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
        process.communicate()
    return process.returncode, said


def checked(run: Path) -> str:
    """Return the outcome of `varsim check`."""
    result = CliRunner().invoke(main, ["check", "--json", str(run)])
    assert result.exit_code in (0, 3, 4), result.output
    outcome: str = json.loads(result.stdout)["outcome"]
    return outcome


@pytest.mark.timeout(0)
def test_a_run_that_sigint_ends_is_never_invalid(tmp_path: Path) -> None:
    random_numbers = random.Random(0)
    phases: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    number = 0
    while outcomes.total() < many(3):
        options, after_s = KINDS[number % len(KINDS)], random_numbers.uniform(0.0, LATEST_S)
        folder = tmp_path / str(number)
        number += 1
        story = f"run {number}: {' '.join(options)}, SIGINT after {after_s:.3f} s"
        code, said = interrupted_run(folder, options, after_s)
        run = folder / "latest"
        if code == 0 or (code == 130 and not run.exists()):
            continue  # the run had ended, or had saved nothing yet
        assert code == 130, f"{story}: exit code {code}\n{said}"
        phases.update(load_summary(run).interrupted[:1])
        outcome = checked(run)
        outcomes[outcome] += 1
        if outcome == "INVALID":
            wrong.append(f"{story}\n{said}")
    by_phase = ", ".join(f"{count} while {phase}" for phase, count in phases.most_common())
    by_outcome = ", ".join(f"{outcomes[one]} {one}" for one in ("VALID", "UNKNOWN", "INVALID"))
    print(f"\n{outcomes.total()} runs interrupted ({by_phase}): {by_outcome}")
    assert [] == wrong
