"""Run a process of a cluster with parameter servers: a worker with closures, or a server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zmq

from varsim.distribute.context import Frame, entered
from varsim.distribute.home import Home, settle
from varsim.distribute.host_requests import ReadVariable, WriteVariable
from varsim.distribute.naming import ReplicaReferences
from varsim.distribute.parameter_servers.strategy import ParameterServerStrategy
from varsim.distribute.program_functions import ProgramFunctions, handle
from varsim.distribute.replica_context import ReplicaContext
from varsim.distribute.resource import ResourceVariable
from varsim.distribute.served import PerWorkerValue, on_worker
from varsim.distribute.structure_walks import map_structure
from varsim.launch.link import Codec, WorkerLink
from varsim.protocol.codec import decode, encode
from varsim.protocol.messages import Message, Start
from varsim.protocol.parameter_servers import MakeResource, ServedAnswer, ServedRequest
from varsim.protocol.python_values import StructureCodec
from varsim.protocol.references import Name
from varsim.shells.closure_worker import ClosureWorker
from varsim.shells.function_runner import FunctionEnd
from varsim.shells.parameter_server import ParameterServer
from varsim.shells.server_client import Ask
from varsim.spec import Array, Operand, Operation
from varsim.tracing.trace import Trace, open_server_trace
from varsim.tracing.trace_format import PROGRAM
from varsim.transport.sockets import DealerConnection, RouterListener, routing_id


def serve(link: WorkerLink) -> None:
    """Serve the program until it sends a `Shutdown`."""
    num_workers = link.num_replicas - link.servers
    strategy = handle(ParameterServerStrategy.__name__, link.cluster_id, link.devices)
    home = Home(link.replica_id)
    settle(home)
    if link.replica_id >= num_workers:
        server = link.replica_id - num_workers
        references = ReplicaReferences(strategy, handle)
        trace = server_trace(link, server)
        clients = ServerSockets(link, server)
        try:
            ParameterServer(clients, StructureCodec(references), trace).serve()
        finally:
            if trace is not None:
                trace.close()
            clients.close()
        return
    links = ServerLinks(link)
    worker_references = ClosureReferences(strategy)
    codec = StructureCodec(worker_references)
    worker = closure_worker(link, codec, strategy, home, links.ask, worker_references)
    worker_references.worker = worker
    try:
        worker.serve()
    finally:
        links.close()


def server_trace(link: WorkerLink, server: int) -> Trace | None:
    """Open the trace of a server; None if nothing is recorded."""
    return open_server_trace(link.server_trace, server, link.replica_id, link.num_replicas)


def closure_worker(
    link: WorkerLink,
    codec: Codec,
    strategy: ParameterServerStrategy,
    home: Home,
    ask: Ask,
    references: ReplicaReferences | None = None,
) -> ClosureWorker:
    """Return a worker that runs the program's closures.

    Args:
        ask: Sends a request to a server, and waits for the answer.
        references: As in `program_functions.replica_of`.
    """
    worker = ClosureWorker(link.channel, codec, ask, link.replica_id)
    worker.runner = ClosureFunctions(link, codec, strategy, home, references, worker)
    return worker


class ClosureFunctions(ProgramFunctions):
    """The closures that a program runs on one worker."""

    def __init__(
        self,
        link: WorkerLink,
        codec: Codec,
        strategy: ParameterServerStrategy,
        home: Home,
        references: ReplicaReferences | None,
        worker: ClosureWorker,
    ) -> None:
        super().__init__(link, codec, strategy, home, references)
        self.context = ReplicaContext(strategy, 0, None)
        self._worker = worker
        self._resources: dict[int, Any] = {}
        self._broken: dict[int, BaseException] = {}  # resource → what its function has raised

    @property
    def frame(self) -> Frame:
        """Return the context of closures: the strategy's scope, in which `run` can be called."""
        return Frame(self._strategy, home=self._home)

    def run(self, start: Start) -> FunctionEnd:
        """Run a closure."""
        with on_worker(self._worker.client):
            return super().run(start)

    def arguments_of(self, start: Start) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of a closure, with this worker's per-worker values."""
        arguments: tuple[tuple[Any, ...], dict[str, Any]] = map_structure(
            self._own, super().arguments_of(start)
        )
        return arguments

    def _own(self, leaf: Any) -> Any:
        if not isinstance(leaf, PerWorkerValue):
            return leaf
        if leaf.resource_id in self._broken:
            raise self._broken[leaf.resource_id]
        return self._resources[leaf.resource_id]

    def make(self, resource: MakeResource) -> None:
        """Call a function, and keep its result, or its exception, for later closures."""
        with on_worker(self._worker.client), entered(self.frame):
            try:
                made = self._codec.unpack(resource.function)()
                self._resources[resource.resource_id] = iter(made) if resource.is_iterator else made
            except Exception as error:  # each closure that uses the resource raises it
                self._broken[resource.resource_id] = error


