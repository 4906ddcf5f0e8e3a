"""Run a script as `__main__` in this process: as the program, or as the function of a replica."""

from __future__ import annotations

import builtins
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from io import TextIOBase
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, BinaryIO, Final, TextIO

from varsim.distribute.cluster_resolver import TF_CONFIG, config_of
from varsim.distribute.context import current_frame, own_replica
from varsim.distribute.ports import ReplicaPort
from varsim.distribute.supervision import refused
from varsim.errors import CallAborted, VarsimError
from varsim.launch.devices import place_on_host
from varsim.location import last_line
from varsim.protocol.paths import shown_path
from varsim.sync.call_site import CallSite

_MOST_CHARACTERS: Final = 2**15
"""Largest number of characters in one message of output."""

_RANKS: Final = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", TF_CONFIG)
"""The environment variables with which launchers of other libraries describe a process."""


class _Before:
    """The state of the process before a script."""

    def __init__(self) -> None:
        self._main, self._argv, self._path = sys.modules["__main__"], sys.argv, sys.path[:]
        self._streams = sys.stdout, sys.stderr
        self._ranks = {name: os.environ[name] for name in _RANKS if name in os.environ}

    def restore(self) -> None:
        sys.modules["__main__"], sys.argv, sys.path[:] = self._main, self._argv, self._path
        sys.stdout, sys.stderr = self._streams
        for name in _RANKS:
            os.environ.pop(name, None)
        os.environ.update(self._ranks)


_before: list[_Before] = []
"""The state of the process before the first of the running scripts."""

_running: list[ModuleType] = []
"""The modules of the running scripts: several if the replicas of this process are simulated."""


@contextmanager
def as_main(path: Path, argv: list[str]) -> Iterator[ModuleType]:
    """Make `__main__` a new, empty module within the block, as in a new process."""
    module = ModuleType("__main__")
    module.__dict__.update(__file__=str(path), __builtins__=builtins, __cached__=None)
    if not _running:
        _before.append(_Before())
        sys.path.insert(0, str(path.parent))
    _running.append(module)
    sys.modules["__main__"], sys.argv = module, argv
    try:
        yield module
    finally:
        _running.remove(module)
        if _running:
            sys.modules["__main__"] = _running[-1]
        else:
            _before.pop().restore()


def compiled(source: bytes, path: str) -> CodeType:
    """Return the code of a script.

    Raises:
        SyntaxError: The source is not Python.
    """
    return compile(source, path, "exec", dont_inherit=True)


def execute(code: CodeType, module: ModuleType) -> None:
    """Execute the code of a script in its module."""
    exec(code, module.__dict__)  # noqa: S102  # the user's own program


class ScriptExit(VarsimError, RuntimeError):
    """A replica's script has called `sys.exit` with an exit code other than 0.

    Only `varsim exec --spmd` raises this error.
    """

    definite = False

    def __init__(self, replica_id: int, code: int, said: str, location: str) -> None:
        super().__init__(replica_id, code, said, location)
        self.replica_id = replica_id
        self.code = code  # the exit code
        self.said = said  # the argument of `sys.exit`, if it is no number
        self.location = location

    def __str__(self) -> str:
        at = f" at {self.location}" if self.location else ""
        return f"replica {self.replica_id} called sys.exit({self.said or self.code!r}){at}"


