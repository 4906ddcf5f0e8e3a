"""Copies that are trained separately and never combined cause a note."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.analysis.findings.build import ProgramHistory
from varsim.analysis.findings.divergence import DIVERGENCE

STEPS = 4


def train(told: ProgramHistory, *, name: str = "w", after_read: str = "") -> None:
    """Let each replica read its copy, and write back another value than the other replicas."""
    for replica_id in told.replicas:
        told.read(replica_id, name)
    if after_read:
        told.collective(after_read)
    for replica_id in told.replicas:
        told.write(replica_id, name, 1.0 + replica_id, add=True)


def history(
    settings: str = "ON_READ MEAN",
    step: Callable[[ProgramHistory], None] = train,
    between: Callable[[ProgramHistory], None] = lambda _: None,
) -> ProgramHistory:
    told = ProgramHistory(w=settings)
    for _ in range(STEPS):
        told.call()
        step(told)
        told.end()
        between(told)
    return told


def notes(told: ProgramHistory) -> list[str]:
    return [one.text for one in told.notes() if "trained separately" in one.text]


@pytest.mark.parametrize("settings", ["ON_READ MEAN", "NONE NONE"])
def test_copies_that_are_never_combined_are_noted(settings: str):
    """This is no finding, because the program may mean it."""
    assert () == history(settings).findings()
    assert [
        "whether w is to be trained separately on each replica: the components differed after 4 of "
        "4 steps in which each replica read and then wrote its own component, and were never "
        "combined"
    ] == notes(history(settings))


def test_reads_by_varsim_itself_do_not_combine():
    told = history()
    told.show("w")

    (note,) = notes(told)
    assert note.endswith("and were never combined")


def test_a_read_after_the_last_step_combines_only_the_result():
    told = history()
    told.show("w", "a.py:1")

    (note,) = notes(told)
    assert note.endswith("and were not combined before the last of these steps")


def test_an_assign_before_the_first_step_does_not_combine():
    told = ProgramHistory(w="ON_READ MEAN")
    told.assign("w", 3.0)
    for _ in range(STEPS):
        told.call()
        train(told)
        told.end()

    assert 1 == len(notes(told))


def add_without_read(told: ProgramHistory) -> None:
    for replica_id in told.replicas:
        told.write(replica_id, "w", 1.0 + replica_id, add=True)


def write_the_same(told: ProgramHistory) -> None:
    for replica_id in told.replicas:
        told.read(replica_id, "w")
        told.write(replica_id, "w", 1.0, add=True)


def assign_a_new_value(told: ProgramHistory) -> None:
    for replica_id in told.replicas:
        told.write(replica_id, "w", 1.0 + replica_id)
    for replica_id in told.replicas:
        told.read(replica_id, "w")
        told.write(replica_id, "w", 1.0 + replica_id, add=True)


def combine_by_all_reduce(told: ProgramHistory) -> None:
    train(told, after_read="all_reduce")


@pytest.mark.parametrize(
    "step", [add_without_read, write_the_same, assign_a_new_value, combine_by_all_reduce]
)
def test_other_writes_are_not_noted(step: Callable[[ProgramHistory], None]):
    assert [] == notes(history(step=step))


@pytest.mark.parametrize(
    "between", [lambda told: told.show("w", "a.py:1"), lambda told: told.assign("w", 5.0)]
)
def test_copies_that_the_program_uses_between_steps_are_not_noted(
    between: Callable[[ProgramHistory], None],
):
    assert [] == notes(history(between=between))


def test_parts_of_a_sum_are_not_noted():
    assert [] == notes(history("ON_READ SUM"))


def test_variables_with_the_same_facts_have_one_note():
    names = ["a", "b", "c", "d"]
    told = ProgramHistory(**dict.fromkeys(names, "ON_READ MEAN"))
    for _ in range(STEPS):
        told.call()
        for name in names:
            train(told, name=name)
        told.end()

    (note,) = notes(told)
    assert note.startswith("whether a, b, c and 1 more are to be trained separately")


def test_a_sync_combines_the_copies():
    def between(told: ProgramHistory) -> None:
        told.event(-1, "sync", "w", value=1.0, operation="sync_mean")

    assert [] == notes(history("NONE NONE", between=between))


@pytest.mark.parametrize(("settings", "found"), [("ON_READ MEAN", ["m"]), ("NONE NONE", [])])
def test_a_variable_that_the_averaging_skips_is_found(settings: str, found: list[str]):
    """With NONE the copies may be meant to stay apart, because the program does not read them."""
    told = ProgramHistory(w=settings, m=settings)
    for _ in range(STEPS):
        told.call()
        train(told)
        train(told, name="m")
        told.end()
        told.assign("w", 5.0, at="average.py:3")

    assert found == [one.variable for one in told.findings() if one.kind is DIVERGENCE]


def test_a_skipped_variable_that_the_program_never_reads_follows_from_one_that_it_reads():
    """The averaging of w skips b and the momentum m: one cause, and the program uses b."""
    told = ProgramHistory(w="ON_READ MEAN", m="ON_READ MEAN", b="ON_READ MEAN")
    for _ in range(STEPS):
        told.call()
        for name in "wmb":
            train(told, name=name)
        told.end()
        told.assign("w", 5.0, at="average.py:3")
    told.show("b", at="average.py:9")

    m, b = (one for one in told.findings() if one.kind is DIVERGENCE)
    assert "the averaging skips b. It also skips m." in b.what
    assert m.cause is not None
    assert ("b", "b") == (m.cause.variable, b.variable)
    assert b.cause is None
