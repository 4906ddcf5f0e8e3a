"""The command `varsim run` in this process, on the simulated cluster."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.report.summaries import summary as ran
from varsim.cli.main import main
from varsim.experiments import runner
from varsim.experiments.store import from_plain, load_summary
from varsim.report.summary import Judgement, RunStatus

PROGRAM = '''
"""A user's program."""
import os, sys
import varsim as tf

def run(job, *, trouble: str = ""):
    print("the program speaks")
    with job.strategy.scope():
        v = tf.Variable(0.0, name="v", aggregation=tf.VariableAggregation.MEAN)
    step = tf.function(lambda: v.assign_add(1.0) and None)
    for number in range(job.steps or 3):
        job.strategy.run(step)
        job.progress(number + 1, job.steps or 3, loss=0.5)
        if trouble == "interrupt":
            raise KeyboardInterrupt
        if trouble:
            raise ValueError(trouble)
    return {"first": float(job.strategy.experimental_local_results(v)[0])}
'''


@pytest.fixture(autouse=True)
def _program(in_one_process: Path) -> None:
    (in_one_process / "program.py").write_text(PROGRAM)


def varsim(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def run(*arguments: str) -> Result:
    return varsim("run", "--workload", "program.py", *arguments)


def test_the_report_is_on_stdout_and_progress_is_on_stderr():
    result = run("-n", "3", "--mode", "on_read")

    assert 0 == result.exit_code
    assert "the program speaks\nprogram: 3 steps\n3 workers" in result.stdout
    assert "\nfirst  3\n" in result.stdout
    assert result.stdout.endswith("/\n")
    assert "step 3/3  loss 0.5\n" == result.stderr


def test_the_last_line_of_progress_has_the_accuracy_of_its_epoch():
    """In one epoch there is no earlier accuracy that the line could show."""
    shown = varsim("run", "params.epochs=1", "--trace", "off").stderr

    assert re.search(r"^step 22/22  loss [\d.]+  accuracy [\d.]+$", shown, re.MULTILINE)


def test_a_program_or_a_workload_is_accepted_instead_of_an_experiment():
    assert varsim("run", "program.py", "-n", "3").stdout.startswith("the program speaks\nprogram:")
    assert varsim("run", "step_counter", "steps=2").stdout.startswith("step_counter: ")
    assert (
        "program/program.py"
        == load_summary(Path(varsim("run", "program.py", "--quiet").stdout.strip())).experiment[
            "workload"
        ]
    )


@pytest.mark.parametrize("flag", ["-n", "-np", "--workers"])
def test_the_number_of_workers_can_be_set_with_each_usual_option(flag: str):
    assert 0 == run(flag, "4", "--quiet").exit_code
    assert 4 == len(load_summary(Path("runs/latest")).devices)


def test_every_option_reaches_the_experiment():
    options = "--steps 2 --seed 7 --transport tcp --exchange star --oracle --strict"
    options += " --out elsewhere --trace messages --mode v=on_read"
    result = run(*options.split(), "--devices", "cpu:0, gpu:0", "name=mine")
    summary = load_summary(Path("elsewhere/latest"))

    assert 0 == result.exit_code
    assert {
        "name": "mine",
        "workload": "program/program.py",
        "params": {"trouble": ""},
        "devices": ["cpu:0", "gpu:0"],
        "mode": "v=on_read",
        "steps": 2,
        "seed": 7,
        "launcher": "process",
        "transport": "tcp",
        "exchange": "star",
        "auto": "on_write",
        "trace": "messages",
        "oracle": True,
        "strict": True,
        "out": "elsewhere",
    } == summary.experiment
    assert list(summary.experiment)[:4] == ["name", "workload", "params", "devices"]


def test_options_override_key_value_arguments_which_override_the_file():
    Path("x.yaml").write_text("workload: program.py\nsteps: 1\nseed: 1\nworkers: 1\n")
    result = varsim("run", "x.yaml", "seed=2", "workers=2", "--workers", "3", "--quiet")
    experiment = load_summary(Path("runs/latest")).experiment

    assert 0 == result.exit_code
    assert (1, 2, 3) == (experiment["steps"], experiment["seed"], experiment["workers"])


def test_json_is_the_only_output():
    """The output is the summary as JSON. The output of the program is on stderr."""
    result = run("--json", "--mode", "none")

    assert 0 == result.exit_code
    assert from_plain(json.loads(result.stdout), "") == load_summary(Path("runs/latest"))
    assert "the program speaks" in result.stderr
    assert re.search(r"warning: program.py:\d+: variable 'v': synchronization=NONE", result.stderr)
    assert "step" not in result.stderr


def test_quiet_prints_only_the_directory_of_the_run():
    result = run("--quiet")

    assert Path(result.stdout.strip()).resolve() == Path("runs/latest").resolve()
    assert "the program speaks\n" == result.stderr


def test_a_failed_run_exits_with_1_and_prints_the_location():
    result = run("params.trouble=no luck")

    assert 1 == result.exit_code
    assert "program: failed after 1 of 3 steps" in result.stdout
    assert "Error: the run failed: ValueError: no luck\nin the program:\n" in result.stderr
    assert "raise ValueError(trouble)" in result.stderr
    assert "failed" == load_summary(Path("runs/latest")).status.value


def test_a_failed_run_is_also_printed_as_json():
    result = run("params.trouble=no luck", "--json")

    assert 1 == result.exit_code
    assert "no luck" == json.loads(result.stdout)["failure"]["text"]


def test_an_interrupted_run_exits_with_130_and_is_saved():
    result = run("params.trouble=interrupt")

    assert 130 == result.exit_code
    assert "program: interrupted after 1 of 3 steps" in result.stdout
    assert "interrupted" == load_summary(Path("runs/latest")).status.value


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            ["--mode", "on_raed"],
            "Error: --mode on_raed: 'on_raed' is not a mode; did you mean 'on_read'?",
        ),
        (["--mode", "w=none"], "Error: --mode w=none: there is no variable 'w'"),
        (["-n", "0"], "Error: --workers 0: invalid value 0"),
        (["-n", "2000"], "Error: --workers 2000: invalid value 2000"),
        (["-n", "x"], "'x' is not a valid integer"),
        (["--devices", "a,a"], "Error: --devices a,a: devices: duplicate device 'a'"),
        (["--devices", "a,,b"], "Error: --devices a,,b: devices: name 2 of 3 is empty: each"),
        (["--devices", "a b,c"], "Error: --devices a b,c: devices: 'a b' contains blanks"),
        (["--out", "program.py"], "Error: --out program.py: 'program.py' cannot be written"),
        (["--workload", "digit"], "there is no workload 'digit'; did you mean 'digits'?"),
        (["params.troubel=1"], "has no parameter 'troubel'; did you mean 'trouble'?"),
        (["stpes=1"], "Error: stpes=1: an experiment has no key 'stpes'; did you mean 'steps'?"),
        (["x.yml"], "Error: there is no file 'x.yml'; did you mean 'x.yaml'?"),
        (
            ["x.yaml"],
            "Error: x.yaml:2: an experiment has no key 'wrokers'; did you mean 'workers'?",
        ),
        (["x.y"], "Error: there is no 'x.y'; did you mean 'x.yaml'?\n  varsim run takes an"),
        (["digist"], "Error: there is no 'digist'; did you mean 'digits'?"),
        (["progam.py"], "Error: progam.py: workload: there is no file 'progam.py'; did you"),
        (
            ["script.py"],
            "no function run(job, *, ...): write a function that trains under job.strategy ",
        ),
        (["script.py"], "; or run it as a script: varsim exec script.py\n"),
        (["."], "Error: '.' is a folder"),
        (["a.yaml", "b.yaml"], "Error: expected one experiment, but got a.yaml and b.yaml"),
        (["--wrokers", "3"], "--workers"),
        (["--transport", "udp"], "'udp' is not one of 'auto', 'ipc', 'tcp'"),
    ],
)
def test_wrong_use_exits_with_2_and_leaves_nothing(arguments: list[str], problem: str):
    Path("x.yaml").write_text("steps: 1\nwrokers: 4\n")
    Path("script.py").write_text("raise SystemExit('it is executed')\n")
    named = any("=" not in word and not word.startswith("-") for word in arguments[:1])
    result = varsim("run", *arguments) if named else run(*arguments)

    assert 2 == result.exit_code
    assert problem in result.stderr
    assert "" == result.stdout.removeprefix("the program speaks\n")
    assert not Path("runs").exists()
    assert 1 == result.stderr.count("Error:")


def test_the_experiment_can_be_shown_without_running_it():
    result = run("--print-config", "-n", "3")
    Path("again.yaml").write_text(result.stdout)

    assert 0 == result.exit_code
    assert result.stdout.startswith("name: program\nworkload: ")
    assert "workers: 3\n" in result.stdout
    assert not Path("runs").exists()
    assert result.stdout == varsim("run", "--print-config", "again.yaml").stdout.replace(
        "name: again", "name: program"
    )


def test_a_file_name_may_have_an_equals_sign():
    Path("lr=1.yaml").write_text("workload: program.py\nsteps: 1\n")
    result = varsim("run", "lr=1.yaml", "--quiet")

    assert 0 == result.exit_code
    assert "-lr_1" in result.stdout


@pytest.mark.parametrize(
    ("status", "outcome", "code"),
    [
        (RunStatus.DONE, "VALID", 0),
        (RunStatus.DONE, "UNKNOWN", 0),
        (RunStatus.DONE, "INVALID", 3),
        (RunStatus.FAILED, "VALID", 1),
        (RunStatus.FAILED, "INVALID", 3),
        (RunStatus.INTERRUPTED, "INVALID", 130),
    ],
)
def test_the_exit_code_depends_on_status_and_verdict(
    status: RunStatus, outcome: str, code: int, monkeypatch: pytest.MonkeyPatch
):
    ended = ran(status=status, verdict=Judgement(outcome=outcome, reasons=["w: copies differ"]))
    monkeypatch.setattr(runner, "run_experiment", lambda *_: ended)
    assert code == run("--quiet").exit_code
