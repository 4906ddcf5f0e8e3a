"""The I/O shell of a worker that runs closures: one after another, in order of arrival."""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from varsim.errors import ProtocolError, SizeError
from varsim.launch.link import Codec, WorkerChannel
from varsim.location import user_location
from varsim.protocol.messages import (
    Define,
    Forget,
    HostCall,
    HostResult,
    Message,
    Report,
    Shutdown,
    Start,
)
from varsim.protocol.parameter_servers import MakeResource
from varsim.shells.function_runner import FunctionEnd
from varsim.shells.server_client import Ask, ServerClient
from varsim.sync.replica_events import FunctionRaises, FunctionUnwinds


class ClosureRunner(Protocol):
    """Runs the program's functions on a worker."""

    def define(self, define: Define) -> None:
        """Store a function, to which later closures refer by its id."""

    def forget(self, forget: Forget) -> None:
        """Drop functions that the program does not use any more."""

    def make(self, resource: MakeResource) -> None:
        """Call a function, and keep its result, or its exception, for later closures."""

    def run(self, start: Start) -> FunctionEnd:
        """Run a closure."""


class ClosureWorker:
    """One worker of a cluster with parameter servers.

    Args:
        ask: Sends a request to a server, and waits for the answer.
    """

    def __init__(self, channel: WorkerChannel, codec: Codec, ask: Ask, worker: int) -> None:
        self.runner: ClosureRunner
        self.client = ServerClient(ask, codec, worker)
        self.is_running = False
        """Whether a closure runs now."""
        self._channel = channel
        self._codec = codec
        self._inbox: deque[Message] = deque()
        self._closure_id = 0

    def serve(self) -> None:
        """Run closures until a `Shutdown` arrives."""
        while True:
            message = self._next()
            match message:
                case Shutdown():
                    return
                case Define():
                    self.runner.define(message)
                case Forget():
                    self.runner.forget(message)
                case MakeResource():
                    self.client.begin(0)
                    self.is_running = True
                    self.runner.make(message)
                    self.is_running = False
                case Start():
                    self._run(message)
                case _:
                    raise ProtocolError(f"a worker got a {message.name}")

    def _next(self) -> Message:
        while not self._inbox:
            for envelope in self._channel.receive(None):
                self._inbox.extend(envelope)
        return self._inbox.popleft()

    def _run(self, start: Start) -> None:
        self._closure_id = start.call_id
        self.client.begin(start.call_id)
        self.is_running = True
        end = self.runner.run(start)
        self.is_running = False
        self.client.begin(0)
        try:
            self._channel.send([_message_of(start.call_id, end)])
        except SizeError as error:  # the result, or the report, is too large
            raised = FunctionRaises(
                self._codec.pack_exception(error), f"{type(error).__name__}: {error}", "", ()
            )
            self._channel.send([_message_of(start.call_id, raised)])

    def call_host(self, request: Any) -> Any:
        """Have the program's process perform a request; the program may answer much later.

        The program answers while it waits in a call of varsim, such as `coordinator.join()`.

        Raises:
            Exception: The exception that the request raised in the program's process.
        """
        packed = self._codec.pack(request)
        call = HostCall(call_id=self._closure_id, request=packed, location=user_location())
        self._channel.send([call])
        waiting: list[Message] = []
        while not isinstance(answer := self._next(), HostResult):
            waiting.append(answer)
        self._inbox.extendleft(reversed(waiting))
        result = self._codec.unpack(answer.result)
        if answer.failed:
            raise result
        return result


def _message_of(closure_id: int, end: FunctionEnd) -> Message:
    assert not isinstance(end, FunctionUnwinds), "a closure is never aborted"
    report = Report(warnings=end.warnings, output=end.output)
    return end.message(closure_id, report)
