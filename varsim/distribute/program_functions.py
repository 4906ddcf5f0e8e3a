"""Run the program's functions on one replica, in replica context."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from types import TracebackType
from typing import Any, Final

from varsim.distribute.central_storage import CentralStorageStrategy
from varsim.distribute.context import Frame, entered
from varsim.distribute.discarded import warning_of
from varsim.distribute.functions import bare
from varsim.distribute.home import Home, settle
from varsim.distribute.mirrored import MirroredStrategy
from varsim.distribute.mutations import ChangedObject, Watch, is_watched, watch_of
from varsim.distribute.naming import ReplicaReferences
from varsim.distribute.parameter_servers.strategy import ParameterServerStrategy
from varsim.distribute.policies import know
from varsim.distribute.replica_context import ReplicaContext
from varsim.distribute.strategy import Strategy
from varsim.errors import CallAborted
from varsim.launch.link import Codec, WorkerLink
from varsim.location import from_program, user_location
from varsim.protocol.messages import Create, Define, Forget, Payload, Start
from varsim.protocol.python_values import StructureCodec
from varsim.protocol.tracebacks import TITLE, text_of, written
from varsim.raised import traceback_of, without_text
from varsim.shells.function_runner import FunctionEnd
from varsim.shells.replica import Replica
from varsim.sync.replica_events import FunctionRaises, FunctionReturns, FunctionUnwinds
from varsim.tracing import notices

_MAX_TRACEBACK: Final = 2**15
"""Length limit of a traceback. The text of an exception can have any length."""

_ENDS_A_PROCESS: Final = (SystemExit, KeyboardInterrupt)
"""Exceptions of a replica that would end the program without a message if raised there."""


def serve(link: WorkerLink) -> None:
    """Serve the coordinator until it sends a `Shutdown`."""
    strategy = handle(link.strategy, link.cluster_id, link.devices)
    references = ReplicaReferences(strategy, handle)
    home = Home(link.replica_id)
    settle(home)
    replica_of(link, StructureCodec(references), strategy, home, references).serve()


def handle(kind: str, strategy_id: int, devices: tuple[str, ...]) -> Any:
    """Return the object that represents one of the program's strategies in a worker.

    Args:
        kind: The name of the strategy's class. For a class of the program it is a MirroredStrategy.
    """
    return _STRATEGIES.get(kind, MirroredStrategy).handle(strategy_id, devices)


_STRATEGIES: Final[dict[str, Any]] = {
    kind.__name__: kind
    for kind in (MirroredStrategy, CentralStorageStrategy, ParameterServerStrategy)
}


def replica_of(
    link: WorkerLink,
    codec: Codec,
    strategy: MirroredStrategy,
    home: Home,
    references: ReplicaReferences | None = None,
) -> Replica:
    """Return a replica that runs the program's functions.

    Args:
        references: Creates handles of the program's objects. None if the replica runs in the
            program's process, which needs no handles.
    """
    strategy.count_use.record_in(link.recorder)
    runner = ProgramFunctions(link, codec, strategy, home, references)
    replica = Replica(link, codec, runner)
    runner.context = ReplicaContext(strategy, link.replica_id, replica)
    runner.context.discarded.is_recorded = link.recorder is not None
    return replica


class ProgramFunctions:
    """The functions that a program runs on one replica."""

    context: ReplicaContext
    """The replica's context, which the functions get."""

    def __init__(
        self,
        link: WorkerLink,
        codec: Codec,
        strategy: Strategy,
        home: Home,
        references: ReplicaReferences | None,
    ) -> None:
        self._replica_id = link.replica_id
        self._recorder = link.recorder
        self._take_output = link.take_output
        self._codec = codec
        self._strategy = strategy
        self._home = home
        self._references = references
        self._functions: dict[str, Payload | Any] = {}
        self._runs: Counter[tuple[str, int]] = Counter()
        """The runs of each function, by the file and line of its code, in which it was watched."""
        self._reported: set[tuple[str, str]] = set()  # names of changed objects, and the lines
        self._noticed: list[tuple[str, str]] = []  # (text, location)

    def define(self, define: Define) -> None:
        """Store a function, to which later calls refer by its id."""
        self._functions[define.function_id] = define.function

    def create(self, create: Create) -> None:
        """Register the policy of a new variable, if it is a custom one."""
        know(create.spec.synchronization)

    def forget(self, forget: Forget) -> None:
        """Drop the functions and the variable handles that the program has dropped."""
        for function_id in forget.function_ids:
            self._functions.pop(function_id, None)
        if self._references is not None:
            self._references.forget(forget.variable_ids)

    def location(self) -> str:
        """Return the line of the program that is running, as file:line."""
        return user_location()

    def run(self, start: Start) -> FunctionEnd:
        """Call a function in replica context."""
        outer = self.context.num_replicas_present, self.context.runs_program
        self.context.num_replicas_present, self.context.runs_program = start.present, False
        try:
            with entered(self.frame):
                args, kwargs = self.arguments_of(start)
                function = self._function(start.function_id)
                watch = self._watch(function, args, kwargs)
                try:
                    result = function(*args, **kwargs)
                finally:
                    self._home.end_if_forked()
                if watch is not None:
                    self._report(watch.found_for_program())
            return FunctionReturns(self._codec.pack(result), *self._seen())
        except CallAborted:
            return FunctionUnwinds()  # the next report will contain the function's output
        except BaseException as error:  # every exception of user code is sent to the program
            return self._raised(error)
        finally:
            self.context.num_replicas_present, self.context.runs_program = outer

    @cached_property
    def frame(self) -> Frame:
        """Return the context in which functions run."""
        return Frame(self._strategy, self.context, home=self._home)

    def arguments_of(self, start: Start) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of a call."""
        return self._codec.unpack(start.arguments) or ((), {})

    def _function(self, function_id: str) -> Any:
        function = self._functions[function_id]
        if isinstance(function, Payload):
            function = self._functions[function_id] = self._codec.unpack(function)
        return function

    def _watch(self, function: Any, *arguments: Any) -> Watch | None:
        """Return a watch for changes that a function makes to copies of objects in some runs.

        Such changes do not reach the program. Only replica 0 looks for them. A replica in the
        program's process has no copies.
        """
        if self._replica_id != 0 or self._references is None:
            return None
        code = getattr(bare(function), "__code__", None)
        if code is None:
            return None
        where = code.co_filename, code.co_firstlineno  # the code object can differ at each call
        self._runs[where] += 1
        return watch_of(function, *arguments) if is_watched(self._runs[where]) else None

    def _seen(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Return the function's output and the warnings about the function."""
        unused = self.context.discarded.take()
        for one in unused:
            notices.discarded(self._recorder, self._replica_id, *one[:3])
        for location, is_nan in self.context.discarded.not_finite.items():
            given = [self._replica_id], notices.MERGE_CALL, location
            notices.not_finite(self._recorder, *given, is_nan=is_nan)
        self.context.discarded.not_finite.clear()
        warned = [warning_of(one) for one in unused if one.warns] if unused else ()
        noticed = (*self._home.warnings(), *self._noticed, *warned)
        self._noticed.clear()
        return self._take_output(), noticed

    def _report(self, changes: Iterable[ChangedObject]) -> None:
        """Record changes of the replica's copies of objects, and warn of them."""
        for one in changes:
            if (one.name, one.location) in self._reported:
                continue
            self._reported.add((one.name, one.location))
            about = one.kind, one.name, one.location, one.named_at
            notices.changed(self._recorder, self._replica_id, *about)
            self._noticed.append((one.warning, one.location))

    def _raised(self, error: BaseException) -> FunctionRaises:
        tail = from_program(traceback_of(error))
        try:
            return self._described(error, tail)
        except BaseException as another:  # methods of the exception's class can raise anything
            frames, what = "".join(traceback.format_tb(tail)), without_text(error, another)
            text = f"{TITLE}{frames}{what}, so the exception cannot be sent"
            return FunctionRaises(self._codec.pack(None), text, *self._seen())

    def _described(self, error: BaseException, tail: TracebackType | None) -> FunctionRaises:
        """Return a raised exception with its traceback. This calls methods of its class."""
        for refused in self._home.silent(error):
            _add_note(error, f"before that, {refused}")
        text = written(error, tail)
        if len(text) > _MAX_TRACEBACK:
            half = _MAX_TRACEBACK // 2
            text = f"{text[:half]}\n… {len(text) - 2 * half:,} characters …\n{text[-half:]}"
        BaseException.with_traceback(error, None)  # its class may refuse an assignment
        if isinstance(error, _ENDS_A_PROCESS):
            payload = self._codec.pack(None)
            text += f"\n(a {type(error).__name__} in a replica ends the call but not the program)"
            return FunctionRaises(payload, text, *self._seen())
        try:
            payload = self._codec.pack_exception(error)
        except BaseException as unpackable:  # the exception can contain any object, even a socket
            payload = self._codec.pack(None)
            text += f"\n(the exception itself cannot be sent: {text_of(unpackable)})"
        return FunctionRaises(payload, text, *self._seen())


def _add_note(error: BaseException, note: str) -> None:
    """Add a note, also if the exception's class refuses attributes, as a frozen dataclass does."""
    notes = vars(error).get("__notes__")
    vars(error)["__notes__"] = [*(notes if isinstance(notes, list) else ()), note]
