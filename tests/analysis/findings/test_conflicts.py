"""Conflicts: accesses without an order, to values that no aggregation combines."""

from __future__ import annotations

import pytest

from tests.analysis.findings.build import ProgramHistory
from varsim.analysis.findings.conflicts import READ_WRITE, WRITE_WRITE
from varsim.spec import VariableAggregation, VariableSynchronization


def conflicts(story: ProgramHistory) -> list[str]:
    return [one for one in story.found() if "conflict" in one]


def both_write(settings: str, apart: float = 1.0) -> ProgramHistory:
    story = ProgramHistory(w=settings)
    for step in range(3):
        story.call()
        for replica_id in story.replicas:
            story.write(replica_id, "w", step + apart * replica_id, "step.py:3")
        story.end()
    return story


def test_different_writes_to_a_mirror_without_aggregation_conflict() -> None:
    (finding,) = both_write("ON_WRITE NONE").findings()

    assert (WRITE_WRITE, "w", 3) == (finding.kind, finding.variable, finding.count)
    assert (("step.py:3", 3),) == finding.locations
    assert finding.what.startswith("Replicas 0 and 1 wrote different values")


@pytest.mark.parametrize("settings", ["ON_WRITE SUM", "ON_READ MEAN", "AUTO SUM", "NONE NONE"])
def test_aggregated_or_local_writes_do_not_conflict(settings: str) -> None:
    assert [] == conflicts(both_write(settings))


def test_equal_writes_do_not_conflict() -> None:
    assert [] == both_write("ON_WRITE NONE", apart=0.0).found()


def test_local_writes_are_only_a_divergence_if_one_component_is_the_value() -> None:
    story = both_write("NONE NONE")
    story.show("w", "save.py:2", 0)
    assert ["divergence: w ×1 at step.py:3"] == story.found()


def test_writes_separated_by_a_collective_are_ordered() -> None:
    """Both replicas take part in the collective, so the first write happens before the second."""
    story = ProgramHistory(w="ON_WRITE NONE")
    story.call()
    story.write(0, "w", 1.0, "turn.py:2")
    story.collective()
    story.hear(1)
    story.write(1, "w", 2.0, "turn.py:4")
    story.end()
    assert [] == conflicts(story)


def locked_writes(*, locks: str) -> ProgramHistory:
    """Return a history of two replicas that write one after the other, each holding a lock."""
    story = ProgramHistory(w="ON_WRITE NONE")
    story.call()
    for replica_id, lock in enumerate(locks):
        story.lock(replica_id, lock)
        story.read(replica_id, "w", "turn.py:1")
        story.write(replica_id, "w", 1.0 + replica_id, "turn.py:2")
        story.unlock(replica_id, lock)
    story.end()
    return story


def test_critical_sections_are_ordered() -> None:
    assert [] == conflicts(locked_writes(locks="aa"))


def test_critical_sections_of_different_locks_are_not_ordered() -> None:
    """The program knows the release of one lock when it grants the other one."""
    assert ["write-write conflict: w ×1 at turn.py:2"] == conflicts(locked_writes(locks="ab"))


def test_barriers_of_different_groups_do_not_meet() -> None:
    """Replicas 2 and 3 are at a barrier of the same name when replicas 0 and 1 leave theirs."""
    story = ProgramHistory(4, w="ON_WRITE NONE")
    story.call()
    first, second = {"members": "[0, 1]"}, {"members": "[2, 3]"}
    story.write(2, "w", 1.0, "turn.py:2")
    for replica_id, group in ((2, second), (0, first), (1, first)):
        story.ask(replica_id, "", "barrier", **group)
    for replica_id in (0, 1):
        story.grant(replica_id)
    story.ask(3, "", "barrier", **second)
    for replica_id in (2, 3):
        story.grant(replica_id)
    story.write(3, "w", 2.0, "turn.py:4")
    assert [] == conflicts(story)
    story.write(0, "w", 3.0, "turn.py:6")
    story.end()
    assert ["write-write conflict: w ×1 at turn.py:2"] == conflicts(story)


def test_readers_of_one_lock_are_not_ordered() -> None:
    story = ProgramHistory(w="ON_WRITE NONE")
    story.call()
    for replica_id in story.replicas:
        story.lock(replica_id, operation="read_lock")
        story.write(replica_id, "w", 1.0 + replica_id, "turn.py:2")
        story.unlock(replica_id)
    story.end()
    assert ["write-write conflict: w ×1 at turn.py:2"] == conflicts(story)


def test_a_write_of_the_program_to_a_waiting_replica_is_no_grant() -> None:
    story = ProgramHistory(w="ON_WRITE NONE", v="ON_WRITE NONE")
    story.call()
    story.lock(0)
    story.write(0, "w", 1.0, "turn.py:2")
    story.ask(1)
    story.assign_one("v", 1, 5.0)
    story.unlock(0)
    story.grant(1)
    story.write(1, "w", 2.0, "turn.py:4")
    story.end()
    assert [] == conflicts(story)


def test_a_release_orders_only_what_comes_after_the_next_grant() -> None:
    """Replica 1 writes before it gets the lock that replica 0 has held."""
    story = ProgramHistory(w="ON_WRITE NONE")
    story.call()
    story.lock(0)
    story.write(0, "w", 1.0, "turn.py:2")
    story.write(1, "w", 2.0, "turn.py:4")
    story.unlock(0)
    story.lock(1)
    story.unlock(1)
    story.end()
    assert ["write-write conflict: w ×1 at turn.py:2"] == conflicts(story)


