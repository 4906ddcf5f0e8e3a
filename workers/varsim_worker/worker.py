"""One worker process: connects to its coordinator, and serves it until it is told to end."""

from __future__ import annotations

import faulthandler
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from varsim.errors import ProtocolError
from varsim.launch.exchange import empty, reduce_slice
from varsim.launch.launcher import WorkerLink
from varsim.launch.rendezvous import Rendezvous, log_name
from varsim.launch.stacks import show_stack_on_signal
from varsim.protocol import structure
from varsim.protocol.buffers import Buffer, Frame
from varsim.protocol.codec import decode, encode
from varsim.protocol.messages import Message, Payload, Ready, ReduceSlice
from varsim.protocol.references import Name, References
from varsim.spec import Array
from varsim.tracing.trace import PROGRAM, open_trace
from varsim.transport.arena import Arena
from varsim.transport.loans import TOLD_FROM_BYTES, Loans
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
        self._loans = _loans(rendezvous, replica_id)
        self.trace = open_trace(rendezvous.options.trace, replica_id, self.num_replicas)

    def send(self, messages: Sequence[Message]) -> None:
        """Sends an envelope."""
        frames = encode(messages, self._loans)
        note = self._loans and self._loans.note()
        self._send([*frames, note] if note else frames, messages)

    def _send(self, frames: Sequence[Frame], messages: Sequence[Message]) -> None:
        if self.trace is not None:
            self.trace.sent(PROGRAM, frames, messages)
        self._connection.send(frames)

    def receive(self, timeout_s: float | None) -> list[Message]:
        """Waits for messages, and returns all that are there; none after `timeout_s`.

        Meanwhile it computes what the coordinator wants computed: whoever waits has time.
        """
        self._give_back()
        while True:
            envelopes = self._connection.receive(timeout_s)
            messages = [message for frames in envelopes for message in self._taken(frames)]
            if messages or not envelopes:
                return messages

    def _give_back(self) -> None:
        """Tells the coordinator what was let go of, if it has to know before the next envelope."""
        note = self._loans and self._loans.note(TOLD_FROM_BYTES)
        if note:
            self._send([*encode([]), note], [])

    def _taken(self, frames: Sequence[Buffer]) -> list[Message]:
        """The messages of an envelope but for those that the link itself sees to."""
        if self.trace is not None:
            self.trace.received(PROGRAM)
        messages = decode(frames, self._loans)
        asked = [message for message in messages if isinstance(message, ReduceSlice)]
        if asked:
            messages = [message for message in messages if not isinstance(message, ReduceSlice)]
            answers = [reduce_slice(request) for request in asked]
            asked.clear()  # what they lent is given back with the answers
            self.send(answers)
        return messages

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
        """An uninitialised array that is to be sent."""
        return empty(None if self._loans is None else self._loans.arena, shape, dtype)

    def pack(self, value: Any) -> Payload:
        """Makes a structure of Python values ready to travel."""
        return structure.pack(value, self.references)

    def unpack(self, payload: Payload) -> Any:
        """The value that the coordinator packed."""
        return structure.unpack(payload, self.references)

    def take_output(self) -> str:
        """The end of what was printed since the last call."""
        return self._output.take()


def _loans(rendezvous: Rendezvous, replica_id: int) -> Loans | None:
    if rendezvous.arena < 0:
        return None
    owners = len(rendezvous.options.devices) + 1
    limit_bytes = rendezvous.arena_limit_bytes
    return Loans(Arena(rendezvous.arena, replica_id + 1, owners, limit_bytes, _say))


def _say(text: str) -> None:
    sys.stderr.write(f"varsim: {text}\n")


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
