"""Run the workers of a cluster on this host, for a coordinator on another host.

The agent joins a coordinator with the cluster's key. It starts a fork server, as a program does for
a cluster on one host, and does for the coordinator what only this host can do: it observes the
workers, ends them, and sends their traces and logs home. If the link to the coordinator is lost,
the agent ends all workers.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import astuple, replace
from pathlib import Path
from types import FrameType
from typing import Any, Final

import zmq

from varsim.errors import ConfigError, ProtocolError, StartError
from varsim.exchange.between_hosts import HostMessage
from varsim.launch.fork_server import ForkServer
from varsim.launch.host_needs import ensure_host
from varsim.launch.local_host import LocalHost
from varsim.launch.logs import WorkerLogs
from varsim.launch.remote.agent_checks import checks_of_this_host
from varsim.launch.remote.control import PART_BYTES, WALL, Control, Name
from varsim.launch.remote.greeting import TELL_S, Greeting
from varsim.launch.remote.host_exchange import HostExchange, join_exchange
from varsim.launch.remote.join_key import JoinKey
from varsim.launch.remote.port_probe import PortProbe
from varsim.launch.rendezvous import Rendezvous
from varsim.launch.stacks import Stacks
from varsim.private import make_private_folder
from varsim.protocol.buffers import Frame
from varsim.protocol.limits import Buffer
from varsim.transport.folders import create_for_start, new_socket_path, remove_leftovers
from varsim.transport.joining import connect_host
from varsim.transport.reliable import LOOK_S, ReliableConnection
from varsim.transport.sockets import timeout_ms

JOIN_LOSS_S: Final = 20.0
"""Without a connection for so many seconds, an agent ends its workers and itself."""

_REFUSED_S: Final = 0.5
"""Time without a connection after which the agent asks whether the program still listens."""

_END_S: Final = 2.0  # time limit for the ends of killed workers

_STAGED, _TRACES, _LOGS = "home", "traces", "logs"


def serve(
    endpoint: str,
    key: JoinKey,
    *,
    rank: int | None = None,
    join_timeout_s: float = 60.0,
    watched: int | None = None,
) -> None:
    """Join a cluster, run its workers on this host, and return when the cluster has ended.

    Args:
        endpoint: The coordinator's endpoint, as tcp://ADDRESS:PORT.
        rank: The number of this host; None: what an engine says, or else the order of arrival.
        join_timeout_s: How long to wait for a coordinator that does not listen yet.
        watched: A descriptor; when it is closed at the other end, the cluster has ended.
    Raises:
        StartError: No coordinator answers, it refuses this host, or the workers cannot be started.
        LinkLost: There was no connection to the coordinator for too long.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _exit)
    with ExitStack() as stack:
        connection = connect_host(endpoint, key.for_socket, JOIN_LOSS_S, key.stretch)
        stack.callback(connection.close, 1.0)
        _greet(connection, endpoint, rank, join_timeout_s)
        _Agent(connection, PortProbe(endpoint, key.stretch), stack, watched).run()


