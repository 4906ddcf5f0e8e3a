"""Divergence: one component taken for the truth while others differ."""

from __future__ import annotations

import pytest

from tests.analysis.findings.build import Story
from varsim.analysis.findings.divergence import DIVERGENCE


def parted(settings: str, *, apart: float = 1.0, add: bool = False, values: bool = True) -> Story:
    """Every replica has written its own component, with values so far apart."""
    story = Story(values=values, w=settings)
    story.call()
    for replica_id in story.replicas:
        story.write(replica_id, "w", 5.0 + apart * replica_id, "step.py:3", add=add)
    story.end()
    return story


def test_a_parted_mirror_that_is_read_shows_replica_0() -> None:
    story = parted("ON_WRITE NONE")
    story.show("w", "main.py:8")
    divergence = story.findings()[0]

    assert (DIVERGENCE, "w") == (divergence.kind, divergence.variable)
    assert (("main.py:8", 1),) == divergence.places
    assert "1 read by the program took replica 0's component" in divergence.what
    assert "1 other component held something else" in divergence.what
    assert "when replica 0 wrote its own copy, at step.py:3" in divergence.what
    assert {4, 5} & set(divergence.events)


@pytest.mark.parametrize("settings", ["NONE NONE", "NONE MEAN", "ON_READ MEAN", "ON_WRITE NONE"])
def test_one_component_read_alone_is_taken_for_the_truth(settings: str) -> None:
    story = parted(settings)
    story.show("w", "save.py:2", 0)
    assert "divergence: w ×1 at save.py:2" in story.found()


@pytest.mark.parametrize("settings", ["NONE NONE", "ON_READ MEAN", "ON_WRITE NONE"])
def test_components_that_are_the_same_may_be_read_alone(settings: str) -> None:
    story = parted(settings, apart=0.0)
    story.show("w", "save.py:2", 0)
    assert [] == story.found()


def test_other_writes_that_lead_to_the_same_are_no_divergence() -> None:
    """One replica adds 1 and 2, the other 3; they never held the same in between."""
    story = Story(w="NONE NONE")
    story.call()
    for replica_id, values in ((0, (1.0, 2.0)), (1, (3.0,))):
        for value in values:
            story.write(replica_id, "w", value, "step.py:3", add=True)
    story.end()
    story.show("w", "save.py:2", 0)
    assert [] == story.found()


def test_digests_are_enough_to_tell_that_components_differ() -> None:
    story = parted("NONE NONE", values=False)
    story.show("w", "save.py:2", 0)
    assert "divergence: w ×1 at save.py:2" in story.found()


def test_what_was_added_to_unknown_values_may_be_the_same() -> None:
    """Neither component was ever seen: only that different numbers were added."""
    story = parted("NONE NONE", add=True, values=False)
    story.show("w", "save.py:2", 0)
    assert [] == [one for one in story.findings() if one.kind is DIVERGENCE]


def test_who_reads_all_components_compares_them() -> None:
    story = parted("NONE NONE")
    story.show("w", "show.py:1", 0)
    story.show("w", "show.py:2", 0)
    story.show("w", "show.py:2", 1)
    assert [] == story.found()


def test_a_read_without_a_place_is_not_the_programs() -> None:
    story = parted("NONE NONE")
    story.show("w", None, 0)
    assert [] == story.found()


def test_the_program_may_part_a_mirror_itself() -> None:
    story = Story(w="ON_WRITE MEAN")
    story.assign_one("w", 0, 1.0, "restore.py:3")
    story.assign_one("w", 1, 2.0, "restore.py:4")
    story.show("w", "main.py:8")
    (finding,) = story.findings()

    assert (DIVERGENCE, (("main.py:8", 1),)) == (finding.kind, finding.places)
    assert "when the program wrote one, at restore.py:3" in finding.what


def test_an_assign_to_all_unites() -> None:
    story = parted("ON_WRITE SUM")
    story.assign("w", 3.0, "main.py:5")
    story.show("w", "main.py:8")
    assert [] == story.found()
