"""The program as a whole: help, version, other commands, completion."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

import varsim
from tests.analysis.test_lens import LensHistory
from varsim.cli import commands as commands_package
from varsim.cli import entry
from varsim.cli.commands.completion import VARIABLE
from varsim.cli.main import main

HEAVY = {"numpy", "pydantic", "rich", "yaml", "zmq", "msgpack", "cloudpickle"}


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_help_imports_nothing_heavy():
    """This makes help fast. The test uses a new process, which has imported nothing."""
    code = (
        "import sys\n"
        "from varsim.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert "Usage:" in done.stdout
    assert set() == HEAVY & set(done.stderr.split())


def test_python_m_varsim_is_the_same_program():
    done = subprocess.run(
        [sys.executable, "-m", "varsim", "--version"], capture_output=True, text=True, timeout=60
    )

    assert f"varsim {varsim.__version__}\n" == done.stdout == invoke("--version").stdout


ENTRY = [sys.executable, "-c", "from varsim.cli.entry import main; main()", "--help"]


def test_closed_output_is_an_error_of_one_line():
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *ENTRY], capture_output=True, text=True, timeout=60
    )

    said = "Error: the output cannot be written: it is closed\n"
    assert (6, said) == (done.returncode, done.stderr)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_unwritable_output_is_an_error_of_one_line():
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(ENTRY, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)

    said = "Error: the output cannot be written: No space left on device\n"
    assert (6, said) == (done.returncode, done.stderr)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["run", "-h"]])
def test_help_explains_exit_codes(arguments: list[str]):
    said = " ".join(invoke(*arguments).stdout.split())

    assert "0 done; 1 the run failed; 2 wrong use, or a wrong experiment;" in said
    assert "130 interrupted." in said


def test_every_command_is_listed_with_its_help():
    """The first line of a command's help fits into the list."""
    for name in main.list_commands(click.Context(main)):
        assert name in invoke("--help").stdout
        assert f"Usage: main {name}" in invoke(name, "--help").stdout
    assert "..." not in invoke("--help").stdout.partition("Commands:")[2]


def test_help_fits_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "40")

    assert 40 >= max(map(len, invoke("lens", "--help").stdout.splitlines()))


def test_the_error_for_a_wrong_command_names_the_nearest_one():
    result = invoke("rnu")

    assert 2 == result.exit_code
    assert "there is no command 'rnu'; did you mean 'run'?" in result.stderr


def test_ctrl_c_outside_a_run_exits_with_130(monkeypatch: pytest.MonkeyPatch):
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("varsim.experiments.catalog.list_workloads", interrupted)
    result = invoke("workloads")

    assert 130 == result.exit_code
    assert "interrupted\n" == result.stderr


# ---------------------------------------------------------------- other commands


def test_workloads_are_listed_with_their_parameters():
    said = invoke("workloads").stdout

    assert "digits\n  Softmax regression on handwritten digits, data-parallel" in said
    assert "    learning_rate: float = 0.5\n" in said


def test_one_workload_is_described_in_full():
    said = invoke("workloads", "step_counter").stdout

    assert "Every replica adds 1 to each counter of steps." in said
    assert "params.initial: int = 10\n" in said


def test_the_error_for_an_unknown_workload_names_the_nearest_one():
    result = invoke("workloads", "step_conter")

    assert 2 == result.exit_code
    assert "did you mean 'step_counter'?" in result.stderr


def test_the_schemas_are_json():
    assert "workload" in json.loads(invoke("schema").stdout)["properties"]
    assert "variables" in json.loads(invoke("schema", "summary").stdout)["properties"]
    assert 2 == invoke("schema", "nothing").exit_code


# ---------------------------------------------------------------- completion


def completed(*words: str, incomplete: str = "") -> list[str]:
    shell = ShellComplete(main, {}, "varsim", VARIABLE)
    return [item.value for item in shell.get_completions(list(words), incomplete)]


@pytest.fixture
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one.yaml", "two.yml", "mine.py", ".hidden.yaml", "notes.txt", "configs/x.yaml"):
        path = Path(name)
        path.parent.mkdir(exist_ok=True)
        path.touch()


@pytest.mark.usefixtures("_files")
def test_commands_options_and_their_values_are_completed():
    commands = sorted(path.stem for path in Path(commands_package.__path__[0]).glob("[a-z]*.py"))
    assert commands == completed()
    assert {"advise", "check", "run", "trace"} <= {*commands}
    assert ["configs/", "mine.py", "one.yaml", "two.yml"] == completed("run")[-4:]
    assert "digits" in completed("run")
    assert ["configs/x.yaml"] == completed("run", incomplete="configs/")
    assert [] == completed("run", incomplete="nowhere/")
    assert ["on_write", "on_read"] == completed("run", "--mode", incomplete="on")
    assert ["a=none,b=on_read"] == completed("run", "--mode", incomplete="a=none,b=on_r")
    assert ["digits", "digits_ways"] == completed("run", "--workload", incomplete="di")
    assert ["mine.py"] == completed("run", "--workload", incomplete="min")
    assert "step_counter" in completed("run", "--workload")
    assert ["configs/", "mine.py"] == completed("exec")
    assert ["none"] == completed("exec", "--mode", incomplete="no")
    assert ["--workers", "--workload"] == completed("run", incomplete="--work")


@pytest.mark.usefixtures("_files")
def test_runs_and_their_variables_are_completed():
    """The newest run is first. A run without a record has no variables."""
    story = LensHistory("ON_READ", "SUM")
    for name in ("20260101-080000-x", "20260102-080000-x"):
        Path("runs", name).mkdir(parents=True)
        with story.history(Path("runs", name)):
            pass
    folders = ["configs/", "runs/"]

    assert ["latest", "20260102-080000-x", "20260101-080000-x", *folders] == completed("check")
    assert ["20260101-080000-x"] == completed("lens", incomplete="20260101")
    for command in "export", "run":
        assert ["20260101-080000-x"] == completed(command, incomplete="20260101")
    assert ["v"] == completed("lens", "20260101") == completed("lens", "latest", incomplete="v")
    assert [] == completed("lens", "latest", incomplete="w") == completed("lens", "nothing")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_completion_script(shell: str):
    result = invoke("completion", shell)

    assert 0 == result.exit_code
    assert f"{VARIABLE}={shell}_complete" in result.stdout


# ---------------------------------------------------------------- too little for NumPy


def test_too_few_threads_for_numpy_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this error OpenBLAS raises SIGINT, and the command says "interrupted"."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(128)))
    assert "" == entry.refused_by_system()
    monkeypatch.setattr("varsim.threads.spare_threads", lambda wanted: wanted - 60)
    assert entry.refused_by_system().startswith(
        "NumPy starts 63 threads, and the system allows only 3 more: raise the limit"
    )
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    assert "" == entry.refused_by_system()


def test_too_few_addresses_for_numpy_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (2**27, 2**27))
    assert (
        "a process may use only 128 MiB of addresses here, and varsim needs 256 MiB: raise the "
        "limit (ulimit -v)"
    ) == entry.refused_by_system()
