"""`varsim inventory`: the variables listed, the variables left out and why, and every error.

The reader of models needs TensorFlow, so most tests use its recorded answers (models/answers.json).
One test runs the reader if TensorFlow is installed. Other tests replace
the interpreter of the reader by a script.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from varsim.cli.main import main
from varsim.errors import ConfigError
from varsim.experiments import yaml_lines
from varsim.experiments.inventory import KINDS, Inventory, recognized, take_inventory, writable
from varsim.experiments.loading import Override, load_experiment
from varsim.experiments.runner import run_experiment
from varsim.report.summary import RunStatus
from varsim.testing import simulated_cluster

MODELS = Path(__file__).with_name("models")
ANSWERS: dict[str, list[dict[str, Any]]] = json.loads((MODELS / "answers.json").read_text("utf-8"))
FILES = {"dense": "dense.keras", "checkpoint": "checkpoint", "settings": "settings"}
KIND = {
    "dense": "keras",
    "digits": "keras",
    "checkpoint": "checkpoint",
    "session": "checkpoint",
    "settings": "saved_model",
    "exported": "saved_model",
}
CONFIG = Path(__file__).parents[2] / "configs" / "inventory.yaml"


def inventory_of(name: str) -> Inventory:
    """Return the inventory of a recorded model."""
    return Inventory(Path(name), KIND[name], *writable(ANSWERS[name], KIND[name]))


def listed(name: str) -> list[str]:
    return [one["name"] for one in inventory_of(name).variables]


def noted(name: str) -> str:
    return "\n".join(inventory_of(name).notes)


@pytest.mark.skipif(find_spec("tensorflow") is None, reason="needs TensorFlow")
@pytest.mark.parametrize("name", FILES)
def test_the_recorded_answers_are_those_of_tensorflow(name: str):
    found = take_inventory(MODELS / FILES[name], sys.executable)

    assert inventory_of(name) == Inventory(Path(name), found.kind, found.variables, found.notes)


@pytest.mark.parametrize("name", ANSWERS)
def test_an_inventory_is_an_experiment_that_runs(name: str, write: Callable[[str, str], Path]):
    path = write("vars.yaml", inventory_of(name).as_yaml())
    with simulated_cluster():
        ran = run_experiment(load_experiment(path, [Override.parse("steps=2")]))

    assert RunStatus.DONE is ran.status
    assert listed(name) == [one.name for one in ran.variables]


# ---------------------------------------------------------------- what is listed


def test_the_ready_made_experiment_is_an_inventory():
    """`varsim inventory` wrote configs/inventory.yaml; a comment and `workers` were added."""
    experiment = CONFIG.read_text("utf-8").replace("workers: 4\n", "")

    _, comment_of_command = inventory_of("digits").as_yaml().split("\n", 1)
    assert experiment.endswith(comment_of_command)


def test_variables_of_a_saved_model_have_their_settings():
    seen, steps, *_ = inventory_of("settings").variables

    assert {
        "name": "a",
        "shape": [2],
        "dtype": "float32",
        "synchronization": "on_read",
        "aggregation": "sum",
        "trainable": False,
    } == seen
    assert ("a_1", "int64") == (steps["name"], steps["dtype"])


def test_a_note_says_that_a_checkpoint_has_no_settings():
    assert all(
        {"name", "shape", "dtype"} == set(one) for one in inventory_of("checkpoint").variables
    )
    assert "A TensorFlow checkpoint has no settings." in noted("checkpoint")
    assert "AUTO and NONE, TensorFlow's defaults" in noted("checkpoint")
    assert "has no settings" not in noted("settings") + noted("dense")


def test_variables_of_an_optimizer_are_left_out():
    """In Keras and in TensorFlow 1 sessions, a step does not exchange an optimizer's slots."""
    assert "perceptron/dense/kernel" in listed("checkpoint")
    assert not any(name.startswith("adam") for name in listed("checkpoint"))
    assert (
        "Left out: 10 variables (adam/iteration, adam/learning_rate and 8 more): an optimizer"
        in (noted("checkpoint"))
    )
    assert ["beta1_power", "beta2_power", "weights"] == listed("session")
    assert "The variables of the model's optimizer are not listed" in noted("dense")


