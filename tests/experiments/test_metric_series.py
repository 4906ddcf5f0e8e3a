"""Metric series: what programs log, what is kept of it, and what is repeated after a restart."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import varsim as tf
from varsim.distribute.values import PerReplica
from varsim.errors import ContextError, MetricError
from varsim.experiments.metric_log import MetricLog
from varsim.experiments.metric_series import METRICS, read_series, write_csv, write_jsonl
from varsim.testing import simulated_cluster

PROGRAM = """
import varsim as tf

def run(job, *, way: str = "log"):
    with job.strategy.scope():
        v = tf.Variable(0.0, name="v", aggregation=tf.VariableAggregation.SUM)
    def step():
        v.assign_add(1.0)
        if way == "replica":
            tf.log(loss=1.0)
    if way == "loops":
        for loop in range(2):
            for number in job.each_step(2):
                job.log(loop=loop)
        return {}
    job.log(v=v)
    for number in range(2):
        job.strategy.run(step)
        job.strategy.run(step)
        if way == "progress":
            job.progress(number + 1, 2, v=v, text="a")
        elif way == "step":
            job.log(step=10 * number, v=v)
        else:
            tf.log(v=v)
    return {"v": v}
"""


@pytest.fixture(autouse=True)
def _in_one_process(write: Callable[[str, str], Path]) -> Iterator[None]:
    write("program.py", PROGRAM)
    with simulated_cluster():
        yield


@pytest.mark.parametrize(
    ("way", "steps", "values"),
    [
        ("log", (0, 2, 4), (0.0, 4.0, 8.0)),
        ("step", (0, 10), (4.0, 8.0)),
        ("progress", (0, 1, 2), (0.0, 4.0, 8.0)),
    ],
)
def test_a_workload_logs_at_the_number_of_calls_or_at_its_own_step(way, steps, values):
    """A value that is logged again at the same step replaces the first one."""
    run = tf.run_experiment("program.py", workers=2, oracle=True, params={"way": way})

    assert ["v"] == list(run.series.metrics)
    assert (steps, values) == (run.series["v"].steps, run.series["v"].values)
    assert sorted(run.series["v"].seconds) == list(run.series["v"].seconds)
    assert values[-1] == run.summary.metrics["v"] == run.series["v"].last
    assert not list(run.path.glob(f"*/{METRICS}"))  # the oracle logs nothing


def test_steps_count_on_in_a_second_loop():
    run = tf.run_experiment("program.py", workers=2, params={"way": "loops"})

    assert (1, 2, 3, 4) == run.series["loop"].steps
    assert (0, 0, 1, 1) == run.series["loop"].values


SCRIPT = """
import varsim as tf
tf.log(step=0, loss=9)
strategy = tf.distribute.MirroredStrategy()
for number in range(3):
    strategy.run(lambda: None)
    tf.log(loss=number)
"""
SCRIPT_OF_ALL = """
import varsim as tf
replica = tf.distribute.get_replica_context()
for number in range(1, 4):
    tf.log(loss=number + 10 * replica.replica_id_in_sync_group)
