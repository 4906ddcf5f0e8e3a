"""The judge proves that a broken coordinator breaks the promises of manual operations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import varsim as tf
from varsim.analysis.outcome import Outcome
from varsim.analysis.verdict import judge
from varsim.sync import combining
from varsim.sync.one_sided import OneSided, Shared
from varsim.testing import simulated_cluster
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

NONE = tf.VariableSynchronization.NONE
DEVICES = ["cpu:0", "cpu:1", "cpu:2"]

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


def sync_verdict(folder: Path, op: str | None) -> tuple[Outcome, str]:
    """Run a program with syncs, and return the verdict about them."""
    with simulated_cluster(3):
        strategy = tf.distribute.MirroredStrategy(DEVICES, trace=TraceOptions(folder))
        with strategy.scope():
            v = tf.Variable([0.0, 1.0], synchronization=NONE, name="v")
        group = strategy.group([1, 2])

        def step() -> None:
            replica_id = tf.distribute.get_replica_context().replica_id_in_sync_group
            v.assign_add([1.0 + replica_id, 0.1])
            v.broadcast(1) if op is None else v.sync(op)

        def in_group() -> None:
            replica_id = tf.distribute.get_replica_context().replica_id_in_sync_group
            v.assign_add([1.0 + replica_id, 0.1])
            if replica_id in group:
                v.broadcast(2, group=group) if op is None else v.sync(op, group=group)

        strategy.run(step)
        v.values[0].assign([5.0, 6.0])
        v.broadcast(0) if op is None else v.sync(op)
        strategy.run(step)
        strategy.run(in_group)
        v.broadcast(1, group=group) if op is None else v.sync(op, group=group)
        strategy.close()
    merge(folder, folder)
    with open_history(folder) as history:
        verdicts = judge(history)
        (found,) = [one for one in verdicts if one.checker == "synced"]
    return found.outcome, found.reason


OPS = ["SUM", "MEAN", "MIN", "MAX", "PROD", None]


@pytest.mark.parametrize("op", OPS)
def test_a_right_sync_is_valid(tmp_path: Path, op: str | None):
    assert Outcome.VALID is sync_verdict(tmp_path, op)[0]


@pytest.mark.parametrize("op", OPS)
def test_a_wrong_sync_is_proved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, op: str | None):
    right = combining.combined

    def wrong(how: Any, values: Any, weights: Any, num_replicas: int | None = None) -> Any:
        found = right(how, values, weights, num_replicas)
        return [tuple(leaf + np.float32(0.5) for leaf in found[0])] * len(found)

    monkeypatch.setattr(combining, "combined", wrong)
    outcome, reason = sync_verdict(tmp_path, op)
    assert Outcome.INVALID is outcome, reason


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
