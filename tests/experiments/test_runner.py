"""Runs on the simulated cluster: settings, measurements and saved files, for every kind of end."""

from __future__ import annotations

import io
import json
import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import varsim
from varsim.distribute.mirrored import MirroredStrategy
from varsim.errors import ConfigError, StartError
from varsim.experiments.config import Experiment
from varsim.experiments.loading import Override, load_experiment
from varsim.experiments.recording import merge_what_is_left
from varsim.experiments.runner import run_experiment
from varsim.experiments.store import RunFiles, load_summary
from varsim.report.run_page import print_report
from varsim.report.summary import Failure, Phase, Plain, RunStatus, Summary, SyncCost
from varsim.testing import simulated_cluster
from varsim.tracing.history import open_history

Write = Callable[[str, str], Path]

PROGRAM = '''
"""A user's program."""
import numpy as np
from asyncio import CancelledError

import varsim as tf

def run(job, *, trouble: str = ""):
    with job.strategy.scope():
        free = tf.Variable(0.0, name="free", aggregation=tf.VariableAggregation.MEAN)
        array = tf.Variable(np.zeros((4, 5)), name="array", aggregation=tf.VariableAggregation.SUM)
        fixed = tf.Variable(
            0,
            name="fixed",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
    outside = tf.Variable(1.0, name="outside")

    @tf.function
    def step():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        free.assign_add(replica + 1.0)
        array.assign_add(np.full((4, 5), replica + 1.0))
        fixed.assign_add(1)
        if trouble == "in replica" and replica == 1:
            raise ValueError("a replica's trouble")
        return np.float32(replica)

    for number in range(3 if job.steps is None else job.steps):
        value = job.strategy.run(step)
        job.progress(number + 1, 3, loss=1.0 / (number + 1))
        if trouble == "cancelled":
            raise CancelledError("mine")  # not an Exception
        if trouble == "exit":
            raise SystemExit(4)
        if trouble == "interrupt" and number == 1:
            raise KeyboardInterrupt
        if trouble == "raise" and number == 1:
            raise KeyError("mine")
    return {"value": value, "fixed": fixed, "seed": job.seed, "nothing": float("nan")}
'''


@pytest.fixture(autouse=True)
def _in_one_process(write: Write) -> Iterator[None]:
    write("program.py", PROGRAM)
    with simulated_cluster():
        yield