@dataclass(frozen=True)
class ReplicaScript:
    """A script as the function of a call: every replica executes the whole script.

    Attributes:
        path: The absolute path of the script.
        source: The content of the script, read once for all replicas.
        argv: The arguments, as in `sys.argv`.
        has_chief: Whether the first worker is the task of the job "chief"; see `config_of`.
    """

    path: str
    source: bytes = field(repr=False)
    argv: tuple[str, ...]
    has_chief: bool = False

    @property
    def call_site(self) -> CallSite:
        """Return the name of the script, for errors, and its first line, for warnings."""
        name = shown_path(self.path)
        return CallSite(function=name, called_at=f"{name}:1", is_script=True)

    def __call__(self) -> None:
        """Execute the script on this replica, in replica context.

        Raises:
            ScriptExit: The script has called `sys.exit` with a code other than 0 and None.
        """
        frame = current_frame()
        assert frame is not None, "strategy.run calls the script"
        assert frame.replica is not None, "strategy.run calls the script"
        replica = frame.replica
        rank = replica.replica_id_in_sync_group
        with ExitStack() as stack:
            module = stack.enter_context(as_main(Path(self.path), list(self.argv)))
            stack.enter_context(refused(_NO_STRATEGY))
            _describe(rank, frame.strategy.devices, has_chief=self.has_chief)
            out, err = _stream(sys.stdout, is_error=False), _stream(sys.stderr, is_error=True)
            sys.stdout, sys.stderr = out, err
            stack.callback(_finish, replica, (out, err))
            with warnings.catch_warnings():  # the program's process has shown those of the compiler
                warnings.simplefilter("ignore", SyntaxWarning)
                script = compiled(self.source, self.path)
            try:
                execute(script, module)
            except SystemExit as end:
                if end.code not in (None, 0):
                    code = end.code if isinstance(end.code, int) else 1
                    said = "" if isinstance(end.code, int) else str(end.code)
                    where = last_line(end.__traceback__)
                    raise ScriptExit(rank, code, said, where) from None


_NO_STRATEGY: Final = (
    "a MirroredStrategy, CentralStorageStrategy or ParameterServerStrategy of the script would "
    "start workers of its own in every worker: with --spmd, all replicas run the whole script "
    "already. Use tf.distribute.MultiWorkerMirroredStrategy(), which has a replica on each worker; "
    "or run the script without --spmd"
)


def _describe(rank: int, devices: Sequence[str], *, has_chief: bool) -> None:
    """Set the environment variables of a replica; the end of the script restores them."""
    count = len(devices)
    values = rank, count, *place_on_host(devices, rank), config_of(rank, count, has_chief=has_chief)
    os.environ.update(zip(_RANKS, map(str, values), strict=True))


# ---------------------------------------------------------------- output


class ReplicaStream(TextIOBase):
    """A text stream whose lines the program's process prints as soon as they are complete.

    A thread other than the replica's, and a process that the replica has forked, cannot send
    messages. What they write goes to the worker's log, as does the output of a call that has
    failed.
    """

    def __init__(self, log: TextIO, *, is_error: bool) -> None:
        super().__init__()
        self._log = log
        self._is_error = is_error
        self._begun: dict[int, str] = {}  # replica_id → the beginning of a line

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has an attribute
        """Return the encoding of the log."""
        return "utf-8"

    @property
    def buffer(self) -> BinaryIO:
        """Return the stream of bytes, which is the worker's log."""
        return self._log.buffer

    def fileno(self) -> int:
        """Return the file of the worker's log, for processes that the script starts."""
        return self._log.fileno()

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Send the complete lines, and keep the rest."""
        replica = own_replica()
        if replica is None or isinstance(sys.exception(), CallAborted):
            self._log.write(text)
            return len(text)
        number = replica.replica_id_in_sync_group
        lines, newline, rest = (self._begun.pop(number, "") + text).rpartition("\n")
        if rest:
            self._begun[number] = rest
        if newline:
            self._send(replica, lines + newline)
        return len(text)

    def finish(self, replica: ReplicaPort) -> None:
        """Send the beginning of the last line."""
        rest = self._begun.pop(replica.replica_id_in_sync_group, "")
        if rest:
            self._send(replica, rest)

    def _send(self, replica: ReplicaPort, text: str) -> None:
        for start in range(0, len(text), _MOST_CHARACTERS):
            part = text[start : start + _MOST_CHARACTERS]
            replica.session.show(part, is_error=self._is_error)


def _stream(stream: Any, *, is_error: bool) -> ReplicaStream:
    """Return the stream of the running scripts, of which a process needs only one."""
    if isinstance(stream, ReplicaStream):
        return stream
    return ReplicaStream(stream, is_error=is_error)


def _finish(replica: ReplicaPort, streams: Sequence[ReplicaStream]) -> None:
    with suppress(CallAborted):
        for stream in streams:
            stream.finish(replica)
