"""Run the commands of an engine, each of which starts agents on one or more hosts."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Final

from varsim.errors import StartError
from varsim.interrupts import blocked
from varsim.launch.fork_server import reason_of
from varsim.launch.logs import TAIL_LINES
from varsim.visible import visible

_END_S: Final = 5.0  # time limit for the end of the commands, after their agents have left
_KEPT_BYTES: Final = 16 * 1024
_READ_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class EngineCommand:
    """A command that starts agents.

    The text for its stdin can be secret. Its stdin stays open: if the program is killed, the agents
    see its end.
    """

    arguments: tuple[str, ...]
    host: int | None  # the rank of the host on which the command starts an agent; None: several
    stdin: str = ""


@dataclass(frozen=True, slots=True)
class EndedCommand:
    """A command that has ended."""

    host: int | None
    reason: str  # such as "has ended: `ssh h1 …` exited with code 255: Connection refused"


class _Running:
    """A command that runs."""

    def __init__(self, command: EngineCommand) -> None:
        self.command = command
        self._output = b""
        self.has_ended = False
        try:
            with blocked():
                self._process = subprocess.Popen(
                    command.arguments,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    bufsize=0,
                    start_new_session=True,  # Ctrl-C interrupts only the program
                )
        except OSError as error:
            raise StartError(f"cannot run {command.arguments[0]}: {error.strerror}") from error
        self.output = _pipe(self._process.stdout).fileno()
        os.set_blocking(self.output, False)
        with suppress(BrokenPipeError):  # the command has ended; its output says why
            _pipe(self._process.stdin).write(command.stdin.encode())

    def read(self) -> None:
        """Read the output that has arrived; note if the command has ended."""
        with suppress(BlockingIOError):
            while not self.has_ended:
                chunk = os.read(self.output, _READ_BYTES)
                self._output = (self._output + chunk)[-_KEPT_BYTES:]
                self.has_ended = not chunk

    @property
    def reason(self) -> str:
        """Return how the command has ended, and the end of its output."""
        status = self._process.wait()
        how = reason_of(status << 8 if status >= 0 else -status)
        lines = visible(self._output.decode("utf-8", "replace")).strip().splitlines()
        said = "".join(f"\n  {line}" for line in lines[-TAIL_LINES:])
        return f"has ended: `{self.command.arguments[0]}` {how}{':' if said else ''}{said}"

    def end(self, until_s: float) -> None:
        """Wait for the end of the command, and kill it at `until_s`."""
        _pipe(self._process.stdin).close()
        try:
            self._process.wait(max(0.0, until_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.terminate()  # an engine then ends what it has started
            try:
                self._process.wait(1.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        _pipe(self._process.stdout).close()


class EngineRun:
    """The running commands of a cluster; none if agents are started by hand."""

    def __init__(self, commands: Sequence[EngineCommand]) -> None:
        """Start the commands.

        Raises:
            StartError: A command cannot be run.
        """
        self._running: list[_Running] = []
        self._reported: set[_Running] = set()
        try:
            for command in commands:
                self._running.append(_Running(command))
        except StartError:
            self.end(0.0)
            raise

    @property
    def outputs(self) -> tuple[int, ...]:
        """Return the descriptors to poll: one is readable if its command has ended."""
        return tuple(one.output for one in self._running)

    def ended(self) -> list[EndedCommand]:
        """Return the commands that have ended since the last call."""
        ended = []
        for one in self._running:
            one.read()
            if one.has_ended and one not in self._reported:
                self._reported.add(one)
                ended.append(EndedCommand(one.command.host, one.reason))
        return ended

    def end(self, timeout_s: float = _END_S) -> None:
        """Wait for the end of all commands, and end those that still run after `timeout_s`."""
        until_s = time.monotonic() + timeout_s
        for one in self._running:
            one.end(until_s)


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None, "Popen has created all pipes"
    return stream
