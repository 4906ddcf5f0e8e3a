"""Programs that use variables correctly have no findings."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.analysis.findings.build import ProgramHistory


def synchronous_training() -> ProgramHistory:
    story = ProgramHistory(w="ON_WRITE MEAN")
    for step in range(20):
        story.call()
        for replica_id in story.replicas:
            story.read(replica_id, "w", "train.py:5")
        story.merge("w", [step + 0.5, step + 1.5], "train.py:6")
        story.end()
    story.show("w", "train.py:9")
    return story


def many_steps_in_a_call() -> ProgramHistory:
    story = ProgramHistory(3, w="ON_WRITE SUM")
    story.call()
    for step in range(20):
        story.merge("w", [step, 1.0, 2.0], "train.py:6")
        for replica_id in (2, 0, 1):
            story.read(replica_id, "w", "train.py:7")
    story.end()
    return story


def local_sgd() -> ProgramHistory:
    story = ProgramHistory(w="ON_READ MEAN")
    for epoch in range(5):
        for step in range(4):
            story.call()
            for replica_id in story.replicas:
                story.read(replica_id, "w", "sgd.py:4")
                story.write(replica_id, "w", epoch + step + replica_id, "sgd.py:5", add=True)
            story.end()
        story.show("w", "sgd.py:8")
        story.assign("w", float(epoch), "sgd.py:8")
    story.call()
    for replica_id in story.replicas:
        story.read(replica_id, "w", "sgd.py:12")
    story.end()
    return story


def moving_averages() -> ProgramHistory:
    story = ProgramHistory(m="ON_READ MEAN")
    for step in range(20):
        story.call()
        for replica_id in story.replicas:
            story.read(replica_id, "m", "norm.py:3")
            story.write(replica_id, "m", step + replica_id, "norm.py:4")
        story.end()
    story.show("m", "norm.py:9")
    return story


def metric_that_is_reset() -> ProgramHistory:
    story = ProgramHistory(seen="ON_READ SUM")
    for _ in range(6):
        story.assign("seen", 0.0, "metrics.py:2")
        for _ in range(3):
            story.call()
            for replica_id in story.replicas:
                story.write(replica_id, "seen", 8, "metrics.py:5", add=True)
            story.end()
        story.show("seen", "metrics.py:9")
    story.show("seen", "metrics.py:10")
    return story


def state_of_each_replica() -> ProgramHistory:
    story = ProgramHistory(state="NONE NONE")
    for step in range(10):
        story.call()
        for replica_id in story.replicas:
            story.read(replica_id, "state", "rnn.py:3")
            story.write(replica_id, "state", step + 10.0 * replica_id, "rnn.py:4")
            story.read(replica_id, "state", "rnn.py:5")
        story.end()
        for replica_id in story.replicas:
            story.show("state", "rnn.py:7", replica_id)
        story.assign("state", 0.0, "rnn.py:8")
    return story


def the_same_arithmetic_everywhere() -> ProgramHistory:
    """Write the result of an all_reduce to NONE variables: the copies stay equal."""
    story = ProgramHistory(w="NONE MEAN")
    for step in range(10):
        story.call()
        story.collective()
        for replica_id in story.replicas:
            story.write(replica_id, "w", step / 3, "same.py:4", add=True)
            story.read(replica_id, "w", "same.py:5")
        story.end()
    story.show("w", "same.py:8", 0)
    return story


def adaptive() -> ProgramHistory:
    story = ProgramHistory(hits="AUTO SUM")
    for _ in range(5):
        story.call()
        for replica_id in story.replicas:
            story.write(replica_id, "hits", replica_id + 1, "hits.py:3", add=True)
        story.end()
    story.assign("hits", 15.0)
    story.show("hits", "hits.py:6")
    return story


PROGRAMS: list[Callable[[], ProgramHistory]] = [
    synchronous_training,
    many_steps_in_a_call,
    local_sgd,
    moving_averages,
    metric_that_is_reset,
    state_of_each_replica,
    the_same_arithmetic_everywhere,
    adaptive,
]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_clean_program_has_no_findings(program: Callable[[], ProgramHistory]) -> None:
    assert [] == program().found()


def test_one_replica_has_nothing_to_synchronise() -> None:
    story = ProgramHistory(1, steps="ON_WRITE ONLY_FIRST_REPLICA")
    for _ in range(5):
        story.call()
        story.merge("steps", [1.0])
        story.end()
    assert [] == story.found()


def test_a_history_without_values_has_no_findings_about_values() -> None:
    """Without values and digests it is unknown whether components differ."""
    story = ProgramHistory(w="NONE NONE")
    story.call()
    for replica_id in story.replicas:
        story.write(replica_id, "w", 1.0 + replica_id, "w.py:2")
    story.end()
    story.show("w", "w.py:4", 0)
    story.events = [one._replace(value=None, digest=None) for one in story.events]
    assert [] == story.found()
