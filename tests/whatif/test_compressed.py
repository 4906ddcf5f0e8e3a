"""A replay writes the values before their compression, and so it can show other settings."""

from __future__ import annotations

from io import StringIO

import numpy as np
import pytest
from rich.console import Console

import varsim as tf
from tests.whatif.test_replay import effect_on, recorded, settings_for
from varsim.distribute.policies import synchronization_of
from varsim.whatif.recorded import Settings
from varsim.whatif.text import print_what_if

MEAN, ON_WRITE = tf.VariableAggregation.MEAN, tf.VariableSynchronization.ON_WRITE
INNER = {"on_write": "on_write", "local_sgd": tf.LocalSGD(2)}


def program(policy: tf.Compressed) -> None:
    strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
    with strategy.scope():
        v = tf.Variable(np.zeros(4, "f"), name="v", synchronization=policy, aggregation=MEAN)

    def step() -> None:
        own = 1.0 + tf.distribute.get_replica_context().replica_id_in_sync_group
        v.assign_add(own * np.array([1, 2, 3, 4], "f"))
        v.assign_sub(np.array([0, 1, 0, 0], "f"))
        v.scatter_add(tf.IndexedSlices(np.ones(1, "f"), [0]))
        v.read_value()

    for _ in range(3):
        strategy.run(step)
    v.read_value()


@pytest.mark.parametrize("inner", INNER)
def test_a_replay_with_the_same_settings_equals_the_record(inner, monkeypatch):
    policy = tf.Compressed(INNER[inner], by="top_k:0.25")
    with recorded(lambda: program(policy), monkeypatch) as replays:
        effect = effect_on(replays.under({}), "v")

    assert effect.harmless
    assert effect.cost_before == effect.cost_after


def test_without_compression_more_bytes_are_sent_and_reads_differ(monkeypatch):
    policy = tf.Compressed("on_write", by="top_k:0.25")
    with recorded(lambda: program(policy), monkeypatch) as replays:
        plain = settings_for(replays, "v", Settings(ON_WRITE, MEAN))
        effect = effect_on(replays.under(plain), "v")

        half = Settings(synchronization_of(tf.Compressed("on_write", by="fp16")), MEAN)
        other = effect_on(replays.under(settings_for(replays, "v", half)), "v")

    dense = 3 * 2 * (2 + 2) * 16  # the two dense writes of three steps: contributions and commits
    saved = 3 * 2 * 2 * 8
    assert dense - saved == effect.cost_before.size_bytes - effect.cost_before.sparse_bytes
    assert dense == effect.cost_after.size_bytes - effect.cost_after.sparse_bytes
    assert effect.cost_before.size_bytes == other.cost_after.size_bytes
    assert not effect.harmless


def test_wide_settings_have_two_lines_in_a_table(monkeypatch):
    wide = Settings(synchronization_of(tf.Compressed(tf.LocalSGD(16), by="top_k:0.0001")), MEAN)
    with recorded(lambda: program(tf.Compressed("on_write")), monkeypatch) as replays:
        changes = settings_for(replays, "v", wide)
        result = replays.under(changes)

    def shown(width: int) -> str:
        written = StringIO()
        print_what_if(Console(file=written, width=width), result, [*changes], ())
        return written.getvalue()

    assert "→ compressed:local_sgd:16:top_k:0.0001 with MEAN  " in shown(100)
    assert "→ compressed:local_sgd:16:top_k:0.0001  " in shown(75)
    assert "\n  with MEAN" in shown(75)
    assert "→ compressed:local_sgd:16:top_k:0.0001 with MEAN\n    merges 0," in shown(60)
