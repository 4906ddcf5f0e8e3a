"""A simulated cluster with parameter servers: workers are greenlets, and servers are plain states.

Without a seed, a worker runs until it waits, and a server answers at once. With a seed, every
message is delayed at random: other workers can write between a read and a write of a closure, as in
a real cluster. The same seed gives the same run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import greenlet

from varsim.distribute.closure_functions import closure_worker, server_trace
from varsim.distribute.parameter_servers.strategy import ParameterServerStrategy
from varsim.exchange.star import StarWorker
from varsim.launch.launcher import LaunchOptions
from varsim.launch.link import Lost, Received, WorkerLink
from varsim.protocol.messages import Message
from varsim.protocol.parameter_servers import ServedAnswer, ServedRequest
from varsim.protocol.python_values import LiveCodec
from varsim.shells.parameter_server import ParameterServer
from varsim.sync.stalls import Sighting
from varsim.testing.greenlets import KILLED, GreenletWorker
from varsim.testing.simulated_channel import SimulatedChannel
from varsim.tracing.trace_format import PROGRAM

STEP_S: Final = 1e-6


class ServerNetwork(SimulatedChannel):
    """The network of a simulated cluster with parameter servers, and its scheduler.

    Args:
        deaths: A mapping: process → after how many of its sends and waits it is lost.
    """

    trace = None

    def __init__(
        self,
        options: LaunchOptions,
        strategy: ParameterServerStrategy,
        seed: int | None,
        deaths: Mapping[int, int],
    ) -> None:
        super().__init__(seed)
        self.num_replicas = len(options.devices)
        self.num_workers = self.num_replicas - options.servers
        self.delivered = 0
        self._now_s = 0.0
        self._queues: dict[tuple[int, int], deque[Any]] = {}
        """(sender, receiver) → messages, between workers, servers and the program."""
        self._workers = [
            _Worker(self, options, process, strategy, deaths.get(process))
            for process in range(self.num_workers)
        ]
        self._servers = [
            _Server(self, _link(options, process, self), deaths.get(process))
            for process in range(self.num_workers, self.num_replicas)
        ]

    # ------------------------------------------------------------ as the program's channel

    def now_s(self) -> float:
        """Return the simulated time."""
        return self._now_s

    def send(self, process: int, messages: Sequence[Message]) -> None:
        """Send messages to a worker or a server, unless it has ended."""
        self.post(PROGRAM, process, messages)

    def receive(self, timeout_s: float) -> list[tuple[int, Received]]:
        """Run the simulation until the program has messages, or no process can run.

        If the program does not wait, only some messages arrive.
        """
        steps = None if timeout_s else self._some_steps()
        while True:
            ready = sorted(key for key, queue in self._queues.items() if queue)
            if not ready or steps == 0:
                self._now_s += timeout_s
                return []
            if steps is not None:
                steps -= 1
            self._now_s += STEP_S
            sender, receiver = self._chosen(ready)
            queue = self._queues[sender, receiver]
            self.delivered += 1
            if receiver == PROGRAM:
                return [(sender, queue.popleft())]
            message = queue.popleft()
            if receiver < self.num_workers:
                self._workers[receiver].deliver(sender, message)
            else:
                self._servers[receiver - self.num_workers].take(sender, message)

    def _some_steps(self) -> int:
        """Return how many messages arrive while the program looks, and does not wait."""
        return 1 if self._random is None else self._random.randint(0, 3)

    def _chosen(self, ready: list[tuple[int, int]]) -> tuple[int, int]:
        """Return the sender and the receiver of the next message.

        Without a seed, answers of servers and requests to them come first, so that the closures run
        one after another.
        """
        if self._random is not None:
            return self._random.choice(ready)
        return min(ready, key=lambda one: (PROGRAM in one, one[1] == PROGRAM, one))

    def examine(
        self,
        replica_ids: Sequence[int],  # noqa: ARG002  # the names in `Channel`
        with_stacks: Collection[int],  # noqa: ARG002
    ) -> dict[int, Sighting]:
        """Return nothing, because simulated processes have no system."""
        return {}

    def end(self, replica_id: int, reason: str) -> Lost | None:
        """End a process; return None if it has already ended."""
        if self._is_dead(replica_id):
            return None
        self.lose(replica_id, reason)
        self._queues[replica_id, PROGRAM].pop()
        return Lost(reason, "", "")

    def close(self, busy: Collection[int] = ()) -> None:  # noqa: ARG002  # the name in `Channel`
        """End all processes, and close the records of servers."""
        self._queues.clear()
        for worker in self._workers:
            worker.unwind()
        for server in self._servers:
            server.close()
        self._workers.clear()
        self._servers.clear()

    # ------------------------------------------------------------ the network

    def post(self, sender: int, receiver: int, messages: Sequence[Message | Lost]) -> None:
        """Put messages on their way. Messages of one sender to one receiver keep their order."""
        if self._workers and not self._is_dead(receiver):
            self._queues.setdefault((sender, receiver), deque()).extend(messages)

    def _is_dead(self, process: int) -> bool:
        if process == PROGRAM:
            return False
        if process < self.num_workers:
            return self._workers[process].dead
        return self._servers[process - self.num_workers].dead

    def lose(self, process: int, reason: str) -> None:
        """Kill a process; the program receives a `Lost` after its last messages.

        With a seed, some of its last messages to the program may never arrive.
        """
        if self._is_dead(process):
            return
        last = self._queues.setdefault((process, PROGRAM), deque())
        self._cut(last, reason)
        for (_, receiver), queue in self._queues.items():
            if receiver == process:
                queue.clear()
        if process < self.num_workers:
            self._workers[process].unwind()
        else:
            self._servers[process - self.num_workers].die()


def _link(options: LaunchOptions, process: int, channel: Any) -> WorkerLink:
    return WorkerLink(
        cluster_id=options.cluster_id,
        replica_id=process,
        devices=options.devices,
        strategy=options.strategy,
        channel=channel,
        exchange=StarWorker(),
        recorder=None,
        take_output=str,  # the output of a closure is printed directly
        servers=options.servers,
        server_trace=options.server_trace,
    )


class _Server:
    """One server, whose state handles each message at once."""

    def __init__(self, network: ServerNetwork, link: WorkerLink, lives: int | None) -> None:
        self.dead = False
        self._network = network
        self._process = link.replica_id
        self._lives = lives
        self._trace = server_trace(link, link.replica_id - network.num_workers)
        self.server = ParameterServer(self, LiveCodec(), self._trace)

    def take(self, client: int, message: Message) -> None:
        if self._lives is not None:
            if not self._lives:
                self._network.lose(self._process, KILLED)
                return
            self._lives -= 1
        self.server.take(client, message)

    def receive(self) -> Sequence[tuple[int, Message]]:
        raise AssertionError("the network calls `take`")

    def send(self, client: int, message: Message) -> None:
        self._network.post(self._process, client, [message])

    def die(self) -> None:
        self.dead = True
        if self._trace is not None:
            self._trace.abandon()

    def close(self) -> None:
        if self._trace is not None and not self.dead:
            self._trace.close()
        self.dead = True


class _Worker(GreenletWorker):
    """One worker, which runs closures in its own greenlet."""

    def __init__(
        self,
        network: ServerNetwork,
        options: LaunchOptions,
        process: int,
        strategy: ParameterServerStrategy,
        lives: int | None,
    ) -> None:
        super().__init__(options, process, lives)
        self._network = network
        self._process = process
        self._answers: deque[Any] = deque()
        link = _link(options, process, self)
        self._worker = closure_worker(link, LiveCodec(), strategy, self.home, self._ask)

    def serve(self) -> None:
        """Run closures."""
        self._worker.serve()

    @property
    def runs_program(self) -> bool:
        """Return whether a closure runs."""
        return self._worker.is_running

    def lost(self, lost: Lost) -> None:
        """Report the end of the worker to the program."""
        self._network.post(self._process, PROGRAM, [lost])

    def lose(self) -> None:
        """Kill this worker."""
        self._network.lose(self._process, KILLED)

    def deliver(self, sender: int, message: Message) -> None:
        """Deliver a message, and run the worker until it waits."""
        (self.inbox if sender == PROGRAM else self._answers).append(message)
        self.resume()

    def send(self, messages: Sequence[Message]) -> None:
        """Send messages to the program."""
        if not self.dead:
            self.live()
            self._network.post(self._process, PROGRAM, messages)

    def _ask(self, server: int, request: ServedRequest) -> ServedAnswer:
        """Send a request to a server; let other processes run until it has answered."""
        if self.dead:  # a closure has caught the exception of `unwind`
            raise greenlet.GreenletExit
        self.live()
        self._network.post(self._process, self._network.num_workers + server, [request])
        self.wait_for(self._answers)
        answer: ServedAnswer = self._answers.popleft()
        return answer
