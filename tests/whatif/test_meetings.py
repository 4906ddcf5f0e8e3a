"""The replay of locks, barriers, sends, and manual operations on variables."""

from __future__ import annotations

import numpy as np
import pytest

import varsim as tf
from tests.whatif.test_replay import NONE, ON_READ, ON_WRITE, SUM, effect_on, recorded, settings_for
from varsim.whatif.advice import advise
from varsim.whatif.recorded import Settings

MEAN = tf.VariableAggregation.MEAN

pytestmark = pytest.mark.filterwarnings("ignore:variable 'w'. synchronization=NONE gives")


def manual_operations() -> None:
    """Use all operations that need other replicas or the program, alone and in a group."""
    strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1", "cpu:2"])
    with strategy.scope():
        w = tf.Variable(np.zeros(2, np.float32), name="w", synchronization=NONE, aggregation=MEAN)
    pair = strategy.group([0, 1])

    def step() -> None:
        context = tf.distribute.get_replica_context()
        replica_id = context.replica_id_in_sync_group
        w.assign_add(np.full(2, replica_id, np.float32), read_value=False)
        w.publish()
        w.sync()
        w.push(np.ones(2, np.float32))
        with context.lock("a"):
            w.read_value()
            w.fetch(1 if replica_id == 0 else 0)
        with context.read_lock("a"):
            w.read_value()
        if replica_id < 2:
            w.sync("SUM", group=pair)
            w.broadcast(1, group=pair)
        context.barrier("b")
        context.barrier()
        if replica_id == 0:
            context.send(np.ones(1), 1)
        elif replica_id == 1:
            context.recv(0)
        w.pull()
        w.read_value()

    for _ in range(2):
        strategy.run(step)
    w.push(np.ones(2, np.float32))
    w.pull()
    w.fetch(2)
    w.sync("MAX")
    w.sync("SUM", group=pair)
    w.broadcast(2)
    w.values[0].read_value()


def test_a_replay_repeats_meetings_and_manual_operations(monkeypatch):
    with recorded(manual_operations, monkeypatch) as replays:
        same = replays.under({})
        effect = effect_on(same, "w")

    assert () == replays.doubts
    assert "" == same.failure
    assert effect.harmless
    assert 19 == effect.reads
    counts = effect.cost_after.one_sided
    assert counts is not None
    assert (6, 7, 7, 7) == (counts.publishes, counts.fetches, counts.pushes, counts.pulls)


def test_settings_that_refuse_manual_operations_are_shown_with_the_first_of_them(monkeypatch):
    with recorded(manual_operations, monkeypatch) as replays:
        other = settings_for(replays, "w", Settings(ON_WRITE, MEAN))
        effect = effect_on(replays.under(other), "w")

    assert effect.refusal is not None
    assert "v.publish is not possible" in effect.refusal.text
    assert 44 == effect.refusal.count


def reads_in_critical_sections() -> None:
    strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
    with strategy.scope():
        m = tf.Variable(0.0, name="m", synchronization=ON_READ, aggregation=SUM)

    def step() -> None:
        with tf.distribute.get_replica_context().lock("log"):
            m.assign_add(1.0)
            m.read_value()

    strategy.run(step)


def test_a_deadlock_under_other_settings_is_found(monkeypatch):
    with recorded(reads_in_critical_sections, monkeypatch) as replays:
        result = replays.under(settings_for(replays, "m", Settings(ON_WRITE, SUM)))

    assert result.failure.startswith("step 1: replicas wait for each other")
    assert "waits in lock('log') at" in result.failure
    assert 2 == result.failure.count("test_meetings.py:90")


def test_advice_counts_one_sided_operations(monkeypatch):
    with recorded(manual_operations, monkeypatch) as replays:
        (advice,) = advise(replays).advice

    assert advice.keeps
    assert "published 6×, fetched 7×, pushed 7×, pulled 7×" in advice.proof
    assert "costs nothing" not in advice.proof


def replicas_that_join() -> None:
    strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1", "cpu:2"])
    with strategy.scope():
        w = tf.Variable(0.0, name="w", synchronization=ON_WRITE, aggregation=MEAN)

    def step() -> None:
        context = tf.distribute.get_replica_context()
        for _ in range(context.replica_id_in_sync_group):
            w.assign_add(context.all_reduce("MEAN", 3.0))
            w.read_value()
            context.barrier()
        context.join()
        w.assign_add(1.0)

    strategy.run(step)
    w.read_value()


def test_a_replay_repeats_joins(monkeypatch):
    with recorded(replicas_that_join, monkeypatch) as replays:
        same = replays.under({})
        effect = effect_on(same, "w")

    assert () == replays.doubts
    assert "" == same.failure
    assert (4, True) == (effect.reads, effect.harmless)
