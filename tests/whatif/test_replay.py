"""The replay of a recorded program, with the same settings and with others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from rich.console import Console

import varsim as tf
from tests.testing.programs import PROGRAMS
from varsim.errors import ConfigError
from varsim.experiments.catalog import list_workloads
from varsim.experiments.config import Experiment
from varsim.experiments.runner import run_experiment
from varsim.spec import VariableAggregation, VariableSynchronization
from varsim.testing import simulated_cluster
from varsim.testing.simulation import SimulatedCluster
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions
from varsim.whatif.advice import advise
from varsim.whatif.compare import Effect, Replays, WhatIf
from varsim.whatif.reading import why_left_out
from varsim.whatif.recorded import Settings
from varsim.whatif.text import print_what_if

ON_WRITE, ON_READ = VariableSynchronization.ON_WRITE, VariableSynchronization.ON_READ
NONE, ADAPTIVE = VariableSynchronization.NONE, VariableSynchronization.AUTO
SUM, MEAN = VariableAggregation.SUM, VariableAggregation.MEAN


@contextmanager
def recorded(program, monkeypatch, **more) -> Iterator[Replays]:
    """Record a program in a simulated cluster, and return replays of its history."""
    launch = SimulatedCluster.launch
    with TemporaryDirectory() as name:
        folder = Path(name)

        def traced(self, given, references):
            return launch(self, replace(given, trace=TraceOptions(folder)), references)

        monkeypatch.setattr(SimulatedCluster, "launch", traced)
        with simulated_cluster():
            program()
        monkeypatch.undo()
        merge(folder, folder)
        with open_history(folder) as history:
            yield Replays(history, **more)


def effect_on(result: WhatIf, name: str) -> Effect:
    (effect,) = [one for one in result.effects if one.name == name]
    return effect


def settings_for(replays: Replays, name: str, settings: Settings) -> dict[int, Settings]:
    rows = replays.program.variables
    return {number: settings for number, row in rows.items() if row.name == name}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_a_replay_with_the_same_settings_equals_the_record(program, monkeypatch):
    with recorded(program, monkeypatch) as replays:
        assert () == replays.doubts
        assert "" == replays.under({}).failure
        assert all(effect.harmless for effect in replays.under({}).effects)


@pytest.mark.parametrize("expected", [1, 2, 5])
def test_the_progress_of_several_replays_never_goes_back(expected, monkeypatch):
    """Also with more replays than expected, which add nothing."""
    told: list[float] = []
    with recorded(with_local_sgd, monkeypatch, tell=told.append, expected=expected) as replays:
        (number,) = replays.program.variables
        for mode in (Settings(ON_READ, SUM), Settings(ON_READ, MEAN)):
            replays.under({number: mode})

    assert told == sorted(told)
    assert min(3 / expected, 1.0) == pytest.approx(told[-1])


def with_local_sgd() -> None:
    strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
    with strategy.scope():
        v = tf.Variable(0.0, name="v", synchronization=tf.LocalSGD(2))

    def step() -> None:
        v.assign_add(1.0 + tf.distribute.get_replica_context().replica_id_in_sync_group)
        v.read_value()

    for _ in range(5):
        strategy.run(step)
    v.read_value()


def test_a_custom_synchronization_is_replayed(monkeypatch):
    """A replay repeats the recorded local writes, and so the policy repeats the exchanges."""
    with recorded(with_local_sgd, monkeypatch) as replays:
        same = effect_on(replays.under({}), "v")
        assert same.harmless
        assert same.cost_before == same.cost_after

        on_write = Settings(VariableSynchronization.ON_WRITE, VariableAggregation.MEAN)
        other = effect_on(replays.under(settings_for(replays, "v", on_write)), "v")
        assert other.cost_after.merges == 5
        assert not other.harmless


def with_one_copy() -> None:
    strategy = tf.distribute.experimental.CentralStorageStrategy(["cpu:0", "cpu:1"])
    with strategy.scope():
        v = tf.Variable(np.zeros(2, np.float32), name="v", aggregation=tf.VariableAggregation.MEAN)

    def step() -> None:
        v.assign_add(np.ones(2, np.float32))
        v.scatter_add(tf.IndexedSlices(np.ones(1, np.float32), [1]))

    for _ in range(5):
        strategy.run(step)
    v.read_value()


def test_a_central_variable_is_replayed_and_no_other_synchronization_is_advised(monkeypatch):
    with recorded(with_one_copy, monkeypatch) as replays:
        assert effect_on(replays.under({}), "v").harmless

        (advice,) = advise(replays).advice

    assert advice.effect.before == advice.effect.after
    assert "Its strategy stores all variables centrally" in advice.proof


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (
            "acme:2",
            "the policy acme is not installed here; install acme-policies 2.1 (or a ",
        ),
        ("local_sgd:0", "its policy cannot be used here ('local_sgd:0': invalid LocalSGD(0)"),
        ("bounded_staleness:2", "with bounded_staleness:2, its values and its messages depend on "),
        ("local_sgd:2", ""),
    ],
)
def test_a_variable_whose_policy_cannot_be_replayed_is_left_out(name, why, monkeypatch):
    with recorded(with_local_sgd, monkeypatch) as replays:
        (row,) = replays.program.variables.values()
    run = {"policies": {"acme": "acme-policies 2.1"}}

    said = why_left_out(row._replace(synchronization=name), run)

    assert bool(why) == bool(said)
    assert said.startswith(why)


@pytest.mark.thorough
@pytest.mark.parametrize("workload", [one.name for one in list_workloads()])
def test_a_replay_has_the_costs_of_the_run(workload: str, tmp_path: Path):
    with simulated_cluster():
        ran = run_experiment(Experiment(workload=workload, workers=3, steps=24, out=str(tmp_path)))
    with open_history(Path(ran.directory)) as history:
        replays = Replays(history)
    assert () == replays.doubts
    costs = [one.cost_before for one in replays.under({}).effects]
    expected = [(v.name, v.writes, v.messages, v.size_bytes, v.merges) for v in ran.variables]
    found = [(c.name, c.writes, c.messages, c.size_bytes, c.merges) for c in costs]
    assert expected == found


def counting() -> None:
    """Add to two sums on replicas; read `count` there, and `total` in the program at the end."""
    strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
    with strategy.scope():
        count = tf.Variable(0.0, name="count", aggregation=tf.VariableAggregation.SUM)
        total = tf.Variable(0.0, name="total", aggregation=tf.VariableAggregation.SUM)

    def step():
        count.assign_add(1.0)
        total.assign_add(2.0)
        return count.read_value()

    for _ in range(3):
        strategy.run(step)
    total.read_value()
    strategy.close()


def test_a_replay_with_other_settings_equals_a_run_with_them(monkeypatch):
    with recorded(counting, monkeypatch) as replays:
        to = Settings(ON_READ, SUM)
        result = replays.under(settings_for(replays, "count", to))
    effect = effect_on(result, "count")

    assert (6, 6, 0, None) == (effect.reads, effect.changed, effect.unknown, effect.refusal)
    assert effect.first is not None
    assert effect.first.after is not None
    assert (2.0, 1.0, 1) == (effect.first.before, effect.first.after, effect.first.step)
    assert (3, 12) == (effect.cost_before.merges, effect.cost_before.messages)
    assert (0, 0) == (effect.cost_after.merges, effect.cost_after.messages)
    assert (0, 4) == (effect.stale_before, effect.stale_after)  # all reads after the first step
    assert effect_on(result, "total").harmless


def training() -> None:
    """Train `weight` with other data on each replica; read `seen` there after each write."""
    strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
    with strategy.scope():
        weight = tf.Variable(0.0, name="weight", aggregation=tf.VariableAggregation.MEAN)
        seen = tf.Variable(0.0, name="seen", aggregation=tf.VariableAggregation.SUM)

    def step():
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        weight.assign_sub(0.5 * (weight.read_value() - me))
        seen.assign_add(1.0 + me)
        return seen.read_value()

    for _ in range(3):
        strategy.run(step)
    strategy.close()


def test_a_read_before_a_write_of_the_same_replica_is_not_stale_and_the_text_says_so(monkeypatch):
    with recorded(training, monkeypatch) as replays:
        changes = {number: Settings(ON_READ, MEAN) for number in replays.program.variables}
        result = replays.under(changes)
    weight, seen = effect_on(result, "weight"), effect_on(result, "seen")
    written = StringIO()
    print_what_if(Console(file=written, width=300), result, [*changes], ())

    assert (6, 4, 0) == (weight.reads, weight.changed, weight.stale_after)
    assert seen.stale_after
    said = written.getvalue()
    assert "unless the replica then writes the variable itself, as with weights" in said
    assert "Reads that would give another value are counted below, also if they" in said
    assert "weight: 4 of 6 reads would give another value." in said


@pytest.mark.parametrize(
    ("settings", "value"),
    [(Settings(ON_READ, SUM), 12.0), (Settings(ON_READ, MEAN), 6.0), (Settings(ADAPTIVE, SUM), 12)],
)
def test_a_replay_computes_the_last_read_value(monkeypatch, settings: Settings, value: float):
    with recorded(counting, monkeypatch) as replays:
        result = replays.under(settings_for(replays, "total", settings))
    effect = effect_on(result, "total")
    assert value == (12.0 if effect.first is None else effect.first.after)
    assert effect.harmless is (value == 12.0)
    assert effect.cost_after.messages < effect.cost_before.messages


def test_a_refused_operation_is_reported_with_its_location(monkeypatch):
    with recorded(counting, monkeypatch) as replays:
        result = replays.under(settings_for(replays, "total", Settings(NONE, SUM)))
    refusal = effect_on(result, "total").refusal

    assert refusal is not None
    assert refusal.location == replays.reads_of(effect_on(result, "total").variable)[0].location
    assert refusal.text.startswith("the variable cannot be read in cross-replica context")
    assert any("synchronization=NONE" in text for text in result.warned)


def first_counts() -> None:
    """Write a variable with ONLY_FIRST_REPLICA; the history has the values of all replicas."""
    strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
    with strategy.scope():
        one = tf.Variable(0.0, name="one", aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)

    def step():
        one.assign_add(1.0 + tf.distribute.get_replica_context().replica_id_in_sync_group)

    strategy.run(step)
    one.read_value()
    strategy.close()


def test_other_settings_use_recorded_values_that_the_run_did_not_use(monkeypatch):
    with recorded(first_counts, monkeypatch) as replays:
        result = replays.under(settings_for(replays, "one", Settings(ON_READ, SUM)))
    first = effect_on(result, "one").first

    assert first is not None
    assert (1.0, 3.0) == (first.before, first.after)


def large_values() -> None:
    strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
    with strategy.scope():
        large = tf.Variable(
            np.zeros(20_000, np.float32), name="large", aggregation=tf.VariableAggregation.MEAN
        )

    def step():
        large.assign(np.ones(20_000, np.float32))
        return float(large.read_value()[0])

    strategy.run(step)
    strategy.close()


def test_a_missing_value_is_reported_as_unknown(monkeypatch):
    with recorded(large_values, monkeypatch) as replays:
        result = replays.under(settings_for(replays, "large", Settings(ON_READ, MEAN)))
    effect = effect_on(result, "large")

    assert (2, 0, 2, False) == (effect.reads, effect.changed, effect.unknown, effect.harmless)
    assert ["use trace: messages" in doubt for doubt in replays.doubts] == [True]


def test_a_record_without_variables_is_refused(tmp_path: Path):
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], trace=TraceOptions(tmp_path))
        strategy.run(lambda: None)
        strategy.close()
    merge(tmp_path, tmp_path)
    with (
        open_history(tmp_path) as history,
        pytest.raises(ConfigError, match="nothing to replay"),
    ):
        Replays(history)


@pytest.mark.filterwarnings("ignore:merge_call at:varsim.VarsimWarning")
def test_collectives_keep_their_names_and_lines(monkeypatch):
    def program():
        strategy = tf.distribute.MirroredStrategy(["a", "b"])
        with strategy.scope():
            v = tf.Variable(0.0, name="v", aggregation=tf.VariableAggregation.SUM)

        def step():
            context = tf.distribute.get_replica_context()
            if context.replica_id_in_sync_group == 0:
                context.all_reduce("SUM", np.float32(1), name="the loss")
                context.merge_call(lambda _: v.assign(1.0) and None)
            else:
                context.all_reduce("SUM", np.float32(2), name="the loss")
                context.merge_call(lambda _: v.assign(1.0) and None)

        strategy.run(step)
        v.numpy()

    with recorded(program, monkeypatch) as replays:
        call = replays.program.actions[1]
        assert [[("all_reduce", "the loss"), ("merge_call", None)]] * 2 == [
            [(one.kind, one.name) for one in own] for own in call.replicas
        ]
        result = replays.under(settings_for(replays, "v", Settings(ON_READ, MEAN)))
        assert ("", ()) == (result.failure, result.warned)  # the replay causes no new warning
        assert ["collectives of different lines"] == [one.kind.name for one in result.findings]


def test_broken_lines_of_a_text_keep_their_indentation():
    result = WhatIf((), (), f"step 3: two replicas wait:\n  {'replica 0 waits ' * 4}", ())
    written = StringIO()
    print_what_if(Console(file=written, width=40), result, [], ())

    assert (
        "  replica 0 waits replica 0 waits\n  replica 0 waits replica 0 waits\n"
        in written.getvalue()
    )
