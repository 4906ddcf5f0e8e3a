"""Redundant synchronisation: exchanges that change no value that is read."""

from __future__ import annotations

import numpy as np
import pytest

from tests.analysis.findings.build import ProgramHistory
from varsim.analysis.findings.redundancy import (
    EAGER_SYNCHRONISATION,
    REPEATED_READS,
    UNREAD_MERGES,
)
from varsim.analysis.findings.same_contributions import SAME_CONTRIBUTIONS, SAME_DATA


def merges(settings: str, read_every: int, count: int = 12) -> ProgramHistory:
    story = ProgramHistory(w=settings)
    for step in range(1, count + 1):
        story.call()
        story.merge("w", [step, step + 1.0], "step.py:3")
        if step % read_every == 0:
            story.read(1, "w", "step.py:4")
        story.end()
    return story


def test_unread_merges_are_redundant() -> None:
    (finding,) = merges("ON_WRITE SUM", read_every=99).findings()

    assert (UNREAD_MERGES, "w", 11) == (finding.kind, finding.variable, finding.count)
    assert (("step.py:3", 11),) == finding.locations
    assert "11 of 12 merges" in finding.what


def test_merges_can_be_redundant_although_some_are_read() -> None:
    story = merges("ON_WRITE MEAN", read_every=4)
    assert ["merges that are never read: w ×9 at step.py:3"] == story.found()


@pytest.mark.parametrize(
    "story",
    [
        merges("ON_WRITE MEAN", read_every=1),
        merges("ON_WRITE MEAN", read_every=99, count=3),
        merges("AUTO MEAN", read_every=99),
    ],
    ids=["every merge is read", "too few", "deferred"],
)
def test_merges_that_are_read_are_not_redundant(story: ProgramHistory) -> None:
    assert [] == story.found()


def test_a_slower_replica_reads_an_older_version() -> None:
    """All versions are read, but late. The finding compares versions, not the order of events."""
    story = ProgramHistory(w="ON_WRITE MEAN")
    story.call()
    for version in range(1, 12):
        story.merge("w", [version, 1.0], "step.py:3")
        if version > 1:
            story.read(1, "w", "step.py:4", version=version - 1)
    story.end()
    assert [] == story.found()


@pytest.mark.parametrize("read", [True, False])
def test_a_commit_may_be_sent_after_the_program_read_it(read: bool) -> None:
    story = ProgramHistory(w="ON_WRITE MEAN")
    for step in range(8):
        story.call()
        story.merge_at_end("w", [step, step + 1.0], "step.py:3")
        if read:
            story.event(-1, "read", "w", value=0.5, version=step + 1, location="step.py:6")
        story.send_late()
    expected = [] if read else ["merges that are never read: w ×7 at step.py:3"]
    assert expected == story.found()


def steps(contributions: list[float], count: int = 10) -> ProgramHistory:
    story = ProgramHistory(len(contributions), steps="ON_WRITE ONLY_FIRST_REPLICA")
    for _ in range(count):
        story.call()
        story.merge("steps", contributions, "count.py:5", operation="assign_add")
        story.end()
        story.show("steps", "count.py:9")
    return story


def test_only_first_replica_of_equal_values_needs_no_merge() -> None:
    (finding,) = steps([1.0, 1.0, 1.0]).findings()

    assert (SAME_CONTRIBUTIONS, "steps", 10) == (finding.kind, finding.variable, finding.count)
    assert (("count.py:5", 10),) == finding.locations


def test_an_unread_counter_is_one_finding() -> None:
    story = ProgramHistory(steps="ON_WRITE ONLY_FIRST_REPLICA")
    for _ in range(10):
        story.call()
        story.merge("steps", [1.0, 1.0], "count.py:5", operation="assign_add")
        story.end()
    assert ["merges of the same values: steps ×10 at count.py:5"] == story.found()


