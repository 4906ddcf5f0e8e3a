"""Waits: one replica repeatedly makes the others wait for much of the time."""

from __future__ import annotations

import pytest

from tests.analysis.findings.build import ProgramHistory
from varsim.analysis.findings.waits import STRAGGLER


def training(works_ms: list[list[float]], collective: str = "merge") -> ProgramHistory:
    """Build one call per step; `works_ms` has the replicas' working times of each step."""
    story = ProgramHistory(len(works_ms[0]), w="ON_WRITE MEAN")
    for step, works in enumerate(works_ms):
        story.call()
        if collective == "merge":
            story.merge("w", [step + 1.0 + r for r in story.replicas], "slow.py:6", works)
            for replica_id in story.replicas:
                story.read(replica_id, "w", "slow.py:7")
        else:
            story.collective(works_ms=works)
        story.end()
    return story


def test_a_slow_replica_is_found() -> None:
    (finding,) = training([[10.0, 10.0, 40.0]] * 8).findings()

    assert (STRAGGLER, "w", 8) == (finding.kind, finding.variable, finding.count)
    assert (("slow.py:6", 8),) == finding.locations
    assert "These waits add up to 240 ms for each of them, on average: " in finding.what
    assert "100% of this waiting was at w" in finding.what


def test_the_finding_says_how_much_the_work_of_the_others_varied() -> None:
    (finding,) = training([[10.0, 60.0], [12.0, 60.0]] * 8).findings()

    assert "the time that the other replicas need at one line: 1 ms." in finding.what


def test_the_times_of_a_simulated_cluster_show_no_waits() -> None:
    story = training([[10.0, 10.0, 40.0]] * 8)
    story.about["simulated"] = True

    assert [] == story.found()
    assert any("in a simulated cluster" in note.text for note in story.notes())


def test_waits_in_an_all_reduce_are_found() -> None:
    (finding,) = training([[40.0, 10.0]] * 8, collective="all_reduce").findings()

    assert (STRAGGLER, "", 8) == (finding.kind, finding.variable, finding.count)
    assert (("step.py:9", 8),) == finding.locations
    assert "waited for replica 0" in finding.what


def test_waits_for_the_end_of_a_call_are_found() -> None:
    story = ProgramHistory(w="ON_READ SUM")
    for _ in range(6):
        story.call()
        story.done(0)
        story.done(1, takes_ms=30)
        story.finish()
    (finding,) = story.findings()
    assert "at the end of the call" in finding.what


@pytest.mark.parametrize(
    "works_ms",
    [
        [[10.0, 12.0]] * 20,
        [[10.0, 40.0], [40.0, 10.0]] * 10,
        [[1.0, 1.3]] * 50,
        [[10.0, 400.0], *([[10.0, 11.0]] * 20)],
        [[10.0, 40.0]] * 3,
        [[10.0, 60.0], [40.0, 60.0]] * 10,
    ],
    ids=["a little slower", "in turns", "too short to tell", "once", "rarely", "busy host"],
)
def test_small_or_rare_waits_are_not_found(works_ms: list[list[float]]) -> None:
    assert [] == training(works_ms).found()


def test_a_replica_that_only_begins_late_is_not_slow() -> None:
    """Replica 1 always begins last, but works as long as the other replica."""
    story = ProgramHistory(w="ON_READ SUM")
    for _ in range(8):
        cause = story.event(-1, "call", call=1)
        story.event(0, "begin", cause=cause, call=1)
        story.event(1, "begin", cause=cause, call=1, takes_ms=20)
        story.event(0, "return", call=1)
        story.event(1, "return", call=1, takes_ms=20)
        story.event(-1, "finish", call=1)
    assert [] == story.found()
