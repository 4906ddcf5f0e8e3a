"""Conflicts: accesses that nothing orders, and no aggregation reconciles."""

from __future__ import annotations

import pytest

from tests.analysis.findings.build import Story
from varsim.analysis.findings.conflicts import WRITE_WRITE


def conflicts(story: Story) -> list[str]:
    return [one for one in story.found() if "conflict" in one]


def both_write(settings: str, apart: float = 1.0) -> Story:
    story = Story(w=settings)
    for step in range(3):
        story.call()
        for replica_id in story.replicas:
            story.write(replica_id, "w", step + apart * replica_id, "step.py:3")
        story.end()
    return story


def test_different_writes_to_a_mirror_without_aggregation_conflict() -> None:
    (finding,) = both_write("ON_WRITE NONE").findings()

    assert (WRITE_WRITE, "w", 3) == (finding.kind, finding.variable, finding.count)
    assert (("step.py:3", 3),) == finding.places
    assert finding.what.startswith("Replicas 0 and 1 wrote different values")


@pytest.mark.parametrize("settings", ["ON_WRITE SUM", "ON_READ MEAN", "AUTO SUM", "NONE NONE"])
def test_writes_that_are_reconciled_or_ones_own_do_not(settings: str) -> None:
    assert [] == conflicts(both_write(settings))


def test_equal_writes_do_not_conflict() -> None:
    assert [] == both_write("ON_WRITE NONE", apart=0.0).found()


def test_own_components_conflict_once_the_program_takes_one_for_all() -> None:
    story = both_write("NONE NONE")
    story.show("w", "save.py:2", 0)
    assert ["write-write conflict: w ×3 at step.py:3"] == conflicts(story)


def test_writes_in_turns_are_ordered() -> None:
    """Between the writes the replicas meet: the second writer knew of the first."""
    story = Story(w="ON_WRITE NONE")
    story.call()
    story.write(0, "w", 1.0, "turn.py:2")
    story.meet()
    story.hear(1)
    story.write(1, "w", 2.0, "turn.py:4")
    story.end()
    assert [] == conflicts(story)


def test_writes_that_no_meeting_stands_between_are_not() -> None:
    story = Story(w="ON_WRITE NONE")
    story.call()
    story.meet()
    story.hear(1)
    story.write(0, "w", 1.0, "turn.py:2")
    story.write(1, "w", 2.0, "turn.py:4")
    story.end()
    assert ["write-write conflict: w ×1 at turn.py:2"] == conflicts(story)


@pytest.mark.parametrize("first", ["read", "write"])
def test_a_read_while_another_replica_alone_writes_conflicts(first: str) -> None:
    story = Story(w="ON_WRITE NONE")
    story.call()
    if first == "read":
        story.read(1, "w", "step.py:7")
    story.write(0, "w", 1.0, "step.py:3")
    if first == "write":
        story.read(1, "w", "step.py:7")
    story.end()
    assert ["read-write conflict: w ×1 at step.py:3"] == conflicts(story)
    assert "Replica 1 read while replica 0 wrote" in story.findings()[0].what


def test_a_replica_that_writes_the_same_later_was_only_slower() -> None:
    story = Story(w="ON_WRITE NONE")
    story.call()
    story.write(0, "w", 1.0, "step.py:3")
    story.read(1, "w", "step.py:2")
    story.write(1, "w", 1.0, "step.py:3")
    story.end()
    assert [] == story.found()


def test_a_read_in_the_next_call_is_ordered() -> None:
    story = Story(w="ON_WRITE NONE")
    story.call()
    story.write(0, "w", 1.0, "step.py:3")
    story.end()
    story.call()
    story.read(1, "w", "step.py:7")
    story.end()
    assert [] == conflicts(story)
