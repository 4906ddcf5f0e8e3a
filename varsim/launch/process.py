"""Launcher "process": workers are processes of this machine."""

from __future__ import annotations

import select
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import ClassVar

import zmq

from varsim.errors import StartError
from varsim.exchange.exchange import check_exchange, open_exchange
from varsim.interrupts import Interruptible, held
from varsim.launch.fork_server import ForkServer
from varsim.launch.host_needs import DOCTOR, ensure_host
from varsim.launch.launcher import LaunchOptions
from varsim.launch.link import Link
from varsim.launch.local_host import LocalHost
from varsim.launch.logs import WorkerLogs
from varsim.launch.process_channel import ProcessChannel
from varsim.launch.rendezvous import ENTRY_POINT, Rendezvous
from varsim.launch.stacks import Stacks
from varsim.private import make_private_folder
from varsim.protocol.python_values import StructureCodec
from varsim.protocol.references import References
from varsim.tracing.trace import open_trace, remove_traces
from varsim.tracing.trace_format import PROGRAM
from varsim.transport.folders import create_for_start, new_socket_path, remove_leftovers
from varsim.transport.transport import TRANSPORTS


@dataclass(frozen=True, slots=True)
class ProcessLauncher:
    """Starts each worker as a process of this machine.

    Workers have the program's `sys.path`, environment and working directory. Numerical libraries
    use one thread in each worker. All workers end with the program, even if the program is killed.
    """

    entry_point: str = ENTRY_POINT
    transport: ClassVar[str] = "ipc"
    """What the transport AUTO means."""

    def launch(self, options: LaunchOptions, references: References) -> Link:
        """Start one worker per device, and return when all are ready.

        Raises:
            StartError: A worker did not start; the text names it and quotes its output.
            ConfigError: The transport or the exchange does not exist, or they do not work together.
        """
        backends = options.backends.settled(self.transport)
        options = replace(options, backends=backends)
        check_exchange(backends.exchange, TRANSPORTS.make(backends.transport))
        with Interruptible():
            select.select([], [], [], options.delay_s)
        deadline = time.monotonic() + options.start_timeout_s
        channel: ProcessChannel | None = None
        try:
            with held(), ExitStack() as stack:
                try:
                    ensure_host(len(options.devices))
                    channel, link = self._start(options, references, stack)
                except (OSError, zmq.ZMQError) as error:
                    raise StartError(f"cannot start workers: {error}. {DOCTOR}") from error
                channel.own(stack.pop_all())
            channel.wait_until_ready(deadline)
        except BaseException:  # including Ctrl-C: end the processes that have started
            if channel is not None:
                channel.kill()
                remove_traces(options.trace, len(options.devices))
            raise
        return link

    def _start(
        self, options: LaunchOptions, references: References, stack: ExitStack
    ) -> tuple[ProcessChannel, Link]:
        """Start the processes; add the functions that end and free them to `stack`."""
        count = len(options.devices)
        transport = TRANSPORTS.make(options.backends.transport)
        name, exchange = open_exchange(options.backends.exchange, transport, count)
        stack.callback(exchange.close)
        directory = new_socket_path()
        fork_server = ForkServer(directory, exchange.handover.descriptors)
        stack.callback(fork_server.end)
        stack.enter_context(create_for_start(directory))
        remove_leftovers()
        listener = transport.listen(count, directory, options.link_loss_s)
        stack.callback(listener.close)
        log_dir = (options.log_dir or directory).absolute()
        make_private_folder(log_dir)
        logs = WorkerLogs(log_dir, private=options.log_dir is None, num_replicas=count)
        fork_server.fork_workers(
            Rendezvous(
                options=options,
                addresses=listener.addresses,
                replica_ids=(0, count),
                entry_point=options.entry_point or self.entry_point,
                search_path=tuple(sys.path),
                log_dir=str(log_dir),
                private_dir=str(directory),
                exchange=name,
                handover=exchange.handover,
            )
        )
        trace = open_trace(options.trace, PROGRAM, count)
        if trace is not None:
            stack.callback(trace.close)
        channel = ProcessChannel(
            count,
            trace=trace,
            exchange=exchange,
            listener=listener,
            hosts=LocalHost(range(count), fork_server, logs, Stacks(directory)),
            link_loss_s=options.link_loss_s,
        )
        codec = StructureCodec(references)
        return channel, Link(channel, exchange, codec, trace, exchange_name=name)
