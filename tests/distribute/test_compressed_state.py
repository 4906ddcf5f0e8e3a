"""Residuals of compressed variables: in checkpoints, at restarts, and in their histories."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.distribute.test_incarnations import LOST, lose, make
from tests.replica_context import replica_id
from varsim.analysis.outcome import Outcome
from varsim.analysis.verdict import judge
from varsim.distribute.checkpoints import archive
from varsim.errors import CheckpointError
from varsim.testing import simulated_cluster
from varsim.texts.incarnations import LostPolicyState
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

pytestmark = pytest.mark.filterwarnings("ignore:(The strategy goes on|variable )")

POLICIES = ["compressed:on_write:top_k:0.3", "compressed:local_sgd:2:one_bit"]


def compressed(strategy: Any, name: str = POLICIES[0]) -> Any:
    """Create a variable of three numbers, one of which a contribution sends."""
    _, inner, *others = name.split(":")
    every = int(others.pop(0)) if inner == "local_sgd" else 0
    policy = tf.Compressed(tf.LocalSGD(every) if every else inner, by=":".join(others))
    with strategy.scope():
        return tf.Variable(
            np.zeros(3, "f"),
            name="w",
            synchronization=policy,
            aggregation=tf.VariableAggregation.MEAN,
        )


def write(strategy: Any, w: Any, times: int) -> None:
    change = np.array([1.0, 2.0, 4.0], "f")
    for _ in range(times):
        strategy.run(lambda: w.assign_add(change * (1 + replica_id()), read_value=False))


def undisturbed(times: int) -> list[float]:
    strategy = make()
    w = compressed(strategy)
    write(strategy, w, times)
    values: list[float] = w.numpy().tolist()
    return values


@pytest.mark.parametrize("before", [1, 2, 3])
def test_a_restored_variable_goes_on_with_its_residuals(tmp_path, before):
    with simulated_cluster():
        first = make()
        w = compressed(first)
        write(first, w, before)
        path = first.save(tmp_path / "saved")

        second = make()
        again = compressed(second)
        write(second, again, 1)  # the restore also replaces this residual
        second.restore(path)
        write(second, again, 3)

        assert undisturbed(before + 3) == again.numpy().tolist()


def test_a_restarted_strategy_goes_on_with_its_residuals():
    with simulated_cluster():
        strategy = make()
        w = compressed(strategy)
        write(strategy, w, 2)
        strategy.restart()
        write(strategy, w, 3)

        assert undisturbed(5) == w.numpy().tolist()


def test_the_residual_of_a_lost_worker_is_reported_as_lost():
    with simulated_cluster() as simulated:
        strategy = make()
        w = compressed(strategy)
        write(strategy, w, 2)
        lose(simulated)
        with pytest.warns(match=r"w.*compressed:on_write:top_k:0.3|compressed.*w") as warned:
            strategy.restart()
        write(strategy, w, 3)

        text = str(LostPolicyState("w", POLICIES[0], (LOST,)))
        assert any(text in str(one.message) for one in warned)
        assert undisturbed(5) != w.numpy().tolist()


@pytest.mark.parametrize("wrong", [np.zeros(2, "f"), np.zeros(3), np.array([0, np.nan, 0], "f")])
def test_a_checkpoint_with_an_impossible_residual_is_refused(tmp_path, wrong):
    with simulated_cluster():
        strategy = make()
        w = compressed(strategy)
        write(strategy, w, 2)
        path = strategy.save(tmp_path / "saved")
        found = archive.read(path)
        is_state = {name: "POLICY_STATE" in name for name in found.arrays}
        assert any(is_state.values())
        arrays = {name: wrong if is_state[name] else array for name, array in found.arrays.items()}
        archive.write(path, archive.Archive(found.document, arrays))

        with pytest.raises(CheckpointError):
            strategy.restore(path)


@pytest.mark.parametrize("name", POLICIES)
def test_the_history_of_a_restored_variable_is_valid(tmp_path, name):
    with simulated_cluster():
        strategy = make(trace=TraceOptions(tmp_path))
        w = compressed(strategy, name)
        write(strategy, w, 3)
        path = strategy.save(tmp_path / "saved")
        write(strategy, w, 2)
        strategy.restore(path)
        write(strategy, w, 3)
        strategy.restart()
        write(strategy, w, 5)
        strategy.close()
    for folder in (tmp_path, tmp_path / "incarnation-2"):
        merge(folder, folder)
        with open_history(folder) as history:
            verdicts = {one.checker: one for one in judge(history)}
        assert {Outcome.VALID} == {one.outcome for one in verdicts.values()}, verdicts
        assert "compression" in verdicts


def test_replicas_go_on_after_the_program_has_written_one_component():
    """Only the replica of this component sends a whole value at the next exchange."""
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
        w = compressed(strategy, "compressed:local_sgd:1:top_k:0.5")
        write(strategy, w, 2)
        before = w.numpy()
        w.values[1].assign(before + np.array([0.0, 0.0, 8.0], "f"))
        strategy.run(lambda: w.assign_add(np.zeros(3, "f"), read_value=False))

        assert 1 == len({tuple(one.numpy().tolist()) for one in w.values})
        assert before[2] + 4.0 == w.numpy()[2]
        write(strategy, w, 2)
        assert 1 == len({tuple(one.numpy().tolist()) for one in w.values})
