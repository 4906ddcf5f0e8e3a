"""The stack that a worker writes, and what the system shows about the worker's process."""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.waiting import wait_for
from varsim.launch import sightings
from varsim.launch.sightings import sighting_of
from varsim.launch.stacks import program_frames, user_location
from varsim.sync.stalls import Sighting


@pytest.mark.parametrize("name", ["plain.py", "été à la mer.py", "日本.py", "🐍.py"])
def test_a_location_has_the_name_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """In a written stack, characters that are not ASCII are escaped."""
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "stack").open("w+b") as written:
        code = compile("\n\ndump(file=written, all_threads=False)", str(tmp_path / name), "exec")
        exec(code, {"dump": faulthandler.dump_traceback, "written": written})
        written.seek(0)
        stack = written.read().decode("ascii")

    assert f"{name}:3" == user_location(stack)


STACK = """\
Current thread 0x00007f0000000000 (most recent call first):
  File "/usr/lib/python3.11/socket.py", line 706 in readinto
  File "/program/gr\\xfcn.py", line 26 in loa\\u0064
  File "{varsim}/distribute/functions.py", line 20 in call
  File "/program/train.py", line 12 in step
  File "{varsim}/shells/replica.py", line 300 in _run
  File "/x/varsim_worker/worker.py", line 90 in work
  File "<frozen runpy>", line 88 in _run_code
"""


def test_a_stack_has_the_frames_of_the_program_and_its_libraries() -> None:
    package = Path(sightings.__file__).parents[1]

    frames = program_frames(STACK.format(varsim=package))

    assert "readinto" == frames[0].rpartition(" in ")[2]
    assert ("/program/gr\xfcn.py:26 in load", "/program/train.py:12 in step") == frames[1:]
    assert () == program_frames("")


def test_a_deep_stack_is_cut() -> None:
    lines = "".join(f'  File "/program/a.py", line {number} in f\n' for number in range(500))

    assert [f"/program/a.py:{number} in f" for number in range(12)] == [*program_frames(lines)]


def test_the_processor_time_of_a_process_grows_while_it_computes() -> None:
    before = sighting_of(os.getpid())
    end_s = time.process_time() + 0.03
    while time.process_time() < end_s:
        pass
    after = sighting_of(os.getpid())

    assert before.processor_s is not None
    assert after.processor_s is not None
    assert after.processor_s - before.processor_s > 0.015  # in ticks of 0.01
    assert not after.stopped


def test_a_stopped_process_is_shown_as_stopped() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert not sighting_of(process.pid).stopped
        process.send_signal(signal.SIGSTOP)
        wait_for(lambda: sighting_of(process.pid).stopped)
        process.kill()

    assert Sighting(process.pid) == sighting_of(process.pid)
