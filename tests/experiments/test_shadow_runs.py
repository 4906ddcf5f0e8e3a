"""Runs with an oracle: the program runs again on one replica with the whole batch."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.analysis.findings.on_one_device import ABOUT_VALUES
from varsim.analysis.search import find
from varsim.analysis.verdict import sound
from varsim.errors import ConfigError, VarsimWarning
from varsim.experiments.loading import Override, load_experiment
from varsim.experiments.runner import run_experiment
from varsim.experiments.shadow_runs import on_one_machine
from varsim.launch.launcher import Backends
from varsim.report.summary import RunStatus, Summary
from varsim.testing import simulated_cluster
from varsim.tracing.history import HISTORY, open_history, open_oracle

PROGRAM = '''
"""A user's program, which uses the same batch for any number of replicas."""
import numpy as np
import varsim as tf

calls = 0

def run(job, *, trouble: str = ""):
    global calls
    calls += 1
    print(f"call {calls} on {job.strategy.num_replicas_in_sync}")
    alone = job.strategy.num_replicas_in_sync == 1
    if alone and trouble == "raise":
        raise ValueError("one is too few")
    if trouble == ("interrupt" if alone else "fail"):
        raise KeyboardInterrupt
    with job.strategy.scope():
        v = tf.Variable(np.float32(np.random.random()), name="v",
                        aggregation=tf.VariableAggregation.SUM)
    for step in range(4):
        job.strategy.run(lambda: v.assign(0.3 * (step + 1)) and None)
        job.progress(step + 1, 4)
