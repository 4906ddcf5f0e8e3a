"""The command `varsim exec` in this process, on the simulated cluster."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from varsim.cli.main import main
from varsim.experiments.store import further_folders, load_summary
from varsim.report.summary import RunStatus, Summary
from varsim.tracing.history import open_history

SCRIPT = """
import random, sys
import varsim as tf

print(__name__, *sys.argv, random.random())
strategy = tf.distribute.MirroredStrategy()
with strategy.scope():
    w = tf.Variable(0.0, name="w", aggregation=tf.VariableAggregation.MEAN)

@tf.function
def step():
    w.assign_add(1.0)

for _ in range(3):
    strategy.run(step)
"""


pytestmark = pytest.mark.usefixtures("in_one_process")


def write(more: str = "", *, start: str = SCRIPT, name: str = "script.py") -> None:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(start + more)


def execute(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["exec", *arguments])


def latest() -> Summary:
    return load_summary(Path("runs/latest"))


def test_uneven_applies_to_datasets_from_before_the_start():
    write(
        "strategy = tf.distribute.MirroredStrategy()\n"
        "dataset = strategy.experimental_distribute_dataset([tf.ones(2), tf.ones(1)])\n"
        "strategy.start()\n"
        "print(len(list(dataset)), 'batches')\n",
        start="import varsim as tf\n",
    )
    result = execute("-n", "2", "--uneven", "drop", "script.py")

    assert "1 batches" in result.stdout


def test_a_script_runs_as_with_python_and_leaves_a_record():
    """The script has its own name and arguments. After the script, the old state is restored."""
    write()
    before = sys.modules["__main__"], sys.argv, sys.path[:]
    result = execute("-n", "3", "script.py", "--epochs", "2", "-n", "9")

    assert 0 == result.exit_code
    assert result.stdout.startswith("__main__ script.py --epochs 2 -n 9 ")
    assert "\n\nscript: " in result.stdout
    assert before == (sys.modules["__main__"], sys.argv, sys.path[:])
    assert ("w", 9, 3) == (latest().variables[0].name, latest().variables[0].writes, 3)
    assert ["cpu:0", "cpu:1", "cpu:2"] == latest().devices
    with open_history(Path("runs/latest")) as history:
        assert 3 == history.num_replicas


def test_the_experiment_sets_options_of_a_script():
    write()
    execute("--mode", "on_read", "--auto", "adaptive", "--name", "mine", "-q", "script.py", "x")
    (w,) = latest().variables

    assert ("ON_READ", True) == (w.synchronization, w.free)
    assert {
        "name": "mine",
        "script": "program/script.py",
        "args": ["x"],
        "mode": "on_read",
        "seed": 0,
        "launcher": "process",
        "transport": "auto",
        "exchange": "auto",
        "auto": "adaptive",
        "trace": "ops",
        "strict": False,
        "out": "runs",
    } == latest().experiment


def test_a_seed_seeds_the_random_numbers_of_the_script():
    write()
    drawn = [execute("--seed", seed, "-q", "script.py").stdout for seed in "778"]

    assert drawn[0] == drawn[1] != drawn[2]


def test_quiet_prints_only_the_output_of_the_script():
    write("print('done')")
    result = execute("-q", "--json", "out.json", "script.py")

    assert 2 == result.stdout.count("\n")
    assert "done" == json.loads(Path("out.json").read_text())["status"]


def test_a_script_imports_from_its_own_folder():
    write(name="deep/script.py", start="import beside\n" + SCRIPT)
    Path("deep/beside.py").write_text("")

    assert 0 == execute("deep/script.py").exit_code


def test_an_exception_of_a_script_is_printed_as_by_python():
    write("strategy.close()\nraise KeyError('mine')\n")
    result = execute("script.py")

    assert 1 == result.exit_code
    assert result.stderr.startswith("Traceback (most recent call last):\n")
    assert 'script.py", line 17, in <module>\n' in result.stderr
    assert result.stderr.endswith("KeyError: 'mine'\n")
    assert "varsim" not in result.stderr
    assert RunStatus.FAILED is latest().status
    assert 3 == latest().variables[0].lens.value.elements  # type: ignore[union-attr]


def test_a_script_that_ends_with_a_base_exception_is_saved():
    write("from asyncio import CancelledError\nraise CancelledError('mine')")
    result = execute("script.py")

    assert 1 == result.exit_code
    assert result.stderr.endswith("CancelledError: mine\n")
    assert RunStatus.FAILED is latest().status


def test_a_script_may_close_its_output(monkeypatch: pytest.MonkeyPatch):
    """The test does not use click's runner, which reads the output at the end."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    write("sys.stdout.close()")

    with pytest.raises(SystemExit) as ended:
        main(["exec", "script.py"])

    assert 0 == ended.value.code
    assert RunStatus.DONE is latest().status


