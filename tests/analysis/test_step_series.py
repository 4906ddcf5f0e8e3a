"""Series over the calls of a run: traffic by variable, waits and the critical path by replica."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.analysis.findings.build import ProgramHistory
from varsim.analysis.findings.context import context_of
from varsim.analysis.observer import Audience
from varsim.analysis.step_times import StepTimes
from varsim.analysis.step_traffic import StepTraffic


def traffic(story: ProgramHistory) -> StepTraffic:
    with story._history() as history:
        found = StepTraffic(history)
        Audience((found,)).show(history.events())
        return found


def times(story: ProgramHistory) -> StepTimes:
    with story._history() as history:
        found = StepTimes(context_of(history))
        Audience(found.observers).show(history.events())
        return found


def test_a_merge_costs_a_contribution_and_a_commit_for_each_replica():
    story = ProgramHistory(3, w="ON_WRITE MEAN")
    for _ in range(2):
        story.call()
        story.merge("w", [1.0, 2.0, 3.0])
        story.end()
    found = traffic(story)

    assert Counter({(1, 0): 6, (2, 0): 6}) == found.messages
    assert Counter({(1, 0): 24, (2, 0): 24}) == found.size_bytes


def test_only_the_first_replica_sends_a_value_if_only_its_value_is_used():
    story = ProgramHistory(3, w="ON_WRITE ONLY_FIRST_REPLICA")
    story.call()
    story.merge("w", [1.0, 1.0, 1.0])
    story.end()
    found = traffic(story)

    assert (6, 16) == (found.messages[1, 0], found.size_bytes[1, 0])


def test_components_count_only_if_the_program_then_reads_the_variable():
    story = ProgramHistory(2, w="ON_READ SUM")
    story.call()
    story.end()
    story.show("w")
    for replica_id in story.replicas:  # as for the value lens at the end of a run
        fetch = story.event(-1, "fetch", "w", replica=replica_id)
        story.event(replica_id, "component", "w", value=1.0, cause=fetch)
    found = traffic(story)

    assert (4, 8) == (found.messages[1, 0], found.size_bytes[1, 0])


def test_a_commit_between_two_calls_counts_for_the_first_of_them():
    """Replicas apply it when they begin the next call, some before and some after the others."""
    story = ProgramHistory(2, w="ON_READ MEAN")
    for _ in range(2):
        story.call()
        story.end()
        commit = story.event(-1, "commit", "w", operation="assign", value=1.0, version=1)
        story.event(0, "install", "w", operation="assign", version=1, cause=commit)
        story.call()
        story.event(1, "install", "w", operation="assign", version=1, cause=commit)
        story.end()
    found = traffic(story)

    assert Counter({(1, 0): 2, (3, 0): 2}) == found.messages
    assert Counter({(1, 0): 8, (3, 0): 8}) == found.size_bytes
    assert not found._committed


def test_each_call_has_its_waits_and_its_critical_path():
    story = ProgramHistory(2, w="ON_WRITE MEAN")
    for works in ([10.0, 40.0], [30.0, 10.0]):
        story.call()
        story.merge("w", [1.0, 2.0], "slow.py:6", works)
        story.end()
    first, second = times(story).steps

    assert (1, 2) == (first.step, second.step)
    assert 0.04 == pytest.approx(first.critical[1], abs=0.002)
    assert {0: pytest.approx(0.03, abs=0.002)} == first.waited
    assert {1: pytest.approx(0.02, abs=0.002)} == second.waited
    assert first.took_s > first.critical[1]


def test_a_replica_waits_at_the_end_of_a_call_although_no_variable_is_merged():
    story = ProgramHistory(2, v="ON_READ SUM")
    story.call()
    story.done(0)
    story.done(1, takes_ms=30.0)
    story.finish()
    (only,) = times(story).steps

    assert {0: pytest.approx(0.03, abs=0.002)} == only.waited


def test_a_simulated_cluster_has_no_times():
    story = ProgramHistory(2, w="ON_WRITE MEAN")
    story.about["simulated"] = True
    story.call()
    story.merge("w", [1.0, 2.0])
    story.end()

    assert [] == times(story).steps
