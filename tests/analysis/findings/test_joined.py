"""Findings and comparisons of calls in which replicas have joined."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.analysis.findings.build import ProgramHistory
from tests.analysis.findings.on_one_device import compared, comparison, variable
from tests.replica_context import replica_id
from varsim.analysis.examination import examine
from varsim.analysis.findings.overflow import OVERFLOW
from varsim.analysis.findings.redundancy import UNREAD_MERGES
from varsim.analysis.findings.waits import STRAGGLER
from varsim.analysis.outcome import Outcome
from varsim.testing import simulated_cluster
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

Strategy = tf.distribute.MirroredStrategy

SIZES = (6, 2, 6, 1, 3)
"""The rows of each batch. Three replicas get 2+2+2, 1+1, 2+2+2, 1 and 1+1+1 rows."""


def on_batches(strategy: Strategy) -> None:
    """Sum and average the rows of each batch."""
    with strategy.scope():
        total, mean = variable(0.0, "ON_WRITE SUM", "t"), variable(0.0, "ON_WRITE MEAN", "m")
    strategy.uneven = "join"
    batches = [np.arange(size, dtype=np.float32) + size for size in SIZES]

    def step(rows: np.ndarray) -> None:
        total.assign(rows.sum())
        mean.assign(rows.mean())

    for rows in strategy.experimental_distribute_dataset(batches):
        strategy.run(step, args=(rows,))


def test_writes_are_compared_call_by_call_with_a_single_device():
    found = comparison(on_batches, 3)

    assert (2 * len(SIZES), 2, ()) == (found.values, found.locations, found.differences)
    assert () == found.uncompared


def test_calls_without_some_replicas_give_no_finding_about_values():
    assert [] == compared(on_batches, 3)


def test_a_too_large_sum_of_present_replicas_is_found():
    def too_large(strategy: Strategy) -> None:
        with strategy.scope():
            v = variable(np.float16(0), "ON_WRITE SUM")
        strategy.uneven = "join"
        for rows in strategy.experimental_distribute_dataset([np.float16([6e4, 6e4])]):
            strategy.run(lambda rows: v.assign(rows[0]), args=(rows,))

    (finding,) = compared(too_large, 3, oracle=False)
    assert finding.kind is OVERFLOW


@pytest.mark.parametrize("aggregation", ["SUM", "MEAN"])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_with_join_no_remedy_needs_all_replicas(aggregation: str, is_sparse: bool):
    def remedy(uneven: str) -> str:
        def unread(strategy: Strategy) -> None:
            with strategy.scope():
                v = variable([0.0, 0.0], f"ON_WRITE {aggregation}")
            strategy.uneven = uneven
            batches = [np.ones(size, np.float32) for size in SIZES]

            def step(rows: np.ndarray) -> None:
                if is_sparse:
                    v.scatter_add(tf.IndexedSlices(rows[:1], [0]))
                else:
                    v.assign_add(rows[:1].repeat(2))

            for rows in strategy.experimental_distribute_dataset(batches):
                strategy.run(step, args=(rows,))

        (finding,) = compared(unread, 3, oracle=False, kinds=[UNREAD_MERGES])
        return finding.remedy

    assert "auto=adaptive, which merges at the next read" in remedy("pad")
    with_some = remedy("join")
    assert "which merges at the next read" not in with_some
    assert ("Choose ON_READ" in with_some) == (aggregation == "SUM" and not is_sparse)


# ---------------------------------------------------------------- joins during a call


def on_parts(strategy: Strategy) -> None:
    """Sum the rows of each batch in one call; a replica joins at its first batch without rows."""
    with strategy.scope():
        total = variable(0.0, "ON_WRITE SUM", "t")

    def step(start: int) -> None:
        context = tf.distribute.get_replica_context()
        for size in (6, 5, 2, 1):
            rows = np.arange(start, start + size)[replica_id() :: context.num_replicas_in_sync]
            if not len(rows):
                break
            total.assign(rows.sum())
        context.join()

    for start in (0, 100):
        strategy.run(step, args=(start,))


def test_writes_after_a_join_during_a_call_are_not_compared():
    """The numbers of a replica's writes say no longer which writes belong together."""
    found = comparison(on_parts, 3)

    assert () == found.differences
    assert 1 == len(found.uncompared)


