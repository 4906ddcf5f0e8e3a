"""Faults of an experiment on real workers, and the coordinator's end."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from shutil import which

import numpy as np
import pytest

import varsim as tf
from tests.effort import thorough
from tests.processes.conftest import cluster, environment, location_of
from tests.replica_context import replica_id
from varsim.errors import WorkerLost
from varsim.tracing.reading import records
from varsim.tracing.trace import TraceOptions
from varsim.tracing.trace_format import RecordKind, file_name

pytestmark = pytest.mark.processes

PAUSE_S = 0.1
CUT_SOON = {"transport": "tcp", "link_loss_s": 0.3}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("kill replica=1 call=2 operation=2", "was killed by SIGKILL"),
        thorough("exit replica=1 call=2 code=7", "exited with code 7"),
    ],
)
def test_a_worker_ends_in_the_call_of_its_fault(fault: str, reason: str) -> None:
    paused = [f"pause replica=0 call=1 s={PAUSE_S}", "pause replica=1 call=1 s=0"]
    with cluster(2, faults=[*paused, fault]) as strategy:
        with strategy.scope():
            v = tf.Variable(0.0, name="v", aggregation=tf.VariableAggregation.SUM)

        def step() -> float:
            v.assign_add(1.0)
            return float(v.read_value())

        assert strategy.run(step) == 2.0
        with pytest.raises(WorkerLost, match=rf"replica 1: worker {reason}"):
            strategy.run(step)
        assert strategy.faults is not None
        assert strategy.faults.missed() == []


@pytest.mark.parametrize("replica", ["1", pytest.param("coordinator", marks=pytest.mark.thorough)])
def test_values_are_sent_through_sockets_if_shared_memory_is_full(
    replica: str, tmp_path: Path
) -> None:
    """The program is warned; a worker writes the warning into its log."""
    fault = f"memory_full replica={replica} call=2"
    with (
        cluster(2, faults=[fault], exchange="shared", log_dir=tmp_path) as strategy,
        warnings.catch_warnings(record=True) as warned,
    ):
        warnings.simplefilter("always")
        with strategy.scope():
            v = tf.Variable(np.zeros(2**16), name="v", aggregation=tf.VariableAggregation.SUM)

        def step() -> float:
            v.assign_add(np.ones(2**16))
            return float(np.asarray(v.read_value()).sum())

        assert strategy.run(step) == 2.0 * 2**16
        said = "there is no room in shared memory for 524,288 bytes"
        assert strategy.run(step) == 4.0 * 2**16
        assert strategy.run(step) == 6.0 * 2**16
        assert strategy.faults is not None
        assert strategy.faults.missed() == []
    told = [str(one.message) for one in warned]
    here = test_values_are_sent_through_sockets_if_shared_memory_is_full
    lines = [location_of(here, "strategy.run(step) == 4.0")] if replica == "coordinator" else []
    assert lines == [f"{one.filename}:{one.lineno}" for one in warned]
    if replica == "1":
        told += [tmp_path.joinpath("worker-1.log").read_text()]
    assert 1 == len(told) == sum(said in text for text in told)


@pytest.mark.thorough
def test_faults_of_links_over_tcp_change_no_value() -> None:
    faults = [
        "drop replica=1 call=1 count=2",
        "duplicate replica=all call=2 count=3",
        "reorder replica=0 call=3",
        "corrupt replica=1 call=4 operation=1",
        "truncate replica=0 call=5",
        "partition replicas=0,1 call=6 operation=2 s=0.05",
    ]
    with cluster(2, faults=faults, transport="tcp") as strategy:
        with strategy.scope():
            v = tf.Variable(0.0, name="v", aggregation=tf.VariableAggregation.SUM)

        def step() -> float:
            v.assign_add(1.0)
            return float(v.read_value())

        assert [2.0 * call for call in range(1, 8)] == [strategy.run(step) for _ in range(7)]
        assert strategy.faults is not None
        assert strategy.faults.missed() == []


@pytest.mark.slow
def test_a_worker_is_lost_after_a_long_partition() -> None:
    fault = "partition replica=1 call=1 s=60"
    with (
        cluster(2, faults=[fault], transport="tcp", link_loss_s=1) as strategy,
        pytest.raises(WorkerLost, match=r"no connection (to the coordinator )?for 1 s"),
    ):
        strategy.run(lambda: tf.distribute.get_replica_context().all_reduce("sum", 1.0))


@pytest.mark.slow
def test_a_computing_worker_is_lost_after_a_long_partition() -> None:
    """Only the coordinator can see that the link is lost: the worker computes."""

    def step() -> None:
        if replica_id() == 1:
            select.select([], [], [], 60)

    with (
        cluster(2, faults=["partition replica=1 call=1 s=60"], **CUT_SOON) as strategy,
        pytest.raises(WorkerLost, match=r"replica 1: worker had no connection for 0.3 s"),
    ):
        strategy.run(step)


NAMESPACE = ["unshare", "-rn"]
"""Words before a command that give it its own loopback interface. Some systems forbid this."""


def has_namespaces() -> bool:
    """Return whether this system lets users have a network namespace and change its interfaces."""
    command = [*NAMESPACE, "ip", "link", "set", "lo", "up"]
    return (
        bool(which("unshare") and which("ip"))
        and not subprocess.run(command, check=False, capture_output=True).returncode
    )


@pytest.mark.slow
@pytest.mark.skipif(not has_namespaces(), reason="needs a network namespace")
def test_an_interface_that_drops_all_packets_is_a_cut() -> None:
    """Nothing reports such a cut. Two short cuts change no value; the last one does not end."""
    command = [*NAMESPACE, sys.executable, "-m", "tests.processes.cut_programs"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    values, error, *_, waited = done.stdout.splitlines()
    assert "[2.0, 4.0, 6.0, 8.0, 10.0]" == values, done.stderr
    assert error.startswith("replica ")
    assert "no connection to the coordinator for 3 s" in done.stdout
    assert "True" == waited


def test_a_trace_ends_where_the_disk_of_its_process_is_full(tmp_path: Path) -> None:
    options = TraceOptions(tmp_path, "messages")
    with cluster(2, faults=["disk_full replica=1 call=2"], trace=options) as strategy:
        for _ in range(3):
            strategy.run(lambda: np.zeros(2**16))  # more than what a process keeps in memory
    ends = [[*records(tmp_path / file_name(i))][-1] for i in range(2)]
    assert [RecordKind.ENDED, RecordKind.CUT] == [one[0] for one in ends]
    assert "No space left on device" == ends[1][2]


PROGRAM = """
import varsim as tf
strategy = tf.distribute.MirroredStrategy(["a"], faults=["kill replica=coordinator call=2"])
for _ in range(2):
    print(*strategy.experimental_local_results(strategy.run(lambda: 1)), flush=True)
"""


def test_the_coordinator_ends_at_the_call_of_its_fault() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        check=False,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "1\n"), done.stderr
