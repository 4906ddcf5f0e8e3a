"""Changes of the program's objects by replicas that run in the program's process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.replica_context import replica_id
from varsim.distribute.replica_context import ReplicaContext
from varsim.testing import simulated_cluster
from varsim.tracing import notices
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

Program = Callable[[Any], object]
TOTAL = 0


class Meter:
    def __init__(self) -> None:
        self.total = 0.0
        self.kept: dict[int, float] = {}

    def update(self, value: float) -> None:
        self.total += value  # changed here

    def keep(self, value: float) -> None:
        self.kept[replica_id()] = self.kept.get(replica_id(), 0.0) + value

    @property
    def mean(self) -> float:
        return self.total / 2


@pytest.mark.parametrize(("traced", "searched"), [(True, 2), (False, 0)])
def test_arguments_of_merge_call_are_searched_for_nan_only_in_a_recorded_run(
    traced: bool, searched: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[Any] = []
    monkeypatch.setattr(ReplicaContext, "_note_not_finite", lambda _, args, __: seen.append(args))
    trace = TraceOptions(tmp_path) if traced else None

    def step() -> None:
        tf.distribute.get_replica_context().merge_call(lambda *_: None, args=(np.nan,))

    with (
        simulated_cluster(),
        tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], trace=trace) as strategy,
    ):
        strategy.run(step)
    assert searched == len(seen)


def appends(strategy: Any) -> object:
    losses: list[int] = []

    def step() -> None:
        losses.append(replica_id())  # changed here

    strategy.run(step)
    return len(losses)


def ends_a_loop(strategy: Any) -> object:
    seen = 0

    def step() -> None:
        nonlocal seen
        seen += 1  # changed here

    while seen < 4:
        strategy.run(step)
    return None


def counts_globally(strategy: Any) -> object:
    def step() -> None:
        global TOTAL  # noqa: PLW0603  # the program under test does so
        TOTAL += 1  # changed here

    strategy.run(step)
    return TOTAL


def changes_an_array(strategy: Any) -> object:
    norms = np.zeros(2)

    def step() -> None:
        norms[replica_id()] = 1.0  # changed here

    strategy.run(step)
    return norms.sum()


def passes_a_list(strategy: Any) -> object:
    found: list[int] = []

    def step(results: list[int]) -> None:
        results.append(1)  # changed here

    strategy.run(step, args=(found,))
    return found


def uses_a_method(strategy: Any) -> object:
    meter = Meter()

    def step() -> None:
        meter.update(1.0)

    strategy.run(step)
    return meter.mean


def changes_it_late(strategy: Any) -> object:
    last = [0]

    def step(number: int) -> None:
        if number == 7 and replica_id() == 1:
            last[0] = number  # changed here

    for number in range(8):
        strategy.run(step, args=(number,))
    return [one for one in last]  # noqa: C416  # a comprehension has code of its own in Python 3.11


def keeps_its_own(strategy: Any) -> object:
    states = [{"h": 0.0} for _ in range(2)]
    meter = Meter()
    print(len(states))

    def step() -> None:
        states[replica_id()]["h"] += 1.0
        meter.keep(1.0)

    def look() -> float:
        return states[replica_id()]["h"]

    strategy.run(step)
    return strategy.run(look)


def passes_only(strategy: Any) -> object:
    buffer: list[int] = []

    def step(scratch: list[int]) -> None:
        scratch.append(1)

    for _ in range(3):
        strategy.run(step, args=(buffer,))
    return None


def changes_in_a_merge_call(strategy: Any) -> object:
    log: list[int] = []

    def note(_: Any) -> None:
        log.append(1)

    def step() -> None:
        tf.distribute.get_replica_context().merge_call(note)

    strategy.run(step)
    return log


def makes_its_own(strategy: Any) -> object:
    def step() -> float:
        meter = Meter()
        meter.update(1.0)
        return meter.mean

    return strategy.run(step)


def told(program: Program, folder: Path) -> list[tuple[str, int | None, str]]:
    """Return the recorded changes: the name, the replica, and the text of the line."""
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], trace=TraceOptions(folder))
        program(strategy)
        strategy.close()
    merge(folder, folder)
    text = Path(__file__).read_text("utf-8").splitlines()
    with open_history(folder) as history:
        return [
            (
                notices.details(event.note)["name"],
                event.replica,
                text[int((event.location or "").rpartition(":")[2]) - 1],
            )
            for event in history.events("operation = 'changed'")
        ]


@pytest.mark.parametrize(
    ("program", "name", "replicas"),
    [
        (appends, "losses", [0, 1]),
        (ends_a_loop, "seen", [0, 1]),
        (counts_globally, "TOTAL", [0, 1]),
        (changes_an_array, "norms", [0, 1]),
        (passes_a_list, "results", [0, 1]),
        (uses_a_method, "meter.total", [0, 1]),
        (changes_it_late, "last", [1]),
    ],
)
def test_a_changed_object_that_the_program_uses_is_recorded(
    program: Program, name: str, replicas: list[int], tmp_path: Path
) -> None:
    found = told(program, tmp_path)

    assert [(name, one) for one in replicas] == [(it, replica) for it, replica, _ in found]
    assert all("# changed here" in line for _, _, line in found)


@pytest.mark.parametrize(
    "program", [keeps_its_own, passes_only, changes_in_a_merge_call, makes_its_own]
)
def test_objects_that_concern_only_replicas_are_not_recorded(
    program: Program, tmp_path: Path
) -> None:
    assert [] == told(program, tmp_path)
