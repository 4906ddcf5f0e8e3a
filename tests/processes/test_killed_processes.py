"""Any process of a run is killed at a random point, under each policy for lost workers.

`VARSIM_TEST_EFFORT=15 pytest -s tests/processes/test_killed_processes.py` prints the figures of 60
kills for each policy.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.effort import many
from tests.processes.conftest import environment
from tests.waiting import MS, is_running, wait_for
from varsim.cli.exit_codes import DONE, FAILED, INVALID

pytestmark = [pytest.mark.processes, pytest.mark.slow]

KILLS = many(4)  # for each policy; `make soak` multiplies this number
REPLICAS = 3
STEPS = 60
FIRST_S = 0.01
"""The earliest time of a kill, in seconds after the start of the command."""

SOON_S = 2_000 * MS
"""The time limit for the end of all processes after a kill of the coordinator."""

ROLES = ("coordinator", "fork server", "worker")

TIMEOUT_S = 60_000 * MS

WORKLOAD = f"""
import varsim as tf


def run(job):
    strategy = job.strategy
    with strategy.scope():
        w = tf.Variable(0.0, name="w", aggregation=tf.VariableAggregation.MEAN)
        first = tf.Variable(
            0,
            name="first",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def step():
        first.assign_add(1)
        w.assign_add(1.0)
        return w.read_value()

    for _ in job.each_step({STEPS}):
        strategy.run(step)
    return {{"w": float(w.numpy()), "first": int(first.numpy())}}
"""

RESULT = {"w": float(STEPS), "first": STEPS}


class Run:
    """A run in a session of its own, with a folder of its own for private files."""

    def __init__(self, folder: Path, policy: str) -> None:
        self.out, self.private = folder / "runs", folder / "private"
        self.private.mkdir(parents=True)
        workload = folder / "workload.py"
        workload.write_text(WORKLOAD)
        self.environment = environment() | {"TMPDIR": str(self.private)}
        words = [str(workload), f"workers={REPLICAS}", "checkpoint=10", f"on_worker_lost={policy}"]
        self.started_s = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "varsim", "run", *words, "--out", str(self.out), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )

    def processes(self) -> dict[int, str]:
        """Return the running processes that the run has started, and their roles."""
        mark = f"TMPDIR={self.private}".encode()
        found: dict[int, str] = {}
        for path in Path("/proc").glob("[0-9]*"):
            number = int(path.name)
            try:
                parts = (path / "environ").read_bytes().split(b"\0")
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # the process has just ended
                continue
            if mark in parts and is_running(number):
                is_server = parent == self.process.pid
                role = ROLES[1] if is_server else ROLES[2]
                found[number] = ROLES[0] if number == self.process.pid else role
        return found

    def kill_one(self, role: str, after_s: float, chance: random.Random) -> str:
        """Wait for this time and for a process with this role, and kill this process.

        Returns:
            The role; "" if the run had already ended.
        """
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(after_s)
        victims = wait_for(lambda: self._victims(role), TIMEOUT_S)
        victim = chance.choice(victims)
        with suppress(ProcessLookupError):
            if victim:
                os.kill(victim, signal.SIGKILL)
                return role
        return ""

    def _victims(self, role: str) -> list[int]:
        """Return the ids of the processes with a role; [0] if the run has ended."""
        if self.process.poll() is not None:
            return [0]
        running = self.processes()
        return sorted(one for one in running if running[one] == role)

    def end(self) -> tuple[int, str, str]:
        """Return the exit code and the output."""
        out, error = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode, out, error

    def leaves_nothing(self) -> bool:
        """Return whether no process and no private file is left."""
        return not self.processes() and not [*self.private.glob("varsim-*")]

    def check(self) -> str:
        """Return what is wrong with `varsim check` of the run; "" if it works."""
        runs = [one for one in self.out.glob("2*") if (one / "experiment.yaml").exists()]
        if not runs:
            return ""
        words = [sys.executable, "-m", "varsim", "check", str(runs[0])]
        done = subprocess.run(
            words, capture_output=True, text=True, env=self.environment, timeout=TIMEOUT_S
        )
        wrong = done.returncode == INVALID or "Traceback" in done.stderr
        return f"check: {done.returncode} {done.stdout}{done.stderr}" if wrong else ""


def problem_with(run: Run, role: str, policy: str) -> str:
    """Return what is wrong with the end of a run; "" if it ended as it should."""
    code, out, error = run.end()
    if code == -signal.SIGKILL and role == "coordinator":
        return ""
    told: dict[str, Any] = json.loads(out) if out else {}
    if code == DONE:
        return "" if told["result"] == RESULT else f"the result is {told['result']}"
    kind = (told.get("failure") or {}).get("kind")
    may_fail = kind == "StartError" or (
        kind == "WorkerLost" and (policy == "fail" or (policy, role) == ("shrink", "fork server"))
    )
    return "" if code == FAILED and role and may_fail else f"{code} {kind} {error}"


@pytest.mark.timeout(KILLS * 60)
@pytest.mark.parametrize("policy", ["fail", "restart", "shrink"])
def test_a_run_ends_rightly_when_any_process_is_killed(policy: str, tmp_path: Path) -> None:
    chance = random.Random(policy)
    whole = Run(tmp_path / "whole", policy)
    assert "" == problem_with(whole, "", policy)
    duration_s = time.monotonic() - whole.started_s
    roles: Counter[str] = Counter()
    problems: list[str] = []
    longest_s = 0.0
    for number in range(KILLS):
        run = Run(tmp_path / str(number), policy)
        role = run.kill_one(chance.choice(ROLES), chance.uniform(FIRST_S, duration_s), chance)
        killed_s = time.monotonic()
        roles[role or "none: the run had ended"] += 1
        problem = problem_with(run, role, policy)
        if role == "coordinator":
            wait_for(run.leaves_nothing, SOON_S, what="the end of everything")
        due_s = killed_s if role == "coordinator" else max(killed_s, run.started_s + duration_s)
        longest_s = max(longest_s, time.monotonic() - due_s)
        if not run.leaves_nothing():
            problem = f"{problem} left over: {run.processes()} {[*run.private.iterdir()]}"
        problem = problem or run.check()
        if problem:
            problems.append(f"{number}: {role} was killed: {problem}")
    print(
        f"\n{policy}: {KILLS - len(problems)} of {KILLS} right; killed: {dict(roles)}; the latest"
    )
    print(f"end was {longest_s:.2f} s after the kill or the usual end, whichever was later")
    assert [] == problems
