"""Start the fork server, which starts a cluster's workers, and read its reports.

The fork server is a new interpreter, so a program needs no `if __name__ == "__main__"`. The fork
server imports the modules that all workers need, and forks one worker for each replica. A fork
takes a few milliseconds; a new interpreter takes 0.1 s. The fork server reports each ended worker
on its stdout. The fork server kills the workers and ends in three cases: the coordinator has ended,
writes a second line, or closes the pipe.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

import zmq

from varsim.errors import StartError
from varsim.interrupts import blocked
from varsim.launch.logs import tail_of
from varsim.launch.rendezvous import Rendezvous
from varsim.texts.losses import printed
from varsim.transport.sockets import timeout_ms

# -P: a module in the working directory must not hide a module of varsim.
_COMMAND: Final = ("-P", "-m", "varsim_worker")

_END_TIMEOUT_S: Final = 5.0  # time limit of the fork server for killing and reaping the workers
_READ_BYTES: Final = 64 * 1024

_ONE_THREAD: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""Environment variables that are set to 1 for workers: replicas already use all cores, and threads
do not survive a fork."""


def reason_of(wait_status: int) -> str:
    """Return how a process ended, for example "exited with code 3", "was killed by SIGKILL"."""
    code = os.waitstatus_to_exitcode(wait_status)
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal has no name
        return f"was killed by signal {-code}"


class ForkServer:
    """A running fork server."""

    def __init__(self, private_dir: Path, descriptors: Sequence[int]) -> None:
        """Start the fork server.

        Args:
            private_dir: The fork server removes this directory when it ends. The caller creates the
                directory after this call, so the directory always has an owner.
            descriptors: Descriptors that the fork server and the workers inherit.
        Raises:
            StartError: The system cannot start a process.
        """
        self._pending = b""
        self.ended = False
        # The file has no name, so the system removes it even if all processes are killed.
        self._log = tempfile.TemporaryFile(buffering=0, dir=private_dir.parent)  # noqa: SIM115  # `end` closes it
        try:
            with blocked():
                self._process = subprocess.Popen(
                    [sys.executable, *_COMMAND, private_dir, str(os.getpid())],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._log,
                    bufsize=0,
                    env=os.environ | dict.fromkeys(_ONE_THREAD, "1"),
                    start_new_session=True,  # Ctrl-C interrupts only the program
                    pass_fds=descriptors,
                )
        except OSError as error:
            self._log.close()
            raise StartError(f"cannot start {sys.executable}: {error}") from error
        self.reports = _pipe(self._process.stdout).fileno()

    def fork_workers(self, rendezvous: Rendezvous) -> None:
        """Send the settings to the fork server, which then forks the workers.

        Raises:
            StartError: The fork server has ended.
        """
        try:
            _write_all(_pipe(self._process.stdin).fileno(), rendezvous.to_line())
        except BrokenPipeError:
            raise StartError(self.why_it_ended()) from None

    def exits(self) -> list[tuple[int, str]]:
        """Return the workers that have ended since the last call: (replica_id, reason).

        Call this method when `reports` is readable. The method sets `ended` if the fork server
        itself has ended.
        """
        chunk = os.read(self.reports, _READ_BYTES)
        self.ended = not chunk
        *lines, self._pending = (self._pending + chunk).split(b"\n")
        return [(replica_id, reason_of(status)) for replica_id, status in map(json.loads, lines)]

    def ending(self) -> str:
        """Return how the fork server has ended; call this only if its pipes are closed."""
        try:
            ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            return (
                "ended, and its exit code is unknown, because this program ignores SIGCHLD or "
                "waits for all of its child processes"
            )
        assert ended is not None, "waitid returns None only with WNOHANG"
        exited = ended.si_code == os.CLD_EXITED
        return reason_of(ended.si_status << 8 if exited else ended.si_status)

    def said(self) -> str:
        """Return the last output of the fork server, and of workers before they opened a log."""
        return tail_of(self._log.fileno())

    def why_it_ended(self) -> str:
        """Return why no workers were started; call this only if the pipes are closed."""
        return f"the process that starts the workers {self.ending()}{printed(self.said())}"

    def end(self) -> None:
        """End the fork server, all workers, and all processes that the workers have started."""
        stdin = _pipe(self._process.stdin)
        # Closing the pipe is not enough: a fork of the program may also hold the pipe.
        with suppress(OSError):
            os.set_blocking(stdin.fileno(), False)
            os.write(stdin.fileno(), b"\n")
        stdin.close()
        poller = zmq.Poller()
        poller.register(self.reports, zmq.POLLIN)
        deadline = time.monotonic() + _END_TIMEOUT_S
        while not self.ended and poller.poll(timeout_ms(deadline - time.monotonic())):
            self.exits()
        self.kill()
        self._process.wait()
        _pipe(self._process.stdout).close()
        self._log.close()

    def kill(self) -> None:
        """Kill the fork server and all workers immediately. `end` must still be called."""
        # As long as nothing has waited for the fork server, no other process gets its id.
        with suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
            if not self._was_replaced():
                os.killpg(self._process.pid, signal.SIGKILL)

    def _was_replaced(self) -> bool:
        """Return whether the process id belongs to another process.

        This is possible only if the program itself has waited for the fork server. As long as the
        group has a process, the system does not use the id again.
        """
        process_id = self._process.pid
        try:
            os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            with suppress(ProcessLookupError):
                os.kill(process_id, 0)
                return True
        return False


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None, "Popen has created all pipes"
    return stream


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