@pytest.mark.parametrize(
    "story", [steps([1.0, 2.0]), steps([1.0, 1.0], count=2)], ids=["differ", "too few"]
)
def test_only_first_replica_of_different_values_needs_a_merge(story: ProgramHistory) -> None:
    assert [] == story.found()


def metric(reads_a_step: int, steps: int, settings: str = "ON_READ SUM") -> ProgramHistory:
    story = ProgramHistory(seen=settings)
    for _ in range(steps):
        story.call()
        for replica_id in story.replicas:
            story.write(replica_id, "seen", 8, "metric.py:3", add=True)
        story.end()
        for _ in range(reads_a_step):
            story.show("seen", "metric.py:6")
    return story


def test_repeated_reads_of_an_unchanged_variable_are_redundant() -> None:
    (finding,) = metric(reads_a_step=3, steps=5).findings()

    assert (REPEATED_READS, "seen", 10) == (finding.kind, finding.variable, finding.count)
    assert (("metric.py:6", 10),) == finding.locations
    assert "10 of 15 reads" in finding.what
    assert "copies 2 components" in finding.what


def test_a_read_of_the_first_replicas_component_copies_one_component() -> None:
    (finding,) = metric(reads_a_step=9, steps=1, settings="ON_READ ONLY_FIRST_REPLICA").findings()
    assert "8 of 9 reads" in finding.what
    assert "copies 1 component " in finding.what


def test_reads_that_are_recorded_as_one_event_are_counted() -> None:
    """Consecutive equal reads are recorded as one event with the number of reads."""
    story = metric(reads_a_step=2, steps=4)
    again = [e.event for e in story.events if e.kind == "read"][1::2]
    story.events = [e._replace(times=6) if e.event in again else e for e in story.events]
    (finding,) = story.findings()
    assert "24 of 28 reads" in finding.what
    assert (24, (("metric.py:6", 24),)) == (finding.count, finding.locations)


@pytest.mark.parametrize(("reads_a_step", "steps"), [(1, 20), (2, 20), (3, 1)])
def test_reads_after_writes_are_not_redundant(reads_a_step: int, steps: int) -> None:
    assert [] == metric(reads_a_step, steps).found()


def averaged_by_hand(writes: int, *, by_replicas: bool, reset: bool = False) -> ProgramHistory:
    story = ProgramHistory(w="NONE NONE")
    for step in range(6):
        story.call()
        for write in range(writes):
            for replica_id in story.replicas:
                story.write(replica_id, "w", step + write + 0.1 * replica_id, "hand.py:3")
        mean = 0.0 if reset else step + 0.05
        if by_replicas:
            story.collective()
            for replica_id in story.replicas:
                story.hear(replica_id)
                story.write(replica_id, "w", mean, "hand.py:5")
            story.end()
        else:
            story.end()
            for replica_id in story.replicas:
                story.show("w", "hand.py:7", replica_id)
            story.assign("w", mean, "hand.py:8")
    return story


@pytest.mark.parametrize(("by_replicas", "location"), [(True, "hand.py:5"), (False, "hand.py:8")])
def test_a_program_that_synchronises_after_every_write_is_found(
    by_replicas: bool, location: str
) -> None:
    (finding,) = averaged_by_hand(1, by_replicas=by_replicas).findings()

    assert (EAGER_SYNCHRONISATION, "w") == (finding.kind, finding.variable)
    assert location == finding.locations[0][0]
    assert 5 == finding.count  # the first of the 6 writes could also be a reset


@pytest.mark.parametrize("by_replicas", [True, False])
def test_a_program_that_synchronises_after_several_writes_is_not_found(by_replicas: bool) -> None:
    assert [] == averaged_by_hand(4, by_replicas=by_replicas).found()


@pytest.mark.parametrize("by_replicas", [True, False])
def test_a_reset_after_every_write_is_not_a_synchronisation(by_replicas: bool) -> None:
    assert [] == averaged_by_hand(1, by_replicas=by_replicas, reset=True).found()


