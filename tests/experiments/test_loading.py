"""The loading of an experiment from YAML and the command line, and its errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from varsim.errors import ConfigError
from varsim.experiments.config import Experiment
from varsim.experiments.loading import Override, load_experiment
from varsim.experiments.variable_settings import VariableSettings
from varsim.spec import VariableAggregation, VariableSynchronization

Write = Callable[[str, str], Path]
CONFIGS = Path(__file__).parents[2] / "configs"


def load(path: Path | None = None, *overrides: str) -> Experiment:
    return load_experiment(path, [Override.parse(text) for text in overrides])


def error_of(path: Path | None = None, *overrides: str) -> str:
    with pytest.raises(ConfigError) as raised:
        load(path, *overrides)
    return str(raised.value)


def test_the_default_experiment_is_the_built_in_job():
    experiment = load()

    assert "digits" == experiment.workload == experiment.title
    assert ("cpu:0", "cpu:1") == experiment.device_names


def test_a_file_can_set_every_key(write: Write):
    path = write(
        "all.yaml",
        """
        name: mine
        workload: step_counter
        params: {initial: 3}
        devices: [cpu:0, gpu:0, gpu:1]
        mode: on_read
        variables:
          "step*": {synchronization: on_write, aggregation: MEAN}
        steps: 5
        seed: 7
        transport: tcp
        strict: true
        out: elsewhere
        """,
    )

    assert (
        Experiment(
            name="mine",
            workload="step_counter",
            params={"initial": 3},
            devices=["cpu:0", "gpu:0", "gpu:1"],
            mode="on_read",
            variables={
                "step*": VariableSettings(
                    synchronization=VariableSynchronization.ON_WRITE,
                    aggregation=VariableAggregation.MEAN,
                )
            },
            steps=5,
            seed=7,
            transport="tcp",
            strict=True,
            out="elsewhere",
        ).model_dump()
        == load(path).model_dump()
    )


def test_an_experiment_has_the_name_of_its_file(write: Write):
    assert "my_first_try" == load(write("my first try.yaml", "steps: 1")).title


def test_a_workload_beside_the_file_is_found_from_anywhere(write: Write):
    path = write("deep/er/x.yaml", "workload: ./mine.py")

    assert str(path.parent / "mine.py") == load(path).workload


@pytest.mark.parametrize("value", ["../train.py", "/train.py", "~/train.py", "a/../../train.py"])
@pytest.mark.parametrize("key", ["workload", "script", "out"])
def test_a_path_outside_the_folder_must_be_allowed(write: Write, key: str, value: str):
    path = write("x.yaml", f"workers: 2\n{key}: {value}")
    text = error_of(path)
    assert text.startswith(f"{path}:2: {key}: ")
    assert "is outside the " in text
    assert f"add --allow-paths (in Python: allow_paths=True), or give {key}=PATH yourself" in text

    allowed = load_experiment(path, allow_paths=True)
    assert getattr(allowed, key).endswith("train.py" if key != "out" else value)


def test_a_path_on_the_command_line_may_lead_anywhere(write: Write):
    path = write("x.yaml", "workload: ../train.py\nout: /elsewhere")
    loaded = load(path, "workload=../mine.py", "out=../runs")
    assert ("../mine.py", "../runs") == (loaded.workload, loaded.out)


@pytest.mark.parametrize("value", ["train.py", "./train.py", "a/../train.py", "a/train.py"])
def test_a_path_below_the_folder_is_allowed(write: Write, value: str):
    path = write("x.yaml", f"workload: {value}\nout: runs/mine/../yours")
    assert str(path.parent / value) == load(path).workload


def test_the_command_line_overrides_the_file(write: Write):
    path = write("x.yaml", "steps: 1\nparams: {epochs: 3, learning_rate: 0.5}\nmode: none\n")
    experiment = load(
        path,
        "steps=9",
        "params.learning_rate=1e-3",
        "mode=weights=on_read,bias=on_write",
        "variables.bias.aggregation=sum",
    )

    assert 9 == experiment.steps
    assert {"epochs": 3, "learning_rate": 0.001} == experiment.params
    assert {"weights", "bias"} == set(experiment.parsed_mode.named)
    assert VariableAggregation.SUM is experiment.variables["bias"].aggregation


def settings_of(path: Path | None, *overrides: str) -> object:
    return load(path, *overrides).as_keys()["variables"]


def test_the_settings_of_a_variable_have_a_short_form(write: Write):
    """The short form is a mode, an aggregation, or both. Files, commands and Python accept it."""
    short = {"w": "on_read", "b": "on_write/sum", "c": "/mean", "d*": "ON-READ"}
    long = {
        "w": {"synchronization": "on_read"},
        "b": {"synchronization": "on_write", "aggregation": "sum"},
        "c": {"aggregation": "mean"},
        "d*": {"synchronization": "on_read"},
    }
    file = write("x.yaml", f"variables: {short}".replace("'", '"'))

    assert long == settings_of(file)
    assert long == settings_of(None, *(f"variables.{key}={short[key]}" for key in short))
    assert long == Experiment.model_validate({"variables": short}).as_keys()["variables"]


def test_a_short_form_changes_only_the_settings_that_it_names(write: Write):
    """This holds for both orders of the long form and the short form."""
    file = write("x.yaml", "variables: {v: on_read, w: {aggregation: sum}}")

    assert {
        "v": {"synchronization": "on_read", "aggregation": "mean"},
        "w": {"synchronization": "none", "aggregation": "sum"},
    } == settings_of(file, "variables.v.aggregation=mean", "variables.w=none")


def test_the_command_line_replaces_workers_and_devices(write: Write):
    devices = write("d.yaml", "devices: [a, b]")
    workers = write("w.yaml", "workers: 5")

    assert 4 == len(load(devices, "workers=4").device_names)
    assert ("x", "y") == load(workers, "devices=[x, y]").device_names


def test_the_environment_sets_the_default_number_of_workers(
    write: Write, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("VARSIM_WORKERS", "5")

    assert 5 == load().workers
    assert 3 == load(None, "workers=3").workers
    assert 1 == len(load(None, "devices=[a]").device_names)


@pytest.mark.parametrize("count", ["many", "", "0", "-1", "2.5", "1025", "²", "2 3"])
def test_a_wrong_environment_variable_is_named_in_the_error(
    monkeypatch: pytest.MonkeyPatch, count: str
):
    monkeypatch.setenv("VARSIM_WORKERS", count)

    assert f"VARSIM_WORKERS={count!r} (environment): expected a number from 1 to 1024" == error_of()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "steps: 1\nwrokers: 4",
            "x.yaml:2: an experiment has no key 'wrokers'; did you mean 'workers'?",
        ),
        (
            "variables:\n  w: {sync: none}",
            "x.yaml:2: a variable's settings have no key 'sync'; did you mean 'synchronization'?",
        ),
        (
            "variables:\n  w: on_raed",
            "x.yaml:2: variables.w.synchronization: 'on_raed' is not a synchronization; did you "
            "mean 'on_read'?\n",
        ),
        (
            "variables: {w: on_read/avg}",
            "x.yaml:1: variables.w.aggregation: 'avg' is not one of none, sum, mean, only_first",
        ),
        (
            "variables:\n  w: local_sgd:2/sum",
            "x.yaml:2: variables.w: aggregation=SUM does not fit synchronization local_sgd:2: it "
            "needs MEAN\n",
        ),
        (
            "variables:\n  w:\n    synchronization: on_raed",
            "x.yaml:3: variables.w.synchronization: 'on_raed' is not a synchronization; did you "
            "mean 'on_read'?\n  synchronizations: auto, none, on_write, on_read, bounded_stalen",
        ),
        (
            "on_worker_lost: restrat",
            "x.yaml:1: on_worker_lost: invalid value 'restrat': expected 'fail', 'restart' or "
            "'shrink'; did you mean 'restart'?",
        ),
        ("faults: [kil replica=1]", "x.yaml:1: faults.0: invalid fault 'kil replica=1': 'kil' is"),
        ("mode: onread", "x.yaml:1: mode: 'onread' is not a mode; did you mean 'on_read'?"),
        ("mode: [none]", "x.yaml:1: mode: invalid value ['none']: expected a valid string"),
        ("workers: 0", "x.yaml:1: workers: invalid value 0: expected a value greater than"),
        ("workers: 1025", "x.yaml:1: workers: invalid value 1025: expected a value less than"),
        ("workers: 2.5", "x.yaml:1: workers: invalid value 2.5"),
        ("workers: '2'", "x.yaml:1: workers: invalid value '2'"),
        ("workers: true", "x.yaml:1: workers: invalid value True"),
        ("devices: []", "x.yaml:1: devices: invalid value []"),
        (
            "devices: [a, b]\nworkers: 3",
            "x.yaml:1: 2 devices for 3 workers: remove devices or workers",
        ),
        ("\ndevices: [a, a]", "x.yaml:2: devices: duplicate device 'a'"),
        ("devices: [a, ' ']", "x.yaml:1: devices: name 2 of 2 is empty: each replica's device"),
        ("", "x.yaml: no key is set: set at least one, such as `workload: my_program.py`"),
        ("# only a comment\n", "x.yaml: no key is set: "),
        ("{}", "x.yaml: no key is set: "),
        ("devices: [a b]", "x.yaml:1: devices: 'a b' contains blanks: names have no blanks, and"),
        ("devices:\n- a\n- 1", "x.yaml:3: devices.1: invalid value 1"),
        ("steps: 0", "x.yaml:1: steps: invalid value 0"),
        ("seed: -1", "x.yaml:1: seed: invalid value -1"),
        (
            "transport: udp",
            "x.yaml:1: transport: invalid transport 'udp': expected 'auto', 'ipc' or 'tcp'",
        ),
        ("name: a/b", "x.yaml:1: name: invalid value 'a/b'"),
        ("params: 3", "x.yaml:1: params: invalid value 3: expected a mapping"),
        (
            "variables:\n  w: 3",
            "x.yaml:2: variables.w: invalid value 3: expected a mode (auto, none",
        ),
        ("steps: x\nseed: x", "x.yaml:1: steps: invalid value 'x'"),
    ],
)
def test_an_error_has_its_line_and_the_allowed_values(write: Write, text: str, problem: str):
    write("x.yaml", text)

    assert error_of(Path("x.yaml")).startswith(problem)


def test_all_errors_are_listed_with_the_allowed_values(write: Write):
    write("x.yaml", "workers: 0\nsteps: 0")

    said = error_of(Path("x.yaml"))
    assert (
        "\n  workers: Number of replicas, from 1 to 1024. Each is a worker process."
        "\nx.yaml:2: steps: invalid value 0" in said
    )


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("wrokers=3", "wrokers=3: an experiment has no key 'wrokers'; did you mean 'workers'?"),
        (
            "epochs=3",
            "epochs=3: an experiment has no key 'epochs', but the workload has; did you mean "
            "'params.epochs'?",
        ),
        ("workers=x", "workers=x: invalid value 'x': expected a valid integer"),
        (
            "variables.w.aggregation=avg",
            "variables.w.aggregation=avg: 'avg' is not one of none, sum",
        ),
        ("steps={", "'{' is not a YAML value: quote it"),
        ("=3", "invalid override '=3': expected key=value"),
        ("a..b=3", "invalid override 'a..b=3': expected key=value"),
    ],
)
def test_a_wrong_override_is_shown_as_it_was_written(override: str, problem: str):
    assert error_of(None, override).startswith(problem)


def test_devices_and_workers_on_one_command_line_must_agree():
    assert 2 == len(load(None, "devices=[a, b]", "workers=2").device_names)
    assert "2 devices for 3 workers" in error_of(None, "devices=[a, b]", "workers=3")


@pytest.mark.parametrize("name", ["configs/none.yaml", "digits_none.yml", "configs/digits_none"])
def test_the_error_for_a_missing_file_has_the_nearest_name(write: Write, name: str):
    write("configs/digits_none.yaml", "")

    assert f"there is no file {name!r}; did you mean 'configs/digits_none.yaml'?" == error_of(
        Path(name)
    )


def test_a_binary_file_is_an_error(tmp_path: Path):
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")

    assert error_of(Path("x.yaml")).startswith("x.yaml: line 1 is not UTF-8 text")
    assert "cannot be read" in error_of(tmp_path)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_ready_made_experiments_are_valid(path: Path):
    assert path.stem == load(path).title


def test_the_error_for_a_wrong_fault_on_the_command_line_is_one_short_line():
    with pytest.raises(ConfigError) as caught:
        load_experiment(None, [Override(("faults",), ["kil replica=1"], "--fault 'kil replica=1'")])

    assert (
        "--fault 'kil replica=1': invalid fault 'kil replica=1': 'kil' is not a kind of fault; did "
        "you mean 'kill'? (docs/faults.md lists all faults)"
    ) == str(caught.value)