def joins(story: ProgramHistory, locations: Sequence[str], alone: str = "") -> None:
    """Let replica 0 join, and later replica 1; between the joins, replica 1 does something alone.

    Args:
        alone: What replica 1 does, 40 ms before its join: all_reduce or merge.
    """
    join(story, 0, 0, locations[0])
    if alone:
        columns = {"position": 0, "location": "step.py:5"}
        if alone == "merge":
            version = story.versions["w"][0] + 1
            story.event(1, "write", "w", operation="assign", value=1.0, **columns)
            story._commit("w", 1.0, version, position=0)
            story.versions["w"] = [version] * 2
        else:
            cause = story.event(1, "arrive", operation=alone, note="y", **columns)
            story.event(-1, "receive", cause=cause, replica=1)
            story.event(-1, "answer", operation="reduced", position=0)
        story.now_s += 0.04
    join(story, 1, 1 if alone else 0, locations[1])
    story.event(-1, "answer", operation="joined", position=1 if alone else 0, note="1")
    story._position = 2 if alone else 1


def join(story: ProgramHistory, replica: int, position: int, location: str) -> None:
    columns = {"operation": "join", "position": position, "location": location}
    cause = story.event(replica, "arrive", **columns)
    story.event(-1, "receive", cause=cause, replica=replica)


@pytest.mark.parametrize("alone", ["", "all_reduce", "merge"])
def test_a_replica_that_waited_in_a_join_is_not_slow(alone: str):
    """Replica 0 waits in the join while replica 1 works; then both work equally long."""
    story = ProgramHistory(w="ON_WRITE MEAN")
    for _ in range(8):
        story.call()
        joins(story, ["step.py:7"] * 2, alone)
        story.collective(name="x", works_ms=[5.0, 4.0])
        story.read(0, "w")
        story.end()

    assert [] == story.found()


@pytest.mark.parametrize("seed", range(8))
def test_a_write_at_the_position_of_a_join_is_no_part_of_the_join(seed: int, tmp_path: Path):
    def step(context: Any) -> None:
        if replica_id():
            total.assign_add(1.0)
            with context.lock("a"):
                pass
        context.join()

    with simulated_cluster(seed):
        strategy = Strategy(["cpu:0", "cpu:1", "cpu:2"], trace=TraceOptions(tmp_path))
        with strategy.scope():
            total = variable(0.0, "ON_WRITE SUM", "t")
        strategy.run(lambda: step(tf.distribute.get_replica_context()))
        assert 2.0 == float(total)
        strategy.close()
    merge(tmp_path, tmp_path)
    with open_history(tmp_path) as history:
        examination = examine(history)

    assert {Outcome.VALID} == {one.outcome for one in examination.verdicts}
    assert STRAGGLER not in {one.kind for one in examination.findings}


def test_a_slow_replica_among_those_that_have_not_joined_is_found():
    """Replica 0 joins first. Then replica 1 waits at 8 writes for replica 2."""
    story = ProgramHistory(3, w="ON_WRITE MEAN")
    story.call()
    join(story, 0, 0, "step.py:7")
    for position in range(8):
        for replica, works_ms in ((1, 10.0), (2, 30.0)):
            columns = {"operation": "assign", "position": position, "location": "step.py:5"}
            story.event(replica, "write", "w", value=3.0, takes_ms=works_ms, **columns)
            cause = story.event(replica, "wait", "w")
            story.event(-1, "receive", cause=cause, replica=replica)
        story._commit("w", 3.0, position + 1, position=position)
        for replica in (1, 2):
            story.read(replica, "w", version=position + 1)
    story.end()

    (finding,) = [one for one in story.findings() if one.kind is STRAGGLER]
    assert ("w", 8) == (finding.variable, finding.count)
    assert "waited for replica 2" in finding.what


def test_joins_in_different_lines_are_no_collectives_that_are_paired_by_order():
    story = ProgramHistory(w="ON_WRITE MEAN")
    for _ in range(8):
        story.call()
        joins(story, ["step.py:7", "step.py:8"])
        story.end()

    assert [] == story.found()
    assert not [note for note in story.notes() if "paired only by order" in note.text]