def test_a_syntax_error_is_printed_as_python_prints_it():
    write("def\n", start="")
    result = execute("script.py")

    assert 1 == result.exit_code
    assert "SyntaxError" in result.stderr
    assert "SyntaxError" == latest().failure.kind  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("said", "code", "status"),
    [
        ("", 0, RunStatus.DONE),
        ("0", 0, RunStatus.DONE),
        ("7", 7, RunStatus.FAILED),
        ("256 + 3", 3, RunStatus.FAILED),
        ("'no more'", 1, RunStatus.FAILED),
    ],
)
def test_the_exit_code_is_that_of_the_script(said: str, code: int, status: RunStatus):
    write(f"sys.exit({said})")
    result = execute("script.py")

    assert code == result.exit_code
    assert status is latest().status
    assert ("no more\n" if said == "'no more'" else "") == result.stderr


def test_an_interrupted_script_exits_with_130_and_is_saved():
    write("raise KeyboardInterrupt")

    assert 130 == execute("script.py").exit_code
    assert (RunStatus.INTERRUPTED, 6) == (latest().status, latest().variables[0].writes)


def test_a_workload_is_told_how_to_run():
    write(start="def run(job):\n    return {}\n")
    result = execute("script.py")

    assert "\n  script.py has run(job): use `varsim run --workload script.py`\n" in result.stderr
    assert 0 == result.exit_code


@pytest.mark.parametrize(("end", "code"), [("", 0), ("import sys; sys.exit(4)", 4)])
def test_a_script_without_a_strategy_is_not_recorded(end: str, code: int):
    write(end, start="print('alone')\n")
    result = execute("script.py")

    assert (code, "alone\n") == (result.exit_code, result.stdout)
    assert (
        "varsim exec: the script did not start a strategy that a run records, so there is nothing "
        "to record\n" == result.stderr
    )
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--transport", "tcp"), "has only the transport ipc, not tcp: omit transport"),
        (("--launcher", "ssh", "--hosts", "a,b"), "omit the launcher ssh and its hosts"),
        (("--launcher", "srun"), "varsim starts only on the program's machine"),
    ],
)
def test_parameter_servers_are_on_one_machine(options: tuple[str, ...], said: str):
    """Without the error they would run here, and the hosts would not be used."""
    write(start="import varsim as tf\ntf.distribute.ParameterServerStrategy()\n")
    result = execute(*options, "script.py")

    assert 2 == result.exit_code
    assert said in result.stderr


@pytest.mark.parametrize(("option", "value"), [("--workers", "2"), ("--devices", "x,y")])
@pytest.mark.parametrize("kind", ["MirroredStrategy", "CentralStorageStrategy"])
def test_devices_that_a_script_names_cannot_be_overridden(option: str, value: str, kind: str):
    module = "" if kind == "MirroredStrategy" else "experimental."
    write(start=SCRIPT.replace("MirroredStrategy()", f"{module}{kind}(['a', 'b'])"))
    result = execute(option, value, "script.py")

    assert 2 == result.exit_code
    assert (
        f"Error: {option} {value}: the {kind} at script.py:6 names its devices, "
        f"['a', 'b']: omit {option[2:]}, or write {kind}() there\n" == result.stderr
    )
    assert not Path("runs").exists()
    assert 0 == execute("script.py").exit_code
    assert ["a", "b"] == latest().devices


def test_every_strategy_with_workers_is_recorded():
    """The first strategy uses the run's directory. Each other strategy has a folder in it."""
    write(
        """
unused = tf.distribute.MirroredStrategy(["nobody"])
with tf.distribute.MirroredStrategy(["x"]) as other, other.scope():
    z = tf.Variable(1, name="z")
    other.run(lambda: None)
"""
    )
    result = execute("script.py")
    (folder,) = further_folders(Path("runs/latest"))
    other = load_summary(folder)

    assert ["w"] == [variable.name for variable in latest().variables]
    assert (["z"], ["x"]) == ([variable.name for variable in other.variables], other.devices)
    assert {"strategy-2"} == {path.name for path in Path("runs/latest").glob("strategy*")}
    assert "verdict on strategy 2 (strategy-2)\n" in result.stdout
    with open_history(Path(other.directory)) as history:
        assert ["z"] == [row.name for row in history.variables.values()]


def test_an_experiment_within_a_script_is_a_separate_run():
    """The experiment's number of devices does not depend on `-n` of the script."""
    write("", start="import varsim; varsim.run_experiment('step_counter', steps=2, workers=3)")
    result = execute("-n", "2", "script.py")

    assert (0, True) == (result.exit_code, "nothing to record" in result.stderr)
    assert ("step_counter", 3) == (latest().experiment["name"], len(latest().devices))


