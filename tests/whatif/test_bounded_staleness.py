"""Bounded staleness depends on the replicas' speeds, so what-if refuses to replay it."""

from __future__ import annotations

import pytest

import varsim as tf
from tests.whatif.test_replay import recorded, settings_for
from varsim.distribute.policies import synchronization_of
from varsim.errors import ConfigError
from varsim.whatif.recorded import Settings

SUM = tf.VariableAggregation.SUM


def program(synchronization: object) -> None:
    strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
    with strategy.scope():
        v = tf.Variable(0.0, name="v", synchronization=synchronization, aggregation=SUM)
    strategy.run(lambda: v.assign_add(1.0, read_value=False))
    v.read_value()


def test_a_recorded_program_with_bounded_staleness_is_not_replayed(monkeypatch):
    with (
        pytest.raises(ConfigError, match="'v' with bounded_staleness:2: its values and its mess"),
        recorded(lambda: program(tf.BoundedStaleness(2)), monkeypatch),
    ):
        pass


def test_a_program_is_not_replayed_with_bounded_staleness(monkeypatch):
    on_write = tf.VariableSynchronization.ON_WRITE
    bounded = Settings(synchronization_of(tf.BoundedStaleness(2)), SUM)
    with (
        recorded(lambda: program(on_write), monkeypatch) as replays,
        pytest.raises(ConfigError, match="depend on how fast each replica runs"),
    ):
        replays.under(settings_for(replays, "v", bounded))
