"""Run peers: other systems, each a group of processes that takes turns with varsim.

Peers have a separate environment, `.venv-peers`, or the environment that VARSIM_BENCH_PEERS names.
`peers/member.py` describes the lines that these processes read and answer.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

from benchmarks.measure import Turn
from benchmarks.peers.member import ADDRESS

ROOT = Path(__file__).parents[1]
PEERS = Path(os.environ.get("VARSIM_BENCH_PEERS", ROOT / ".venv-peers"))
PYTHON = str(PEERS / "bin" / "python")

START_TIMEOUT_S = 120.0  # enough for four processes that import TensorFlow on a busy machine
ANSWER_TIMEOUT_S = 240.0  # TensorFlow traces a step of 1,000 variables for half a minute
END_TIMEOUT_S = 20.0

Command = tuple[list[str], dict[str, str]]
"""A process to start: its command line, and additional environment variables."""


class PeerFailed(Exception):
    """A peer did not start, died, or computed a wrong result; the text has its output."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A contender that is not varsim."""

    name: str
    package: str  # the Python package that the peer needs
    commands: Callable[[int, Path], list[Command]]  # (workers, folder for files) -> processes
    program: str | None = None  # a program of the system that the peer needs, such as mpirun
    has_members: bool = True  # True: as many processes as workers; False: one process
    python: str = PYTHON  # the Python of its processes

    def missing(self) -> str | None:
        """Return what is needed to measure the peer; None if it is available."""
        if not Path(self.python).exists():
            return f"there is no {PEERS.name}; `make bench-peers` makes it"
        look = f"import importlib.util as i; raise SystemExit(not i.find_spec({self.package!r}))"
        if subprocess.run(
            [self.python, "-c", look], check=False, stderr=subprocess.DEVNULL
        ).returncode:
            return f"{self.package} is not in {PEERS.name}; `make bench-peers` installs it"
        if self.program is not None and shutil.which(self.program) is None:
            return f"there is no {self.program} (Debian, Ubuntu: apt install openmpi-bin)"
        return None


def _gloo(count: int, folder: Path) -> list[Command]:
    words = [PYTHON, "-m", "benchmarks.peers.gloo"]
    return [([*words, str(i), str(count), str(folder / "rendezvous")], {}) for i in range(count)]


def _openmpi(count: int, _: Path) -> list[Command]:
    # With more ranks than cores, an idle rank of Open MPI yields its core by default. If idle ranks
    # spin instead (mpi_yield_when_idle 0), the other ranks wait for time slices, and a step is much
    # slower.
    as_root = ["--allow-run-as-root"] if os.getuid() == 0 else []
    words = ["mpirun", *as_root, "--oversubscribe", "-x", ADDRESS, "-n", str(count)]
    return [([*words, PYTHON, "-m", "benchmarks.peers.openmpi"], {})]


def _multi_worker(count: int, _: Path) -> list[Command]:
    with ExitStack() as stack:  # TensorFlow cannot choose ports: find free ports for it
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for bound in sockets:
            bound.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{bound.getsockname()[1]}" for bound in sockets]

    def config(index: int) -> str:
        task = {"type": "worker", "index": index}
        return json.dumps({"cluster": {"worker": addresses}, "task": task})

    words = [PYTHON, "-m", "benchmarks.peers.multi_worker"]
    return [(words, {"TF_CONFIG": config(i)}) for i in range(count)]


def _mirrored(count: int, _: Path) -> list[Command]:
    return [([PYTHON, "-m", "benchmarks.peers.mirrored", str(count)], {})]


GLOO = Peer("gloo", "torch", _gloo)
OPENMPI = Peer("Open MPI", "mpi4py", _openmpi, "mpirun")
MULTI_WORKER = Peer("TF MultiWorkerMirrored", "tensorflow", _multi_worker)
MIRRORED = Peer("TF Mirrored, logical CPUs", "tensorflow", _mirrored, has_members=False)


