"""Time limits for replicas without progress: their settings, and what counts as progress."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

import varsim as tf
from tests.replica_context import replica_id
from varsim.distribute.host import RunHost
from varsim.testing import simulated_cluster
from varsim.testing.simulation import SimulatedCluster


@pytest.fixture
def simulated() -> Iterator[SimulatedCluster]:
    with simulated_cluster() as cluster:
        yield cluster


def pair(**settings: Any) -> tf.distribute.MirroredStrategy:
    return tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], **settings)


@pytest.mark.usefixtures("simulated")
@pytest.mark.parametrize("name", ["stall_warn_s", "stall_fail_s"])
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "60", [1], True])
def test_a_wrong_time_is_refused(name: str, value: Any) -> None:
    expected = f"{name}={value!r}: expected a number of seconds, such as 60 or 0.5; 0 means never"
    with pytest.raises(ValueError) as caught:
        pair(**{name: value})
    assert expected == str(caught.value)

    with pair() as strategy, pytest.raises(ValueError) as caught:
        strategy.run(replica_id, options=tf.distribute.RunOptions(**{name: value}))
    assert expected == str(caught.value)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "60", True])
def test_a_wrong_time_limit_of_a_cut_link_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="expected a number of seconds above 0, such as 20"):
        pair(link_loss_s=value)


def step() -> float:
    context = tf.distribute.get_replica_context()
    return float(context.all_reduce("SUM", 1.0))


def test_messages_that_arrived_while_the_program_computed_are_progress(
    simulated: SimulatedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program works on a request of replica 0 for a long time, and receives no messages."""
    perform = RunHost.perform

    def take_long(host: RunHost, *arguments: Any) -> Any:
        simulated.networks[0]._now_s += 10_000
        return perform(host, *arguments)

    monkeypatch.setattr(RunHost, "perform", take_long)
    with pair() as strategy:
        with strategy.scope():
            total = tf.Variable(0.0, aggregation=tf.VariableAggregation.SUM)

        def ask() -> float:
            if replica_id() == 0:
                str(total)  # a request to the program
            return step()

        assert 2.0 == strategy.run(ask)