def in_one_statement(read: bool = True, mean: float = 1.5, settings: str = "ON_READ MEAN"):
    """Return a history whose replicas assign the result of an all_reduce in each call."""
    story = ProgramHistory(w=settings)
    for step in range(4):
        story.call()
        for replica_id in story.replicas if read else ():
            story.read(replica_id, "w", "hand.py:2")
        story.collective(given=[step, step + 3.0], op="MEAN", result=step + 1.5)
        for replica_id in story.replicas:
            story.write(replica_id, "w", step + mean, "hand.py:2")
        story.end()
    return story


@pytest.mark.parametrize("settings", ["ON_READ MEAN", "NONE NONE"])
def test_a_synchronisation_in_one_statement_is_found(settings: str) -> None:
    (finding,) = in_one_statement(settings=settings).findings()

    assert (EAGER_SYNCHRONISATION, 4) == (finding.kind, finding.count)
    assert (("hand.py:2", 4),) == finding.locations


@pytest.mark.parametrize(
    "story",
    [
        in_one_statement(read=False),
        in_one_statement(mean=0.5),
        in_one_statement(settings="ON_READ SUM"),
    ],
    ids=["without a read", "computed from the result", "a sum"],
)
def test_a_result_that_is_stored_is_not_a_synchronisation(story: ProgramHistory) -> None:
    assert EAGER_SYNCHRONISATION not in [one.kind for one in story.findings()]


def rates(
    *, settings: str = "ON_WRITE MEAN", others: float = 1.0, before: bool = False, step: float = 0.1
) -> ProgramHistory:
    """Return a history with equal contributions to `rate`, and others to `w` if not 0."""
    story = ProgramHistory(rate=settings, w="ON_WRITE MEAN")
    for number in range(1, 6):
        story.call()
        if before:
            story.collective(given=[1.0 + number, 2.0])
            story.hear(0)
        story.merge("rate", [1 + step * number] * 2, "rate.py:3")
        story.read(0, "rate", "rate.py:4")
        if others:
            story.merge("w", [number, number + others], "rate.py:5")
            story.read(0, "w", "rate.py:6")
        story.end()
    return story


def test_a_mean_of_equal_values_needs_no_merge() -> None:
    (finding,) = rates().findings()

    assert (SAME_CONTRIBUTIONS, "rate", 5) == (finding.kind, finding.variable, finding.count)
    assert (("rate.py:3", 5),) == finding.locations
    assert "the MEAN is this value again" in finding.what
    assert "    aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)" in finding.paste


@pytest.mark.parametrize(
    "story",
    [
        rates(settings="ON_WRITE SUM"),
        rates(before=True),
        rates(step=0.0),
        rates(others=0.0),
    ],
    ids=["equal shares", "agreed before", "constant", "a number without data"],
)
def test_equal_values_can_be_right(story: ProgramHistory) -> None:
    assert [] == story.found()


def gradients(op: str, scale: float = 0.5, apart: float = 0.0, count: int = 4) -> ProgramHistory:
    story = ProgramHistory(2)
    for step in range(count):
        story.call()
        value = np.array([1, step + 2]) * scale
        story.collective(given=[value, value + apart], op=op)
        story.end()
    return story


@pytest.mark.parametrize("op", ["SUM", "MEAN"])
def test_replicas_that_compute_the_same_data_are_found(op: str) -> None:
    (finding,) = gradients(op).findings()

    assert (SAME_DATA, "", 4) == (finding.kind, finding.variable, finding.count)
    assert (("step.py:9", 4),) == finding.locations
    assert "all replicas probably used the same data" in finding.what
    assert any("np.array_split(batch" in line for line in finding.paste)


@pytest.mark.parametrize(
    "story",
    [
        gradients("SUM", scale=1.0),
        gradients("MAX"),
        gradients("SUM", apart=1.0),
        gradients("SUM", count=2),
    ],
    ids=["whole numbers", "a maximum", "different", "few"],
)
def test_counts_and_differing_values_are_not_the_same_data(story: ProgramHistory) -> None:
    assert [] == story.found()
