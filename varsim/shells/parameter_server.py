"""The I/O shell around `ServerState`: it receives requests, sends answers and writes the record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from varsim.errors import ProtocolError
from varsim.launch.link import Codec
from varsim.protocol.messages import Create, Forget, Message, Shutdown
from varsim.protocol.parameter_servers import (
    AskForCosts,
    ServedRead,
    ServedRefusal,
    ServedScatter,
    ServedWrite,
)
from varsim.shells.event_logs import open_event_log
from varsim.sync.server_state import Refused, RequestArrives, Served, ServerState
from varsim.tracing.trace import Trace


class Clients(Protocol):
    """The links of a server to its clients."""

    def receive(self) -> Sequence[tuple[int, Message]]:
        """Wait for messages, and return them in order of arrival, each with its sender."""

    def send(self, client: int, message: Message) -> None:
        """Send an answer."""


class ParameterServer:
    """One parameter server.

    Args:
        record: Where each operation is recorded; None to record nothing.
    """

    def __init__(self, clients: Clients, codec: Codec, record: Trace | None) -> None:
        self.state = ServerState()
        self._log = open_event_log("ServerState")
        handle = self.state.handle
        self._decide = handle if self._log is None else self._log.recording(handle)
        self._clients = clients
        self._codec = codec
        self._record = record

    def serve(self) -> None:
        """Handle messages until a `Shutdown` arrives."""
        try:
            while True:
                for client, message in self._clients.receive():
                    if isinstance(message, Shutdown):
                        return
                    self.take(client, message)
        finally:
            if self._log is not None:
                self._log.close()

    def take(self, client: int, message: Message) -> None:
        """Handle one message.

        Raises:
            ProtocolError: A server does not get such messages.
        """
        match message:
            case Create(spec=spec):
                if self._record is not None:
                    self._record.served_variable(spec.variable_id, spec.name, spec.created_at)
            case Forget() | AskForCosts() | ServedRead() | ServedWrite() | ServedScatter():
                pass
            case _:
                raise ProtocolError(f"a parameter server got a {message.name}")
        for action in self._decide(RequestArrives(client, message)):
            match action:
                case Served():
                    self._note(action)
                case Refused(request_id=request_id, error=error):
                    packed = self._codec.pack_exception(error)
                    refusal = ServedRefusal(request_id=request_id, exception=packed)
                    self._clients.send(client, refusal)
                case _:
                    self._clients.send(client, action)

    def _note(self, served: Served) -> None:
        """Record an operation before its answer is sent, so that no client knows more."""
        if self._record is not None:
            self._record.served(
                served.process,
                served.closure_id,
                served.variable_id,
                "read" if served.operation is None else served.operation.value,
                served.version,
                served.read_version,
                served.location,
                served.value,
            )
