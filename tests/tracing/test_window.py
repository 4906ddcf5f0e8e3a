"""With a window only its calls are recorded, and the judge assumes nothing about earlier events."""

from __future__ import annotations

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import varsim as tf
from tests.effort import many
from tests.properties.generation import programs
from tests.properties.programs import RandomProgram, run_program
from varsim.analysis.outcome import Outcome, overall
from varsim.analysis.search import find
from varsim.analysis.verdict import judge
from varsim.errors import ConfigError
from varsim.experiments.config import Experiment
from varsim.experiments.loading import Override, load_experiment
from varsim.experiments.runner import run_experiment
from varsim.testing import simulated_cluster
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions
from varsim.tracing.trace_format import PROGRAM, file_name

AUTO = st.sampled_from(["on_write", "adaptive"])


@pytest.mark.thorough
@settings(max_examples=many(40), deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(st.integers(2, 4)), st.none() | st.integers(0, 2**32), AUTO, st.integers(1, 3))
def test_a_window_of_a_valid_run_is_unknown_and_never_invalid(
    program: RandomProgram, seed: int | None, auto: str, first: int
) -> None:
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", tf.VarsimWarning)
        options = TraceOptions(Path(folder), window=(first, first + 1))
        devices = [f"cpu:{i}" for i in range(program.num_replicas)]
        auto = program.auto(auto)
        with simulated_cluster(seed):
            run_program(program, tf.distribute.MirroredStrategy(devices, auto=auto, trace=options))
        assume((options.directory / file_name(PROGRAM)).exists())
        merge(options.directory, options.directory)
        with open_history(options.directory) as history:
            assert history.run["complete"]
            assert Outcome.UNKNOWN is overall(judge(history))
            find(history)


def test_a_window_has_the_commits_to_joined_replicas(tmp_path: Path):
    options = TraceOptions(tmp_path, window=(2, 3))
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["a", "b", "c"], trace=options)
        with strategy.scope():
            v = tf.Variable(1.0, name="v")
        strategy.run(lambda: None)
        strategy.run(lambda _: None, args=(tf.distribute.PerReplica([None], 2),))
        with strategy.scope():
            v.assign(tf.distribute.PerReplica([2.0, 3.0, 4.0]))
        assert [2, 3, 4] == [component.numpy() for component in v.values]
    merge(options.directory, tmp_path)
    with open_history(tmp_path) as history:
        assert [0, 1, 2] == [one.replica for one in history.events() if one.kind == "commit"]
        assert Outcome.UNKNOWN is overall(judge(history))


def recorded(tmp_path: Path, trace: object) -> Path:
    with simulated_cluster():
        ran = run_experiment(
            Experiment(workload="step_counter", workers=3, out=str(tmp_path), trace=trace)
        )
    return Path(ran.directory)


def test_only_the_calls_of_the_window_are_recorded(tmp_path: Path):
    with open_history(recorded(tmp_path, {"steps": "10:12"})) as history:
        calls = {event.call for event in history.events() if event.kind == "write"}
        assert [10, 12] == history.run["window"]
    assert {10, 11} == calls - {None}


@pytest.mark.processes
def test_worker_processes_record_only_the_window(tmp_path: Path):
    """Only calls 10 and 11 of 50 are recorded. The program gives the directory as a str."""
    options = TraceOptions(str(tmp_path / "trace"), window=(10, 12))  # type: ignore[arg-type]
    with tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], trace=options) as strategy:
        with strategy.scope():
            v = tf.Variable(0.0, name="v", aggregation=tf.VariableAggregation.SUM)
        step = tf.function(lambda: v.assign_add(1.0))
        for _ in range(50):
            strategy.run(step)
    merge(options.directory, tmp_path)
    with open_history(tmp_path) as history:
        writes = [event.call for event in history.events() if event.kind == "write"]
        assert [10, 12] == history.run["window"]
    assert {10, 11} == set(writes) - {None}


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"level": "opps"}, "level='opps': it must be 'ops' or 'messages'"),
        ({"level": "off"}, "to record nothing, give no TraceOptions"),
        ({"window": (12, 10)}, r"window=\(12, 10\): it must be \(first, end\), with 1"),
    ],
)
def test_wrong_trace_options_are_refused_when_they_are_created(wrong: Any, problem: str):
    with pytest.raises(ConfigError, match=problem):
        TraceOptions("somewhere", **wrong)  # type: ignore[arg-type]


def test_a_directory_is_not_accepted_as_trace_options():
    with pytest.raises(tf.VarsimError, match=r"write TraceOptions\('runs/x'\)"):
        tf.distribute.MirroredStrategy(["cpu:0"], trace="runs/x")  # type: ignore[arg-type]


def test_a_verdict_says_that_the_record_reached_its_limit(tmp_path: Path):
    with open_history(recorded(tmp_path, {"limit": "64 KiB"})) as history:
        reasons = {one.reason for one in judge(history)}
    assert any("the record of the program reached its limit" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("trace=opps", "'opps' is not one of ops, messages, off; did you mean 'ops'?"),
        ("trace.steps=9:5", "invalid window '9:5': write 100:200"),
        ("trace.limit=3", "invalid size 3: write 64 MiB"),
        ("trace.stps=1:2", "trace has no key 'stps'; did you mean 'steps'?"),
    ],
)
def test_the_error_for_a_wrong_trace_setting_has_an_allowed_value(said: str, problem: str):
    with pytest.raises(ConfigError) as caught:
        load_experiment(None, [Override.parse(said)])
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("ops", "ops"),
        ({"level": "messages"}, "messages"),
        ({"steps": "10:12"}, {"steps": "10:12"}),
        ({"level": "off", "limit": "64 MiB"}, {"level": "off", "limit": 64 * 2**20}),
    ],
)
def test_a_trace_is_saved_in_its_shortest_form(said: Any, kept: Any):
    keys = Experiment(trace=said).as_keys()
    assert kept == keys["trace"]
    assert Experiment(trace=said).trace == Experiment(**keys).trace


def test_overridden_trace_steps_keep_the_files_level(tmp_path: Path):
    file = tmp_path / "e.yaml"
    file.write_text("trace: messages\n", "utf-8")
    experiment = load_experiment(file, [Override.parse("trace.steps=1:3")])
    assert ("messages", (1, 3)) == (experiment.trace.level, experiment.trace.steps)