class ClosureReferences(ReplicaReferences):
    """Creates handles in a worker; plain variables are read and written in the program."""

    worker: ClosureWorker

    def __init__(self, strategy: Any) -> None:
        super().__init__(strategy, handle)

    def find(self, name: Name) -> object:
        """Return the handle for a name; the same name always gives the same object."""
        found = super().find(name)
        if name[0] == "plain":
            assert isinstance(found, ResourceVariable)
            found._store = InProgram(self.worker, found)  # noqa: SLF001  # a new handle has no store
        return found


class InProgram:
    """The store of a plain variable on a worker with closures."""

    def __init__(self, worker: ClosureWorker, variable: ResourceVariable) -> None:
        self._worker = worker
        self._variable = variable

    def read(self) -> Array:
        """Return the value; read-only."""
        value: Array = self._worker.call_host(ReadVariable(self._variable))
        value.setflags(write=False)
        return value

    def write(self, operation: Operation, operand: Operand) -> None:
        """Apply an operation."""
        self._worker.call_host(WriteVariable(self._variable, operation, operand))

    def rows(self, key: tuple[Array, ...]) -> Array:
        """Return a copy of some rows or elements. The whole value is read."""
        return self.read()[key].copy()


# ---------------------------------------------------------------- sockets


def _endpoint(link: WorkerLink, server: int) -> str:
    """Return the address of a server; the name is short, because paths of sockets are limited."""
    return f"ipc://{Path(link.directory) / str(server)}"


class ServerLinks:
    """A worker's links to all servers. A link is made at the first request."""

    def __init__(self, link: WorkerLink) -> None:
        self._link = link
        self._connections: dict[int, DealerConnection] = {}

    def ask(self, server: int, request: ServedRequest) -> ServedAnswer:
        """Send a request, and wait for the answer.

        The wait has no limit: if the server ends, the program ends this process, too.
        """
        connection = self._connections.get(server)
        if connection is None:
            endpoint = _endpoint(self._link, server)
            connection = DealerConnection(endpoint, routing_id(self._link.replica_id))
            self._connections[server] = connection
        connection.send(encode([request]))
        ((frames,),) = [connection.receive(None)]
        (answer,) = decode(frames)
        return answer  # type: ignore[return-value]  # a server sends nothing else

    def close(self) -> None:
        """Close all links."""
        for connection in self._connections.values():
            connection.close(0.0)


class ServerSockets:
    """A server's links: one to the program, and one to each worker."""

    def __init__(self, link: WorkerLink, server: int) -> None:
        self._channel = link.channel
        self._listener = RouterListener(_endpoint(link, server), link.num_replicas)
        self._poller = zmq.Poller()
        for socket in (*self._channel.sockets, *self._listener.sockets):
            self._poller.register(socket, zmq.POLLIN)

    def receive(self) -> Sequence[tuple[int, Message]]:
        """Wait for messages, and return them in order of arrival, each with its sender."""
        self._poller.poll()
        arrived: list[tuple[int, Message]] = []
        for envelope in self._channel.receive(0.0):
            arrived += [(PROGRAM, message) for message in envelope]
        for worker, frames in self._listener.drain():
            arrived += [(worker, message) for message in decode(frames)]
        return arrived

    def send(self, client: int, message: Message) -> None:
        """Send an answer; a worker that has ended does not get it."""
        if client == PROGRAM:
            self._channel.send([message])
        else:
            self._listener.send(client, encode([message]))

    def close(self) -> None:
        """Close the sockets of the workers; unsent answers are dropped."""
        self._listener.close()
