"""Divergence: one component is read as the common value while others differ."""

from __future__ import annotations

import pytest

from tests.analysis.findings.build import ProgramHistory
from varsim.analysis.findings.divergence import DIVERGENCE


def diverged(
    settings: str, *, apart: float = 1.0, add: bool = False, values: bool = True
) -> ProgramHistory:
    """Build a history in which each replica writes a different value to its component."""
    story = ProgramHistory(values=values, w=settings)
    story.call()
    for replica_id in story.replicas:
        story.write(replica_id, "w", 5.0 + apart * replica_id, "step.py:3", add=add)
    story.end()
    return story


def test_a_read_of_diverged_copies_is_found() -> None:
    story = diverged("ON_WRITE NONE")
    story.show("w", "main.py:8")
    divergence = story.findings()[0]

    assert (DIVERGENCE, "w") == (divergence.kind, divergence.variable)
    assert (("step.py:3", 1), ("main.py:8", 1)) == divergence.locations
    assert "1 read by the program took replica 0's component" in divergence.what
    assert "1 other component held other values" in divergence.what
    assert "when replica 0 wrote its own component at step.py:3" in divergence.what
    assert {4, 5} & set(divergence.events)


@pytest.mark.parametrize("settings", ["NONE NONE", "NONE MEAN", "ON_READ MEAN", "ON_WRITE NONE"])
def test_a_read_of_one_differing_component_is_found(settings: str) -> None:
    story = diverged(settings)
    story.show("w", "save.py:2", 0)
    line = "save.py:2" if settings == "ON_READ MEAN" else "step.py:3"  # the line to change
    assert f"divergence: w ×1 at {line}" in story.found()


@pytest.mark.parametrize("settings", ["NONE NONE", "ON_READ MEAN", "ON_WRITE NONE"])
def test_a_read_of_one_of_equal_components_is_not_found(settings: str) -> None:
    story = diverged(settings, apart=0.0)
    story.show("w", "save.py:2", 0)
    assert [] == story.found()


def test_different_writes_with_equal_results_are_not_a_divergence() -> None:
    """One replica adds 1 and 2, the other adds 3. Before the last add the components differ."""
    story = ProgramHistory(w="NONE NONE")
    story.call()
    for replica_id, values in ((0, (1.0, 2.0)), (1, (3.0,))):
        for value in values:
            story.write(replica_id, "w", value, "step.py:3", add=True)
    story.end()
    story.show("w", "save.py:2", 0)
    assert [] == story.found()


def test_digests_suffice_to_find_a_divergence() -> None:
    story = diverged("NONE NONE", values=False)
    story.show("w", "save.py:2", 0)
    assert "divergence: w ×1 at step.py:3" in story.found()


def test_additions_to_unknown_values_are_not_a_divergence() -> None:
    """The components' values were not recorded.

    Only the added numbers are known, and they differ.
    """
    story = diverged("NONE NONE", add=True, values=False)
    story.show("w", "save.py:2", 0)
    assert [] == [one for one in story.findings() if one.kind is DIVERGENCE]


def test_a_read_of_all_components_is_not_a_divergence() -> None:
    story = diverged("NONE NONE")
    story.show("w", "show.py:1", 0)
    story.show("w", "show.py:2", 0)
    story.show("w", "show.py:2", 1)
    assert [] == story.found()


def test_a_read_without_a_location_is_not_by_the_program() -> None:
    story = diverged("NONE NONE")
    story.show("w", None, 0)
    assert [] == story.found()


def test_copies_that_the_program_makes_diverge_are_found() -> None:
    story = ProgramHistory(w="ON_WRITE MEAN")
    story.assign_one("w", 0, 1.0, "restore.py:3")
    story.assign_one("w", 1, 2.0, "restore.py:4")
    story.show("w", "main.py:8")
    (finding,) = story.findings()

    assert DIVERGENCE == finding.kind
    assert (("restore.py:3", 1), ("main.py:8", 1)) == finding.locations
    assert "The aggregation combines only what replicas write" in finding.remedy
    assert "when the program wrote one component at restore.py:3" in finding.what


def test_an_assign_to_all_components_makes_them_equal() -> None:
    story = diverged("ON_WRITE SUM")
    story.assign("w", 3.0, "main.py:5")
    story.show("w", "main.py:8")
    assert [] == story.found()


@pytest.mark.parametrize(("synced", "neglected"), [(False, True), (True, False)])
def test_a_finding_about_none_says_if_nothing_ever_synchronised(synced: bool, neglected: bool):
    story = ProgramHistory(w="NONE NONE")
    if synced:
        story.event(-1, "sync", "w", value=0.0, operation="sync_mean")
    story.call()
    for replica_id in story.replicas:
        story.write(replica_id, "w", 1.0 + replica_id)
    story.end()
    story.show("w", "eval.py:9", 0)
    (found,) = [one for one in story.findings() if one.kind is DIVERGENCE]

    assert neglected == ("Nothing ever synchronised them" in found.what)
    assert "v.sync('MEAN')" in found.remedy
