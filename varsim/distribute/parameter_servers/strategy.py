"""Provide `ParameterServerStrategy`: variables on servers, and workers that do not wait."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from varsim.distribute.host import RunHost
from varsim.distribute.naming import PROGRAM, new_id
from varsim.distribute.one_device import OneDeviceStrategy
from varsim.distribute.parameter_servers.cluster_size import chosen_workers, cluster_size
from varsim.distribute.parameter_servers.partitioners import Partitioner, shard_rows
from varsim.distribute.requested import requested
from varsim.distribute.served import CachingVariable, ShardedVariable, is_on_worker
from varsim.distribute.strategy_arguments import checked_seed, checked_trace
from varsim.distribute.supervision import Supervisor, current_supervisor
from varsim.errors import ContextError, StartError
from varsim.launch.backends import launcher_of
from varsim.launch.launcher import Backends, LaunchOptions
from varsim.location import user_location, warn
from varsim.protocol.limits import check_name
from varsim.protocol.messages import HostCall, Payload, Report
from varsim.shells.parameter_cluster import ParameterCluster, ServedStatistics
from varsim.shells.server_client import ServerClient
from varsim.spec import Array, VariableSpec
from varsim.texts.facts import times
from varsim.tracing.trace import TraceOptions
from varsim.tracing.trace_format import server_file_name

ENTRY_POINT: Final = "varsim.distribute.closure_functions:serve"
"""What the processes of a cluster with parameter servers run."""


class ParameterServerStrategy(OneDeviceStrategy):
    """Asynchronous training: variables are on parameter servers, and workers run closures.

    A `ClusterCoordinator` schedules functions, the closures, on the workers. Each read and write of
    a variable goes straight to its server. Workers do not wait for each other.

    Args:
        cluster_resolver: An object with the jobs "worker" and "ps", of which only the numbers are
            used; by default, as many workers as VARSIM_WORKERS sets, and one server.
        variable_partitioner: Divides variables into shards; see `partitioners`.
        workers, servers: The numbers of processes, instead of a `cluster_resolver`.
        log_dir: The directory of the processes' logs; by default a private directory.
        trace: In which directory each server records its operations; by default nothing.
        seed: The seed of the workers' random generators; see `MirroredStrategy`.
    Raises:
        ValueError: An argument is wrong.
        UnsupportedError: The `cluster_resolver` has an address on another host.
        StartError: The processes did not start.

    The processes start when they are first needed, and end with `close()`, at the end of a `with`
    block, or with the program. Inside `run` there is one replica, as in TensorFlow without GPUs.

    Source: `tf.distribute.ParameterServerStrategy` of TensorFlow 2.21.
    """

    def __init__(
        self,
        cluster_resolver: Any = None,
        variable_partitioner: Partitioner | None = None,
        *,
        workers: int | None = None,
        servers: int | None = None,
        log_dir: str | Path | None = None,
        trace: TraceOptions | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.num_workers, self.num_servers = cluster_size(cluster_resolver, workers, servers)
        self._supervisor = current_supervisor()
        location = "" if self._supervisor is None else user_location()
        if self._supervisor is not None:
            decided = "" if workers is None else f"has workers={workers}"
            if cluster_resolver is not None:
                decided = f"has a cluster_resolver with {times(self.num_workers, 'worker')}"
            self.num_workers = chosen_workers(self._supervisor, self.num_workers, location, decided)
        self._partitioner = variable_partitioner
        self.strategy_id = new_id()
        self._options = LaunchOptions(
            cluster_id=self.strategy_id,
            devices=(*["cpu:0"] * self.num_workers, *["ps:0"] * self.num_servers),
            backends=Backends(transport="ipc", exchange="star"),
            log_dir=None if log_dir is None else Path(log_dir),
            seed=checked_seed(seed),
            strategy=ParameterServerStrategy.__name__,
            servers=self.num_servers,
            server_trace=checked_trace(trace),
            entry_point=ENTRY_POINT,
        )
        self._launcher = launcher_of(self._options.backends)
        self._next_server = itertools.cycle(range(self.num_servers)).__next__
        self._cluster: ParameterCluster | None = None
        self._closed = False
        PROGRAM.know("strategy", self.strategy_id, self)
        if self._supervisor is not None:
            self._supervisor.made(self, location)

    coordinator: object = None
    """The strategy's `ClusterCoordinator`, once there is one."""

    @classmethod
    def handle(cls, strategy_id: int, devices: tuple[str, ...]) -> ParameterServerStrategy:
        """Return the object that represents the program's strategy in a worker."""
        strategy = cls.__new__(cls)
        OneDeviceStrategy.__init__(strategy)
        strategy.strategy_id = strategy_id
        return strategy

    num_workers = num_servers = 0  # a worker's handle does not know them
    _supervisor: Supervisor | None = None

    def __repr__(self) -> str:
        if not self.num_workers:
            return type(self).__name__
        return f"{type(self).__name__}(workers={self.num_workers}, servers={self.num_servers})"

    # ------------------------------------------------------------ the cluster

    @property
    def cluster(self) -> ParameterCluster:
        """Return the workers and the servers. If there are none, start them.

        Raises:
            ContextError: The strategy was closed, or a worker uses the strategy.
            StartError: The processes did not start.
        """
        if is_on_worker():
            raise ContextError(
                "a scheduled function cannot create variables or schedule functions: do this in "
                "the program, before coordinator.schedule"
            )
        if self._cluster is None:
            if self._closed:
                raise ContextError("this strategy was closed, and has no workers: make a new one")
            self._cluster = self._launched()
        return self._cluster

    def _launched(self) -> ParameterCluster:
        options = self._options
        if self._supervisor is not None:
            options = self._supervisor.launching(self, options)
        self._check_trace(options.server_trace)
        link = self._launcher.launch(options, PROGRAM)
        if self._supervisor is not None:
            link = self._supervisor.linked(self, link)
        cluster = ParameterCluster(link, self.num_workers, ClusterHost(self, link.codec))
        weakref.finalize(self, cluster.close)  # so that the records are closed
        if self._supervisor is not None:
            self._supervisor.launched(self)
        return cluster

    def _check_trace(self, options: TraceOptions | None) -> None:
        """Refuse a directory that has records of servers already, before processes start."""
        if options is None:
            return
        for server in range(self.num_servers):
            path = options.directory / server_file_name(server)
            if path.exists():
                raise StartError(
                    f"{path} exists already: give the trace of each strategy a directory of its own"
                )

    @property
    def num_scheduled(self) -> int:
        """Return the number of closures that the program has scheduled."""
        return 0 if self._cluster is None else self._cluster.num_scheduled

    @property
    def num_ended(self) -> int:
        """Return the number of closures that have returned or raised an exception."""
        return 0 if self._cluster is None else self._cluster.num_ended

    @property
    def client(self) -> ServerClient:
        """Return the program's links to the servers."""
        return self.cluster.client

    def start(self) -> None:
        """Start the processes, if they have not started yet."""
        assert self.cluster is not None

    def close(self) -> None:
        """End all processes, and with them the variables. Further calls do nothing."""
        if self._cluster is not None:
            if self._supervisor is not None and not self._closed:
                self._supervisor.closing(self)
            self._cluster.close()
        self._closed = True

    def statistics(self) -> tuple[ServedStatistics, ...]:
        """Return what happened to each variable until now; a shard is a variable of its own.

        Raises:
            ContextError: The strategy was closed, or a worker uses the strategy.
            ServerLost: A server has ended.
        """
        return self.cluster.statistics()

    # ------------------------------------------------------------ variables

    def create_variable(self, **kwargs: Any) -> Any:
        """Create a variable on the next server, or its shards on the next servers."""
        name = kwargs["name"] or "Variable"
        check_name(name, "the name of a variable")
        cluster = self.cluster
        spec, array = requested(kwargs)
        rows: Sequence[slice] = ()
        if self._partitioner is not None and None not in spec.shape:
            parts = self._partitioner(array.shape, spec.dtype)
            rows = shard_rows(array.shape, parts, name)
        if len(rows) < 2:
            variable: Any = self._make(cluster, spec, array)
        else:
            shards = [
                self._make(cluster, self._spec_of_shard(spec, index, array[own]), array[own])
                for index, own in enumerate(rows)
            ]
            variable = ShardedVariable(self, spec, shards)
            PROGRAM.know("sharded", spec.variable_id, variable)
        variable.constraint = kwargs["constraint"]
        return variable

    def _spec_of_shard(self, spec: VariableSpec, index: int, part: Array) -> VariableSpec:
        name = f"{spec.name}/part_{index}"
        return replace(spec, variable_id=new_id(), name=name, shape=part.shape)

    def _make(self, cluster: ParameterCluster, spec: VariableSpec, value: Array) -> CachingVariable:
        value = np.array(value, order="C")  # neither the program nor another shard has it
        value.setflags(write=False)
        server = self._next_server()
        cluster.create(server, spec, value)
        variable = CachingVariable(self, spec, server)
        weakref.finalize(variable, cluster.forget, server, spec.variable_id).atexit = False
        PROGRAM.know("served", spec.variable_id, variable)
        return variable


class ClusterHost:
    """Serves the closures of one strategy in the program's process."""

    def __init__(self, strategy: ParameterServerStrategy, codec: Any) -> None:
        # The cluster must not keep the strategy alive: the end of the strategy ends the cluster.
        self._strategy = weakref.ref(strategy)
        self._codec = codec
        self._warned: set[str] = set()

    def perform(self, worker: int, host_call: HostCall) -> tuple[Payload, bool]:
        """Read or write a plain variable for a worker."""
        strategy = self._strategy()
        assert strategy is not None, "the program is in a method of its cluster"
        host = RunHost(strategy, self._codec, self._warn_once, present=1)
        return host.perform(worker, host_call)

    def report(self, worker: int, report: Report) -> None:
        """Print what a closure has printed; show each of its warnings once."""
        for line in report.output.splitlines():
            print(f"[worker {worker}] {line}", flush=True)  # noqa: T201  # the program's output
        for text, location in report.warnings:
            self._warn_once(text, location)

    def warn(self, text: str) -> None:
        """Show a warning about the cluster."""
        warn(text)

    def _warn_once(self, text: str, location: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            warn(text, location)
