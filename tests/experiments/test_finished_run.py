"""The function `varsim.run_experiment`, on the simulated cluster."""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import varsim
from varsim.analysis.outcome import Outcome
from varsim.errors import ConfigError
from varsim.experiments.config import Experiment
from varsim.experiments.finished_run import ExperimentSettings
from varsim.report.summary import RunStatus
from varsim.testing import simulated_cluster

Write = Callable[[str, str], Path]

PROGRAM = """
import beside
import varsim as tf

def run(job, *, times: int = 2, trouble: str = ""):
    with job.strategy.scope():
        v = tf.Variable(0.0, name="v", aggregation=tf.VariableAggregation.MEAN)
    for number in range(times):
        job.strategy.run(lambda: v.assign_add(beside.ONE))
        job.progress(number + 1, times)
    if trouble == "interrupt":
        raise KeyboardInterrupt
    if trouble:
        raise ValueError(trouble)
    return {"v": job.strategy.experimental_local_results(v)[0]}
"""


@pytest.fixture(autouse=True)
def _in_one_process(write: Write) -> Iterator[None]:
    write("program.py", PROGRAM)
    write("beside.py", "ONE = 1.0\n")
    write("x.yaml", "workload: program.py\nparams: {times: 3, trouble: ''}\nworkers: 3\n")
    with simulated_cluster():
        yield


def test_an_experiment_is_run_from_python(capfd: pytest.CaptureFixture[str]):
    """Keyword arguments override the file, and nothing is printed."""
    run = varsim.run_experiment("x.yaml", workers=4, mode="on_read", params={"times": 5})

    assert ("", "") == capfd.readouterr()
    assert RunStatus.DONE is run.status
    assert run.summary.failure is run.failure is None
    assert Path("runs/latest").resolve() == run.path.resolve()
    assert ({"v": 5.0}, 4) == (run.result, len(run.summary.devices))
    assert {"times": 5, "trouble": ""} == run.summary.experiment["params"]
    assert "ON_READ" == run.summary.variables[0].synchronization


@pytest.mark.parametrize(
    ("experiment", "settings", "title", "workers"),
    [
        (None, {"workload": "program.py"}, "program", 2),
        ("program.py", {"workers": np.int64(3), "steps": None}, "program", 3),
        (Path("program.py"), {"devices": ("a", "b", "c"), "name": "mine"}, "mine", 3),
        ({"workload": Path("program.py"), "workers": 4}, {"workers": 1}, "program", 1),
        ("step_counter", {"steps": 2}, "step_counter", 2),
    ],
)
def test_an_experiment_may_be_a_path_a_name_or_an_object(
    experiment: Any, settings: dict[str, Any], title: str, workers: int
):
    run = varsim.run_experiment(experiment, **settings)

    assert (title, workers) == (run.summary.experiment["name"], len(run.summary.devices))


def test_a_run_can_be_run_again_from_python():
    first = varsim.run_experiment("program.py")
    Path("program.py").unlink()

    assert first.result == varsim.run_experiment(first.path).result
    assert {"v": 7.0} == varsim.run_experiment("latest", params={"times": 7}).result


def test_settings_of_variables_may_have_the_short_or_the_long_form():
    run = varsim.run_experiment("program.py", variables={"v": "on_read/sum"})
    assert {"v": {"synchronization": "on_read", "aggregation": "sum"}} == run.summary.experiment[
        "variables"
    ]
    run = varsim.run_experiment("program.py", variables={"v": {"aggregation": "sum"}})
    assert "SUM" == run.summary.variables[0].aggregation


def test_the_record_is_opened_at_its_first_use():
    """The record has events, findings and a verdict. A closed record can be opened again."""
    with varsim.run_experiment("program.py") as run:
        assert "history" not in vars(run)
        writes = list(run.history.events("kind = 'write' AND process >= 0"))
        assert {"program.py:9"} == {event.location for event in writes}
        assert Outcome.VALID is run.verdict
        assert () == run.findings
        before = run.history
    assert before is not run.history
    assert 2 == run.history.num_replicas
    run.close()