class Seen:
    """A watcher that stores everything that it gets."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def started(self, summary_so_far: Summary) -> None:
        self.events.append(summary_so_far.experiment["name"])

    def follow(self, strategy: Any, number: int) -> None:
        """Follow nothing."""

    def progressed(self, step: int, total: int, metrics: dict[str, Plain]) -> None:
        self.events.append((step, total, metrics))

    def turned_to(self, part: Phase) -> None:
        self.events.append(part)

    def done(self, fraction: float) -> None:
        self.told = fraction

    def warned(self, text: str) -> None:
        self.events.append(text.partition("\n")[0])

    def failed(self, failure: Failure) -> None:
        self.events.append(failure.kind)

    def interrupted(self) -> None:
        self.events.append("interrupted")

    def measured(self, summaries: Sequence[Summary]) -> None:
        self.events.append([one.result for one in summaries])

    def unfinished(self, text: str) -> None:
        self.events.append(text.partition("\n")[0])

    def finished(self, summaries: Sequence[Summary]) -> None:
        self.final = [*summaries]


def run(*overrides: str, watcher: Seen | None = None) -> Summary:
    experiment = load_experiment(
        None, [Override.parse(text) for text in ("workload=program.py", *overrides)]
    )
    return run_experiment(experiment, watcher)


def test_a_fault_fails_the_run_or_causes_a_warning() -> None:
    failed = run("faults=[raise replica=1 step=3]")
    assert failed.failure is not None
    assert (failed.failure.kind, failed.step) == ("InjectedFault", 2)
    assert failed.warnings == []
    assert failed.experiment["faults"] == ["raise replica=1 step=3"]

    done = run("faults=[raise replica=1 call=4, delay replica=0 ms=0]")
    assert done.status is RunStatus.DONE
    assert done.warnings == [
        "fault 'raise replica=1 call=4' did not happen: the run did not reach call 4 on replica 1"
    ]
    report = io.StringIO()
    print_report(done, report, 80)
    assert "fault: raise replica=1 call=4" in report.getvalue()


def test_uneven_is_set_for_the_strategy(write: Write) -> None:
    write(
        "program.py",
        "import numpy as np\n"
        "def run(job):\n"
        "    batches = job.strategy.experimental_distribute_dataset([np.ones(2), np.ones(1)])\n"
        "    return {'batches': len(list(batches))}\n",
    )
    assert run("uneven=drop").result == {"batches": 1}
    assert run("uneven=join").result == {"batches": 2}
    assert run().result == {"batches": 2}


def test_an_impossible_fault_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no replica 2; the replicas are 0 to 1"):
        run("faults=[raise replica=2 call=1]")
    with pytest.raises(ConfigError, match="'rise' is not a kind of fault; did you mean 'raise'"):
        run("faults=[rise replica=1 call=1]")


def settings(summary: Summary) -> dict[str, tuple[str, str, str, bool]]:
    return {
        v.name: (v.requested, v.synchronization, v.aggregation, v.free) for v in summary.variables
    }


# ---------------------------------------------------------------- a run that succeeds


def test_the_measurements_of_a_run_are_saved():
    """The returned summary equals the one in the run's directory, and has all fields."""
    summary = run("workers=3", "seed=5")

    assert summary == load_summary(Path(summary.directory)) == load_summary(Path("runs/latest"))
    assert RunStatus.DONE is summary.status
    assert (3, 3, {"loss": 1 / 3}) == (summary.step, summary.total_steps, summary.metrics)
    assert {"value": [0, 1, 2], "fixed": 9, "seed": 5, "nothing": "NaN"} == summary.result
    assert ["cpu:0", "cpu:1", "cpu:2"] == summary.devices
    assert varsim.__version__ == summary.varsim
    parts = {"start_up", "training", "merging", "judging", "writing"}
    assert {*parts, "in_all"} == summary.seconds.keys()
    assert sum(summary.seconds[part] for part in parts) <= summary.seconds["in_all"]


def test_every_variable_of_the_strategy_is_measured():
    """A variable has its costs and its lens: components, cross-replica value, distance, samples."""
    free, array, fixed = run("mode=on_read", "workers=2").variables

    assert ("free", "array", "fixed") == (free.name, array.name, fixed.name)
    assert (6, 0, 0) == (fixed.writes, fixed.merges, fixed.messages)
    assert free.lens is not None
    assert fixed.lens is not None
    assert array.lens is not None
    assert [3, 6] == [digest.elements for digest in free.lens.components]
    assert 4.5 == free.lens.value.elements  # type: ignore[union-attr]
    assert 3 == free.lens.apart
    assert [3, 3] == [digest.elements for digest in fixed.lens.components]
    assert 0 == fixed.lens.apart
    assert [None, None] == [digest.elements for digest in array.lens.components]
    assert [[0, 0], [0, 1]] == [sample.index for sample in array.lens.samples]
    assert [3, 6] == array.lens.samples[0].components
    assert 9 == array.lens.samples[0].value


def test_the_lens_has_the_reason_for_a_refused_read():
    free, *_ = run("mode=none").variables

    assert free.lens is not None
    assert free.lens.value is None
    assert free.lens.refused.startswith("cannot be read in cross-replica context")


def test_the_experiment_is_saved_so_that_it_can_be_run_again():
    """The saved experiment has all defaults. Its workload is the carried program."""
    first = run("mode=free=none", "workers=3", "variables.fixed.aggregation=sum")
    again = load_experiment(Path("runs/latest/experiment.yaml"))

    assert "runs/latest/program/program.py" == again.workload
    assert {"trouble": ""} == again.params
    assert 3 == again.workers
    assert settings(first) == settings(run_experiment(again))


def test_each_run_has_its_own_directory():
    directories = [Path(run("name=x").directory) for _ in range(3)]

    assert 3 == len(set(directories))
    assert directories[-1].name == str(Path("runs/latest").readlink())
    assert all((directory / "summary.json").is_file() for directory in directories)


def test_a_built_in_workload_with_none_has_one_short_warning():
    """The user cannot change its lines, so the warning names none, and no variable."""
    summary = run("workload=digits", "mode=none", "steps=2")

    assert 1 == len(summary.warnings)
    (said,) = summary.warnings
    assert said.startswith("NONE: each replica keeps its own values")
    assert len(f"warning: {said}") < 160


