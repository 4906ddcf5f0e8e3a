"""Detect changes of the program's objects by replicas that run in the program's process.

In a simulated cluster all replicas share these objects. So a program that collects values in a list
works there, and not on worker processes, where each replica changes its own copy. A change is
recorded if the program uses the object after a call.

Replicas take turns. The objects are compared each time when a replica begins or continues, and when
it waits or ends, so each change is that of one replica.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

from varsim.distribute.functions import bare
from varsim.distribute.mutations import ChangedObject, Watch, is_watched, watch_of
from varsim.distribute.program_use import ProgramCode, use_of
from varsim.launch.link import Codec
from varsim.protocol.messages import Define, Forget, Message, Payload, Start
from varsim.tracing import notices
from varsim.tracing.trace import Trace

_MOST_FRAMES: Final = 200
"""Largest number of frames of the program that are searched for names of an object."""


_Running = tuple[Any, tuple[Any, ...], Mapping[str, Any]]  # a function with its arguments


@dataclass(slots=True)
class _Shared:
    """An object that replicas have changed."""

    change: ChangedObject
    replicas: set[int] = field(default_factory=set)
    aliases: set[tuple[CodeType, str]] = field(default_factory=set)


class SharedObjects:
    """The objects of a program that the replicas of one simulated cluster share."""

    def __init__(self) -> None:
        self._program = ProgramCode()
        self._changed: dict[tuple[CodeType, str], _Shared] = {}

    def runs(self, code: CodeType) -> None:
        """Record that replicas run a function."""
        self._program.run_by_replicas.add(code)

    def changed(self, replica_id: int, changes: Iterable[ChangedObject]) -> None:
        """Record changes of a replica. The caller must be below the frames of the program."""
        for one in changes:
            shared = self._changed.setdefault((one.code, one.name), _Shared(one))
            if replica_id in shared.replicas:
                continue
            shared.replicas.add(replica_id)
            for frame in _frames_of(Path(one.code.co_filename).parent):
                self._program.add(frame)
                if one.value is not None:
                    names = (name for name, it in frame.f_locals.items() if it is one.value)
                    shared.aliases |= {(frame.f_code, name) for name in names}

    def record(self, trace: Trace | None) -> None:
        """Record each change of an object that the program uses after a call."""
        for one in self._changed.values() if trace is not None else ():
            change, used_at = one.change, ""
            with suppress(Exception):  # the program can have code that this module does not expect
                used_at = use_of(change.name, change.code, one.aliases, self._program)
            if used_at:
                for replica_id in sorted(one.replicas):
                    about = change.kind, change.name, change.location, change.named_at
                    notices.changed(trace, replica_id, *about, used_at)
        self._changed.clear()


class SharedByReplica:
    """What one replica does to these objects.

    It looks at them while the replica does not run, so that the replica takes no longer.
    """

    def __init__(self, objects: SharedObjects, replica_id: int, codec: Codec) -> None:
        self._objects, self._replica_id, self._codec = objects, replica_id, codec
        self._functions: dict[str, Payload] = {}
        self._runs: dict[CodeType, int] = {}
        self._running: _Running | None = None
        self._watch: Watch | None = None

    def resumes(self, messages: Iterable[Message]) -> None:
        """Look at the objects before the replica handles messages, and begins or continues."""
        for message in messages:
            match message:
                case Define():
                    self._functions[message.function_id] = message.function
                case Forget():
                    for function_id in message.function_ids:
                        self._functions.pop(function_id, None)
                case Start():
                    self._begin(message)
        if self._running is not None:
            self._watch = watch_of(*self._running)

    def waits(self, *, runs: bool) -> None:
        """Look for changes, as the replica waits. The caller must be below the program's frames.

        Args:
            runs: Whether the replica has not ended the function.
        """
        if self._watch is not None:
            self._objects.changed(self._replica_id, self._watch.found())
            self._watch = None
        if not runs:
            self._running = None

    def _begin(self, start: Start) -> None:
        payload = self._functions.get(start.function_id)
        if payload is None:
            return
        function = self._codec.unpack(payload)
        args, kwargs = self._codec.unpack(start.arguments) or ((), {})
        code = getattr(bare(function), "__code__", None)
        if code is None:
            return
        self._objects.runs(code)
        runs = self._runs[code] = self._runs.get(code, 0) + 1
        if is_watched(runs):
            self._running = function, args, kwargs


def _frames_of(folder: Path) -> Iterator[FrameType]:
    """Yield the frames of the program in a folder that wait for a call, the innermost first."""
    frame, inside = inspect.currentframe(), f"{folder}{os.sep}"
    for _ in range(_MOST_FRAMES):
        if frame is None:
            return
        if frame.f_code.co_filename.startswith(inside):
            yield frame
        frame = frame.f_back