def _exit(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # a handler has both
    raise SystemExit(128 + number)


def _greet(
    connection: ReliableConnection, endpoint: str, rank: int | None, timeout_s: float
) -> None:
    """Send the greeting as soon as the coordinator listens."""
    message = Control(Name.HELLO, 0, Greeting.of_this_host(rank, endpoint)._asdict()).packed()
    first_s = min(timeout_s, TELL_S)
    is_there = connection.await_connection(first_s)
    if not is_there and timeout_s > first_s:
        sys.stderr.write(
            f"varsim worker: no answer from {endpoint} to this key; waiting, at most {timeout_s:g} "
            "s in all\n"
        )
        is_there = connection.await_connection(timeout_s - first_s)
    if not is_there:
        raise StartError(
            f"no coordinator answers at {endpoint} within {timeout_s:g} s: is the address right, "
            "is the key the one of this cluster, does the cluster still wait for hosts, and does a "
            "firewall allow the port?"
        )
    connection.send(message)


class _Agent:
    """Serves one coordinator."""

    def __init__(
        self,
        connection: ReliableConnection,
        probe: PortProbe,
        stack: ExitStack,
        watched: int | None,
    ) -> None:
        self._connection = connection
        self._endpoint = probe.endpoint
        self._probe = probe
        self._watched = watched
        self._poller = zmq.Poller()
        self._stack = stack
        self._reports = -1  # the descriptor of the fork server's reports, as long as it is polled
        self._host: LocalHost | None = None
        self._exchange: HostExchange | None = None  # if the exchange has an end on each host
        self._staged = Path()  # the folder of logs and traces, until they are sent home
        self._silent_since_s: float | None = None
        stack.callback(self._probe.close)
        self._is_done = False
        self._calls: dict[Name, Callable[[Any], tuple[Any, bytes]]] = {
            Name.CLOCK: lambda which: (
                time.time_ns() if which == WALL else time.monotonic_ns(),
                b"",
            ),
            Name.CHECK: lambda value: (checks_of_this_host(value), b""),
            Name.EXAMINE: self._examine,
            Name.WHERE: lambda replica_id: (self._known.where(replica_id), b""),
            Name.TAIL: lambda replica_id: (self._known.tail(replica_id), b""),
            Name.END_WORKER: self._end_worker,
            Name.STOP: self._stop,
            Name.LEAVE: self._leave,
            Name.PART: self._part,
        }

    @property
    def _known(self) -> LocalHost:
        if self._host is None:
            raise ProtocolError("the coordinator asks for workers before it has begun")
        return self._host

    def run(self) -> None:
        """Serve until the coordinator ends."""
        for polled in self._connection.sockets:
            self._poller.register(polled, zmq.POLLIN)
        if self._watched is not None:
            self._poller.register(self._watched, zmq.POLLIN)
        while not self._is_done:
            ready = dict(self._poller.poll(timeout_ms(LOOK_S)))
            if self._watched in ready and not os.read(self._watched or 0, 2**12):
                # If the program itself has ended, nothing receives this.
                self._send(Name.LEFT, 0, "what started its agent has ended")
                return
            if self._reports in ready:
                self._report_exits()
            for frames in self._connection.receive(0):
                self._handle(Control.unpacked(frames))
            if self._exchange is not None:
                self._exchange.serve()
            self._look()

    def _look(self) -> None:
        """Leave if the program has ended, perhaps by SIGKILL: nothing listens at its address."""
        if self._connection.is_connected:
            self._silent_since_s = None
            self._probe.close()
            return
        now_s = time.monotonic()
        self._silent_since_s = self._silent_since_s or now_s
        if now_s - self._silent_since_s >= _REFUSED_S and self._probe.is_refused():
            raise StartError(f"nothing listens at {self._endpoint} any more: the program has ended")

    def _send(self, name: Name, number: int, value: Any, part: Frame | Buffer = b"") -> None:
        self._connection.send(Control(name, number, value, part).packed())

    def _handle(self, message: Control) -> None:
        name, number, value, sent = message
        if name in self._calls:
            answer, part = self._calls[name](value)
            self._send(name, number, answer, part)
        elif name is Name.EXCHANGE:
            self._exchanged(HostMessage(value, sent))
        elif name is Name.BEGIN:
            self._begin(value)
        elif name is Name.READY:
            self._known.is_ready(*value)
        elif name is Name.REFUSE:
            raise StartError(f"the coordinator at {self._endpoint} refuses this host: {value}")
        else:
            raise ProtocolError(f"the coordinator sent {name!r} to a host")

    def _begin(self, value: Mapping[str, Any]) -> None:
        """Start the workers of this host."""
        try:
            self._start(Rendezvous.from_line(value["rendezvous"]), value)
        except (StartError, ConfigError, OSError, zmq.ZMQError) as error:
            self._send(Name.FAILED, 0, str(error))

    def _start(self, rendezvous: Rendezvous, value: Mapping[str, Any]) -> None:
        os.environ.update(value["environment"])
        if Path(value["directory"]).is_dir():
            os.chdir(value["directory"])
        self._connection.allow_loss(rendezvous.options.link_loss_s)
        first, end = rendezvous.replica_ids
        ensure_host(end - first)
        if value["place"] is not None:
            rendezvous = self._joined(rendezvous, value["place"])
        directory = new_socket_path()
        fork_server = ForkServer(directory, rendezvous.handover.descriptors)
        self._stack.callback(fork_server.end)
        self._stack.enter_context(create_for_start(directory))
        remove_leftovers()
        self._staged = directory / _STAGED  # the fork server removes it if this process is killed
        logs = self._staged / _LOGS
        for folder in (logs, self._staged / _TRACES):
            make_private_folder(folder)
        own = replace(
            rendezvous,
            options=self._here(rendezvous),
            search_path=_search_path(rendezvous.search_path),
            log_dir=str(logs),
            private_dir=str(directory),
        )
        fork_server.fork_workers(own)
        self._reports = fork_server.reports
        self._poller.register(self._reports, zmq.POLLIN)
        count = len(rendezvous.options.devices)
        worker_logs = WorkerLogs(logs, private=False, num_replicas=count)
        replicas = range(first, end)
        self._host = LocalHost(replicas, fork_server, worker_logs, Stacks(directory))

    def _joined(self, rendezvous: Rendezvous, place: Sequence[Any]) -> Rendezvous:
        """Join the exchange between hosts; return what workers need for it here."""
        end = join_exchange(rendezvous, place, self._endpoint)
        self._exchange = HostExchange(
            end, self._poller, lambda one: self._send(Name.EXCHANGE, 0, one.value, one.part)
        )
        self._stack.callback(self._exchange.close)  # after the fork server has ended
        return replace(rendezvous, handover=end.handover)

    def _exchanged(self, message: HostMessage) -> None:
        if self._exchange is None:
            raise ProtocolError("the coordinator's exchange has no end on this host")
        self._exchange.take(message)

    def _here(self, rendezvous: Rendezvous) -> Any:
        """Return the options with the folders of this host: the files are sent home at the end."""
        options = rendezvous.options
        if options.trace is None:
            return options
        return replace(options, trace=replace(options.trace, directory=self._staged / _TRACES))

    def _report_exits(self) -> None:
        """Report the workers that have ended."""
        for replica_id, reason in self._known.exits():
            self._send(Name.EXITED, 0, [replica_id, reason, *self._known.last_words(replica_id)])
        if self._known.problem:
            self._send(Name.FAILED, 0, self._known.problem)
            self._unpoll()

    def _unpoll(self) -> None:
        if self._reports >= 0:
            self._poller.unregister(self._reports)
            self._reports = -1

    def _examine(self, value: Any) -> tuple[Any, bytes]:
        seen = self._known.examine(*value)
        return {replica_id: astuple(one) for replica_id, one in seen.items()}, b""

    def _end_worker(self, replica_id: int) -> tuple[Any, bytes]:
        was_killed = self._known.end_worker(replica_id)
        return [was_killed, *self._known.last_words(replica_id)], b""

    def _stop(self, _value: object) -> tuple[Any, bytes]:
        """End all workers; return the files that they have written, with their sizes."""
        if self._host is None:
            return [], b""
        self._unpoll()
        self._host.end_all(_END_S)
        files = [one for one in sorted(self._staged.glob("*/*")) if one.is_file()]
        return [
            [one.relative_to(self._staged).as_posix(), one.stat().st_size] for one in files
        ], b""

    def _leave(self, _value: object) -> tuple[Any, bytes]:
        self._is_done = True
        return None, b""

    def _part(self, value: Any) -> tuple[Any, bytes]:
        name, offset = value
        with (self._staged / name).open("rb") as file:
            file.seek(offset)
            return None, file.read(PART_BYTES)


def _search_path(program: tuple[str, ...]) -> tuple[str, ...]:
    """Return the search path of workers here: the program's folders that exist, then this host's.

    A program whose packages are elsewhere on this host finds them by the search path of the agent.
    """
    there = [one for one in program if not one or Path(one).exists()]
    return tuple(dict.fromkeys([*there, *sys.path]))
