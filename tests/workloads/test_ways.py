"""The digits job in every way: each experiment runs, with the properties of docs/ways.md."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ways import FOLDER, WAYS, run_way, title_of, with_policies
from varsim.experiments.loading import load_experiment
from varsim.testing import simulated_cluster
from varsim.workloads.digits_ways import drift

pytestmark = pytest.mark.filterwarnings("ignore:variable ")

WORKERS, STEPS = 2, 22
THOROUGH = pytest.mark.thorough
QUICK = ("all_reduce", "horovod", "multi_worker")
SAME_STEPS = (
    "auto_adaptive",
    "central",
    "merge_call",
    "multi_worker",
    "all_reduce",
    "horovod",
    "torch",
)


@pytest.fixture(scope="module", autouse=True)
def _policies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with with_policies(tmp_path_factory.mktemp("policies")):
        yield


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that runs a way for one epoch; each way runs once."""

    @cache
    def run(name: str) -> dict[str, Any]:
        with simulated_cluster():
            out = tmp_path_factory.mktemp("ways")
            return run_way(name, out, workers=WORKERS, steps=STEPS)

    return run


def test_every_experiment_is_a_row_of_the_table() -> None:
    assert sorted(WAYS) == sorted(path.stem for path in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("name", WAYS)
def test_an_experiment_names_its_schema_its_way_and_what_to_look_at(name: str) -> None:
    path = FOLDER / f"{name}.yaml"
    first, *comment = path.read_text(encoding="utf-8").splitlines()

    assert "# yaml-language-server: $schema=../experiment.schema.json" == first
    assert (FOLDER / "../experiment.schema.json").is_file()
    assert title_of(name)
    assert any(line.startswith("# Look at: ") for line in comment)
    experiment = load_experiment(path)
    assert name == experiment.name
    is_script = experiment.script is not None
    assert is_script or "digits_ways" == experiment.workload


@pytest.mark.thorough
@pytest.mark.parametrize("name", WAYS)
def test_a_way_learns_and_keeps_all_promises(name: str, row: Any) -> None:
    """A run whose verdict is not VALID raises an error."""
    assert 0.6 < float(row(name)["accuracy"])


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else THOROUGH) for name in SAME_STEPS]
)
def test_ways_that_sum_all_gradients_in_a_step_have_equal_results(name: str, row: Any) -> None:
    assert (row("on_write")["accuracy"], 0.0) == (row(name)["accuracy"], row(name)["drift"])


def test_a_parameter_server_has_a_request_and_an_answer_for_each_use(row: Any) -> None:
    """Each closure reads and writes both variables; at the end the program reads them."""
    served = row("parameter_server")

    assert 0.6 < float(served["accuracy"])
    assert f"{2 * (2 * 2 * WORKERS * STEPS + 2):,}" == served["messages"]
    assert (0.0, 0.0) == (served["drift"], served["behind"])


@pytest.mark.thorough
def test_a_compressed_exchange_sends_less(row: Any) -> None:
    assert float(row("compressed")["MB"]) < float(row("on_write")["MB"])


def test_one_collective_for_both_gradients_needs_half_the_messages(row: Any) -> None:
    messages = {
        name: int(row(name)["messages"].replace(",", ""))
        for name in ("on_write", "all_reduce", "horovod")
    }

    assert 2 * 2 * 2 * STEPS == messages["on_write"]
    assert 2 * 2 * STEPS == messages["all_reduce"] == messages["horovod"]


def test_local_sgd_and_averages_by_hand_are_the_same(row: Any) -> None:
    assert row("local_sgd") | {"way": "", "training s": 0} == (
        row("by_hand") | {"way": "", "training s": 0}
    )
    assert 0 < row("local_sgd")["drift"]


@pytest.mark.thorough
def test_without_messages_the_copies_drift_apart_most(row: Any) -> None:
    assert "0" == row("none")["messages"]
    assert row("local_sgd")["drift"] < row("none")["drift"]


@pytest.mark.thorough
def test_only_reads_of_shared_values_have_a_staleness(row: Any) -> None:
    shared = {name for name in WAYS if row(name)["behind"] is not None}

    asynchronous = {"event_triggered", "push_pull", "lock", "publish", "parameter_server"}
    assert asynchronous == shared


def test_an_unknown_way_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    from varsim.experiments.finished_run import run_experiment

    with simulated_cluster():
        run = run_experiment(
            workload="digits_ways", workers=2, params={"way": "magic"}, out=tmp_path
        )

    assert run.failure is not None
    assert "there is no way 'magic': use one of policy, all_reduce" in run.failure.text


def test_the_drift_is_the_largest_difference_of_an_element() -> None:
    import numpy as np

    one = [np.array([[1.0, 2.0]]), np.array([3.0])]
    two = [np.array([[1.0, 2.5]]), np.array([1.0])]
    assert 2.0 == drift([one, two, one])