def test_variables_that_no_step_writes_are_left_out_with_the_reason():
    said = noted("checkpoint")

    assert "(save_counter): written when a checkpoint is saved" in said
    assert "table-values): not variables, but the state of other objects" in said
    assert "(text): variables of varsim cannot have the dtype string" in said
    assert "(open): the file does not contain their complete shapes" in noted("settings")
    assert "open" in listed("checkpoint")


def test_a_variable_that_a_file_has_twice_is_listed_once():
    """`model.export` writes every variable of a Keras model twice."""
    assert len(listed("exported")) == len({*listed("exported")}) == 7
    assert "Left out: 6 variables (perceptron/dense/bias, " in noted("exported")


def test_different_variables_with_one_name_get_numbers():
    assert {"a", "a_1"} < {*listed("checkpoint")}
    assert "Several variables have the same name; a number was added: a_1." in noted("checkpoint")
    three = [{"name": "v", "shape": [], "dtype": "int8"}] * 2
    taken = {"name": "v_1", "shape": [], "dtype": "int8"}
    variables, _ = writable([taken, *three], "checkpoint")
    assert ["v_1", "v", "v_2"] == [one["name"] for one in variables]


def test_bfloat16_is_listed_with_the_package_that_a_run_needs():
    (half,) = (one for one in inventory_of("settings").variables if one["name"] == "half")

    assert "bfloat16" == half["dtype"]
    assert "variables of bfloat16 needs the package ml_dtypes: pip" in noted("settings")


def test_names_with_any_characters_are_kept():
    odd = [
        "a: b",
        "#",
        "1e3",
        "- x",
        "{y}",
        "new\nline",
        "été",
        "\x1b[31m",
        "null",
        "on",
        "a" * 200,
    ]
    answer = [{"name": name, "shape": [1], "dtype": "float32"} for name in odd]
    left_out = [{"name": f"{name} in text", "shape": [], "dtype": "string"} for name in odd]
    found = writable([*answer, *answer, *left_out], "checkpoint")
    text = Inventory(Path("x\ny"), "checkpoint", *found).as_yaml()

    listed = yaml_lines.load(text, "x").values["params"]["variables"]
    assert odd == [one["name"] for one in listed][: len(odd)]
    assert "\x1b" not in text


def test_the_summary_has_the_size_of_the_model():
    assert "6 variables, 27 parameters, 108 B" == inventory_of("dense").summary
    assert "A run with N workers needs up to (4 N + 3) times these bytes" in " ".join(
        inventory_of("dense").as_yaml().replace("#", "").split()
    )


# ---------------------------------------------------------------- kinds of files


@pytest.mark.parametrize(
    ("path", "kind", "place"),
    [
        ("dense.keras", "keras", "dense.keras"),
        ("settings", "saved_model", "settings"),
        ("checkpoint", "checkpoint", "checkpoint"),
        ("checkpoint/model-1", "checkpoint", "checkpoint/model-1"),
        ("checkpoint/model-1.index", "checkpoint", "checkpoint/model-1"),
        ("checkpoint/model-1.data-00000-of-00001", "checkpoint", "checkpoint/model-1"),
        ("settings/variables", "checkpoint", "settings/variables/variables"),
    ],
)
def test_a_file_or_folder_is_recognized(path: str, kind: str, place: str):
    assert (kind, MODELS / place) == recognized(MODELS / path)
    assert kind in KINDS


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("dense.kera", "there is no '.*dense.kera'; did you mean 'dense.keras'"),
        ("answers.json", "answers.json: unknown format\n  expected a Keras model"),
        ("x.weights.h5", "a file of weights has no names of variables and no settings"),
        ("empty", "empty: neither saved_model.pb nor a checkpoint is there"),
        ("two", "there are several checkpoints; give one of .*two/a and .*two/b"),
    ],
)
def test_a_file_of_another_format_is_an_error(
    path: str, problem: str, write: Callable[[str, str], Path]
):
    made = write("x.weights.h5", "").parent
    (made / "empty").mkdir()
    write("two/a.index", "")
    write("two/b.index", "")
    folder = MODELS if (MODELS / path).exists() or path.startswith("dense") else made

    with pytest.raises(ConfigError, match=problem):
        recognized(folder / path)


