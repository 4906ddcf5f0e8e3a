"""Replay recorded runs: give the events of every process to a new state.

    with recorded_events(folder):
        …  # a program with a cluster of processes, closed at its end
    for log in read_logs(folder):
        replay(log)

A state without I/O answers the same events with the same actions, bit for bit.
"""

from __future__ import annotations

import os
import pickle
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from varsim.environment import EVENT_LOGS
from varsim.errors import FileError, VarsimError
from varsim.shells.event_logs import SUFFIX
from varsim.sync.actions import Supply
from varsim.sync.coordinator_state import CoordinatorState
from varsim.sync.event_log import LoggedEvent, kept
from varsim.sync.replica_state import ReplicaState
from varsim.sync.scheduler_state import SchedulerState
from varsim.sync.server_state import ServerState
from varsim.texts.files import OTHERS_LOG, OTHERS_LOG_REMEDY


@dataclass(frozen=True, slots=True)
class RecordedEvents:
    """The recorded events of the state of one process.

    Attributes:
        state: The name of the state's class.
        parameters: The arguments of its constructor.
    """

    state: str
    parameters: dict[str, Any]
    entries: tuple[LoggedEvent, ...]


class ReplayDiffers(AssertionError):
    """A state answered an event differently than in the recorded run."""


@contextmanager
def recorded_events(folder: Path) -> Iterator[None]:
    """Record, in a folder, the events of all processes of clusters made within the block."""
    before = os.environ.get(EVENT_LOGS)
    os.environ[EVENT_LOGS] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[EVENT_LOGS]
        else:
            os.environ[EVENT_LOGS] = before


def read_logs(folder: Path) -> list[RecordedEvents]:
    """Return the records of all processes in a folder.

    The record of a killed process may lack its last events.
    """
    return [_read(path) for path in sorted(folder.glob(f"*{SUFFIX}"))]


_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


def _read(path: Path) -> RecordedEvents:
    """Read a log.

    Raises:
        FileError: Another user may have written the log, which can execute code.
    """
    entries: list[LoggedEvent] = []
    state = path.stat()
    if state.st_uid != os.geteuid() or state.st_mode & _BY_OTHERS:
        raise FileError(path, OTHERS_LOG, OTHERS_LOG_REMEDY)
    with path.open("rb") as file:
        name, parameters = pickle.load(file)
        with suppress(EOFError, pickle.UnpicklingError):  # the process was killed during a write
            while True:
                entries.append(pickle.load(file))
    return RecordedEvents(name, parameters, tuple(entries))


_STATES: Final[Mapping[str, Any]] = {
    one.__name__: one for one in (CoordinatorState, ReplicaState, SchedulerState, ServerState)
}


def replay(log: RecordedEvents) -> None:
    """Give all events of a log to a new state.

    Raises:
        ReplayDiffers: The state answers an event differently; the text says which event.
    """
    state: Any = _STATES[log.state](**log.parameters)
    for number, entry in enumerate(log.entries):
        now = _answer(state, entry.event)
        difference = _difference(entry, now)
        if difference:
            raise ReplayDiffers(
                f"{log.state} answers event {number} of {len(log.entries)} differently: "
                f"{difference}\n  event: {entry.event!r}\n  recorded: {entry.actions!r} "
                f"{entry.error!r}\n  now: {now.actions!r} {now.error!r}"
            )


def _answer(state: Any, event: Any) -> LoggedEvent:
    try:
        return LoggedEvent(event, tuple(state.handle(kept(event))))
    except VarsimError as error:
        return LoggedEvent(event, error=error)


def _difference(recorded: LoggedEvent, now: LoggedEvent) -> str:
    return _unlike((recorded.actions, recorded.error), (now.actions, now.error), "answer")


def _unlike(one: Any, other: Any, where: str) -> str:
    """Return the location of the first difference; "" if the values are the same.

    Arrays are compared by their bytes.
    """
    if type(one) is not type(other):
        same = isinstance(one, range | tuple) and isinstance(other, range | tuple)
        return "" if same and tuple(one) == tuple(other) else where
    if isinstance(one, Supply):  # the array is not initialised
        return "" if (one.array.shape, one.array.dtype) == (
            other.array.shape, other.array.dtype
        ) else where  # fmt: skip
    if isinstance(one, np.ndarray):
        same = one.shape == other.shape and one.dtype == other.dtype
        return "" if same and one.tobytes() == other.tobytes() else where
    if isinstance(one, BaseException):  # the program may have added notes to the exception later
        return _unlike(one.args, other.args, f"{where}.args")
    if is_dataclass(one):
        names = [field.name for field in fields(one)]
        return _first(
            (getattr(one, name), getattr(other, name), f"{where}.{name}") for name in names
        )
    if isinstance(one, Mapping):
        return _unlike(list(one.items()), list(other.items()), where)
    if isinstance(one, Sequence) and not isinstance(one, str | bytes):
        if len(one) != len(other):
            return f"{where}: {len(one)} and {len(other)} members"
        pairs = enumerate(zip(one, other, strict=True))
        return _first((a, b, f"{where}[{index}]") for index, (a, b) in pairs)
    return "" if one == other or repr(one) == repr(other) else where


def _first(values: Iterator[tuple[Any, Any, str]]) -> str:
    return next(filter(None, (_unlike(*each) for each in values)), "")
