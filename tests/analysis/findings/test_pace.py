"""Replicas that hold others back under bounded staleness, and bounds that are never reached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import varsim as tf
from tests.analysis.build import HistoryBuilder
from varsim.analysis.findings.model import Finding
from varsim.analysis.findings.pace import BOUND_NOT_REACHED
from varsim.analysis.findings.waits import STRAGGLER
from varsim.analysis.outcome import Outcome
from varsim.analysis.search import find
from varsim.analysis.verdict import judge
from varsim.testing import simulated_cluster
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions


def findings(
    folder: Path, bound: int, step: Callable[[tf.Variable, int], None], count: int = 3
) -> list[Finding]:
    """Run a step on the replicas, one after another, and return all findings."""
    with simulated_cluster():
        devices = [f"cpu:{i}" for i in range(count)]
        with tf.distribute.MirroredStrategy(devices, trace=TraceOptions(folder)) as strategy:
            with strategy.scope():
                v = tf.Variable(
                    0.0,
                    name="v",
                    synchronization=tf.BoundedStaleness(bound),
                    aggregation=tf.VariableAggregation.SUM,
                )

            def run() -> None:
                step(v, tf.distribute.get_replica_context().replica_id_in_sync_group)

            strategy.run(run)
            v.read_value()
    merge(folder, folder)
    with open_history(folder) as history:
        return list(find(history))


def in_lockstep(v: tf.Variable, _: int) -> None:
    for _ in range(10):
        v.assign_add(1.0, read_value=False)
        tf.distribute.get_replica_context().barrier()


def test_a_bound_that_is_never_reached_is_found_with_a_smaller_one(tmp_path: Path) -> None:
    (found,) = findings(tmp_path, 5, in_lockstep)

    assert BOUND_NOT_REACHED is found.kind
    assert "v" == found.variable
    assert (
        "In 30 writes no replica was more than 1 write ahead of the slowest one, so the bound of 5 "
        "never made a replica wait." == found.what
    )
    assert "bounded_staleness:1" in found.remedy


@pytest.mark.parametrize("bound", [1, 6])
def test_a_bound_that_is_reached_or_cannot_be_reached_is_no_finding(
    bound: int, tmp_path: Path
) -> None:
    """Ten writes are at most nine writes apart, and few of them are beyond a bound of 6."""
    assert [] == findings(tmp_path, bound, in_lockstep)


def with_gaps(folder: Path, late: list[int], gap_s: float) -> list[Finding]:
    """Return the findings about a history with s = 0, in which replicas wait for each other.

    Args:
        late: The replica that writes last in each round.
        gap_s: The time from the first write of a round to the last one.
    """
    builder = HistoryBuilder(2)
    builder.variable("v", "bounded_staleness:0", "SUM", "float32", "[]")
    builder.add(-1, "create", "v", 0.0, version=0)
    start = builder.add(-1, "call", call=1)
    for replica in (0, 1):
        builder.add(replica, "begin", call=1, cause=start)
    ends: dict[int, int] = {}
    for number, last in enumerate(late, start=1):
        for replica in (1 - last, last):
            if replica == last:
                builder.pass_time(gap_s)
            write = {"operation": "assign_add", "note": "waits", "location": f"p.py:{replica}"}
            sent = builder.add(replica, "advance", "v", 1.0, call=1, version=number, **write)
            builder.add(-1, "receive", replica=replica, cause=sent)
        for replica in (0, 1):
            answer = builder.add(-1, "answer", call=1, replica=replica, operation="copy")
            copy = {"call": 1, "version": 2 * number, "cause": answer}
            ends[replica] = builder.add(replica, "renew", "v", 2.0 * number, **copy)
    for replica in (0, 1):
        ends[replica] = builder.add(replica, "return", call=1)
        builder.add(-1, "receive", replica=replica, cause=ends[replica])
    builder.add(-1, "finish", call=1)
    with builder.history(folder) as history:
        assert {Outcome.VALID} == {one.outcome for one in judge(history)}
        return list(find(history))


def test_a_replica_that_holds_the_others_back_is_named(tmp_path: Path) -> None:
    (found,) = with_gaps(tmp_path, [1] * 8, 0.1)

    assert STRAGGLER is found.kind
    assert ("p.py:0", 8) == found.locations[0]
    assert "The other replicas waited for replica 1 in 8 writes, 840 ms in all" in found.what
    assert "Give replica 1 less to do" in found.remedy


def test_waits_for_replicas_in_turn_or_few_waits_are_no_finding(tmp_path: Path) -> None:
    for number, late in enumerate(([0, 1] * 4, [1] * 4)):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert [] == with_gaps(folder, late, 0.1)
