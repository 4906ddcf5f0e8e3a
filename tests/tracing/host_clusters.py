"""The record of a simulated cluster, as if its two replicas had run on two hosts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import varsim as tf
from varsim.testing import simulated_cluster
from varsim.tracing.history import HISTORY, History, open_history
from varsim.tracing.host_clocks import ClockReading, RecordedHost, RecordedHosts, write_hosts
from varsim.tracing.host_traffic import CountedTraffic, Moved
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

S = 1_000_000_000
DEVICES = ("cpu:0", "cpu:1")
AHEAD = ClockReading(0, 3_600 * S, 2_000_000)
"""The reading of a clock whose host started an hour earlier."""


def trained(traces: Path) -> None:
    """Write the traces of two replicas that write a variable."""
    options = TraceOptions(traces)
    with (
        simulated_cluster(),
        tf.distribute.MirroredStrategy(DEVICES, trace=options) as strategy,
    ):
        with strategy.scope():
            v = tf.Variable(0.0, aggregation=tf.VariableAggregation.SUM, name="v")
        strategy.run(lambda: v.assign_add(1.0))


@contextmanager
def merged(folder: Path, counts: Sequence[Moved] | None) -> Iterator[History]:
    """Return the history of the cluster; replica 0 is on the program's host.

    Args:
        counts: What was sent to and from each replica; None: it was not counted.
    """
    folder.mkdir(exist_ok=True)
    traces = folder / "traces"
    trained(traces)
    hosts = (
        RecordedHost("a", 0, 1, (), DEVICES[:1], 0),
        RecordedHost("b", 1, 2, (AHEAD,), DEVICES[1:], 1),
    )
    counted = (
        None if counts is None else CountedTraffic(replicas=counts, exchange="star", direct={})
    )
    write_hosts(traces, RecordedHosts(hosts, counted))
    merge(traces, folder / HISTORY)
    with open_history(folder) as history:
        yield history