def test_writes_without_a_collective_in_between_are_not_ordered() -> None:
    story = ProgramHistory(w="ON_WRITE NONE")
    story.call()
    story.collective()
    story.hear(1)
    story.write(0, "w", 1.0, "turn.py:2")
    story.write(1, "w", 2.0, "turn.py:4")
    story.end()
    assert ["write-write conflict: w ×1 at turn.py:2"] == conflicts(story)


@pytest.mark.parametrize("first", ["read", "write"])
def test_a_read_concurrent_with_a_local_write_conflicts(first: str) -> None:
    story = ProgramHistory(w="ON_WRITE NONE")
    story.call()
    if first == "read":
        story.read(1, "w", "step.py:7")
    story.write(0, "w", 1.0, "step.py:3")
    if first == "write":
        story.read(1, "w", "step.py:7")
    story.end()
    assert ["read-write conflict: w ×1 at step.py:3"] == conflicts(story)
    assert "Replica 1 read while replica 0 wrote" in story.findings()[0].what


def test_the_events_and_lines_of_reads_during_one_write_are_listed_once() -> None:
    story = ProgramHistory(3, w="ON_WRITE NONE")
    story.call()
    story.write(2, "w", 1.0, "step.py:3")
    for reader in (0, 1):
        story.read(reader, "w", "step.py:7")
    story.end()
    (finding,) = [one for one in story.findings() if one.kind is READ_WRITE]

    assert (2, 3) == (finding.count, len(finding.events))
    assert len(set(finding.events)) == 3
    assert "w.assign(strategy.experimental_local_results(results)[2])" == finding.paste[-1]


def test_the_same_write_by_a_slower_replica_does_not_conflict() -> None:
    story = ProgramHistory(w="ON_WRITE NONE")
    story.call()
    story.write(0, "w", 1.0, "step.py:3")
    story.read(1, "w", "step.py:2")
    story.write(1, "w", 1.0, "step.py:3")
    story.end()
    assert [] == story.found()


def test_a_read_in_the_next_call_is_ordered() -> None:
    story = ProgramHistory(w="ON_WRITE NONE")
    story.call()
    story.write(0, "w", 1.0, "step.py:3")
    story.end()
    story.call()
    story.read(1, "w", "step.py:7")
    story.end()
    assert [] == conflicts(story)


@pytest.mark.parametrize("used", ["by replicas", "by the program", "for sums"])
def test_a_state_of_each_replica_may_stay_local(used: str) -> None:
    story = ProgramHistory(w="ON_WRITE NONE")
    for step in range(3):
        story.call()
        for replica_id in story.replicas:
            story.read(replica_id, "w", "step.py:2")
            story.write(replica_id, "w", step + 1.0 + replica_id, "step.py:3", used == "for sums")
        story.end()
    if used == "by the program":
        story.show("w", "main.py:9")
    (conflict,) = (one for one in story.findings() if one.kind is WRITE_WRITE)

    expected = {"by replicas": "ON_READ NONE", "for sums": "ON_WRITE SUM"}.get(
        used, "ON_WRITE MEAN"
    )

    assert (used == "by replicas") == ("choose ON_READ" in conflict.remedy)
    assert conflict.settings is not None
    assert expected == " ".join(one.name for one in conflict.settings)


def own_states(shown: str = "", *, all_write: bool = False, reads: bool = True) -> ProgramHistory:
    """Return a history in which each replica halves its component in calls of its own."""
    story = ProgramHistory(3, w="ON_WRITE NONE")
    for step in range(6):
        story.call()
        for replica_id in story.replicas:
            if reads:
                story.read(replica_id, "w", "step.py:2")
            if all_write or step % 3 != replica_id:
                story.write(replica_id, "w", 1.0 + step + replica_id, "step.py:3")
        story.end()
    if shown:
        story.show("w", shown)
    return story


def test_components_that_only_their_replicas_read_and_assign_part() -> None:
    (finding,) = own_states().findings()

    assert ("divergence", ("step.py:3", 12)) == (finding.kind.name, finding.locations[0])
    assert "but not all in the same calls" in finding.what
    assert finding.settings is not None


@pytest.mark.parametrize(
    "story",
    [own_states("main.py:9"), own_states(all_write=True), own_states(reads=False)],
    ids=["the program reads it", "all write in each call", "replicas do not read it"],
)
def test_writes_of_one_value_conflict(story: ProgramHistory) -> None:
    assert any("write-write conflict: w" in one for one in story.found())


def test_stale_reads_that_follow_from_a_conflict_are_left_out() -> None:
    story = both_write("ON_WRITE NONE")
    story.call()
    story.read(1, "w", "step.py:7")
    story.end()
    assert ["write-write conflict: w ×3 at step.py:3"] == story.found()


def test_settings_are_proposed_only_if_all_replicas_write() -> None:
    (together,) = both_write("ON_WRITE NONE").findings()
    (apart,) = own_states(reads=False).findings()

    assert together.settings == (VariableSynchronization.ON_WRITE, VariableAggregation.MEAN)
    assert apart.settings is None
    assert (
        "return value  # the last line of step, instead of the write",
        "results = strategy.run(step, args=…)  # in the program",
        'w.assign(strategy.reduce("MEAN", results, axis=None))',
    ) == apart.paste
