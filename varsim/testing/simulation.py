"""A simulated cluster in one process: replicas are greenlets, and time is a number.

Programs run unchanged. Inside `simulated_cluster()` a `MirroredStrategy` uses the same states and
sessions as with real workers, but no pickling and no processes. Without a seed the replicas run as
in TensorFlow: replica 0 runs until it waits or ends, then replica 1, and so on. With a seed every
message is delayed at random, and each replica can be ahead of the other replicas. The same seed
gives the same run.

A worker can be lost: `deaths` says after how many sends and waits, and `SimulatedCluster.lose` ends
a worker immediately. The seed then also decides which of the worker's last messages still arrive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final

from varsim.distribute.mirrored import MirroredStrategy
from varsim.distribute.parameter_servers.strategy import ParameterServerStrategy
from varsim.distribute.program_functions import replica_of
from varsim.distribute.shared_objects import SharedByReplica, SharedObjects
from varsim.exchange.star import StarCoordinator, StarWorker
from varsim.launch.backends import use_launcher
from varsim.launch.launcher import LaunchOptions
from varsim.launch.link import Link, Lost, Received, WorkerLink
from varsim.protocol.messages import Message
from varsim.protocol.python_values import LiveCodec
from varsim.protocol.references import References
from varsim.spec import Array
from varsim.sync.actions import COORDINATOR, Reduce
from varsim.sync.coordinator_events import ReductionDone
from varsim.sync.coordinator_state import CoordinatorState
from varsim.sync.stalls import Sighting
from varsim.testing.greenlets import KILLED, GreenletWorker
from varsim.testing.recording import note_received, note_sent
from varsim.testing.server_simulation import ServerNetwork
from varsim.testing.simulated_channel import SimulatedChannel
from varsim.tracing import notices
from varsim.tracing.trace import open_trace
from varsim.tracing.trace_format import PROGRAM

NO_DEATHS: Final[Mapping[int, int]] = MappingProxyType({})
"""No worker is lost."""

STEP_S = 1e-6
"""The simulated time of one step of the simulation."""


@contextmanager
def simulated_cluster(
    seed: int | None = None,
    *,
    deaths: Mapping[int, int] = NO_DEATHS,
    validates: bool = True,
) -> Iterator[SimulatedCluster]:
    """Run the replicas of new strategies in this process, within the block.

    Args:
        seed: Selects one of the possible orders of events; None selects TensorFlow's order.
        deaths: A mapping: replica_id → the number of the replica's sends and waits after which its
            worker is lost. It applies only to the workers that start first.
        validates: Whether to check the states of coordinator and replicas after every event, which
            takes time in proportion to the number of variables.
    """
    launcher = SimulatedCluster(seed, deaths, validates=validates)
    with use_launcher(launcher):
        try:
            yield launcher
        finally:
            launcher.close()


class SimulatedCluster:
    """A launcher whose workers are greenlets of this process."""

    def __init__(
        self,
        seed: int | None = None,
        deaths: Mapping[int, int] = NO_DEATHS,
        *,
        validates: bool = True,
    ) -> None:
        self.seed = seed
        self.validates = validates
        self.deaths = deaths
        self.networks: list[SimulatedNetwork] = []
        self.server_networks: list[ServerNetwork] = []
        """The clusters with parameter servers."""

    def launch(self, options: LaunchOptions, references: References) -> Link:
        """Start one simulated worker per device."""
        deaths = NO_DEATHS if self.networks or self.server_networks else self.deaths
        strategy = references.find(("strategy", options.strategy, options.cluster_id))
        if isinstance(strategy, ParameterServerStrategy):
            servers = ServerNetwork(options, strategy, self.seed, deaths)
            self.server_networks.append(servers)
            return Link(servers, StarCoordinator(len(options.devices)), LiveCodec())
        assert isinstance(strategy, MirroredStrategy)
        network = SimulatedNetwork(options, strategy, self.seed, deaths)
        network.validates = self.validates
        self.networks.append(network)
        observer = Validation() if self.validates else None
        return Link(network, network, LiveCodec(), network.trace, observer)

    def lose(self, replica_id: int, reason: str = KILLED) -> None:
        """Kill the worker of a replica in the cluster that started last; a replica may kill itself.

        Code that is on the stack of the replica's function is unwound, but has no effect any more.
        """
        self.networks[-1].lose(replica_id, reason)

    def lose_process(self, process: int, reason: str = KILLED) -> None:
        """Kill a process of the cluster with parameter servers that started last.

        Args:
            process: The number of a worker; the servers have the numbers after the workers.
        """
        self.server_networks[-1].lose(process, reason)

    def close(self) -> None:
        """End all clusters that were started."""
        for network in self.networks:
            network.close()
        for servers in self.server_networks:
            servers.close()


class Validation:
    """Checks the coordinator's state after every event."""

    def handled(self, state: CoordinatorState) -> None:
        """Check the state.

        Raises:
            AssertionError: The state is inconsistent.
        """
        state.validate()


