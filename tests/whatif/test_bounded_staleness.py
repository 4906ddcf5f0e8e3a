"""Bounded staleness depends on the replicas' speeds, so a replay leaves out such variables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import varsim as tf
from tests.whatif.test_replay import effect_on, recorded, settings_for
from varsim.cli.main import main
from varsim.distribute.policies import synchronization_of
from varsim.errors import ConfigError
from varsim.testing import simulated_cluster
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions
from varsim.whatif.advice import advise
from varsim.whatif.compare import Replays
from varsim.whatif.recorded import Settings

ON_READ = tf.VariableSynchronization.ON_READ
SUM = tf.VariableAggregation.SUM


def program(
    trace: TraceOptions | None = None, *, only_bounded: bool = False, name: str = "b"
) -> None:
    """Write `paced`, which has bounded staleness, and `b`, which all replicas write together."""
    strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], trace=trace)
    with strategy.scope():
        bounded = tf.BoundedStaleness(2)
        paced = tf.Variable(0.0, name="paced", synchronization=bounded, aggregation=SUM)
        b = None if only_bounded else tf.Variable(0.0, name=name, aggregation=SUM)

    def step() -> None:
        paced.assign_add(1.0, read_value=False)
        if b is not None:
            b.assign_add(1.0, read_value=False)
        paced.read_value()

    for _ in range(2):
        strategy.run(step)
    paced.assign(1.0)
    if b is not None:
        b.read_value()
    strategy.close()


def test_a_replay_answers_for_the_other_variables_and_says_what_it_leaves_out(monkeypatch):
    with recorded(program, monkeypatch) as replays:
        result = replays.under(settings_for(replays, "b", Settings(ON_READ, SUM)))
        advised = advise(replays)

    (effect,) = result.effects
    assert effect is effect_on(result, "b")
    assert (8, 4) == (effect.cost_before.messages, effect.cost_after.messages)
    assert effect.harmless
    (doubt,) = replays.doubts
    assert doubt.startswith("Left out of the replay: paced: with bounded_staleness:2, its values")
    assert "no figures about paced, and no deadlock or mismatch at operations on paced" in doubt
    assert ["b"] == [one.effect.name for one in advised.advice]
    assert replays.doubts == advised.doubts


def test_a_single_device_is_not_used_if_a_left_out_variable_has_the_name_of_another(tmp_path):
    with simulated_cluster():
        program(TraceOptions(tmp_path), name="paced")
    merge(tmp_path, tmp_path)
    with open_history(tmp_path) as history:
        alone, compared = Replays(history).doubts, Replays(history, history).doubts

    assert alone == compared[:1]
    assert "No value is compared with the single device's, because paced is also" in compared[1]


def test_a_record_without_other_variables_is_refused(monkeypatch):
    with (
        pytest.raises(ConfigError, match="Left out of the replay: paced: with bounded_stalen"),
        recorded(lambda: program(only_bounded=True), monkeypatch),
    ):
        pass


def test_a_program_is_not_replayed_with_bounded_staleness(monkeypatch):
    bounded = Settings(synchronization_of(tf.BoundedStaleness(2)), SUM)
    with (
        recorded(program, monkeypatch) as replays,
        pytest.raises(ConfigError, match="variable 'b': with bounded_staleness:2, its values"),
    ):
        replays.under(settings_for(replays, "b", bounded))


@pytest.fixture
def run(tmp_path: Path) -> str:
    """Provide the record of the program."""
    with simulated_cluster():
        program(TraceOptions(tmp_path))
    merge(tmp_path, tmp_path)
    return str(tmp_path)


@pytest.mark.parametrize("changes", [["paced=on_read"], ["b=bounded_staleness:3"]])
def test_settings_of_which_none_can_be_replayed_are_refused(run, changes):
    words = [word for one in changes for word in ("--set", one)]
    done = CliRunner().invoke(main, ["whatif", run, *words])

    assert 2 == done.exit_code
    assert done.stderr.startswith(
        "Error: no setting can be replayed\n  Left out of the replay: paced: with bounded_st"
    )
    assert ("b keeps its settings: with bounded_staleness:3" in done.stderr) == (
        changes != ["paced=on_read"]
    )


def test_other_settings_are_answered(run):
    words = ["--set", "*=on_read", "--json"]
    said = json.loads(CliRunner().invoke(main, ["whatif", run, *words]).stdout)

    (b,) = said["variables"]
    assert ("ON_WRITE", "ON_READ") == tuple(b[i]["synchronization"] for i in ("before", "after"))
    assert ["Left out of the replay: paced"] == [one[:29] for one in said["doubts"]]