@dataclass
class PeerGroup:
    """The processes of a peer while they run."""

    peer: Peer
    count: int
    versions: str = ""
    _lines: list[IO[str]] = field(default_factory=list)  # the connection to each member, by rank
    _stack: ExitStack = field(default_factory=ExitStack)
    _log: Path = Path()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, stack: ExitStack) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peer-")))
        self._log = folder / "log"
        log = stack.enter_context(self._log.open("wb"))
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        address = str(folder / "members")
        listener.bind(address)
        listener.listen()
        environment = os.environ | {ADDRESS: address, "TF_CPP_MIN_LOG_LEVEL": "2"}
        processes: list[subprocess.Popen[bytes]] = []
        stack.callback(_end, processes)  # runs after the members' connections are closed
        members = self.count if self.peer.has_members else 1
        for words, more in self.peer.commands(self.count, folder):
            processes.append(
                subprocess.Popen(
                    words,
                    env=environment | more,
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )
        lines: dict[int, IO[str]] = {}
        for connection in self._connections(listener, members, processes):
            stack.enter_context(connection)
            connection.settimeout(ANSWER_TIMEOUT_S)
            said = stack.enter_context(connection.makefile("rw", encoding="utf-8"))
            hello = self._answer(said)
            lines[hello["member"]] = said
            self.versions = hello["versions"]
        self._lines = [lines[member] for member in sorted(lines)]

    def _connections(
        self, listener: socket.socket, count: int, processes: list[subprocess.Popen[bytes]]
    ) -> Iterator[socket.socket]:
        deadline = time.monotonic() + START_TIMEOUT_S
        while count:
            if select.select([listener], [], [], 0.2)[0]:
                yield listener.accept()[0]
                count -= 1
            elif time.monotonic() > deadline or any(p.poll() is not None for p in processes):
                raise self._failed("did not start")

    def turn(self, case: str) -> Turn:
        """Return a function that times steps of a case, with the times of member 0."""

        def take(steps: int) -> list[float]:
            for lines in self._lines:
                print(case, steps, file=lines, flush=True)
            answers = [self._answer(lines) for lines in self._lines]
            seconds: list[float] = answers[0]["seconds"]
            return seconds

        return take

    def _answer(self, lines: IO[str]) -> Any:
        try:
            line = lines.readline()
        except OSError as error:  # includes TimeoutError
            raise self._failed("does not answer") from error
        if not line:
            raise self._failed("ended")
        return json.loads(line)

    def _failed(self, what: str) -> PeerFailed:
        said = self._log.read_text("utf-8", errors="replace").strip().splitlines()
        return PeerFailed("\n".join([f"{self.peer.name} {what}; it said:", *said[-15:]]))


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    """Wait for members whose connections are closed, and kill members that do not end."""
    deadline = time.monotonic() + END_TIMEOUT_S
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.terminate()  # mpirun passes the signal on to its ranks
    for process in processes:
        try:
            process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def turns_of(there: Iterable[PeerGroup], case: str) -> dict[str, Turn]:
    """Return, for each group with the right result, a function that times its steps.

    Print the groups with a wrong result.
    """
    turns = {}
    for group in there:
        turn = group.turn(case)
        try:
            turn(1)  # this also checks the result
        except PeerFailed as error:
            print(f"{group.peer.name} is left out: {error}", file=sys.stderr)
        else:
            turns[group.peer.name] = turn
    return turns


@contextmanager
def groups(peers: Iterable[Peer], count: int) -> Iterator[list[PeerGroup]]:
    """Yield the groups of the available peers; print which peers are missing, and why."""
    with ExitStack() as stack:
        there = []
        for peer in peers:
            reason = peer.missing()
            if reason is None:
                try:
                    there.append(stack.enter_context(PeerGroup(peer, count)))
                    continue
                except PeerFailed as error:
                    reason = str(error)
            print(f"{peer.name} is left out: {reason}", file=sys.stderr)
        yield there
