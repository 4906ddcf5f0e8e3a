"""Ctrl-C at any moment of `varsim run`: exit code 130, one line, and no files or processes left."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from tests.leaks import LeakCheck
from tests.waiting import MS, wait_for
from varsim.cli.main import main
from varsim.cli.results import ENDING
from varsim.experiments.store import load_summary
from varsim.testing import simulated_cluster

pytestmark = pytest.mark.processes

HEEDED_S = 1_000 * MS
"""Time limit in seconds from Ctrl-C to the end: for the interrupted phase and for the report."""

TIMEOUT_S = 30_000 * MS
MOMENTS = 30

ENTERED = """
import os, signal
from varsim.cli.entry import main

def told(*arguments, install=signal.signal):
    before = install(*arguments)
    if arguments[0] == signal.SIGINT:
        os.write(int(os.environ["ENTERED"]), b"entered")
        signal.signal = install
    return before

signal.signal = told
main()
"""
"""Run varsim, and print a word when varsim's handler for Ctrl-C is installed."""


class InterruptedRun(NamedTuple):
    """The output of an interrupted run."""

    exit_code: int
    out: str
    complained: list[str]  # the lines on stderr, except those about the progress
    ended_after_s: float  # time from the signal to the end of the process


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _heeds_sighup() -> Iterator[None]:
    """Let processes heed SIGHUP, which they ignore if the tests run under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Provide a process that runs `varsim run` from its entry point, in its own process group."""
    heard, says = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", ENTERED, "run", *arguments],
        env=os.environ | {"ENTERED": str(says), "PYTHONPATH": str(Path(__file__).parents[2])},
        pass_fds=[says],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    os.close(says)
    try:
        assert b"entered" == os.read(heard, 100)
        yield process
    finally:
        os.close(heard)
        process.kill()
        process.communicate()


def interrupted(
    process: subprocess.Popen[str],
    send: Callable[[int, int], None] = os.kill,
    times: int = 1,
    signal_number: int = signal.SIGINT,
) -> InterruptedRun:
    sent_s = time.monotonic()
    for _ in range(times):
        send(process.pid, signal_number)
    out, said = process.communicate(timeout=TIMEOUT_S)
    progress = ("step ", "merging", "judg", ENDING)
    lines = [line for line in said.splitlines() if not line.startswith(progress)]
    return InterruptedRun(process.returncode, out, lines, time.monotonic() - sent_s)


def is_launching() -> bool:
    return any(Path(os.environ["TMPDIR"]).glob("varsim-*"))


def is_training() -> bool:
    return any(Path().glob("runs/*/trace/*-tail"))


def has_trained() -> bool:
    """Return whether a replica has recorded some steps."""
    return any(
        file.stat().st_size > 200_000 for file in Path().glob("runs/*/trace/replica-0.trace")
    )


def is_merging() -> bool:
    return Path("runs/latest/summary.json").exists()


@pytest.mark.thorough
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("moment", [None, is_launching])
def test_ctrl_c_before_the_training_leaves_nothing(
    moment: Callable[[], bool] | None, times: int
) -> None:
    """This holds during imports and the start of workers, and if Ctrl-C is sent twice."""
    with running("--workers", "2", "--steps", "22") as process:
        if moment is not None:
            wait_for(moment, TIMEOUT_S)
        run = interrupted(process, os.killpg, times)

    assert (130, "", ["interrupted"]) == run[:3]
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("signal_number", "code"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGHUP, 129, marks=pytest.mark.thorough)],
)
@pytest.mark.parametrize(
    "moment", [is_launching, pytest.param(has_trained, marks=pytest.mark.thorough)]
)
def test_sigterm_and_a_closed_terminal_have_the_effect_of_ctrl_c(
    moment: Callable[[], bool], signal_number: int, code: int
) -> None:
    with running("--workers", "2", "--steps", "5000") as process:
        wait_for(moment, TIMEOUT_S)
        run = interrupted(process, signal_number=signal_number)

    assert code == run.exit_code, run
    if moment is has_trained:
        assert ["training"] == load_summary(Path("runs/latest")).interrupted, run


def test_an_interrupted_replay_leaves_no_private_files(
    monkeypatch: pytest.MonkeyPatch, private_temporary: Path
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        assert any(private_temporary.glob("varsim-replay-*"))
        os.kill(os.getpid(), signal.SIGINT)

    with simulated_cluster():
        words = ["run", "-n", "2", "--steps", "2", "-q", "--mode", "on_read"]
        assert 0 == CliRunner().invoke(main, words).exit_code
    monkeypatch.setattr("varsim.whatif.compare.merge", interrupted)
    result = CliRunner().invoke(main, ["advise"])

    assert (130, "interrupted\n") == (result.exit_code, result.stderr)
    assert not any(private_temporary.glob("varsim-replay-*"))


@pytest.mark.slow
def test_ctrl_c_interrupts_the_merge_of_the_record_at_once() -> None:
    """The output says that the traces are saved; `varsim check` merges and judges them."""
    with running("--workers", "2", "--steps", "1100") as process:
        wait_for(is_merging, TIMEOUT_S)
        run = interrupted(process)

    assert 130 == run.exit_code
    assert [f"interrupted: the results so far are saved in {Path('runs/latest').resolve()}"] == [
        line.replace("runs/", f"{Path('runs').resolve()}/") for line in run.complained
    ]
    assert run.ended_after_s < HEEDED_S
    assert "digits: 1,100 steps\n" in run.out
    assert "Interrupted while merging its record." in run.out
    assert "`varsim check` does both" in " ".join(run.out.split())
    summary = load_summary(Path("runs/latest"))
    assert (["merging"], None) == (summary.interrupted, summary.verdict)
    checked = subprocess.run(
        [sys.executable, "-m", "varsim", "check"], capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert 0 == checked.returncode
    assert checked.stderr.startswith("merging the traces of runs/")
    assert not Path("runs/latest/trace").exists()


def after(seconds: float) -> None:
    select.select([], [], [], max(seconds, 0.0))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ctrl_c_at_30_moments_of_a_run(private_temporary: Path, tmp_path: Path) -> None:
    """The moments cover the whole run. The process, or its group, gets one or two signals."""
    began_s = time.monotonic()
    with running() as process:
        process.communicate(timeout=TIMEOUT_S)
    life_s = time.monotonic() - began_s
    done = 0
    while done < MOMENTS:
        folder = tmp_path / f"moment-{done}-{life_s}"
        folder.mkdir()
        os.chdir(folder)
        check = LeakCheck(private_temporary, os.environ["VARSIM_TEST_RUN"])
        with running() as process:
            after(life_s * done / MOMENTS)
            if process.poll() is not None:
                life_s *= 0.95  # this run was faster than expected, and ended before the signal
                continue
            run = interrupted(process, (os.kill, os.killpg)[done % 2], 1 + done % 3 % 2)
        if run.exit_code == 0:  # the interrupt came after the run's last write
            assert "\nsaved in runs/" in run.out
            life_s *= 0.95
            continue
        story = f"moment {done} of {MOMENTS}: {run}"
        assert (130, 1) == (run.exit_code, len(run.complained)), story
        assert run.complained[0].startswith("interrupted"), story
        assert [] == check.leaks(), story
        if run.complained[0] == "interrupted":
            assert not Path("runs").exists(), story
        else:
            summary = load_summary(Path("runs/latest"))
            assert summary.interrupted or summary.verdict, (
                story
            )  # the verdict exists if the text was printed
            assert summary.verdict is None or summary.verdict.outcome != "INVALID", story
        done += 1
