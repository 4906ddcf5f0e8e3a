"""Record small runs in the simulated cluster; other tests damage their files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from click.testing import CliRunner

import varsim as tf
from varsim.cli.main import main
from varsim.experiments.store import TRACES
from varsim.testing import simulated_cluster
from varsim.tracing.trace import TraceOptions

PROGRAM = """
import varsim as tf

def run(job, *, trouble: bool = False):
    S, A = tf.VariableSynchronization, tf.VariableAggregation
    with job.strategy.scope():
        w = tf.Variable([1.0, 2.0], name="w", aggregation=A.MEAN)
        t = tf.Variable(0, name="t", synchronization=S.ON_READ, aggregation=A.SUM)
        n = tf.Variable(0.0, name="n", synchronization=S.NONE)
        rows = tf.Variable([[0.0], [0.0]], name="rows", aggregation=A.SUM)

    def step():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        w.assign_add([1.0 + replica, 2.0])
        t.assign_add(replica + 1)
        n.assign(n + replica)
        rows.scatter_add(tf.IndexedSlices([[1.0]], [replica % 2]))
        return w.read_value()

    for number in range(2):
        job.strategy.run(step)
        job.progress(number + 1, 2, loss=float(t.numpy()))
    w.assign([3.0, 4.0])
    if trouble:
        def fail():
            w.assign_add([1.0, 1.0])
            raise ValueError("no luck")
        job.strategy.run(fail)
    return {"total": float(t.numpy())}
"""


class Runs(NamedTuple):
    """The directories of runs."""

    recorded: tuple[Path, ...]  # finished runs, with a history and a summary
    traced: Path  # the run of a process that was killed: only its traces


def record(folder: Path) -> Runs:
    """Create the runs in a folder."""
    program = folder / "program.py"
    program.write_text(PROGRAM, "utf-8")
    with simulated_cluster(), mock.patch.object(sys, "path", [*sys.path]):
        found = [
            _ran(program, folder / name, *options)
            for name, options in (
                ("compared", ("--oracle",)),
                ("failed", ("params.trouble=true",)),
                ("adaptive", ("--auto", "adaptive")),
            )
        ]
    return Runs(tuple(found), _traced(folder / "traced"))


def _ran(program: Path, out: Path, *options: str) -> Path:
    arguments = ["run", str(program), "-q", "-n", "2", "--out", str(out), *options]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code in {0, 1}, result.output
    return (out / "latest").resolve()


def _traced(path: Path) -> Path:
    options = TraceOptions(path / TRACES)
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], trace=options)
        with strategy.scope():
            w = tf.Variable([1.0, 2.0], name="w", aggregation=tf.VariableAggregation.MEAN)
            rows = tf.Variable([[0.0]], name="rows", aggregation=tf.VariableAggregation.SUM)

        def step() -> None:
            w.assign_add([1.0, 1.0])
            rows.scatter_add(tf.IndexedSlices([[1.0]], [0]))
            w.read_value()

        for _ in range(3):
            strategy.run(step)
        strategy.close()
    (path / "experiment.yaml").write_text("workload: digits\n", "utf-8")
    return path
