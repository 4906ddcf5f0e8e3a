"""Components that only some replicas write, and that all replicas read."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.analysis.findings.build import ProgramHistory

SETTINGS = ["ON_READ ONLY_FIRST_REPLICA", "ON_READ NONE", "NONE NONE", "ON_WRITE NONE"]


def averaged(
    settings: str,
    *,
    writes: Sequence[int] = range(4),
    readers: Sequence[int] = range(3),
    used: str = "test.py:8",
) -> ProgramHistory:
    """Return a history in which replica 0 changes its component, and then replicas read theirs.

    Args:
        writes: The steps in which replica 0 writes.
        readers: The replicas that read, at the line `used`.
    """
    told = ProgramHistory(3, v=settings)
    for step in range(4):
        told.call()
        told.read(0, "v", at="train.py:4")
        if step in writes:
            told.write(0, "v", step + 1.5, at="train.py:5")
        told.end()
        told.call()
        for me in readers:
            told.read(me, "v", at=used)
        told.end()
    return told


def divergences(told: ProgramHistory) -> list[str]:
    return [one for one in told.found() if one.startswith("divergence")]


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_value_of_one_replica_that_all_read_is_found_with_its_write(settings: str) -> None:
    (finding,) = [one for one in averaged(settings).findings() if one.kind.name == "divergence"]

    assert (("train.py:5", 4), ("test.py:8", 8)) == finding.locations
    assert finding.what.startswith("Only replica 0 wrote v, at train.py:5 (4 times)")
    assert "Replicas 1, 2 read v, too, 8 times" in finding.what


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("others", [{"readers": [0]}, {"used": "train.py:4"}])
def test_a_value_that_only_its_writer_uses_is_not_found(
    settings: str, others: dict[str, Sequence[int]]
) -> None:
    assert [] == divergences(averaged(settings, **others))


@pytest.mark.parametrize(
    ("settings", "writes", "count"),
    [
        ("NONE NONE", [0, 1, 3], 0),
        ("NONE NONE", [2], 0),
        ("NONE NONE", [0], 1),
        ("ON_READ NONE", [0, 2], 0),
        ("ON_READ ONLY_FIRST_REPLICA", [0, 1, 3], 1),
    ],
    ids=["now and then", "one time", "at the start", "two times", "a declared truth"],
)
def test_a_component_of_its_replica_must_be_written_by_a_rule(
    settings: str, writes: list[int], count: int
) -> None:
    """The writes may depend on what the replica has computed, such as a skipped step."""
    told = ProgramHistory(3, v=settings)
    for step in range(4):
        told.call()
        if step in writes:
            told.write(0, "v", step + 1.5, at="train.py:5")
        told.end()
        told.call()
        for me in told.replicas:
            told.read(me, "v", at="test.py:8")
        told.end()
    assert count == len(divergences(told))


def test_components_that_get_values_of_their_own_are_not_one_truth() -> None:
    told = averaged("NONE NONE")
    told.assign_one("v", 1, 3.0)
    assert [] == divergences(told)
