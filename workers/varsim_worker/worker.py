"""One worker process: connects to its coordinator, and serves it until it is told to end."""

from __future__ import annotations

import faulthandler
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from varsim.errors import ProtocolError
from varsim.exchange.exchange import EXCHANGES
from varsim.launch.launcher import WorkerLink
from varsim.launch.rendezvous import Rendezvous, log_name
from varsim.launch.stacks import show_stack_on_signal
from varsim.protocol import structure
from varsim.protocol.buffers import Buffer, Frame
from varsim.protocol.messages import Message, Payload, Ready
from varsim.protocol.references import Name, References
from varsim.tracing.trace import PROGRAM, open_trace
from varsim.transport.transport import TRANSPORTS, Connection
from varsim_worker import system
from varsim_worker.output import KeepingOutput

LINGER_S: Final = 1.0
"""For last messages to leave; the coordinator reads them at once, or not at all."""


class NoReferences:
    """Before anybody serves the link: nothing travels by name."""

    def name_of(self, value: object) -> Name | None:  # noqa: ARG002  # the protocol's name
        """None: it travels by value."""
        return None

    def find(self, name: Name) -> object:
        """There is nothing to be found."""
        raise ProtocolError(f"there is nothing of the name {name} yet")


class DealerLink:
    """A worker's end of its connection, over ZeroMQ."""

    def __init__(
        self, rendezvous: Rendezvous, replica_id: int, connection: Connection, output: KeepingOutput
    ) -> None:
        self.cluster_id = rendezvous.options.cluster_id
        self.replica_id = replica_id
        self.num_replicas = len(rendezvous.options.devices)
        self.devices = rendezvous.options.devices
        self.references: References = NoReferences()
        self._connection = connection
        self._output = output
        self._exchange = EXCHANGES.make(rendezvous.exchange).join(
            rendezvous.handover, replica_id, self.num_replicas
        )
        self.empty = self._exchange.empty
        self.trace = open_trace(rendezvous.options.trace, replica_id, self.num_replicas)

    def send(self, messages: Sequence[Message]) -> None:
        """Sends an envelope."""
        self._send(self._exchange.encode(messages), messages)

    def _send(self, frames: Sequence[Frame], messages: Sequence[Message]) -> None:
        if self.trace is not None:
            self.trace.sent(PROGRAM, frames, messages)
        self._connection.send(frames)

    def receive(self, timeout_s: float | None) -> list[Message]:
        """Waits for messages, and returns all that are there; none after `timeout_s`.

        Meanwhile it computes what the coordinator wants computed: whoever waits has time.
        """
        owed = self._exchange.before_waiting()
        if owed:
            self._send(owed, [])
        while True:
            envelopes = self._connection.receive(timeout_s)
            messages = [message for frames in envelopes for message in self._taken(frames)]
            if messages or not envelopes:
                return messages

    def _taken(self, frames: Sequence[Buffer]) -> list[Message]:
        """The messages of an envelope but for those that the link itself sees to."""
        if self.trace is not None:
            self.trace.received(PROGRAM)
        messages, answers = self._exchange.decode(frames)
        if answers:
            self.send(answers)
        return messages

    def pack(self, value: Any) -> Payload:
        """Makes a structure of Python values ready to travel."""
        return structure.pack(value, self.references)

    def unpack(self, payload: Payload) -> Any:
        """The value that the coordinator packed."""
        return structure.unpack(payload, self.references)

    def take_output(self) -> str:
        """The end of what was printed since the last call."""
        return self._output.take()


def work(rendezvous: Rendezvous, replica_id: int, serve: Callable[[WorkerLink], None]) -> int:
    """Is the worker of a replica, in a process of its own.

    Returns:
        The exit code: 0 when `serve` has returned, what user code gave to `sys.exit`, or 1 after
        any other exception, whose traceback goes to stderr.
    """
    system.name_process(f"varsim-{replica_id}")
    faulthandler.enable()  # a crash in native code leaves a traceback, too
    show_stack_on_signal(rendezvous.private_dir, replica_id)
    _reseed(rendezvous.options.seed, replica_id)
    log_path = str(Path(rendezvous.log_dir) / log_name(replica_id))
    output = KeepingOutput(os.fdopen(1, "wb", closefd=False), log_path)
    sys.stdout = output
    transport = TRANSPORTS.make(rendezvous.options.transport)
    connection = transport.connect(rendezvous.addresses[replica_id], replica_id)
    link = DealerLink(rendezvous, replica_id, connection, output)
    try:
        link.send([Ready(process_id=os.getpid())])
        serve(link)
    except SystemExit as request:
        return _exit_code(request)
    except BaseException:  # user code can raise anything, and it ends here
        traceback.print_exc()
        return 1
    finally:
        if link.trace is not None:
            link.trace.close()
        connection.close(LINGER_S)
    return 0


def _reseed(seed: int | None, replica_id: int) -> None:
    if seed is not None:
        from varsim.launch.chance import seed_generators  # imports numpy.random, as the nursery did

        seed_generators(seed, replica_id)
    # A fork copies the state of NumPy's global generator; Python's own sees to it itself.
    elif "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()


def _exit_code(request: SystemExit) -> int:
    """As the interpreter understands `sys.exit`."""
    if request.code is None:
        return 0
    if isinstance(request.code, int):
        return request.code & 0xFF
    sys.stderr.write(f"{request.code}\n")
    return 1