def test_a_run_without_a_record_is_an_error():
    run = varsim.run_experiment("program.py", trace="off")

    for ask in (lambda: run.history, lambda: run.findings, lambda: run.verdict):
        with pytest.raises(ConfigError, match="has no record: it ran with `trace: off`"):
            ask()


def test_a_failed_run_is_returned_with_its_status():
    run = varsim.run_experiment("program.py", params={"trouble": "no luck"})

    assert RunStatus.FAILED is run.status
    assert run.failure is not None
    assert f"<run {run.path}: failed: ValueError: no luck>" == repr(run)
    assert "no luck" in run.findings[0].what


def test_an_interrupt_ends_the_run_and_the_calling_program():
    """A loop over experiments must not continue with the next experiment."""
    with pytest.raises(KeyboardInterrupt, match="it is saved in runs/"):
        varsim.run_experiment("program.py", params={"trouble": "interrupt"})

    assert RunStatus.INTERRUPTED is varsim.FinishedRun("runs/latest").status


@pytest.mark.parametrize(
    ("experiment", "settings", "problem"),
    [
        ("y.yaml", {}, "there is no file 'y.yaml'; did you mean 'x.yaml'?"),
        ("x.yaml", {"wrokers": 3}, "wrokers=3: an experiment has no key 'wrokers'; did you mean"),
        ("x.yaml", {"workers": 0}, "workers=0: invalid value 0: expected a value greater"),
        ("x.yaml", {"mode": "v=none,w=none"}, "mode='v=none,w=none': there is no variable 'w'"),
        (
            "x.yaml",
            {"variables": {"v": "on_raed"}},
            "'on_raed' is not a synchronization; did you mean 'on_read'?",
        ),
        ({"workload": "program.py", "out": 3}, {}, "out=3: invalid value 3"),
        ({"params": {"times": "x"}, "workload": "program.py"}, {}, "times='x': invalid value"),
    ],
)
def test_the_error_for_an_impossible_run_says_why(
    experiment: Any, settings: dict[str, Any], problem: str
):
    with pytest.raises(varsim.ConfigError) as raised:
        varsim.run_experiment(experiment, **settings)

    assert problem in str(raised.value)
    assert not Path("runs").exists()


def test_a_run_does_not_change_the_state_of_the_process():
    def state() -> list[object]:
        handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGALRM)]
        return [
            *handlers,
            warnings.showwarning,
            list(warnings.filters),
            np.random.get_state()[1][0],  # noqa: NPY002  # what programs may use
        ]

    before = state()
    varsim.run_experiment("program.py", mode="none")

    assert before == state()


def test_an_experiment_can_be_run_in_another_thread():
    """Python delivers no signals to other threads."""
    results: list[object] = []
    context = copy_context()  # the context has the simulated cluster of this thread
    thread = threading.Thread(
        target=lambda: results.append(context.run(varsim.run_experiment, "program.py").result)
    )
    thread.start()
    thread.join()

    assert [{"v": 2.0}] == results


def test_a_program_and_its_imports_are_loaded_again(write: Write):
    """So the carried files are the executed files, even in a notebook."""
    varsim.run_experiment("program.py")
    write("beside.py", "ONE = 10.0\n")
    write("other/program.py", PROGRAM)
    write("other/beside.py", "ONE = 100.0\n")

    assert {"v": 20.0} == varsim.run_experiment("program.py").result
    assert {"v": 200.0} == varsim.run_experiment("other/program.py").result


def test_every_key_of_an_experiment_is_a_typed_argument():
    """A sweep is not one run."""
    keys = Experiment.model_fields.keys() - {"sweep"}
    assert keys == ExperimentSettings.__annotations__.keys()


def test_the_example_in_the_documents_runs():
    """The example is in docs/python.md."""
    text = (Path(__file__).parents[2] / "docs" / "python.md").read_text("utf-8")
    exec(text.partition("```python\n")[2].partition("```")[0], {})
