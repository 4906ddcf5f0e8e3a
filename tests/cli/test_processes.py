"""The command `varsim run` in its own process, with worker processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import MS
from varsim.experiments.store import from_plain, load_summary
from varsim.report.summary import RunStatus
from varsim.tracing.history import HISTORY, open_history

pytestmark = pytest.mark.processes

VARSIM = [sys.executable, "-m", "varsim"]
TIMEOUT_S = 30_000 * MS

PROGRAM = '''
"""A user's program, with a module beside it."""
import os, subprocess, sys
from dataclasses import dataclass
import numpy as np
import varsim as tf
import beside

@dataclass
class Answer:
    value: float

def doubled(x):
    return beside.TWO * x

def run(job, *, trouble: str = ""):
    assert job.strategy.num_replicas_in_sync == len(job.strategy.devices)  # so an oracle compares
    with job.strategy.scope():
        v = tf.Variable(
            0.0,
            name="v",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    @tf.function
    def step():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        v.assign_add(doubled(1.0))
        if trouble == "death" and replica == 1:
            os._exit(3)
        print("a replica speaks")
        while trouble == "spin" and replica == 1 and v.read_value() > 4:
            pass
        return Answer(float(v.read_value()))

    subprocess.run(["echo", "another program speaks"])
    os.write(1, b"a descriptor speaks\\n")
    for number in range(job.steps or 1_000_000):
        answers = job.strategy.run(step)
        job.progress(number + 1, 1_000_000)
        print("step", number + 1, file=sys.stderr, flush=True)
    own = job.strategy.experimental_local_results(answers)
    return {"own": [answer.value for answer in own], "all": v}
'''


@pytest.fixture(autouse=True)
def _program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("deep").mkdir()
    Path("deep/program.py").write_text(PROGRAM)
    Path("deep/beside.py").write_text("TWO = 2\n")


def varsim(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*VARSIM, "run", *arguments], capture_output=True, text=True, timeout=TIMEOUT_S
    )


def test_the_built_in_job_runs_on_two_workers():
    done = varsim("-n", "2", "--mode", "on_read", "--steps", "22")
    summary = load_summary(Path("runs/latest"))

    assert (0, "step 22/22  loss") == (done.returncode, done.stderr[:16])
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert 22 == summary.result["steps"]
    assert {"worker-0.log", "worker-1.log"} == {
        path.name for path in Path("runs/latest/logs").iterdir()
    }


@pytest.mark.thorough
def test_a_recorded_run_leaves_a_history():
    """If a worker dies, the history is incomplete. A run without a record has no history."""
    kept = {}
    for name, words in {
        "done": ("--steps", "2"),
        "died": ("--workload", "deep/program.py", "params.trouble=death"),
        "off": ("--steps", "2", "--trace", "off"),
    }.items():
        varsim("-n", "2", *words, "--out", name)
        assert not Path(name, "latest/trace").exists()
        if (Path(name) / "latest" / HISTORY).exists():
            with open_history(Path(name, "latest")) as history:
                lost = [event.replica for event in history.events("kind = 'lost'")]
                kept[name] = history.run["complete"], lost
    assert {"done": (True, []), "died": (False, [1])} == kept


@pytest.mark.thorough
def test_a_run_with_an_oracle_is_compared_with_one_worker():
    """The output of the run on one worker is not shown."""
    words = ("--workload", "deep/program.py", "--steps", "2", "--mode", "v=on_write")
    done = varsim("-n", "3", "--oracle", *words)
    checked = subprocess.run(
        [*VARSIM, "check"], capture_output=True, text=True, timeout=TIMEOUT_S
    ).stdout

    assert (0, 6) == (done.returncode, done.stdout.count("a replica speaks"))
    assert "found: scaled by the number of replicas: v" in done.stdout
    assert "Each of the 3 replicas contributes what a single device has" in checked
    with open_history(Path("runs/latest/oracle")) as oracle:
        assert (1, True) == (oracle.num_replicas, oracle.run["complete"])


@pytest.mark.thorough
def test_only_the_summary_is_on_stdout_with_json():
    """The output of the program, its replicas and its child processes is not on stdout."""
    done = varsim("--json", "--workload", "deep/program.py", "--steps", "2")

    assert 0 == done.returncode, done.stderr
    summary = from_plain(json.loads(done.stdout), "")
    assert {"own": [4.0, 4.0], "all": 8.0} == summary.result
    for who in ("[replica 1] a replica", "another program", "a descriptor"):
        assert f"{who} speaks\n" in done.stderr


@pytest.mark.thorough
@pytest.mark.parametrize("trouble", ["none", "spin"])
def test_ctrl_c_ends_a_run_and_saves_the_measurements(trouble: str):
    """This holds even if a replica never ends its step, and if Ctrl-C is pressed twice."""
    process = subprocess.Popen(
        [*VARSIM, "run", "--workload", "deep/program.py", f"params.trouble={trouble}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None
        while process.stderr.readline() != "step 2\n":
            assert process.poll() is None
        os.kill(process.pid, signal.SIGINT)
        os.kill(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=TIMEOUT_S)
    summary = load_summary(Path("runs/latest"))

    assert 130 == process.returncode
    assert "program: interrupted after" in said
    assert RunStatus.INTERRUPTED is summary.status
    assert summary.step >= 2
    assert 4 <= summary.variables[0].writes


@pytest.mark.thorough
def test_a_worker_that_dies_fails_the_run():
    """The failure says how the worker died; the summary has the component of the other replica."""
    done = varsim("--workload", "deep/program.py", "params.trouble=death")
    summary = load_summary(Path("runs/latest"))

    assert 1 == done.returncode
    assert "Error: the run failed: WorkerLost: replica 1: worker exited with code 3" in done.stderr
    assert RunStatus.FAILED is summary.status
    (v,) = summary.variables
    assert v.lens is not None
    kept, lost = v.lens.components
    assert kept is not None
    assert ("v", None, None) == (v.name, lost, v.lens.value)
    assert v.lens.refused == v.lens.lost
    assert v.lens.lost.startswith("the component of replica 1 is lost (replica 1: worker exited ")
    assert "  lost: the component of replica 1 of v\n" in done.stderr


@pytest.mark.thorough
def test_a_wrong_name_leaves_no_process_and_no_file():
    done = varsim("--workload", "step_counter", "--mode", "stpes=none", "--steps", "1")

    assert 2 == done.returncode
    assert "there is no variable 'stpes'; did you mean 'steps'?" in done.stderr
    assert not Path("runs").exists()


@pytest.mark.thorough
def test_a_script_runs_as_it_is_and_is_recorded(tmp_path: Path):
    """Workers have the functions and classes of `__main__`, and import from the script's folder."""
    (tmp_path / "deep" / "script.py").write_text(
        PROGRAM.partition("def run(job")[0]
        + """
strategy = tf.distribute.MirroredStrategy()
with strategy.scope():
    v = tf.Variable(0.0, name="v", aggregation=tf.VariableAggregation.SUM)

def step():
    v.assign_add(doubled(1.0))
    return Answer(float(v.read_value()))

print(strategy.experimental_local_results(strategy.run(step))[1])
"""
    )
    words = [*VARSIM, "exec", "-n", "3", "deep/script.py"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S)

    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith("Answer(value=6.0)\n\nscript: ")
    with open_history(Path("runs/latest")) as history:
        locations = {event.location for event in history.events("kind = 'write'")}
    assert {"deep/script.py:22"} == locations
