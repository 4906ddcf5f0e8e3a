"""Programs and commands that use the packages of examples/policies."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import varsim as tf
from tests.replica_context import replica_id
from varsim.analysis.outcome import Outcome
from varsim.analysis.verdict import judge
from varsim.cli.main import main
from varsim.distribute.policies import parse_synchronization
from varsim.errors import ConfigError, SynchronizationError, WorkerLost
from varsim.launch.link import Lost
from varsim.report import explain
from varsim.report.explain_worked import Way
from varsim.spec import Context, Operation
from varsim.testing import simulated_cluster
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions
from varsim.whatif.compare import Replays

NAMES = [
    "gossip:1:1", "gossip:1:4", "elastic_averaging:0.25:1", "elastic_averaging:0.1:4",
    "event_triggered:1.5", "event_triggered:100",
]  # fmt: skip
MEAN = tf.VariableAggregation.MEAN


@pytest.fixture
def four():
    """Provide a strategy with four simulated replicas."""
    with simulated_cluster():
        yield tf.distribute.MirroredStrategy([f"cpu:{i}" for i in range(4)])


@pytest.mark.parametrize("name", NAMES)
def test_names_are_those_of_the_policies(name):
    synchronization = parse_synchronization(name)

    assert name == synchronization.name
    assert f"varsim-{name.partition(':')[0].replace('_', '-')} 1.0" == synchronization.source


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gossip:1", "EVERY is missing. Write gossip:NEIGHBOURS:EVERY, where .*example gossip:1:4"),
        ("gossip:0:1", "expected two positive integers"),
        ("elastic_averaging:2:1", "expected a rate between 0 and 1"),
        ("elastic_averaging:0.1", "EVERY is missing"),
        ("event_triggered:x", "to float: 'x'. Write event_triggered:THRESHOLD, where"),
        ("gosip:1:4", "did you mean 'gossip'.*event_triggered:THRESHOLD, gossip:NEIGHBOURS"),
        ("event_triggered:inf", "expected a number from 0"),
    ],
)
def test_wrong_parameters_are_refused(name, says):
    with pytest.raises(ConfigError, match=f"(?s){says}"):
        parse_synchronization(name)


# ---------------------------------------------------------------- explain


@pytest.mark.parametrize("name", NAMES)
def test_the_worked_numbers_are_those_of_a_cluster(name, four):
    page = explain.page(parse_synchronization(name), [MEAN], 4)
    (section,) = (one for one in page.sections if one.context is Context.REPLICA)
    for example in section.examples:
        if example.way is not Way.PLAINLY or example.operation is Operation.READ:
            continue
        with four.scope():
            v = tf.Variable(10.0, synchronization=parse_synchronization(name), name="v")
        before = four.statistics()[-1].messages

        def step(v=v, operation=example.operation.value):
            getattr(v, operation)(1.0 + replica_id(), read_value=False)

        four.run(step)
        messages = four.statistics()[-1].messages - before
        outside = float(v.read_value())

        assert example.messages == messages
        assert example.outside == pytest.approx(outside)
        assert [float(one) for one in example.components] == [
            pytest.approx(float(one.read_value())) for one in v.values
        ]


@pytest.mark.parametrize("name", NAMES)
def test_explain_shows_the_policy(name):
    shown = CliRunner().invoke(main, ["explain", name])

    assert (0, "") == (shown.exit_code, shown.stderr)
    assert "writes stay local" in " ".join(shown.stdout.split())
    assert "own cell" not in shown.stdout  # every cell has a text


# ---------------------------------------------------------------- checkpoints and failures


@pytest.mark.parametrize("name", ["elastic_averaging:0.25:2", "event_triggered:1.5"])
def test_a_checkpoint_has_the_copy_which_all_components_get(name, four, tmp_path):
    with four.scope():
        v = tf.Variable(10.0, synchronization=parse_synchronization(name), name="v")
    for _ in range(2):
        four.run(lambda: v.assign_add(4.0 + replica_id(), read_value=False))
    copy = float(v.read_value())
    assert 10.0 != copy

    path = tf.train.Checkpoint(v=v).save(str(tmp_path / "saved"))
    v.assign(0.0)
    tf.train.Checkpoint(v=v).restore(path)

    assert copy == float(v.read_value())
    assert [copy] * 4 == [float(one.read_value()) for one in v.values]


@pytest.mark.parametrize("name", ["gossip:1:3", "elastic_averaging:0.25:3", "event_triggered:4"])
def test_a_program_goes_on_after_an_exact_checkpoint_as_before(name, tmp_path):
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(
            [f"cpu:{i}" for i in range(4)], trace=TraceOptions(tmp_path / "trace")
        )
        with strategy.scope():
            v = tf.Variable(0.0, synchronization=parse_synchronization(name), name="v")

        def step():
            v.assign_add(1.0 + replica_id(), read_value=False)

        def state():
            return [float(v.read_value()), *(one.numpy().tolist() for one in v.values)]

        strategy.run(step)
        saved = state()
        path = tf.train.Checkpoint(v=v).save(str(tmp_path / "saved"), exact=True)
        for _ in range(3):
            strategy.run(step)
        expected = state()
        assert expected != saved

        tf.train.Checkpoint(v=v).restore(path)
        assert saved == state()
        for _ in range(3):
            strategy.run(step)
        assert expected == state()
        strategy.close()
    merge(tmp_path / "trace", tmp_path / "trace")
    with open_history(tmp_path / "trace") as history:
        outcomes = {one.outcome for one in judge(history)}
    assert Outcome.INVALID not in outcomes


@pytest.mark.parametrize("name", ["elastic_averaging:0.25:3", "event_triggered:4"])
def test_an_exact_checkpoint_gives_a_variable_with_other_settings_the_copy(name, four, tmp_path):
    with four.scope():
        v = tf.Variable(0.0, synchronization=parse_synchronization(name), name="v")
        w = tf.Variable(0.0, aggregation=MEAN, name="v")
    for _ in range(3):
        four.run(lambda: v.assign_add(2.0, read_value=False))
    path = tf.train.Checkpoint(v=v).save(str(tmp_path / "saved"), exact=True)

    tf.train.Checkpoint(v=w).restore(path)

    assert float(v.read_value()) == float(w.read_value())


@pytest.mark.parametrize("name", ["gossip:1:2", "elastic_averaging:0.25:2", "event_triggered:1"])
def test_a_failed_call_leaves_a_variable_that_can_be_used(name, four):
    with four.scope():
        v = tf.Variable(np.zeros(2, "f"), synchronization=parse_synchronization(name), name="v")

    def step(fails):
        v.assign_add([2.0, 2.0], read_value=False)
        if fails and replica_id() == 2:
            raise RuntimeError("it fails")
        v.assign_add([2.0, 2.0], read_value=False)
        return v.read_value()

    with pytest.raises(RuntimeError, match="it fails"):
        four.run(step, (True,))
    v.assign([1.0, 1.0])
    four.run(step, (False,))

    assert np.isfinite(v.read_value()).all()
    assert v.read_value()[0] > 1.0


@pytest.mark.filterwarnings("ignore:The strategy goes on")
@pytest.mark.parametrize("name", ["gossip:1:2", "elastic_averaging:0.25:2", "event_triggered:5"])
def test_after_a_restart_the_copy_and_the_state_of_the_others_are_as_before(name, tmp_path):
    """Three writes of 2: one exchange of elastic averaging, and none of 5 or less."""
    with simulated_cluster() as simulated:
        strategy = tf.distribute.MirroredStrategy(
            ["cpu:0", "cpu:1", "cpu:2"], on_worker_lost="restart", trace=TraceOptions(tmp_path)
        )
        with strategy.scope():
            v = tf.Variable(0.0, synchronization=parse_synchronization(name), name="v")
        step = partial(v.assign_add, 2.0, read_value=False)
        for _ in range(3):
            strategy.run(step)
        before = [one.numpy().tolist() for one in v.values]
        copy = float(v.read_value())
        simulated.networks[-1].end(1, "")
        simulated.networks[-1].from_worker(1, [Lost("was killed by SIGKILL", "", "")])
        with pytest.raises(WorkerLost):
            strategy.run(step)

        after = [one.numpy().tolist() for one in v.values]
        assert [before[0], before[2]] == [after[0], after[2]]
        if not name.startswith("gossip"):
            assert copy == float(v.read_value())
        for _ in range(3):
            strategy.run(step)
        assert np.isfinite(float(v.read_value()))
        strategy.close()


@pytest.mark.parametrize("name", ["gossip:1:2", "elastic_averaging:0.25:2"])
def test_a_joined_replica_is_refused_where_all_must_exchange(name, four):
    with four.scope():
        v = tf.Variable(0.0, synchronization=parse_synchronization(name), name="v")

    assert 0.0 == float(v.read_value())
    with pytest.raises(SynchronizationError, match="every replica"):
        four.run(lambda _: None, (tf.distribute.PerReplica([1.0, 2.0], 2),))


def test_an_event_triggered_variable_is_not_replayed(tmp_path):
    """Its values depend on the order of pushes, and a replay does not repeat it."""
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], trace=TraceOptions(tmp_path))
        with strategy.scope():
            v = tf.Variable(0.0, synchronization=parse_synchronization("event_triggered:1"))
        strategy.run(lambda: v.assign_add(2.0, read_value=False))
        strategy.close()
    merge(tmp_path, tmp_path)

    with open_history(tmp_path) as history, pytest.raises(ConfigError, match="how fast each repl"):
        Replays(history)


@pytest.mark.parametrize("name", ["gossip:1:2", "elastic_averaging:0.25:2"])
def test_an_exchange_is_replayed_with_the_same_values(name, tmp_path):
    with simulated_cluster(seed=1):
        strategy = tf.distribute.MirroredStrategy(
            ["cpu:0", "cpu:1", "cpu:2"], trace=TraceOptions(tmp_path)
        )
        with strategy.scope():
            v = tf.Variable(0.0, synchronization=parse_synchronization(name))
        for _ in range(4):
            strategy.run(lambda: v.assign_add(1.0 + replica_id()))
        v.read_value()
        (cost,) = strategy.statistics()
        strategy.close()
    merge(tmp_path, tmp_path)

    with open_history(tmp_path) as history:
        replays = Replays(history)
        assert () == replays.doubts
        (effect,) = replays.under({}).effects
        assert (cost.messages, cost.size_bytes, cost.merges) == (
            effect.cost_before.messages,
            effect.cost_before.size_bytes,
            effect.cost_before.merges,
        )


# ---------------------------------------------------------------- commands


@pytest.fixture
def recorded(tmp_path):
    """Provide a function that runs the digits job with a mode, and returns its folder."""

    def run(name: str, *options: str) -> Path:
        arguments = ["run", "--workers", "2", "--mode", name, "--out", str(tmp_path), "--quiet"]
        done = CliRunner().invoke(main, [*arguments, *options], catch_exceptions=False)
        assert 0 == done.exit_code, done.output
        (folder,) = {one.parent.resolve() for one in tmp_path.glob("*/summary.json")}
        return folder

    return run


@pytest.mark.processes
@pytest.mark.thorough
@pytest.mark.parametrize("name", ["gossip:1:4", "elastic_averaging:0.1:4", "event_triggered:0.5"])
def test_the_digits_job_is_recorded_and_valid(name, recorded):
    folder = recorded(name)
    summary = json.loads((folder / "summary.json").read_text())
    weights = next(one for one in summary["variables"] if one["name"] == "weights")

    assert name == weights["synchronization"]
    assert 0 < weights["messages"]
    checked = CliRunner().invoke(main, ["check", str(folder)])
    assert 0 == checked.exit_code, checked.output
    advised = CliRunner().invoke(main, ["advise", str(folder)])
    is_left_out = name.startswith("event_triggered")
    assert 0 == advised.exit_code, advised.output
    assert is_left_out == ("Left out of the replay: weights" in advised.stdout)
