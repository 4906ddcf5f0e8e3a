"""Run one worker process: connect to the coordinator, and serve messages until `Shutdown`."""

from __future__ import annotations

import faulthandler
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from varsim.errors import LinkLost, SizeError
from varsim.exchange.exchange import EXCHANGES, WorkerExchange
from varsim.launch.host_needs import MORE_PROCESSES, ZMQ_THREADS
from varsim.launch.launcher import LaunchOptions
from varsim.launch.link import WorkerLink
from varsim.launch.rendezvous import Rendezvous, log_name
from varsim.launch.stacks import show_stack_on_signal
from varsim.protocol.buffers import Frame
from varsim.protocol.limits import Buffer, halves
from varsim.protocol.messages import Acknowledge, Acknowledged, Message, Ready
from varsim.threads import spare_threads
from varsim.tracing.trace import Trace, open_trace
from varsim.tracing.trace_format import PROGRAM
from varsim.transport.link_faults import LinkFaults
from varsim.transport.transport import TRANSPORTS, Connection
from varsim_worker import system
from varsim_worker.output import KeepingOutput

LINGER_S: Final = 1.0
"""Time limit for sending the last messages. The coordinator reads them immediately or never."""


class ProcessWorkerChannel:
    """Carries messages between this worker and the coordinator, as frames of a transport."""

    def __init__(
        self, connection: Connection, exchange: WorkerExchange, trace: Trace | None
    ) -> None:
        self._connection = connection
        self._exchange = exchange
        self._trace = trace

    def send(self, messages: Sequence[Message]) -> None:
        """Send an envelope, or several if the messages do not fit into one.

        Raises:
            SizeError: One message is too large. The messages before it are sent.
        """
        try:
            frames = self._exchange.encode(messages)
        except SizeError as error:
            for part in halves(messages, error):
                self.send(part)
        else:
            self._send(frames, messages)

    def _send(self, frames: Sequence[Frame], messages: Sequence[Message]) -> None:
        if self._trace is not None:
            self._trace.sent(PROGRAM, frames, messages, shared=self._exchange.shared_bytes)
        self._connection.send(frames)

    def receive(self, timeout_s: float | None) -> list[list[Message]]:
        """Wait for envelopes, and return the messages of each one; [] after `timeout_s`.

        The exchange answers its own messages, for example with the slices that it has computed.
        """
        owed = self._exchange.before_waiting()
        if owed:
            self._send(owed, [])
        return [self._decoded(frames) for frames in self._connection.receive(timeout_s)]

    @property
    def link_faults(self) -> LinkFaults | None:
        """Return the object that injects faults; None if links of this transport lose nothing."""
        return self._connection.link_faults

    @property
    def sockets(self) -> tuple[Any, ...]:
        """Return the sockets to poll."""
        return self._connection.sockets

    def _decoded(self, frames: Sequence[Buffer]) -> list[Message]:
        messages, answers = self._exchange.decode(frames)
        request = messages[-1] if messages else None
        if isinstance(request, Acknowledge):
            messages = messages[:-1]
            answers.append(Acknowledged(request_id=request.request_id))
        if answers:
            self.send(answers)
        return messages


def work(rendezvous: Rendezvous, replica_id: int, serve: Callable[[WorkerLink], None]) -> int:
    """Run the worker of a replica in this process, which the fork server made for this replica.

    Returns:
        The exit code: 0 if `serve` has returned; the code of a `sys.exit` in user code; 1 after
        any other exception. The traceback of the exception is printed to stderr.
    """
    system.name_process(f"varsim-{replica_id}")
    faulthandler.enable()  # a crash in native code then also prints a traceback
    show_stack_on_signal(rendezvous.private_dir, replica_id)
    _reseed(rendezvous.options, replica_id)
    log_path = str(Path(rendezvous.log_dir) / log_name(replica_id))
    output = KeepingOutput(os.fdopen(1, "wb", closefd=False), log_path)
    sys.stdout = output
    if spare_threads(ZMQ_THREADS) < ZMQ_THREADS:  # libzmq would abort this process
        sys.stderr.write(f"the system allows no more threads: {MORE_PROCESSES}\n")
        return 1
    transport = TRANSPORTS.make(rendezvous.options.backends.transport)
    connection = transport.connect(rendezvous.addresses[replica_id], replica_id)
    options, count = rendezvous.options, len(rendezvous.options.devices)
    exchange = EXCHANGES.make(rendezvous.exchange).join(rendezvous.handover, replica_id, count)
    trace = open_trace(options.trace, replica_id, count)
    link = WorkerLink(
        cluster_id=options.cluster_id,
        replica_id=replica_id,
        devices=options.devices,
        strategy=options.strategy,
        channel=ProcessWorkerChannel(connection, exchange, trace),
        exchange=exchange,
        recorder=trace,
        take_output=output.take,
        servers=options.servers,
        server_trace=options.server_trace,
        directory=rendezvous.private_dir,
    )
    try:
        link.channel.send([Ready(process_id=os.getpid())])
        serve(link)
    except SystemExit as request:
        return _exit_code(request)
    except LinkLost as error:
        sys.stderr.write(f"replica {replica_id}: {error}\n")
        return 1
    except BaseException:  # user code can raise any exception, and no caller can catch it
        traceback.print_exc()
        return 1
    finally:
        if trace is not None:
            trace.close()
        connection.close(LINGER_S)
    return 0


def _reseed(options: LaunchOptions, replica_id: int) -> None:
    if options.seed is not None:
        from varsim.launch.seeding import seed_generators, stream_of  # imports numpy.random

        seed_generators(options.seed, *stream_of(replica_id, options.incarnation))
    # Without a seed, all forks would have the same state of NumPy's global generator. Python itself
    # reseeds `random` after a fork.
    elif "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()


def _exit_code(request: SystemExit) -> int:
    """Return the exit code that the interpreter would use for a `sys.exit`."""
    if request.code is None:
        return 0
    if isinstance(request.code, int):
        return request.code & 0xFF
    sys.stderr.write(f"{request.code}\n")
    return 1