class SimulatedNetwork(SimulatedChannel):
    """The network between a coordinator and its simulated workers, and their scheduler."""

    def __init__(
        self,
        options: LaunchOptions,
        strategy: MirroredStrategy,
        seed: int | None,
        deaths: Mapping[int, int],
    ) -> None:
        super().__init__(seed)
        self.num_replicas = len(options.devices)
        self.trace = open_trace(options.trace, PROGRAM, self.num_replicas)
        notices.simulated(self.trace)
        self.objects = SharedObjects()
        self.validates = True  # whether to check the state of a replica after every event
        self.delivered = 0  # number of messages so far, in both directions
        self._reduction: ReductionDone | None = None  # the value of a delayed reduction
        self._now_s = 0.0
        self._to_replica: list[deque[Message]] = [deque() for _ in options.devices]
        self._to_coordinator: list[deque[Message | Lost]] = [deque() for _ in options.devices]
        self._workers = [
            _SimulatedWorker(self, options, replica_id, strategy, deaths.get(replica_id))
            for replica_id in range(self.num_replicas)
        ]

    def now_s(self) -> float:
        """Return the simulated time."""
        return self._now_s

    def reduce(self, request: Reduce, now_s: float) -> Array | None:
        """Compute a reduction. With a seed, the value can arrive later, as from workers."""
        del now_s
        value = request.computed()
        if self._random is None or self._random.random() < 0.5:
            return value
        self._reduction = ReductionDone(request.token, value)
        return None

    def obtain(self, values: Sequence[Array]) -> Sequence[Array]:
        """Return contributions, whose bytes this process has."""
        return values

    def fill(self) -> bool:
        """Return False: there is no shared memory."""
        return False

    def send(self, replica_id: int, messages: Sequence[Message]) -> None:
        """Send messages to a replica, unless its worker has ended."""
        if self._workers and not self._workers[replica_id].dead:
            note_sent(self.trace, replica_id, messages)
            self._to_replica[replica_id].extend(messages)

    def receive(self, timeout_s: float) -> list[tuple[int, Received]]:
        """Run the simulation until the coordinator has messages, or no replica can run."""
        if not self._workers:
            lost = Lost("ended with its simulated cluster", "", "")
            return [(i, lost) for i in range(self.num_replicas)]
        while True:
            arriving = [i for i, queue in enumerate(self._to_coordinator) if queue]
            runnable = [
                i
                for i, worker in enumerate(self._workers)
                if self._to_replica[i] and not worker.dead
            ]
            waiting = len(arriving) + len(runnable)
            if self._reduction is not None and self._chooses(waiting + 1) == waiting:
                done, self._reduction = self._reduction, None
                return [(COORDINATOR, done)]
            if not waiting:
                self._now_s += timeout_s
                return []
            self._now_s += STEP_S
            if self._random is None:
                if arriving:
                    return self._arrive(arriving[0], len(self._to_coordinator[arriving[0]]))
                self._run(runnable[0], len(self._to_replica[runnable[0]]))
                continue
            choice = self._chooses(waiting)
            if choice < len(arriving):
                replica_id = arriving[choice]
                return self._arrive(replica_id, self._some(self._to_coordinator[replica_id]))
            replica_id = runnable[choice - len(arriving)]
            self._run(replica_id, self._some(self._to_replica[replica_id]))

    def _chooses(self, count: int) -> int:
        assert self._random is not None
        return self._random.randrange(count)

    def _some(self, queue: deque[Any]) -> int:
        assert self._random is not None
        return self._random.randint(1, len(queue))

    def _arrive(self, replica_id: int, count: int) -> list[tuple[int, Received]]:
        queue = self._to_coordinator[replica_id]
        self.delivered += count
        arrived = [queue.popleft() for _ in range(count)]
        note_received(self.trace, replica_id, arrived)
        return [(replica_id, message) for message in arrived]

    def _run(self, replica_id: int, count: int) -> None:
        queue, worker = self._to_replica[replica_id], self._workers[replica_id]
        self.delivered += count
        worker.inbox.extend(queue.popleft() for _ in range(count))
        worker.resume()
        if self.validates:
            worker.replica.state.validate()

    def lose(self, replica_id: int, reason: str) -> None:
        """Kill the worker of a replica; the coordinator receives a `Lost`.

        With a seed, some of its last messages may never arrive.
        """
        worker = self._workers[replica_id]
        if worker.dead:
            return
        queue = self._to_coordinator[replica_id]
        self._cut(queue, reason)
        self._to_replica[replica_id].clear()
        worker.die()

    def from_worker(self, replica_id: int, messages: Sequence[Message | Lost]) -> None:
        """Send messages to the coordinator."""
        self._to_coordinator[replica_id].extend(messages)

    def examine(
        self,
        replica_ids: Sequence[int],
        with_stacks: Collection[int],  # noqa: ARG002  # replicas do not run now
    ) -> dict[int, Sighting]:
        """Return that nothing is known, because replicas have no processes."""
        return {i: Sighting() for i in replica_ids if not self._workers[i].dead}

    def end(self, replica_id: int, reason: str) -> Lost | None:
        """End a replica at the point where it waits."""
        worker = self._workers[replica_id]
        if worker.dead:
            return None
        lost = Lost(reason, "", "")
        note_received(self.trace, replica_id, [lost])
        self._to_coordinator[replica_id].clear()
        self._to_replica[replica_id].clear()
        worker.die()
        return lost

    def close(self, busy: Collection[int] = ()) -> None:  # noqa: ARG002  # replicas are never busy
        """End all simulated workers after they received their messages, and close all traces."""
        for replica_id, worker in enumerate(self._workers):
            if not worker.dead:
                self._run(replica_id, len(self._to_replica[replica_id]))
            worker.kill()
        # The workers refer to the strategy, and the strategy's finalizer refers to this network.
        self._workers.clear()
        self.objects.record(self.trace)
        if self.trace is not None:
            self.trace.close()