def test_a_script_may_change_directory_and_stdout(tmp_path: Path):
    """Both changes come before the start. Record and report are still in the right place."""
    leave = "import io, os, sys\nos.chdir('/')\nsys.stdout = io.StringIO()\n"
    write(start=leave + SCRIPT)
    result = execute("script.py")

    assert (0, tmp_path) == (result.exit_code, Path.cwd())
    assert result.stdout.startswith("\nscript: ")
    assert (Path("runs/latest") / "history.db").is_file()


def test_strategies_of_a_scripts_child_process_are_not_recorded():
    """A child is simulated: `os.getpid` returns another number."""
    write("""
import os
from varsim.distribute.supervision import current_supervisor

getpid, own = os.getpid, os.getpid()
for process in own, own + 1:
    os.getpid = lambda: process
    print(current_supervisor() is None)
os.getpid = getpid
""")
    assert "\nFalse\nTrue\n" in execute("script.py").stdout


def test_an_unknown_variable_name_is_a_warning():
    """The warning is printed at the end, because a script may create variables at any time."""
    write()
    result = execute("--mode", "v=none", "script.py")

    assert 0 == result.exit_code
    assert "warning: --mode v=none: there is no variable 'v'" in result.stderr
    assert 1 == len(latest().warnings)


def test_counts_of_an_unreadable_variable_are_saved():
    write("""
try:
    strategy.run(lambda: 1 / 0)
except ZeroDivisionError:
    strategy.close()
""")
    assert 0 == execute("script.py").exit_code
    assert 6 == latest().variables[0].writes


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["scirpt.py"], "script: there is no file 'scirpt.py'; did you mean 'script.py'?"),
        (["-n", "0", "script.py"], "Error: --workers 0: invalid value 0"),
        (["--mode", "on_raed", "script.py"], "did you mean 'on_read'?"),
        (
            ["--oracle", "script.py"],
            "Error: --oracle: not with a script: the oracle runs the program a second time",
        ),
        (["--steps", "3", "script.py"], "Error: --steps 3: not with a script: a script counts"),
        ([], "Missing argument 'SCRIPT.py'"),
    ],
)
def test_after_a_wrong_command_line_the_script_does_not_run(arguments: list[str], problem: str):
    write("print('it runs')")
    result = execute(*arguments)

    assert 2 == result.exit_code
    assert problem in result.stderr
    assert "" == result.stdout
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("workload: digits", "x.yaml:2: workload: not with a script: remove workload or script"),
        ("steps: 3", "x.yaml:2: steps: not with a script: a script counts its own"),
        (
            "oracle: true",
            "x.yaml:2: oracle: not with a script: the oracle runs the program a second time",
        ),
        ("auto: advised", "x.yaml:2: auto: not with a script: advised needs a pilot run"),
    ],
)
def test_keys_that_do_not_apply_to_a_script_are_refused(text: str, problem: str):
    write()
    Path("x.yaml").write_text(f"script: script.py\n{text}\n")
    result = CliRunner().invoke(main, ["run", "x.yaml"])

    assert 2 == result.exit_code
    assert problem in result.stderr


def test_an_experiment_may_run_a_script():
    write()
    Path("x.yaml").write_text("script: script.py\nargs: [one, two]\nworkers: 3\noracle: false\n")
    result = CliRunner().invoke(main, ["run", "x.yaml"])

    assert 0 == result.exit_code
    assert result.stdout.startswith("__main__ script.py one two ")
    assert ("x", 3) == (latest().experiment["name"], len(latest().devices))


def test_options_that_the_script_does_not_read_are_reported():
    """Options of varsim after the script are arguments of the script."""
    Path("other.py").write_text(SCRIPT.replace("*sys.argv, ", ""))
    noted = execute("other.py", "-n", "4")

    assert 0 == noted.exit_code, noted.stderr
    (warning,) = latest().warnings
    assert "other.py does not seem to read its arguments -n 4; options of varsim must" in warning
    assert "does not seem to read" in " ".join(noted.output.split())

    Path("reads.py").write_text(SCRIPT)
    execute("reads.py", "-n", "4")
    assert [] == latest().warnings


def test_the_report_does_not_repeat_a_very_long_error():
    """The script's own traceback is printed as Python prints it; the summary has the whole text."""
    write("raise ValueError('x' * 1_000_000)")
    result = execute("script.py")

    assert 1 == result.exit_code
    assert len(result.stdout) < 10_000
    assert "characters are left out: summary.json has the whole text" in result.stdout
    assert latest().failure is not None
    assert 1_000_000 == len(latest().failure.text)
