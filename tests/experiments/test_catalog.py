"""Workloads by name, module and path, and their parameters."""

from __future__ import annotations

import enum
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import pytest

from varsim.errors import ConfigError
from varsim.experiments.catalog import Workload, list_workloads, load_workload
from varsim.experiments.programs import check_params

Write = Callable[[str, str], Path]


def error_of(call: Callable[[], object]) -> str:
    with pytest.raises(ConfigError) as raised:
        call()
    return str(raised.value)


def test_the_built_in_workloads_are_listed_without_being_imported():
    listings = {listing.name: listing for listing in list_workloads()}

    assert {
        "batch_norm",
        "digits",
        "gradient_accumulation",
        "local_state",
        "metrics",
        "step_counter",
    } <= set(listings)
    assert "softmax" not in listings
    assert listings["digits"].description.startswith("Softmax regression on handwritten digits")
    assert "learning_rate: float = 0.5" == listings["digits"].params["learning_rate"]


@pytest.mark.parametrize("listing", list_workloads(), ids=lambda listing: listing.name)
def test_every_built_in_workload_can_be_loaded(listing: Any):
    workload = load_workload(listing.name)

    assert listing.params.keys() == check_params(workload, {}).keys()


def test_a_file_and_its_modules_are_pickled_by_value(write: Write):
    write("deep/friend.py", "X = 41\n")
    path = write("deep/statistics.py", "import friend\ndef run(job): return {'x': friend.X + 1}\n")
    workload = load_workload(str(path))

    assert {"x": 42} == workload.run(None)
    assert str(path) == workload.name
    assert b"friend" in cloudpickle.dumps(workload.run)  # the pickle has the code


def test_a_module_is_found_from_the_current_folder(write: Write):
    write("pack/__init__.py", "")
    write("pack/mine.py", "def run(job): return {'x': 1}\n")

    assert {"x": 1} == load_workload("pack.mine").run(None)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("digit", "there is no workload 'digit'; did you mean 'digits'?"),
        ("no.such.module", "there is no workload 'no.such.module'"),
        ("json", "'json' has no function run(job, *, ...)"),
        ("mime.py", "there is no file 'mime.py'; did you mean 'mine.py'?"),
        ("nowhere/mine.py", "there is no file 'nowhere/mine.py'"),
        ("broken.py", "'broken.py' cannot be loaded: NameError: name 'x' is not defined"),
        ("exits.py", "'exits.py' cannot be loaded: SystemExit: 3"),
        ("awaited.py", "run of '{here}/awaited.py' is a coroutine or a generator"),
        ("yields.py", "run of '{here}/yields.py' is a coroutine or a generator"),
        ("syntax.py", "'syntax.py' cannot be loaded: SyntaxError:"),
        ("mine.py", "has no function run(job, *, ...)"),
        ("nojob.py", "has no function run(job, *, ...)"),
    ],
)
def test_an_invalid_workload_is_refused_with_the_reason(write: Write, name: str, problem: str):
    write("mine.py", "walk = 1\n")
    write("nojob.py", "def run(*, job): pass\n")
    write("broken.py", "\nx\ndef run(job): ...\n")
    write("syntax.py", "def run(:\n")
    write("exits.py", "import sys\nsys.exit(3)\ndef run(job): ...\n")  # exit code 3 means INVALID
    write("awaited.py", "async def run(job): ...\n")
    write("yields.py", "def run(job): yield 1\n")

    assert problem.format(here=Path.cwd()) in error_of(lambda: load_workload(name))


def test_an_error_in_a_workloads_file_names_its_line(write: Write):
    path = write("broken.py", "\n\nimport nothing_like_that\ndef run(job): ...\n")

    assert f"({path}:3)" in error_of(lambda: load_workload("broken.py"))


# ---------------------------------------------------------------- parameters


class Colour(enum.Enum):
    RED = "red"


def workload(run: Callable[..., Any]) -> Workload:
    return Workload("mine", run, ModuleType("mine"))


def example(
    job: Any,
    *,
    epochs: int = 20,
    rate: float = 0.5,
    fast: bool = False,
    sizes: tuple[int, ...] = (1, 2),
    colour: Colour = Colour.RED,
    limit: int | None = None,
    plain=3.5,
    anything=None,
) -> dict[str, Any]:
    return {}


def test_parameters_have_the_defaults_and_types_of_the_signature():
    given = {"rate": 1, "fast": True, "sizes": [3, 4], "limit": 5, "plain": 2, "anything": {"a": 1}}

    assert {
        "epochs": 20,
        "rate": 1.0,
        "fast": True,
        "sizes": (3, 4),
        "colour": Colour.RED,
        "limit": 5,
        "plain": 2.0,
        "anything": {"a": 1},
    } == check_params(workload(example), given)


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        (
            {"epoch": 3},
            "params.epoch: workload 'mine' has no parameter 'epoch'; did you mean 'epochs'?",
        ),
        ({"job": 3}, "params.job: workload 'mine' has no parameter 'job'"),
        ({"epochs": "many"}, "params.epochs: invalid value 'many': expected a valid integer"),
        ({"epochs": 1.5}, "params.epochs: invalid value 1.5"),
        ({"epochs": True}, "params.epochs: invalid value True"),
        ({"fast": 1}, "params.fast: invalid value 1"),
        ({"sizes": [1, "x"]}, "params.sizes: invalid value 'x' at 1"),
        ({"colour": "blue"}, "params.colour: invalid value 'blue': expected 'red'"),
        ({"plain": "x"}, "params.plain: invalid value 'x'"),
    ],
)
def test_a_wrong_parameter_is_an_error_with_the_allowed_parameters(
    params: dict[str, Any], problem: str
):
    assert error_of(lambda: check_params(workload(example), params)).startswith(problem)


def test_a_parameter_without_a_default_must_be_given():
    def run(job: Any, *, needed: int) -> None: ...

    assert "params.needed: workload 'mine' requires it" == error_of(
        lambda: check_params(workload(run), {})
    )
    assert {"needed": 1} == check_params(workload(run), {"needed": 1})


def test_a_workload_may_take_any_parameters():
    def run(job: Any, **everything: Any) -> None: ...

    assert {"a": 1} == check_params(workload(run), {"a": 1})