class _SimulatedWorker(GreenletWorker):
    """One replica, whose session runs in its own greenlet."""

    def __init__(
        self,
        network: SimulatedNetwork,
        options: LaunchOptions,
        replica_id: int,
        strategy: MirroredStrategy,
        lives: int | None,
    ) -> None:
        super().__init__(options, replica_id, lives)
        self.replica_id = replica_id
        self.trace = open_trace(options.trace, replica_id, len(options.devices))
        self._network = network
        link = WorkerLink(
            cluster_id=options.cluster_id,
            replica_id=replica_id,
            devices=options.devices,
            strategy=options.strategy,
            channel=self,
            exchange=StarWorker(),
            recorder=self.trace,
            take_output=str,  # the output of a replica is printed directly
        )
        codec = LiveCodec()
        self._shared = SharedByReplica(network.objects, replica_id, codec)
        self.replica = replica_of(link, codec, strategy, self.home)

    def serve(self) -> None:
        """Serve the coordinator."""
        self.replica.serve()

    @property
    def runs_program(self) -> bool:
        """Return whether the replica runs a function."""
        return self.replica.state.is_running

    def resume(self) -> None:
        """Run the worker until it waits for messages or ends."""
        self._shared.resumes(self.inbox)
        super().resume()
        self._shared.waits(runs=self.runs_program)

    def lost(self, lost: Lost) -> None:
        """Report the end of the worker to the coordinator."""
        self._network.from_worker(self.replica_id, [lost])

    def lose(self) -> None:
        """Kill this worker."""
        self._network.lose(self.replica_id, KILLED)

    def kill(self) -> None:
        """End the worker at the point where it waits, and close its trace."""
        self.unwind()
        if self.trace is not None:
            self.trace.close()

    def die(self) -> None:
        """End the worker at the point where it waits or runs; its trace has no end."""
        if self.trace is not None:
            self.trace.abandon()
        self.unwind()

    def send(self, messages: Sequence[Message]) -> None:
        """Send messages to the coordinator."""
        if not self.dead:
            self.live()
            note_sent(self.trace, PROGRAM, messages)
            self._network.from_worker(self.replica_id, messages)