# ---------------------------------------------------------------- the command


@pytest.fixture
def interpreter(write: Callable[[str, str], Path]) -> Callable[..., str]:
    """Provide a function that makes an interpreter that always prints the given answer."""

    def interpreter(answer: object, *, exit_code: int = 0, complaint: str = "") -> str:
        said = answer if isinstance(answer, str) else json.dumps(answer)
        lines = ["#!/bin/sh", f"printf %s {shlex.quote(said)}"]
        lines += [f"printf %s {shlex.quote(complaint)} >&2", f"exit {exit_code}", ""]
        path = write("python", "\n".join(lines))
        path.chmod(0o755)
        return str(path)

    return interpreter


def inventory(python: str, *more: str) -> Result:
    arguments = ["inventory", str(MODELS / "dense.keras"), "--python", python, *more]
    return CliRunner().invoke(main, arguments)


def test_the_command_writes_an_experiment(interpreter: Callable[..., str], tmp_path: Path):
    python = interpreter({"variables": ANSWERS["dense"]}, complaint="W0000: noise")
    printed, written = inventory(python), inventory(python, "-o", "vars.yaml")

    assert (0, "") == (printed.exit_code, printed.stderr)
    assert printed.stdout == (tmp_path / "vars.yaml").read_text("utf-8")
    said = written.stdout.splitlines()
    assert "vars.yaml: 6 variables, 27 parameters, 108 B" == said[0]
    assert "Next: varsim run vars.yaml --workers 4 --mode on_read" == said[-1]


@pytest.mark.skipif(find_spec("keras") is not None, reason="TensorFlow is installed")
def test_a_missing_tensorflow_is_an_error_with_the_remedy():
    """The test runs the real reader in an interpreter without TensorFlow."""
    result = inventory(sys.executable)

    assert 2 == result.exit_code
    said = " ".join(result.stderr.split())
    assert f"`{sys.executable} -m pip install tensorflow`" in said
    assert "or give an interpreter that has it with --python PATH" in said


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"missing": "h5py"}, "needs h5py, and"),
        ({"error": "TypeError: no class 'Mine'"}, "cannot be read as a Keras model: TypeError: no"),
        ({"error": "x"}, "tf.train.Checkpoint(model=model).save("),
        ({"variables": []}, "this Keras model has no variable that a step writes"),
        ("Illegal instruction", "was not read:"),
    ],
)
def test_a_failure_of_the_reader_is_an_error(
    interpreter: Callable[..., str], answer: object, problem: str
):
    result = inventory(interpreter(answer, exit_code=132, complaint="a\nb\nit crashed"))

    assert 2 == result.exit_code
    assert problem in " ".join(result.stderr.split())
    assert ("it crashed" in result.stderr) == isinstance(answer, str)


def test_a_wrong_interpreter_or_output_is_an_error(interpreter: Callable[..., str]):
    missing = inventory("/nowhere/python")
    unwritable = inventory(interpreter({"variables": ANSWERS["dense"]}), "-o", "no/x.yaml")

    assert (2, 6) == (missing.exit_code, unwritable.exit_code)
    assert "--python /nowhere/python: it cannot be run: No such file" in missing.stderr
    assert "no/x.yaml cannot be written: No such file or directory" in unwritable.stderr
