"""`varsim sweep` with real processes: Ctrl-C ends it cleanly, and it goes on where it was."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import MS, wait_for

pytestmark = [pytest.mark.processes, pytest.mark.thorough]

TIMEOUT_S = 60_000 * MS
SWEEP = ("sweep", "mode=on_read,on_write", "workers=2", "steps=20,100000", "params.epochs=100000")


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "varsim", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def states(folder: Path) -> list[str]:
    sweep = json.loads((folder / "runs/latest-sweep/sweep.json").read_text("utf-8"))
    return [point["status"] for point in sweep["points"]]


@pytest.mark.parametrize(
    ("number", "state", "code"),
    [(signal.SIGINT, "interrupted", 130), (signal.SIGKILL, "running", -9)],
)
def test_a_sweep_that_a_signal_has_ended_is_continued(
    number: signal.Signals, state: str, code: int, tmp_path: Path
) -> None:
    """The second point is in its training; the first one is kept as it is."""
    process = start(tmp_path, *SWEEP)
    points = tmp_path / "runs/latest-sweep/points"
    training = "2-*/trace/replica-0.trace-tail"
    try:
        wait_for(lambda: any(points.glob(training)) or process.poll() is not None, TIMEOUT_S)
        process.send_signal(number)
        _, said = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
        process.communicate()
    assert (code, ["done", state, "waiting", "waiting"]) == (
        process.returncode,
        states(tmp_path),
    ), said
    assert ("continue with `varsim sweep runs/" in said) == (number is signal.SIGINT)
    first = points / "1-mode-on_read-steps-20" / "summary.json"
    before = first.stat().st_mtime_ns

    for name in ("sweep.yaml", "sweep.json"):
        file = points.parent / name
        text = file.read_text("utf-8")
        assert "100000" in text
        file.write_text(text.replace("100000", "30"), "utf-8")  # so that the other points end soon
    for ended in points.glob("2-*"):
        ended.rename(points / ended.name.replace("100000", "30"))
    again = start(tmp_path, "sweep", "latest-sweep", "--quiet")
    _, said = again.communicate(timeout=TIMEOUT_S)
    assert (0, ["done"] * 4) == (again.returncode, states(tmp_path)), said
    assert before == first.stat().st_mtime_ns
