"""The judge proves that a broken coordinator breaks the promises of one-sided operations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import varsim as tf
from varsim.analysis.outcome import Outcome
from varsim.analysis.verdict import judge
from varsim.sync.one_sided import OneSided, Shared
from varsim.testing import simulated_cluster
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

NONE = tf.VariableSynchronization.NONE

pytestmark = pytest.mark.filterwarnings("ignore::varsim.errors.VarsimWarning")


def verdict(folder: Path, restart: bool = False) -> tuple[Outcome, str]:
    """Run a program with one-sided operations, and return the verdict about them."""
    with simulated_cluster(3):
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], trace=TraceOptions(folder))
        with strategy.scope():
            v = tf.Variable([1.0, 1.0], synchronization=NONE, name="v")

        def step() -> None:
            replica_id = tf.distribute.get_replica_context().replica_id_in_sync_group
            for _ in range(4):
                v.push([1.0, 0.5])
                v.assign_add([1.0, replica_id])
                v.publish()
                v.pull()
                v.fetch(1 - replica_id)

        strategy.run(step)
        if restart:
            strategy.restart()
            folder /= "incarnation-2"
            strategy.run(step)
        v.pull()
        v.fetch(0)
        strategy.close()
    merge(folder, folder)
    with open_history(folder) as history:
        (found,) = [one for one in judge(history) if one.checker == "one-sided"]
    return found.outcome, found.reason


@pytest.mark.parametrize("restart", [False, True])
def test_a_right_coordinator_is_valid(tmp_path: Path, restart: bool):
    assert Outcome.VALID is verdict(tmp_path, restart)[0]


def lose_a_push(original: Callable[..., Any]) -> Callable[..., Any]:
    calls = iter(range(1000))

    def push(self: OneSided, number: int, writer: int, delta: Any, now_s: float) -> None:
        original(self, number, writer, delta * (next(calls) != 2), now_s)

    return push


def tear(original: Callable[..., Any]) -> Callable[..., Any]:
    def pull(self: OneSided, number: int, reader: int, now_s: float) -> Shared:
        found = original(self, number, reader, now_s)
        torn = np.array([found.value[0], found.value[1] - 0.5], np.float32)
        return Shared(torn, found.version, found.since_s) if found.version > 3 else found

    return pull


def go_back(original: Callable[..., Any]) -> Callable[..., Any]:
    found: list[Shared] = []

    def pull(self: OneSided, number: int, reader: int, now_s: float) -> Shared:
        found.append(original(self, number, reader, now_s))
        return found[0]

    return pull


def of_another(original: Callable[..., Any]) -> Callable[..., Any]:
    def fetch(self: OneSided, number: int, reader: int, owner: int, now_s: float) -> Shared:
        return original(self, number, reader, 1 - owner, now_s)

    return fetch


@pytest.mark.parametrize(
    ("method", "mutant"),
    [("push", lose_a_push), ("pull", tear), ("pull", go_back), ("fetch", of_another)],
)
def test_a_broken_coordinator_is_proved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, mutant: Any
):
    monkeypatch.setattr(OneSided, method, mutant(getattr(OneSided, method)))
    outcome, reason = verdict(tmp_path)
    assert Outcome.INVALID is outcome, reason
