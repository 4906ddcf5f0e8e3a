"""Stale reads: a component lacks earlier writes."""

from __future__ import annotations

from tests.analysis.findings.build import ProgramHistory
from varsim.analysis.findings.staleness import STALE_READ


def behind(*, used: bool) -> ProgramHistory:
    """Build a history in which replica 1 reads version 1 long after version 3 was committed."""
    story = ProgramHistory(w="ON_WRITE MEAN")
    story.call()
    for value in (1.0, 2.0, 3.0):
        story.merge("w", [value, value], "train.py:4")
        for replica_id in story.replicas if value < 3 or used else ():
            story.read(replica_id, "w", "train.py:5")
    story.read(1, "w", "eval.py:2", version=1)
    story.end()
    return story


def test_a_version_older_than_that_of_another_replica_is_stale() -> None:
    (finding,) = behind(used=True).findings()

    assert (STALE_READ, "w", 0) == (finding.kind, finding.variable, finding.variable_id)
    assert (("eval.py:2", 1),) == finding.locations
    assert ((0, 6), (2, 1)) == finding.histogram
    assert finding.what.startswith("1 of 7 reads in replicas was behind by up to 2 versions")


def test_a_read_before_an_unused_commit_is_not_stale() -> None:
    """Replica 1 reads the first commit's value before any replica reads that of the second."""
    story = ProgramHistory(w="ON_WRITE MEAN")
    story.call()
    story.merge("w", [1.0, 1.0], "train.py:4")
    story.read(0, "w", "train.py:5")
    story.merge("w", [2.0, 2.0], "train.py:4")
    story.read(1, "w", "train.py:5", version=1)
    story.end()
    assert [] == story.found()


def test_a_version_older_than_that_of_the_program_is_stale() -> None:
    story = ProgramHistory(w="ON_WRITE MEAN")
    story.assign("w", 1.0, "main.py:3")
    story.assign("w", 2.0, "main.py:4")
    story.show("w", "main.py:5")
    story.call()
    story.read(0, "w", "eval.py:2")
    story.read(1, "w", "eval.py:2", version=1)
    story.end()
    assert ["stale read: w ×1 at eval.py:2"] == story.found()


def test_a_replicas_read_of_an_on_read_sum_is_stale() -> None:
    story = ProgramHistory(3, seen="ON_READ SUM")
    for _ in range(4):
        story.call()
        for replica_id in story.replicas:
            story.write(replica_id, "seen", 8, "metric.py:2", add=True)
        for replica_id in story.replicas:
            story.read(replica_id, "seen", "metric.py:3")
        story.end()
    (finding,) = story.findings()

    assert (STALE_READ, "seen") == (finding.kind, finding.variable)
    assert ("metric.py:3", 9) == finding.locations[0]
    assert ((0, 3), (2, 3), (4, 3), (6, 3)) == finding.histogram
    assert "up to 6 writes of other replicas" in finding.what


def test_an_evaluation_with_weights_that_were_never_averaged_is_stale() -> None:
    story = ProgramHistory(w="ON_READ MEAN")
    for step in range(4):
        story.call()
        for replica_id in story.replicas:
            story.read(replica_id, "w", "train.py:4")
            story.write(replica_id, "w", 10.0 * step + replica_id, "train.py:5")
        story.end()
    story.call()
    for replica_id in story.replicas:
        story.read(replica_id, "w", "eval.py:2")
    story.end()
    assert ["stale read: w ×2 at eval.py:2"] == story.found()


def test_a_concurrent_write_does_not_make_a_read_stale() -> None:
    """The other replica wrote at an earlier time, but no message had reached the reader."""
    story = ProgramHistory(w="ON_READ MEAN")
    story.call()
    for value in range(5):
        story.write(0, "w", value, "w.py:3")
    story.read(1, "w", "w.py:4")
    story.end()
    assert [] == story.found()


def test_a_read_after_a_manual_synchronisation_is_not_stale() -> None:
    story = ProgramHistory(w="ON_READ MEAN")
    for step in range(4):
        story.call()
        for replica_id in story.replicas:
            story.write(replica_id, "w", step + replica_id, "w.py:3")
        story.end()
        story.show("w", "w.py:5")
        story.assign("w", step + 0.5, "w.py:6")
        story.call()
        for replica_id in story.replicas:
            story.read(replica_id, "w", "w.py:8")
        story.end()
    assert [] == story.found()


def local_training(*, averaged: bool) -> ProgramHistory:
    """Build calls that read weights and calls that write weights, in turn. An epoch has 4 steps.

    If `averaged`, the program assigns the mean at the end of each epoch.
    """
    story = ProgramHistory(w="ON_READ MEAN")
    for step in range(12):
        story.call()
        for replica_id in story.replicas:
            story.read(replica_id, "w", "gradients.py:2")
        story.end()
        story.call()
        for replica_id in story.replicas:
            story.write(replica_id, "w", 10.0 * step + replica_id, "apply.py:2")
        story.end()
        if averaged and step % 4 == 3:
            story.assign("w", 10.0 * step + 0.5, "main.py:9")
    return story


def test_training_on_local_weights_is_not_stale() -> None:
    assert [] == local_training(averaged=True).found()


def test_weights_that_are_never_exchanged_are_stale_in_every_step() -> None:
    (finding,) = local_training(averaged=False).findings()

    assert (STALE_READ, (("gradients.py:2", 22),)) == (finding.kind, finding.locations)
    assert ((0, 2), (1, 2), (2, 2)) == finding.histogram[:3]


def test_an_evaluation_between_training_and_averaging_is_stale() -> None:
    story = local_training(averaged=True)
    story.call()
    for replica_id in story.replicas:
        story.write(replica_id, "w", 500.0 + replica_id, "apply.py:2")
    story.end()
    story.call()
    for replica_id in story.replicas:
        story.read(replica_id, "w", "eval.py:3")
    story.end()
    story.assign("w", 700.0, "main.py:9")
    assert ["stale read: w ×2 at eval.py:3"] == story.found()