def test_a_watcher_sees_the_start_every_step_and_each_warning():
    """A warning begins with its location. A repeated warning of another variable is shortened."""
    watcher = Seen()
    summary = run("name=x", "mode=none", watcher=watcher)
    free, array = summary.warnings

    assert array.startswith("program.py:11: variable 'array': synchronization=NONE gives")
    assert free.startswith("program.py:10: variable 'free': synchronization=NONE gives")
    assert [
        "x",
        free.partition("\n")[0],
        "program.py:11: variable 'array': same warning as for 'free'",
        (1, 3, {"loss": 1.0}),
        (2, 3, {"loss": 0.5}),
        (3, 3, {"loss": 1 / 3}),
        [summary.result],
        Phase.WRITING,
        Phase.MERGING,
        Phase.JUDGING,
    ] == watcher.events
    assert 1.0 == watcher.told
    assert [summary] == watcher.final


def test_warnings_of_other_classes_are_not_in_the_summary(write: Write):
    write(
        "noisy.py",
        "import warnings\ndef run(job): warnings.warn('mine', UserWarning, stacklevel=1)\n",
    )
    with pytest.warns(UserWarning, match="mine"):
        assert [] == run("workload=noisy.py").warnings


# ---------------------------------------------------------------- settings


def test_the_mode_sets_only_free_variables():
    assert {
        "free": ("ON_READ", "ON_READ", "MEAN", True),
        "array": ("ON_READ", "ON_READ", "SUM", True),
        "fixed": ("ON_READ", "ON_READ", "SUM", False),
    } == settings(run("mode=on_read"))
    assert {
        "free": ("AUTO", "ON_WRITE", "MEAN", True),
        "array": ("AUTO", "ON_WRITE", "SUM", True),
        "fixed": ("ON_READ", "ON_READ", "SUM", False),
    } == settings(run())


def test_a_name_overrides_a_pattern_and_both_override_the_program():
    """First the entries of `variables:` apply in order, then `name=mode`."""
    experiment = Experiment.model_validate(
        {
            "workload": "program.py",
            "mode": "on_read,fixed=none",
            "variables": {
                "f*": {"synchronization": "on_write", "aggregation": "mean"},
                "fixed": {"aggregation": "only_first_replica"},
                "array": {"synchronization": "auto"},
            },
        }
    )

    assert {
        "free": ("ON_WRITE", "ON_WRITE", "MEAN", True),
        "array": ("AUTO", "ON_WRITE", "SUM", True),
        "fixed": ("NONE", "NONE", "ONLY_FIRST_REPLICA", False),
    } == settings(run_experiment(experiment))


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("mode=fre=none", "mode=fre=none: there is no variable 'fre'; did you mean 'free'?"),
        (
            "variables.arry.synchronization=none",
            "variables.arry: there is no variable 'arry'; did you mean 'array'?",
        ),
        ("mode=outside=none", "mode=outside=none: there is no variable 'outside'"),
        ("variables.x*.synchronization=none", "variables.x*: there is no variable 'x*'"),
        (
            "mode=array=local_sgd:2",
            "mode=array=local_sgd:2: variable 'array' at program.py:LINE: aggregation=SUM does not "
            "fit synchronization local_sgd:2: it needs MEAN\n  Change the aggregation in the "
            "program, or set it under variables",
        ),
        ("workload=digit", "workload=digit: there is no workload 'digit'; did you mean 'digits'?"),
        ("params.troubel=x", "params.troubel=x: workload"),
        ("out=program.py", "out=program.py: 'program.py' cannot be written"),
        ("out=program.py/x", "out=program.py/x: 'program.py/x' cannot be written"),
    ],
)
def test_an_impossible_run_leaves_no_files(override: str, problem: str):
    """The run's directory is removed. `out` is also removed if it was created for the run."""
    with pytest.raises(ConfigError) as raised:
        run(override)

    assert problem in re.sub(r"(?<=program.py:)\d+", "LINE", str(raised.value))
    assert {"program.py"} == {path.name for path in Path().iterdir()} - {"__pycache__"}


