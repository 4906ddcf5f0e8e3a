"""Each experiment in configs/ is valid, is in the course, and has the results that it describes."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from varsim.experiments.loading import Override, load_experiment
from varsim.experiments.runner import run_experiment
from varsim.report.summary import RunStatus, Summary, VariableSummary
from varsim.testing import simulated_cluster

CONFIGS = Path(__file__).parents[2] / "configs"
EXPERIMENTS = sorted(CONFIGS.glob("*.yaml"))
each_experiment = pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    """Return a function that runs an experiment for two epochs of 22 steps, and each only once."""

    @cache
    def run_one(name: str) -> Summary:
        out = tmp_path_factory.mktemp("runs")
        overrides = [Override.parse(word) for word in ("steps=44", f"out={out}")]
        with simulated_cluster():
            return run_experiment(load_experiment(CONFIGS / f"{name}.yaml", overrides))

    return run_one


def variable(summary: Summary, name: str) -> VariableSummary:
    """Return the summary of one variable."""
    (found,) = [variable for variable in summary.variables if variable.name == name]
    return found


def apart(summary: Summary, name: str) -> float:
    """Return the distance of a variable's components."""
    lens = variable(summary, name).lens
    assert lens is not None
    return float(lens.apart)


@each_experiment
def test_an_experiment_says_what_to_look_at(experiment: Path) -> None:
    """An experiment names its schema, says what to look at, and has the name of its file."""
    first, *comment = experiment.read_text(encoding="utf-8").splitlines()

    assert "# yaml-language-server: $schema=experiment.schema.json" == first
    assert any(line.startswith("# Look at: ") for line in comment)
    assert experiment.stem == load_experiment(experiment).name


@pytest.mark.thorough
@each_experiment
def test_an_experiment_runs(experiment: Path, run) -> None:
    """An experiment runs to its end on four replicas, and warns only if its comment says so."""
    summary = run(experiment.stem)

    assert (RunStatus.DONE, 44, 4) == (summary.status, summary.step, len(summary.devices))
    promised = "There is a warning" in experiment.read_text(encoding="utf-8")
    assert promised == bool(summary.warnings)


def test_the_course_has_every_experiment_once() -> None:
    """README.md of configs/ has one link to each experiment."""
    readme = (CONFIGS / "README.md").read_text(encoding="utf-8")

    assert 12 == len(EXPERIMENTS)
    for experiment in EXPERIMENTS:
        assert 1 == readme.count(f"[{experiment.stem}]({experiment.name})")


def test_on_write_keeps_copies_equal_and_merges_at_every_step(run) -> None:
    """digits_on_write and digits_auto: both have these properties and the same results."""
    for name in ("digits_on_write", "digits_auto"):
        weights = variable(run(name), "weights")
        assert ("ON_WRITE", 44) == (weights.synchronization, weights.merges)
        assert 0 == apart(run(name), "weights")
    assert "AUTO" == variable(run("digits_auto"), "weights").requested
    assert run("digits_on_write").result == run("digits_auto").result


def test_on_read_exchanges_once_per_epoch(run) -> None:
    """digits_on_read: on_read sends far fewer bytes than on_write; the accuracy is nearly equal."""
    often, rarely = run("digits_on_write"), run("digits_on_read")

    assert 0 == apart(rarely, "weights")
    assert variable(often, "weights").size_bytes > 5 * variable(rarely, "weights").size_bytes
    assert abs(often.result["test_accuracy"] - rarely.result["test_accuracy"]) < 0.01


def test_with_none_copies_differ_and_nothing_is_sent(run) -> None:
    """digits_none: nothing is sent, and the copies differ."""
    summary = run("digits_none")

    assert (0, 0) == (
        variable(summary, "weights").messages,
        variable(summary, "weights").size_bytes,
    )
    assert apart(summary, "weights") > 0.1


def test_each_variable_can_have_its_own_mode(run) -> None:
    """digits_mixed: the large variable is never merged in a step, the small one in every step."""
    summary = run("digits_mixed")

    assert (0, 44) == (variable(summary, "weights").merges, variable(summary, "bias").merges)


def test_an_on_read_counter_sends_nothing_until_it_is_read(run) -> None:
    """step_counter: two counters have the right value, and the ON_READ one sends almost nothing."""
    summary = run("step_counter")

    assert 44 == summary.result["steps"] == summary.result["steps_lazily"]
    assert variable(summary, "steps").merges == 44
    assert variable(summary, "steps_lazily").messages <= 2


def test_accumulators_are_never_sent(run) -> None:
    """gradient_accumulation: each step writes accumulators, and each fourth step the weights."""
    summary = run("gradient_accumulation")

    assert (11, 11) == (variable(summary, "weights").merges, summary.result["exchanges"])
    assert 0 == variable(summary, "weight_gradients").messages
    assert variable(summary, "weight_gradients").writes > 0


def test_the_largest_variable_of_a_model_decides_its_cost(run) -> None:
    """inventory: one variable sends nearly all bytes, but not more messages than the others."""
    summary = run("inventory")
    largest = variable(summary, "hidden/kernel")

    assert largest.size_bytes == pytest.approx(
        0.97 * sum(one.size_bytes for one in summary.variables), rel=0.01
    )
    assert {largest.messages} == {one.messages for one in summary.variables}
