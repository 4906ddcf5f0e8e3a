"""What starts agents on hosts and tells when a host has ended; the commands that do so."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Final, Protocol

from varsim.errors import StartError
from varsim.interrupts import blocked
from varsim.launch.fork_server import reason_of
from varsim.launch.host_checks import Check
from varsim.launch.logs import TAIL_LINES
from varsim.launch.remote.join_key import JoinKey
from varsim.visible import visible

END_S: Final = 5.0
"""Time limit for the end of an engine, after its agents have left."""

_LOST_END_S: Final = 1.0  # the same for commands if a host is lost: its agent cannot leave
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
class EndedHost:
    """A host of which the engine says that it has ended."""

    rank: int | None  # None: all hosts of the engine
    reason: str  # such as "has ended: `ssh h1 …` exited with code 255: Connection refused"


class Engine(Protocol):
    """Starts the agents of a cluster, and tells when a host has ended."""

    @property
    def endpoints(self) -> tuple[str, str]:
        """Return the endpoints to bind: for the hosts' agents, and for their workers."""

    @property
    def outputs(self) -> tuple[int, ...]:
        """Return the descriptors to poll: one is readable if `ended` or `shares` can be new."""

    @property
    def shares(self) -> tuple[int, ...]:
        """Return the number of replicas of each host, by rank; () if the engine does not say."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return what the engine calls its hosts, by rank; () if only the settings say it."""

    def room(self, num_workers: int) -> list[Check]:
        """Return whether the engine has room for so many workers; [] if it does not know."""

    def start(self, endpoint: str, key: JoinKey) -> None:
        """Start an agent on each host, which connects to this endpoint.

        Raises:
            StartError: A command cannot be run.
        """

    def ended(self) -> list[EndedHost]:
        """Return the hosts that have ended since the last call."""

    def lose(self, host: int | None) -> None:
        """Take note that the host with a rank is lost: its agent may not be able to leave.

        None: the rank is not known.
        """

    def end(self, timeout_s: float = END_S) -> None:
        """Wait for the end of the engine, and end what still runs after `timeout_s`."""


class RunningCommand:
    """A command that runs.

    Args:
        name: What a text calls it; "": its first argument.
        descriptors: Descriptors that it inherits.
        environment: Its environment variables; None: those of this process.
    Raises:
        StartError: The system cannot run it.
    """

    def __init__(
        self,
        command: EngineCommand,
        *,
        name: str = "",
        descriptors: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.command = command
        self._name = name or command.arguments[0]
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
                    pass_fds=tuple(descriptors),
                    env=environment,
                )
        except OSError as error:
            raise StartError(f"cannot run {command.arguments[0]}: {error.strerror}") from error
        self.output = _pipe(self._process.stdout).fileno()
        os.set_blocking(self.output, False)
        self.write(command.stdin)

    def write(self, text: str) -> None:
        """Write a text to the stdin of the command."""
        with suppress(BrokenPipeError):  # the command has ended; its output says why
            _pipe(self._process.stdin).write(text.encode())

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
        return f"has ended: `{self._name}` {how}{':' if said else ''}{said}"

    def stop(self) -> None:
        """Tell the command to end, and do not wait for it."""
        self._process.terminate()

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


class Commands:
    """An engine of commands; none if agents are started by hand.

    Args:
        endpoints: The endpoints to bind.
        commands: Returns the commands for the endpoint of the agents and the key.
    """

    def __init__(
        self,
        endpoints: tuple[str, str],
        commands: Callable[[str, JoinKey], Sequence[EngineCommand]],
    ) -> None:
        self.endpoints = endpoints
        self.shares: tuple[int, ...] = ()
        self.names: tuple[str, ...] = ()
        self._commands = commands
        self._running: list[RunningCommand] = []
        self._reported: set[RunningCommand] = set()
        self._longest_end_s = END_S

    def start(self, endpoint: str, key: JoinKey) -> None:
        """Start the commands.

        Raises:
            StartError: A command cannot be run.
        """
        try:
            for command in self._commands(endpoint, key):
                self._running.append(RunningCommand(command))
        except StartError:
            self.end(0.0)
            raise

    def room(self, num_workers: int) -> list[Check]:  # noqa: ARG002  # of the protocol
        """Return nothing: commands start agents on hosts, and reserve nothing."""
        return []

    @property
    def outputs(self) -> tuple[int, ...]:
        """Return the descriptors to poll: one is readable if its command has ended."""
        return tuple(one.output for one in self._running)

    def ended(self) -> list[EndedHost]:
        """Return the hosts whose commands have ended since the last call."""
        ended = []
        for one in self._running:
            one.read()
            if one.has_ended and one not in self._reported:
                self._reported.add(one)
                ended.append(EndedHost(one.command.host, one.reason))
        return ended

    def lose(self, host: int | None) -> None:
        """Tell the command of a lost host to end: behind a cut, it would not end by itself."""
        self._longest_end_s = _LOST_END_S
        for one in self._running:
            if host is not None and one.command.host == host:
                one.stop()

    def end(self, timeout_s: float = END_S) -> None:
        """Wait for the end of all commands, and end those that still run after `timeout_s`."""
        until_s = time.monotonic() + min(timeout_s, self._longest_end_s)
        for one in self._running:
            one.end(until_s)
        self._running.clear()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None, "Popen has created all pipes"
    return stream
