"""Components that part because a value was not reduced, or because they started apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.analysis.findings.build import ProgramHistory

Values = Callable[[int, int], float]  # of a step and a replica


def equal(step: int, me: int) -> float:  # the same on each replica
    return step + 0.5


def own(step: int, me: int) -> float:
    return step + 0.25 * me + 0.5


def one_line(a: Values, b: Values, settings: str = "NONE NONE", other: str = "") -> ProgramHistory:
    """Return a history whose replicas write two variables at one line, after a collective."""
    told = ProgramHistory(2, a=settings, b=other or settings)
    for step in range(4):
        told.call()
        told.collective()
        for me in told.replicas:
            told.write(me, "a", a(step, me), at="step.py:7", add=True)
            told.write(me, "b", b(step, me), at="step.py:7", add=True)
        told.end()
    return told


def test_the_value_that_was_not_reduced_is_named() -> None:
    (finding,) = one_line(equal, own).findings()

    assert ("divergence", "b", 4) == (finding.kind.name, finding.variable, finding.count)
    assert "The same line writes a, whose components were equal" in finding.what


@pytest.mark.parametrize(
    "told",
    [
        one_line(own, own),
        one_line(equal, equal),
        one_line(lambda step, me: 1.0, own),
        one_line(equal, own, other="ON_READ MEAN"),
    ],
    ids=["both are local", "both are reduced", "a constant", "other settings"],
)
def test_local_values_may_part(told: ProgramHistory) -> None:
    assert [] == told.found()


def started(
    changes: Sequence[float] = (1.5, 0.5, 2.5),
    start: Sequence[float] = (1.0, 2.0),
    *,
    late: float = 0.0,
) -> ProgramHistory:
    """Return a history whose replicas start from values, and then change them."""
    told = ProgramHistory(2, w="NONE NONE")
    told.call()
    for me in told.replicas:
        told.write(me, "w", start[me], at="build.py:3")
    told.end()
    for step, change in enumerate(changes):
        told.call()
        told.collective()
        for me in told.replicas:
            told.write(me, "w", change + late * me * (step == 2), at="step.py:9", add=True)
        told.end()
    return told


def test_a_missing_broadcast_is_found_at_the_first_write() -> None:
    (finding,) = started().findings()

    assert ("divergence", "w", "build.py:3") == (
        finding.kind.name,
        finding.variable,
        finding.locations[0][0],
    )
    assert ("w.broadcast(root=0)",) == finding.paste


@pytest.mark.parametrize(
    "told",
    [
        started((1.0, 1.0, 1.0)),
        started((1.5, 0.5)),
        started(start=(1.0, 1.0)),
        started(late=0.25),
    ],
    ids=["a count", "few changes", "the same start", "own changes"],
)
def test_components_may_keep_a_distance(told: ProgramHistory) -> None:
    assert [] == told.found()


@pytest.mark.parametrize("settings", ["NONE NONE", "ON_WRITE NONE"])
@pytest.mark.parametrize(("later", "count"), [(False, 1), (True, 0)])
def test_a_start_that_one_replica_alone_assigns_is_found(
    later: bool, count: int, settings: str
) -> None:
    """If it assigns its component again, this is a state of its own."""
    told = ProgramHistory(2, w=settings)
    for start in range(1 + later):
        told.call()
        told.write(0, "w", 3.5 + start, at="restore.py:3")
        told.end()
    for change in (1.5, 0.5, 2.5):
        told.call()
        told.collective()
        for me in told.replicas:
            told.write(me, "w", change, at="step.py:9", add=True)
        told.end()

    assert ["divergence: w ×3 at restore.py:3"] * count == told.found()