def test_a_wrong_name_is_found_after_the_first_step():
    """All variables exist after the first step, so the run is refused then, not at its end."""
    watcher = Seen()
    with pytest.raises(ConfigError):
        run("mode=fre=none", watcher=watcher)

    assert ["program"] == watcher.events


def test_after_a_refused_run_latest_is_still_the_run_before():
    before = run().directory
    with pytest.raises(ConfigError):
        run("mode=fre=none")

    assert Path(before).name == str(Path("runs/latest").readlink())
    assert {Path(before).name, "latest"} == {path.name for path in Path("runs").iterdir()}


def test_a_mode_needs_free_variables():
    with pytest.raises(
        ConfigError,
        match=r"and this workload has none.*\n  variables: steps, steps_lazily",
    ):
        run("workload=step_counter", "mode=on_read")


# ---------------------------------------------------------------- other ends


def test_a_failure_of_the_program_is_saved_with_its_location():
    summary = run("params.trouble=raise")

    assert summary == load_summary(Path("runs/latest"))
    assert RunStatus.FAILED is summary.status
    assert summary.failure is not None
    assert ("KeyError", "'mine'") == (summary.failure.kind, summary.failure.text)
    assert "program.py" in summary.failure.traceback
    assert "raise KeyError" in summary.failure.traceback
    assert "runner.py" not in summary.failure.traceback
    assert 2 == summary.step
    assert 4 == summary.variables[-1].lens.value.elements  # type: ignore[union-attr]


def test_a_failure_of_a_replica_is_saved_with_the_replicas_traceback():
    summary = run("params.trouble=in replica")

    assert summary.failure is not None
    assert ("ValueError", "a replica's trouble") == (summary.failure.kind, summary.failure.text)
    assert "raised by replica 1" in summary.failure.traceback
    assert "in step" in summary.failure.traceback
    assert "ValueError: a replica" not in summary.failure.traceback, "the text is repeated"


def test_a_program_that_exits_has_failed():
    summary = run("params.trouble=exit")

    assert summary.failure is not None
    assert "the program called sys.exit(4)" == summary.failure.text


def test_a_run_that_ends_with_a_base_exception_is_saved():
    summary = run("params.trouble=cancelled")

    assert summary.failure is not None
    assert ("CancelledError", "mine") == (summary.failure.kind, summary.failure.text)


def test_an_interrupted_run_is_saved_up_to_its_end():
    summary = run("params.trouble=interrupt")

    assert summary == load_summary(Path("runs/latest"))
    assert RunStatus.INTERRUPTED is summary.status
    assert (2, {}) == (summary.step, summary.result)
    assert 4 == summary.variables[-1].lens.value.elements  # type: ignore[union-attr]


class Interrupting(Seen):
    """A watcher that sends Ctrl-C in a phase of the run."""

    def __init__(self, part: Phase) -> None:
        super().__init__()
        self.part: Phase | None = part

    def started(self, summary_so_far: Summary) -> None:
        self.turned_to(Phase.TRAINING)

    def turned_to(self, part: Phase) -> None:
        if part is self.part:
            self.part = None
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("part", "left", "undone"),
    [
        (Phase.TRAINING, {"history.db"}, []),
        (Phase.WRITING, {"trace"}, ["merging"]),
        (Phase.MERGING, {"trace"}, ["merging"]),
        (Phase.ORACLE, {"history.db"}, ["oracle"]),
        (Phase.JUDGING, {"history.db", "oracle"}, ["judging"]),
    ],
)
def test_ctrl_c_keeps_the_results_of_completed_phases(
    part: Phase, left: set[str], undone: list[str]
):
    """The summary names the interrupted phase. Incomplete files are removed or can be reused."""
    summary = run("oracle=true", watcher=Interrupting(part))

    assert summary == load_summary(Path("runs/latest"))
    assert RunStatus.INTERRUPTED is summary.status
    assert (undone or ["training"]) == summary.interrupted
    assert (part is Phase.TRAINING) == (summary.verdict is not None)
    always = {"experiment.yaml", "logs", "summary.json", "origin.json", "program"}
    names = {path.name for path in Path("runs/latest").iterdir()}
    assert left == names - always - {"metrics.jsonl"}
    assert RunFiles(Path("runs/latest")).path.is_dir()


