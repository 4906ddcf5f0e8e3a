"""The command `varsim bench`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.report.benches import bench
from tests.waiting import MS, wait_for
from varsim.cli.main import main
from varsim.errors import StartError
from varsim.experiments import bench as experiment
from varsim.experiments.bench import BenchPlan, as_json, from_plain
from varsim.experiments.store import BENCH
from varsim.report.bench import Bench
from varsim.report.summary import RunStatus

TIMEOUT_S = 30_000 * MS


class Asked:
    """Replace the measurement: store the plan, and return prepared figures."""

    def __init__(self) -> None:
        self.plan: BenchPlan | None = None
        self.out: Path | None = None
        self.found: Callable[[], Bench] = bench

    def __call__(self, plan: BenchPlan, out: Path, watcher: Any) -> Bench:
        self.plan, self.out = plan, out
        watcher.measuring("something", 1, 2)
        return self.found()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    asked = Asked()
    monkeypatch.setattr(experiment, "run_bench", asked)
    return asked


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def varsim(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["bench", *arguments])


def test_the_report_is_on_stdout_without_the_progress(asked: Asked):
    result = varsim()

    assert (0, "") == (result.exit_code, result.stderr)
    assert "a step: every replica writes one ON_WRITE variable (MEAN)" in result.stdout
    assert result.stdout.endswith("saved in runs/x/\n")
    assert (BenchPlan(), Path("runs")) == (asked.plan, asked.out)


def test_options_select_the_figures(asked: Asked):
    varsim("--quick", "--workers", " 4,1,4", "--out", "elsewhere")

    assert asked.plan is not None
    assert (True, (1, 4)) == (asked.plan.quick, asked.plan.workers)
    assert Path("elsewhere") == asked.out


@pytest.mark.usefixtures("asked")
def test_json_is_the_only_output():
    result = varsim("--json")

    assert bench() == from_plain(json.loads(result.stdout), "")
    assert "" == result.stderr


@pytest.mark.usefixtures("asked")
def test_quiet_prints_only_the_directory():
    assert "runs/x\n" == varsim("-q").stdout


@pytest.mark.usefixtures("asked")
def test_two_hosts_are_compared():
    Path(BENCH).write_text(as_json(bench(seconds=lambda *_: 0.002)))
    result = varsim("--against", ".")

    assert "this host's time ÷ that of h" in result.stdout
    assert "0.5 ×" in result.stdout


@pytest.mark.parametrize(
    ("status", "code"), [(RunStatus.DONE, 0), (RunStatus.FAILED, 1), (RunStatus.INTERRUPTED, 130)]
)
def test_the_exit_code_depends_on_the_status(asked: Asked, status: RunStatus, code: int):
    asked.found = lambda: replace(bench(), status=status, failure="no luck" if code == 1 else None)
    result = varsim()

    assert code == result.exit_code
    said = "interrupted: the results so far are saved in runs/x\n"
    assert {0: "", 1: "Error: no luck\n", 130: said}[code] == result.stderr


def test_an_interrupted_measurement_reports_its_figures(asked: Asked):
    asked.found = lambda: replace(bench(), status=RunStatus.INTERRUPTED)

    assert "interrupted after 46 of 47 figures" in varsim().stdout


def test_a_failure_before_the_first_figure_is_an_error(asked: Asked):
    def fail() -> Bench:
        raise StartError("no process")

    asked.found = fail
    result = varsim()

    assert (1, "Error: no process\n") == (result.exit_code, result.stderr)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--workers", "0"], "invalid value 0: expected a number from 1 to 1024"),
        (["--workers", "1,2000"], "invalid value 2000: expected a number from 1 to 1024"),
        (["--workers", "two"], "'two' is not a number; write numbers as in 1,2,4"),
        (["--workers", "1,,2"], "'' is not a number"),
        (["--workers", "-1"], "'-1' is not a number"),
        (["--wrokers", "1"], "--workers"),
        (["4"], "unexpected extra argument"),
        (
            ["--against", "nowhere"],
            "there is no measured host 'nowhere': it is not a path, and runs/",
        ),
        (["--out", "file"], "'file' cannot be written"),
    ],
)
def test_wrong_use_exits_with_2_and_measures_nothing(arguments: list[str], problem: str):
    Path("file").touch()
    result = varsim(*arguments)

    assert (2, "") == (result.exit_code, result.stdout)
    assert problem in result.stderr
    assert not Path("runs").exists()


# ---------------------------------------------------------------- processes


@pytest.mark.processes
@pytest.mark.slow
def test_a_quick_measurement_works_with_real_processes():
    done = subprocess.run(
        [sys.executable, "-m", "varsim", "bench", "--quick", "--workers", "2"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "With 2 workers a step that writes 8 B takes" in done.stdout
    assert Path("runs/latest-bench/bench.json").is_file()


@pytest.mark.processes
def test_ctrl_c_ends_the_measurement_with_exit_code_130():
    process = subprocess.Popen(
        [sys.executable, "-m", "varsim", "bench"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        wait_for(Path("runs/latest-bench").exists, TIMEOUT_S)
        os.kill(process.pid, signal.SIGINT)
        os.kill(process.pid, signal.SIGINT)
        said, complained = process.communicate(timeout=TIMEOUT_S)

    assert 130 == process.returncode
    assert "interrupted" in said + complained
    assert "Traceback" not in complained
