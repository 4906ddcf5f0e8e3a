"""Recorded runs in folders, for tests of reports."""

from __future__ import annotations

import json
import sqlite3
import warnings
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import varsim as tf
from tests.replica_context import replica_id
from tests.report.summaries import lens, summary, variable_summary
from varsim.experiments.store import as_json
from varsim.report.summary import Judgement
from varsim.testing import simulated_cluster
from varsim.tracing.history import HISTORY
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

CALLS = 6
SLOW_S = 0.02  # the work of the slow replica in each call


def train(traces: Path) -> None:
    """Merge `w` in each call, read the stale sum `n`, and let copies of `own` go apart."""
    modes, ways = tf.VariableSynchronization, tf.VariableAggregation
    strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], trace=TraceOptions(traces))
    with strategy.scope():
        w = tf.Variable(0.0, name="w", aggregation=ways.MEAN)
        n = tf.Variable(0.0, name="n", synchronization=modes.ON_READ, aggregation=ways.SUM)
        own = tf.Variable(0.0, name="own", synchronization=modes.NONE)

    def step() -> None:
        w.assign_add(replica_id() + 1.0)
        w.read_value()
        n.read_value()
        n.assign_add(1.0)
        own.assign_add(replica_id() * 1.0)

    for _ in range(CALLS):
        strategy.run(step)
    n.read_value()
    strategy.close()


@lru_cache
def _history() -> bytes:
    """Record the program on the simulated cluster, once in a process; return the file."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        with simulated_cluster(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `own` is never synchronised
            train(folder / "traces")
        merge(folder / "traces", folder / HISTORY)
        return (folder / HISTORY).read_bytes()


def _with_times(history: Path) -> None:
    """Give a record times: an event takes 1 ms, and the work of replica 1 in each call 20 ms."""
    with closing(sqlite3.connect(history)) as connection:
        connection.execute("DELETE FROM run WHERE key = 'simulated'")
        connection.execute(
            "UPDATE events SET time_s = event * 0.001 + ? * (SELECT COUNT(*) FROM events AS one "
            "WHERE one.event <= events.event AND one.process = 1 AND one.kind = 'write' "
            "AND one.position IS NOT NULL)",
            (SLOW_S,),
        )
        connection.commit()


def saved(folder: Path, **fields: Any) -> Path:
    """Write a run into a folder: its summary, history, metrics and experiment.

    Args:
        fields: Fields of the summary.
    """
    folder.mkdir(parents=True)
    (folder / HISTORY).write_bytes(_history())
    _with_times(folder / HISTORY)
    on_write = {"synchronization": "ON_WRITE", "merges": CALLS, "messages": 4 * CALLS}
    variables = [
        variable_summary("w", lens(9.0, 9.0, value=9.0), **on_write),
        variable_summary("n", lens(6.0, 6.0, value=12.0)),
        variable_summary("own", lens(0.0, 6.0), synchronization="NONE", messages=0),
    ]
    fields = {"result": {"epochs": 2, "loss": 0.25}, "calls": CALLS, **fields}
    (folder / "summary.json").write_text(as_json(summary(*variables, **fields)))
    (folder / "experiment.yaml").write_text("name: x\nworkers: 2\n")
    lines = [
        {"step": i, "seconds": 0.1 * i, "loss": 1 / (i + 1), "bad": "NaN", "rate": 0.1}
        for i in range(5)
    ]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    return folder


def judged(**fields: Any) -> Judgement:
    """Return a verdict without findings."""
    return Judgement(**({"outcome": "VALID", "reasons": []} | fields))