def test_a_record_that_was_not_merged_can_be_merged_later():
    run(watcher=Interrupting(Phase.MERGING))
    files = RunFiles(Path("runs/latest"))

    with files.claimed(), pytest.raises(ConfigError, match="another command is merging"):
        merge_what_is_left(files)
    merge_what_is_left(files)
    with open_history(files.path) as history:
        assert history.run["complete"]
    assert not files.traces.exists()


def test_ctrl_c_before_the_training_leaves_no_directory(monkeypatch: pytest.MonkeyPatch):
    def interrupted(self: MirroredStrategy) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MirroredStrategy, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()

    assert not Path("runs").exists()


def test_workers_that_do_not_start_fail_the_run(monkeypatch: pytest.MonkeyPatch):
    """The end of the run does not start the workers again to read their variables."""
    starts = []

    def fail(self: MirroredStrategy) -> None:
        starts.append(self)
        raise StartError("no process could be started")

    monkeypatch.setattr(MirroredStrategy, "start", fail)
    summary = run()

    assert (RunStatus.FAILED, 1, []) == (summary.status, len(starts), summary.variables)


def test_calls_are_counted():
    assert (3, 3) == ((summary := run()).calls, summary.step)


def test_signal_handlers_are_restored_after_a_run():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGALRM)
    run("params.trouble=interrupt")

    assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGALRM))


@pytest.mark.parametrize("returned", ["None", "3", "[1, 2]", "{1: {'a': (1, 2)}}", "object"])
def test_a_program_may_return_anything(write: Write, returned: str):
    write("any.py", f"def run(job): return {returned}\n")
    summary = run("workload=any.py")

    expected = {
        "None": {},
        "3": {"result": 3},
        "[1, 2]": {"result": [1, 2]},
        "{1: {'a': (1, 2)}}": {"1": {"a": [1, 2]}},
        "object": {"result": "<class 'object'>"},
    }
    assert expected[returned] == summary.result
    assert summary == load_summary(Path("runs/latest"))


ODD = """
import dataclasses
import numpy as np
import varsim as tf

class NoText:
    def __repr__(self):
        raise GeneratorExit

class Bad(Exception):
    def __str__(self):
        raise SystemExit(3)

class Unreadable(Exception):
    def __getattribute__(self, name):
        raise KeyboardInterrupt

@dataclasses.dataclass
class Answer:
    value: object

def raise_it(strategy):
    raise Unreadable

def run(job, *, fail: str = ""):
    with job.strategy.scope():
        v = tf.Variable(1.0, name="v\\x1b[31m", aggregation=tf.VariableAggregation.SUM)
    own = job.strategy.run(lambda: tf.distribute.get_replica_context().replica_id_in_sync_group)
    job.progress(np.int64(1), 2.0, loss=10**400, seen=b"x", nothing=NoText(), far=float("inf"))
    if fail == "merge":
        job.strategy.run(lambda: tf.distribute.get_replica_context().merge_call(raise_it))
    if fail:
        raise Bad if fail == "text" else Unreadable
    cycle = [v]
    cycle.append(cycle)
    deep = []
    for _ in range(10_000):
        deep = [deep]
    return {
        "bytes": b"abc", "cycle": cycle, "large": 10**400, "object": NoText(), "deep": deep,
        "array": np.zeros(100_000), "answer": Answer(own), 1: own, "escape": "\\x1b[2J\\udc80",
    }
"""


def test_any_result_of_a_program_is_saved_and_shown(write: Write):
    write("odd.py", ODD)
    summary = run("workload=odd.py")
    file = io.StringIO()
    print_report(summary, file)

    assert summary == load_summary(Path("runs/latest"))
    assert (1, 2) == (summary.step, summary.total_steps)
    assert {
        "loss": "1e+400 (an integer)",
        "seen": "b'x'",
        "nothing": "<NoText: no text, GeneratorExit>",
        "far": "Infinity",
    } == summary.metrics
    assert ["b'abc'", [1.0, "… (list that contains itself)"], "1e+400 (an integer)"] == [
        summary.result[name] for name in ("bytes", "cycle", "large")
    ]
    assert [{"value": [0, 1]}, [0, 1]] == [summary.result[name] for name in ("answer", "1")]
    assert [100_000] == summary.result["array"]["shape"]
    assert "\\x1b[2J\\udc80" in file.getvalue()
    assert "\x1b" not in file.getvalue()


