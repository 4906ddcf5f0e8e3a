"""Locks that are never contended, and locks that protect nothing, are findings."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.analysis.findings.build import ProgramHistory
from varsim.tracing.history import PROGRAM

ENOUGH = range(5)


def story(**variables: str) -> ProgramHistory:
    return ProgramHistory(**(variables or {"a": "ON_WRITE NONE", "b": "ON_WRITE NONE"}))


def sections(history: ProgramHistory, replica_ids: Iterable[int], names: str = "aa") -> None:
    """Let replicas write one of these variables, each in a critical section."""
    for replica_id in replica_ids:
        history.lock(replica_id)
        history.write(replica_id, names[replica_id], 1.0)
        history.unlock(replica_id)


def contended(names: str, opaque: bool = False, **variables: str) -> ProgramHistory:
    """Return a history in which both replicas request the lock at the same time."""
    history = story(**variables)
    for _ in ENOUGH:
        history.call()
        history.ask(0)
        history.ask(1)
        for replica_id in (0, 1):
            history.grant(replica_id)
            history.write(replica_id, names[replica_id], 1.0)
            if opaque:
                history.event(replica_id, "arrive", operation="host_call")
            history.unlock(replica_id)
        history.end()
    return history


def test_a_lock_of_one_replica_is_not_contended() -> None:
    history = story()
    for _ in ENOUGH:
        history.call()
        sections(history, [0])
        history.write(1, "a", 1.0)
        history.end()

    (finding,) = history.findings()
    assert ("lock without contention", "", 5) == (
        finding.kind.name,
        finding.variable,
        finding.count,
    )
    assert (("step.py:0", 5),) == finding.locations
    assert "Only replica 0 used lock 'a', in 5 critical sections. It never waited." == finding.what


@pytest.mark.parametrize("ordered", [True, False])
def test_a_lock_is_not_contended_if_its_sections_are_ordered_anyway(ordered: bool) -> None:
    """Without the collective, the replicas could have requested the lock at the same time."""
    history = story()
    for _ in ENOUGH:
        history.call()
        sections(history, [0])
        if ordered:
            history.collective(name="turn")
            history.hear(1)
        sections(history, [1])
        history.end()

    expected = ["lock without contention: – ×10 at step.py:0"] if ordered else []
    assert expected == history.found()


def test_a_lock_that_is_waited_for_is_contended() -> None:
    assert [] == contended("aa").found()


def test_a_lock_protects_nothing_if_no_other_replica_writes_its_variables() -> None:
    history = contended("ab")
    (finding,) = history.findings()
    assert "lock that protects nothing" == finding.kind.name
    assert "accessed values of 2 variables that no other replica writes" in finding.what


@pytest.mark.parametrize("settings", ["NONE NONE", "ON_READ SUM"])
def test_a_lock_protects_nothing_if_each_replica_writes_a_component_of_its_own(settings: str):
    (finding,) = contended("aa", a=settings).findings()
    assert "lock that protects nothing" == finding.kind.name


@pytest.mark.parametrize("kind", ["push", "publish"])
def test_a_lock_protects_what_another_replica_pushes_or_publishes(kind: str):
    history = contended("aa", a="NONE NONE")
    history.call()
    history.event(1, kind, "a")
    history.end()
    assert [] == history.found()


def test_the_write_of_another_replica_need_not_be_in_a_critical_section() -> None:
    history = contended("ab")
    history.call()
    history.write(1, "a", 3.0)
    history.end()
    assert [] == history.found()


def test_a_section_with_a_host_call_may_protect_more_than_variables() -> None:
    assert [] == contended("ab", opaque=True).found()


def test_few_critical_sections_prove_nothing() -> None:
    history = story()
    history.call()
    sections(history, [0, 0])
    history.end()
    assert [] == history.found()


def test_a_lock_whose_sections_access_no_variable_is_a_note() -> None:
    history = story()
    history.call()
    history.lock(0)
    history.unlock(0)
    history.lock(1, "file", "read_lock")
    history.event(1, "return")
    history.event(PROGRAM, "finish")
    assert [
        "what these locks protect: 'a', 'file'. The critical sections access no variable; "
        "files and other resources are not recorded"
    ] == [one.text for one in history.notes()]


@pytest.mark.parametrize(("operation", "count"), [("lock", 0), ("read_lock", 1)])
def test_only_a_read_lock_around_reads_certainly_protects_no_file(operation: str, count: int):
    history = story()
    history.call()
    for _ in ENOUGH:
        history.lock(0, "log", operation)
        history.read(0, "a")
        history.unlock(0, "log")
    history.end()
    said = [one.kind.name for one in history.findings()]
    assert count == said.count("lock that protects nothing")