"""


@pytest.mark.parametrize(
    ("script", "spmd", "values"), [(SCRIPT, False, (9, 0, 1, 2)), (SCRIPT_OF_ALL, True, (1, 2, 3))]
)
def test_a_script_logs_without_an_object(write, script, spmd, values):
    """In a script of all workers, the values of replica 0 are kept."""
    write("script.py", script)
    run = tf.run_experiment(script="script.py", spmd=spmd, workers=2)

    assert run.failure is None, run.failure
    assert values == run.series["loss"].values
    assert tuple(range(4 - len(values), 4)) == run.series["loss"].steps
    assert "VALID" == run.verdict.value


def test_a_replica_cannot_log():
    run = tf.run_experiment("program.py", workers=2, params={"way": "replica"})

    assert run.failure is not None
    assert "log(loss) at program.py:10 is called by the function of a replica" in run.failure.text


def test_a_closure_cannot_log():
    strategy = tf.distribute.ParameterServerStrategy(workers=2)
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    coordinator.schedule(lambda: tf.log(loss=1))
    with pytest.raises(ContextError, match=r"is called by a closure(.|\n)*log result.fetch\(\)"):
        coordinator.join()


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"loss": "0.3"}, "the value of the metric 'loss' is not one number: str '0.3'"),
        ({"loss": None}, "NoneType None"),
        ({"loss": 1j}, "complex 1j"),
        ({"loss": np.zeros(2)}, "ndarray of shape [2]"),
        ({"loss": 10**400}, "int 1000"),
        ({" ": 1.0}, "a metric is called ' '"),
        ({"seconds": 1.0}, "no metric can be called 'seconds'"),
        (
            {"loss": PerReplica([1.0, 2.0])},
            "the metric 'loss' has no single value: PerReplica, a value per replica: combine them",
        ),
        ({"step": -1}, "step=-1 is not a whole number from 0"),
        ({"step": 0.5}, "step=0.5 is not"),
        ({"step": 10**5000}, "step= is larger than 9,007,199,254,740,992"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place_also_without_a_run(metrics, said):
    with pytest.raises(MetricError) as caught:
        tf.log(**metrics)

    assert said in str(caught.value)
    assert __file__.rsplit("/", 1)[-1] in caught.value.location


def test_without_a_run_nothing_is_written():
    tf.log(loss=0.5)
    with pytest.raises(ContextError):
        tf.distribute.MirroredStrategy(["a", "b"]).run(tf.log, kwargs={"loss": 0.5})

    assert ["program.py"] == [file.name for file in Path().iterdir()]


def _log(folder: Path, failures: list[str] | None = None) -> MetricLog:
    told = [] if failures is None else failures
    return MetricLog(folder, lambda: 7, lambda _, text: told.append(text))


def test_every_number_is_kept_and_json_stays_standard(tmp_path):
    log = _log(tmp_path)
    values = {"a": np.float32(0.1), "b": True, "c": np.int64(3), "d": math.inf, "e": math.nan}
    log.log_numbers(1, values | {"f": Fraction(1, 4), "g": np.array(2.5), "text": "x"})
    log.close()

    (line,) = (tmp_path / METRICS).read_text().splitlines()
    written = json.loads(line, parse_constant=pytest.fail)
    del written["seconds"]
    finite = {"a": float(np.float32(0.1)), "b": 1, "c": 3, "f": 0.25, "g": 2.5}
    assert {"step": 1, "d": "Infinity", "e": "NaN"} | finite == written
    series = read_series(tmp_path)
    assert finite.items() <= series.lines[0].values.items()
    assert math.inf == series["d"].last
    assert math.isnan(series["e"].last)


def test_a_program_that_was_killed_leaves_readable_lines(tmp_path):
    log = _log(tmp_path)
    for step in range(3):
        log.log(step, {"loss": 1.0 / (step + 1)})
    log.close()
    with (tmp_path / METRICS).open("a") as file:
        file.write(
            '[]\n{"step": 8, "seconds": 1, "loss": true}\n'
            f'{{"step": {10**400}, "seconds": 1, "loss": 1}}\n'
            '{"step": 8, "seconds": 1e400, "loss": 1}\n{"step": 9, "sec'
        )

    series = read_series(tmp_path)
    assert (0, 1, 2) == series["loss"].steps
    assert ["line 4", "line 5", "line 6", "line 7", "line 8"] == [
        text[:6] for text in series.problems
    ]
    assert "killed while it wrote" in series.problems[-1]


def test_a_continued_run_repeats_no_step(tmp_path):
    """The log is cut at a checkpoint's number of lines, and another run takes these lines over."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    log = _log(first)
    for step in range(4):
        log.log(step, {"loss": float(step)})
    log.keep(3)
    log.log(3, {"loss": 30.0})
    log.close()
    assert (0.0, 1.0, 2.0, 30.0) == read_series(first)["loss"].values

    other = _log(second)
    assert "" == other.take_over(first, 2)
    other.log(None, {"loss": 0.5})
    other.close()
    series = read_series(second)
    assert ((0, 1, 7), (0.0, 1.0, 0.5)) == (series["loss"].steps, series["loss"].values)
    assert series["loss"].seconds[2] >= series["loss"].seconds[1]
    assert "4 of the 9 lines" in _log(tmp_path).take_over(first, 9)


def test_a_disk_that_is_full_ends_the_log_and_not_the_run(tmp_path, monkeypatch):
    failures: list[str] = []
    log = _log(tmp_path, failures)
    log.log(1, {"loss": 1.0})
    monkeypatch.setattr("os.write", lambda _, text: len(text) - 1)
    log.log(2, {"loss": 2.0})
    log.log(3, {"loss": 3.0})
    monkeypatch.undo()
    log.close()

    assert 1 == len(failures)
    assert "were not written" in failures[0]
    assert (1,) == read_series(tmp_path)["loss"].steps


def test_exports_have_a_row_for_each_step(tmp_path):
    (tmp_path / METRICS).write_text(
        '{"step": 2, "seconds": 2, "loss": "NaN"}\n'
        '{"step": 1, "seconds": 1, "loss": 0.5}\n'
        '{"step": 2, "seconds": 3, "accuracy": 1}\n'
    )
    series = read_series(tmp_path)
    csv, jsonl = io.StringIO(), io.StringIO()
    write_csv(series, csv)
    write_jsonl(series, jsonl)

    assert "step,seconds,loss,accuracy\n1,1.0,0.5,\n2,3.0,NaN,1\n" == csv.getvalue()
    assert {"step": 2, "seconds": 3.0, "loss": "NaN", "accuracy": 1} == json.loads(
        jsonl.getvalue().splitlines()[1]
    )