def test_an_exception_without_a_text_fails_the_run(write: Write):
    write("odd.py", ODD)
    summary = run("workload=odd.py", "params.fail=text")

    assert summary == load_summary(Path("runs/latest"))
    assert summary.failure is not None
    assert ("Bad", "(no text: its __str__ raised SystemExit)") == (
        summary.failure.kind,
        summary.failure.text,
    )


@pytest.mark.parametrize("place", ["program", "merge"])
def test_an_exception_without_readable_attributes_fails_the_run(write: Write, place: str):
    write("odd.py", ODD)
    summary = run("workload=odd.py", f"params.fail={place}")

    assert summary.failure is not None
    assert "Unreadable" == summary.failure.kind
    assert "Unreadable object at" in summary.failure.text
    assert "a method of its class raised <KeyboardInterrupt object at" in summary.failure.text
    assert "    raise " in summary.failure.traceback
    assert summary.failure.location.startswith("odd.py:")


def test_a_step_that_is_not_a_whole_number_fails_the_run(write: Write):
    write("steps.py", "def run(job): job.progress('one', 2)\n")
    summary = run("workload=steps.py")

    assert summary.failure is not None
    assert "job.progress(step='one'): give a whole number of steps" in summary.failure.text


def test_the_summary_is_json_without_extensions():
    run("mode=none")
    text = Path("runs/latest/summary.json").read_text("utf-8")

    def refuse(word: str) -> None:
        raise AssertionError(word)

    assert 2 == json.loads(text, parse_constant=refuse)["version"]


def test_the_workload_in_the_documents_runs(write: Write):
    """The example is in docs/cli.md."""
    text = (Path(__file__).parents[2] / "docs" / "cli.md").read_text("utf-8")
    write("documented.py", text.partition("```python\n")[2].partition("```")[0])
    summary = run("workload=documented.py", "mode=on_read", "workers=3", "params.learning_rate=0.1")

    assert summary.failure is None
    assert pytest.approx(3.0) == summary.result["total"]


# ---------------------------------------------------------------- adaptive AUTO


def test_adaptive_auto_has_the_cost_of_on_write():
    """Three steps without a read cause one exchange, when the components are fetched."""
    free, array, fixed = run("auto=adaptive", "workers=2").variables

    assert [("AUTO", "AUTO")] * 2 == [(v.requested, v.synchronization) for v in (free, array)]
    assert (6, 0, 0) == (array.writes, array.merges, array.messages)
    assert array.on_write == SyncCost(merges=3, messages=12, size_bytes=3 * 4 * 20 * 8)
    assert fixed.on_write is None
    assert array.lens is not None
    assert [9] == [sample.components[0] for sample in array.lens.samples]
    assert load_summary(Path("runs/latest")).variables[1] == array


def test_adaptive_can_be_given_as_a_mode():
    """The mode sets `auto: adaptive`. The mode of a later run replaces this setting."""
    assert run("auto=adaptive").variables == run("mode=adaptive").variables
    assert ["ON_READ"] * 3 == [one.synchronization for one in run("mode=on_read").variables[:3]]
    with pytest.raises(ConfigError, match="advised chooses for each variable"):
        run("mode=adaptive", "auto=advised")
    with pytest.raises(
        ConfigError, match="'adaptive': adaptive cannot be set for single variables"
    ):
        run("variables.free=adaptive")


def test_adaptive_auto_without_an_auto_variable_is_refused():
    with pytest.raises(ConfigError, match=r"adaptive applies to AUTO .*\n  variables: free, array"):
        run("auto=adaptive", "mode=on_read")
    assert not Path("runs").exists()


def test_an_unknown_value_of_auto_is_refused():
    with pytest.raises(ConfigError, match="auto"):
        run("auto=always")


def test_an_unread_number_of_steps_is_reported():
    assert [] == [one for one in run("steps=2").warnings if "--steps" in one]

    program = Path("program.py").read_text()
    Path("program.py").write_text(program.replace("3 if job.steps is None else job.steps", "3"))
    said = [one for one in run("steps=2").warnings if "--steps" in one]
    assert ["--steps 2 had no effect: this workload does not read job.steps"] == said
    assert [] == [one for one in run().warnings if "--steps" in one]
