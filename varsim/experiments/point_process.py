"""Run a point of a sweep that another host has sent, as a child of a task of Ray.

    python -m varsim.experiments.point_process FOLDER

The point comes as one line through stdin. The process creates the folder, and writes the run and
the result into it. When stdin is closed, the run is home, or what has started this process has
ended: the process removes the folder and ends, and the fork server ends the workers.

When a process of Ray ends, Ray kills its children, which then cannot remove anything. So a child of
the child runs the point, and the child waits for it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from varsim.errors import ConfigError
from varsim.experiments.runner import run_experiment
from varsim.experiments.sent_point import ReceivedPoint
from varsim.launch.remote.ray_task import RESULT, RUN
from varsim.private import make_private_folder
from varsim.transport.folders import PrivateFolder

_MOST_BYTES: Final = 2**12


def main(folder: Path) -> NoReturn:
    """Run the point in a child of this process, and end as the child does."""
    child = os.fork()
    if child == 0:
        _serve(folder)
    _close_output()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        os.kill(os.getpid(), os.WTERMSIG(status))
    sys.exit(os.waitstatus_to_exitcode(status))


def _serve(folder: Path) -> NoReturn:
    """Run the point, and wait until its folder is not needed any more."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    line, stdin = _own_stdin()
    _watch(stdin, folder)
    PrivateFolder(folder)
    result = _run(line, folder)
    (folder / RESULT).write_text(json.dumps(result), "utf-8")
    sys.stdout.flush()
    _close_output()
    while True:
        signal.pause()


def _run(line: str, folder: Path) -> dict[str, object]:
    """Run the point; return its result."""
    run, error = "", ""
    began_s = time.perf_counter()
    try:
        point = ReceivedPoint(line, folder)
        experiment = point.experiment()
        parent = folder / RUN
        make_private_folder(parent)
        run = str(parent / point.name)
        began_s = time.perf_counter()
        run_experiment(experiment, folder=Path(run))
    except (ConfigError, OSError) as raised:
        error = str(raised)
    return {"run": run, "error": error, "seconds": time.perf_counter() - began_s}


def _own_stdin() -> tuple[str, int]:
    """Return the first line of stdin and its descriptor; the program of the point gets no input."""
    stdin = os.dup(0)
    with os.fdopen(os.dup(0), "rb") as stream:
        line = stream.readline().decode("utf-8")
    _replace(0, os.O_RDONLY)
    return line, stdin


def _close_output() -> None:
    """Let the other end of stdout and stderr see that nothing comes any more."""
    for descriptor in (1, 2):
        _replace(descriptor, os.O_WRONLY)


def _replace(descriptor: int, flags: int) -> None:
    null = os.open(os.devnull, flags)
    os.dup2(null, descriptor)
    os.close(null)


def _watch(stdin: int, folder: Path) -> None:
    """Remove the folder and end this process, as soon as stdin is closed at the other end."""

    def look(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # a handler has both
        try:
            has_ended = not os.read(stdin, _MOST_BYTES)
        except BlockingIOError:
            return
        if has_ended:
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(0)

    signal.signal(signal.SIGIO, look)
    os.set_blocking(stdin, False)
    fcntl.fcntl(stdin, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(stdin, fcntl.F_GETFL)
    fcntl.fcntl(stdin, fcntl.F_SETFL, flags | fcntl.FASYNC)
    look(signal.SIGIO, None)  # stdin may be closed already


if __name__ == "__main__":
    main(Path(sys.argv[1]))