'''


@pytest.fixture(autouse=True)
def _in_one_process(write: Callable[[str, str], Path]) -> Iterator[None]:
    write("program.py", PROGRAM)
    with simulated_cluster(), warnings.catch_warnings():
        warnings.simplefilter("ignore", VarsimWarning)
        yield


def run(*overrides: str, workload: str = "program.py") -> Summary:
    texts = (f"workload={workload}", "oracle=true", *overrides)
    return run_experiment(load_experiment(None, [Override.parse(text) for text in texts]))


def values_found(summary: Summary) -> list[str]:
    """Return the findings about values, with their variables."""
    path = Path(summary.directory)
    with open_history(path) as history, open_oracle(path) as oracle:
        assert oracle is not None
        assert 1 == oracle.num_replicas
        found = find(history, oracle)
    return [f"{one.kind.name}: {one.variable}" for one in found if one.kind in ABOUT_VALUES]


def test_a_difference_that_a_rule_explains_is_found(capsys: pytest.CaptureFixture[str]):
    """The second run has the same seed, prints nothing, and is saved beside the first run."""
    summary = run("workers=3")

    assert ["scaled by the number of replicas: v"] == values_found(summary)
    assert summary.verdict is not None
    assert any(one.startswith("scaled by the number") for one in summary.verdict.findings)
    assert "call 1 on 3\n" == capsys.readouterr().out
    assert "call 1 on 1\n" == Path(summary.directory, "oracle/logs/program.log").read_text()


def test_an_oracle_with_an_incomplete_record_is_not_used():
    folder = Path(run("workers=3").directory)
    with open_oracle(folder) as oracle:
        assert oracle is sound(oracle)
    with closing(sqlite3.connect(folder / "oracle" / HISTORY)) as connection:
        connection.execute("DELETE FROM events WHERE event = 9")
        connection.commit()
    with open_oracle(folder) as oracle:
        assert oracle is not None
        assert sound(oracle) is None


def test_a_failed_oracle_does_not_change_the_run():
    summary = run("params.trouble=raise")

    assert RunStatus.DONE is summary.status
    (warning,) = (one for one in summary.warnings if "oracle" in one)
    problem = "on one replica the program fails: ValueError: one is too few ("
    assert warning.startswith(f"no oracle to compare with: {problem}")
    assert summary.verdict is not None
    assert any(problem in note.text for note in summary.verdict.not_looked_at)
    assert summary.no_oracle.startswith(problem)
    assert not Path(summary.directory, "oracle").exists()


def test_an_unfinished_run_has_no_oracle():
    summary = run("params.trouble=fail")

    assert RunStatus.INTERRUPTED is summary.status
    assert [] == summary.warnings
    assert not Path(summary.directory, "oracle").exists()


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("trace=off", "trace must not be off"),
        ("workers=1", "a run on one worker is its own oracle"),
    ],
)
def test_an_oracle_that_cannot_be_used_is_refused(override: str, problem: str):
    with pytest.raises(ConfigError, match=f"oracle=true: .*{problem}"):
        run(override)
    assert not Path("runs").exists()


UNEVEN = """
import numpy as np
import varsim as tf

MEAN, SUM = tf.VariableAggregation.MEAN, tf.VariableAggregation.SUM

def run(job):
    strategy = job.strategy
    with strategy.scope():
        w = tf.Variable(0.0, name="w", aggregation=MEAN)
        rows = tf.Variable(0.0, name="rows", aggregation=SUM)
    def step(x):
        w.assign_add(x.mean())
        rows.assign_add(np.float32(len(x)))
    for _ in range(3):
        batches = [np.arange(size, dtype=np.float32) for size in (8, 8, 5)]
        for x in strategy.experimental_distribute_dataset(batches):
            strategy.run(step, args=(x,))
    return {"w": float(w.numpy()), "rows": float(rows.numpy())}
"""
"""The last batch leaves replica 3 of 4 without rows."""


@pytest.mark.parametrize("uneven", ["join", "pad", "drop"])
def test_the_pilot_run_treats_batches_as_the_run_does(write: Callable[[str, str], Path], uneven):
    write("uneven.py", UNEVEN)
    keys = ("workers=4", f"uneven={uneven}", "oracle=false")
    plain = run(*keys, workload="uneven.py")
    advised = run(*keys, "auto=advised", workload="uneven.py")

    assert plain.result == advised.result
    assert RunStatus.DONE is advised.status
    folder = Path(advised.directory)
    with open_history(folder / "pilot") as pilot, open_history(folder) as history:
        present = [
            [one.present for one in record.events() if one.kind == "call"]
            for record in (pilot, history)
        ]
    assert present[0] == present[1]
    assert (3 in present[0]) == (uneven == "join")


@pytest.mark.thorough
def test_no_variable_becomes_adaptive_if_replicas_may_join_later(
    write: Callable[[str, str], Path],
):
    """The pilot run has 50 steps; replica 3 joins in the next step."""
    loop = UNEVEN.index("    for _ in range(3):")
    write(
        "uneven.py",
        UNEVEN[:loop]
        + """
    for number in range(job.steps or 51):
        batch = np.ones(5 if number == 50 else 4, np.float32)
        for x in strategy.experimental_distribute_dataset([batch]):
            strategy.run(step, args=(x,))
    return {"w": float(w.numpy())}
""",
    )
    advised = run("workers=4", "uneven=join", "oracle=false", "auto=advised", workload="uneven.py")

    assert RunStatus.DONE is advised.status
    assert 51.0 == advised.result["w"]
    assert {"ON_WRITE"} == {one.synchronization for one in advised.variables}


FROM_FUNCTION = (
    UNEVEN.replace(
        "experimental_distribute_dataset(batches)", "distribute_datasets_from_function(parts)"
    )
    + """
def parts(context):
    size = context.get_per_replica_batch_size(8)
    return [np.arange(size, dtype=np.float32)] * (21 // size) + [np.zeros(21 % size, np.float32)]
"""
)


@pytest.mark.parametrize(
    ("program", "uneven", "rows"),
    [(UNEVEN, "drop", 48.0), (UNEVEN, "join", 63.0), (FROM_FUNCTION, "drop", 48.0)],
)
def test_the_oracle_drops_the_batches_that_the_run_drops(
    write: Callable[[str, str], Path], program: str, uneven: str, rows: float
):
    write("uneven.py", program)
    summary = run("workers=4", f"uneven={uneven}", workload="uneven.py")

    assert summary.oracle_result is not None
    assert [rows, rows] == [summary.result["rows"], summary.oracle_result["rows"]]


WRONG = {
    "metrics": [
        *[f"scaled by the number of replicas: {metric}/sum" for metric in ("loss", "accuracy")],
        *[f"mean of means: {metric}/mean" for metric in ("loss", "accuracy")],
        *[f"first replica only: {metric}/first" for metric in ("loss", "accuracy")],
    ],
    "step_counter": [
        "scaled by the number of replicas: steps_summed",
        "scaled by the number of replicas: starts_at",
        "integer truncation: assigned",
    ],
}


@pytest.mark.thorough
@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize(
    "words",
    [
        "digits mode=on_write",
        "digits mode=on_read steps=50",
        "digits mode=none",
        "digits auto=adaptive",
        "batch_norm",
        "batch_norm params.by_label=true",
        "batch_norm params.synchronized=true",
        "gradient_accumulation",
        "local_state",
        "metrics",
        "step_counter",
    ],
)
def test_the_wrong_values_of_the_lessons_are_found(words: str, workers: int):
    workload, *overrides = words.split()
    summary = run("steps=12", f"workers={workers}", *overrides, workload=workload)

    assert WRONG.get(workload, []) == values_found(summary)


def test_the_results_of_both_runs_are_saved(write: Callable[[str, str], Path]):
    """With the results, `varsim check` can compare values that are not in variables."""
    write("alone.py", "def run(job):\n    return {'n': job.strategy.num_replicas_in_sync}\n")
    summary = run("workers=3", workload="alone.py")

    assert ({"n": 3}, {"n": 1}) == (summary.result, summary.oracle_result)
    assert summary.verdict is not None
    assert summary.verdict.compared.endswith("returned by the program: n: 3 instead of 1")


@pytest.mark.parametrize("launcher", ["ssh: {hosts: [a, b]}", "ray: {hosts: 2}", "srun: {}"])
def test_the_oracle_of_a_run_on_hosts_is_on_this_machine(launcher: str) -> None:
    words = (f"launcher={{{launcher}}}", "transport=tcp", "exchange=star", "workload=program.py")
    experiment = load_experiment(None, [Override.parse(one) for one in words])
    assert "star" == experiment.backends.exchange
    alone = on_one_machine(experiment)
    assert Backends() == alone.backends
    assert alone is on_one_machine(alone)
