"""Provide `MirroredStrategy`: one worker process per replica holds the replica's components."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from varsim.distribute.call_packing import CallPacker
from varsim.distribute.checkpoints import whole_strategy
from varsim.distribute.checkpoints.saving import Saved
from varsim.distribute.cluster_variable import ClusterVariable
from varsim.distribute.collective_arguments import parse_op
from varsim.distribute.collectives import gathered
from varsim.distribute.context import current_frame, require_cross_replica
from varsim.distribute.cross_replica import CrossReplica
from varsim.distribute.distributed import DistributedVariable
from varsim.distribute.extended import Extended
from varsim.distribute.fault_injection import FaultPlan
from varsim.distribute.faults import Fault, parse_fault
from varsim.distribute.functions import site_of
from varsim.distribute.host import RunHost
from varsim.distribute.host_requests import CreateVariable
from varsim.distribute.incarnations import Incarnations
from varsim.distribute.lost_workers import MAX_RESTARTS, OnWorkerLost
from varsim.distribute.naming import PROGRAM, new_id
from varsim.distribute.own_variables import OwnVariables
from varsim.distribute.plain_use import PlainUses
from varsim.distribute.ports import ReplicaPort
from varsim.distribute.reduction import (
    reduced,
    require_own,
)
from varsim.distribute.requested import create_plain
from varsim.distribute.shares import Rows, uneven_rows
from varsim.distribute.strategy import Strategy, check_call
from varsim.distribute.strategy_arguments import (
    AUTO_MEANS,
    checked_auto,
    checked_devices,
    checked_link_loss,
    checked_lost_workers,
    checked_seed,
    checked_stall_times,
    checked_trace,
    limits_of_call,
)
from varsim.distribute.structure_walks import leaves_of
from varsim.distribute.supervision import Choices, Supervisor, current_supervisor
from varsim.distribute.taken import record_combined, record_results
from varsim.distribute.values import DistributedValues, present_of, regroup
from varsim.errors import ReplicaError
from varsim.launch.backends import check_backends, launcher_of, named_launcher, transport_of
from varsim.launch.launcher import LINK_LOSS_S, Backends, LaunchOptions
from varsim.location import user_location, warn
from varsim.protocol.messages import Raised
from varsim.shells.coordinator import Coordinator, RaisedBy
from varsim.spec import Array, VariableSpec
from varsim.sync import creation
from varsim.sync.call_site import CallSite
from varsim.sync.coordinator_events import ProgramCall
from varsim.sync.statistics import LockStatistics, VariableStatistics
from varsim.texts.incarnations import Recovery
from varsim.texts.uneven import UNEVEN, warning_of
from varsim.tracing.trace import TraceOptions

_LAUNCHER: Final = Backends().launcher


class MirroredStrategy(Strategy):
    """Synchronous training on several replicas, each in a separate worker process.

    Args:
        devices: The name of the simulated hardware of each replica, like `["cpu:0", "gpu:0"]`. The
            default is 2 CPUs, or as many as the environment variable VARSIM_WORKERS sets.
        launcher: The name of the launcher, which starts the workers; or its name with its settings,
            such as {"ssh": {"hosts": ["a", "b"]}}.
        transport: The name of the transport, which carries messages.
        exchange: The name of the exchange, which carries and reduces large values. docs/cli.md
            lists launchers, transports and exchanges; other packages can add launchers and
            exchanges.
        strict: True to raise an error instead of a warning in two cases: a variable has
            synchronization NONE, which TensorFlow also refuses; or replicas call a collective
            without a name in different lines.
        auto: The meaning of AUTO: "on_write" as in TensorFlow, or "adaptive". With "adaptive" the
            values are the same up to rounding, but writes are summed locally, and are exchanged
            when the program reads the variable.
        log_dir: The directory of the workers' logs; by default a private directory.
        trace: What every process records, and in which directory; by default nothing.
        seed: The seed of `random` and `numpy.random` in the workers. Each replica gets its own
            stream. Two runs with the same seed draw the same numbers. By default the numbers differ
            in each run. The generators in the program's own process are not seeded.
        faults: Faults to inject into the replicas, such as `"kill replica=1 call=3"`; see
            docs/faults.md.
        uneven: What a distributed dataset does at a batch that leaves a replica without rows:
            "empty" gives the replica no rows, as TensorFlow does; "fail" raises an error; "drop"
            ends the pass; "pad" repeats the replica's rows of the previous batch; "join" leaves the
            replica out of a call with this batch.
        stall_warn_s: After so many seconds without progress a replica is reported; see
            docs/python.md. The default is 5; 0 means never.
        stall_fail_s: After so many seconds without progress of a replica, varsim ends its process,
            and the call fails. The default is 60 for a replica that is blocked, and 600 for a
            replica that computes; 0 means never.
        link_loss_s: With the transport "tcp", a worker is lost after so many seconds without a
            connection. The default is 20.
        on_worker_lost: What happens after a worker was lost: "fail" raises WorkerLost for every
            operation that needs it; "restart" goes on with new workers, and "shrink" with fewer;
            see docs/faults.md.
        max_restarts: The largest number of such restarts. After them, a lost worker has the effect
            of "fail".
    Raises:
        ValueError: `devices`, `auto`, `seed`, `faults`, `uneven` or a time is wrong.
        ConfigError: The launcher, the transport or the exchange does not exist.
        StartError: The workers did not start.

    The workers start when they are first needed, and end with `close()`, at the end of a `with`
    block, or with the program.
    """

    def __init__(
        self,
        devices: Sequence[str] | None = None,
        cross_device_ops: Any = None,
        *,
        launcher: str | Mapping[str, Mapping[str, object]] = _LAUNCHER,
        transport: str = Backends().transport,
        exchange: str = Backends().exchange,
        strict: bool = False,
        auto: str = AUTO_MEANS[0],
        log_dir: str | Path | None = None,
        trace: TraceOptions | None = None,
        seed: int | None = None,
        faults: Sequence[str] = (),
        uneven: str = UNEVEN[0],
        stall_warn_s: float | None = None,
        stall_fail_s: float | None = None,
        link_loss_s: float | None = None,
        on_worker_lost: str = OnWorkerLost.FAIL,
        max_restarts: int = MAX_RESTARTS,
    ) -> None:
        self._supervisor = current_supervisor()
        chosen = Choices(
            strategy=type(self).__name__,
            devices=None if devices is None else checked_devices(devices),
            backends=Backends(transport=transport, exchange=exchange, **named_launcher(launcher)),
            strict=strict,
            auto=auto,
            uneven=uneven,
            stall_times=checked_stall_times(stall_warn_s, stall_fail_s),
            link_loss_s=checked_link_loss(link_loss_s),
            lost_workers=checked_lost_workers(on_worker_lost, max_restarts),
            location="" if self._supervisor is None else user_location(),
            decided="" if devices is None else f"names its devices, {list(devices)}",
        )
        if self._supervisor is not None:
            chosen = self._supervisor.choose(chosen)
        check_backends(chosen.backends)
        self._set_up(new_id(), checked_devices(chosen.devices))
        self.strict = chosen.strict
        self.auto = checked_auto(chosen.auto)
        self.uneven = chosen.uneven
        options = LaunchOptions(
            cluster_id=self.strategy_id,
            strategy=type(self).__name__,
            devices=self.devices,
            backends=chosen.backends,
            log_dir=None if log_dir is None else Path(log_dir),
            trace=checked_trace(trace),
            seed=checked_seed(seed),
            link_loss_s=LINK_LOSS_S if chosen.link_loss_s is None else chosen.link_loss_s,
        )
        self._incarnations = Incarnations(
            self,
            launcher_of(chosen.backends),
            options,
            strict=chosen.strict,
            stall_times=chosen.stall_times,
            lost_workers=chosen.lost_workers,
            supervisor=self._supervisor,
        )
        if faults:
            self.inject([parse_fault(text) for text in faults], seed or 0)
        PROGRAM.know("strategy", self.strategy_id, self)
        self._warned: set[str] = set()  # texts that identify the warnings shown so far
        self._packer = CallPacker(self.num_replicas_in_sync)
        self.plain_uses = PlainUses()
        if self._supervisor is not None:
            self._supervisor.made(self, chosen.location)

    faults: FaultPlan | None = None
    """The faults to inject into calls of `run`; None for no faults."""

    _supervisor: Supervisor | None = None
    _incarnations: Incarnations  # missing in a worker's handle

    def _set_up(self, strategy_id: int, devices: tuple[str, ...]) -> None:
        self.strategy_id = strategy_id
        self.devices = devices
        self._extended = Extended(self)
        self._variables = OwnVariables(self)

    @classmethod
    def handle(cls, strategy_id: int, devices: tuple[str, ...]) -> MirroredStrategy:
        """Return the object that represents the program's strategy in a worker."""
        strategy = cls.__new__(cls)
        cls._set_up(strategy, strategy_id, devices)
        return strategy

    @property
    def extended(self) -> Extended:
        """Return the operations for authors of optimizers and layers."""
        return self._extended

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.devices)})"

    def inject(self, faults: Sequence[Fault], seed: int, folder: Path | None = None) -> None:
        """Inject faults into later calls of `run`. These faults replace earlier ones.

        Args:
            seed: The seed from which random choices are drawn.
            folder: The folder of the run's files; None for the folder of the traces.
        Raises:
            DistributedValueError: A fault names a replica that does not exist, or is a fault of a
                link that loses nothing.
        """
        options = self._incarnations.options
        if folder is None and options.trace is not None:
            folder = options.trace.directory
        transport = transport_of(options.backends)
        self.faults = FaultPlan(faults, seed, self.num_replicas_in_sync, transport, folder)

    # ------------------------------------------------------------ the cluster

    @property
    def coordinator(self) -> Coordinator:
        """Return the cluster of workers. If there is none, start one.

        Raises:
            ContextError: The strategy was closed before it had workers.
        """
        return self._incarnations.coordinator

    @property
    def incarnations(self) -> Incarnations:
        """Return the clusters of workers. At most one of them exists at a time."""
        return self._incarnations

    @property
    def has_workers(self) -> bool:
        """Return whether the workers have been started. They may have ended in the meantime."""
        return self._incarnations.has_workers

    @property
    def cross(self) -> CrossReplica:
        """Return an object that accesses the cluster's variables in cross-replica context."""
        return CrossReplica(self._incarnations)

    def start(self) -> None:
        """Start the workers, if they have not started yet."""
        assert self.coordinator is not None

    def restart(self) -> Recovery:
        """End the workers, start new ones, and return what is lost. `print` shows the result.

        Use this method if the strategy is not usable any more: after a lost worker, a time-out or
        an interrupt. The variables keep the values that the program or an answering worker has. A
        warning names the lost values. A call that was interrupted is not repeated.

        Raises:
            ContextError: A call is running, or the strategy was closed.
            StartError: The workers did not start.
        """
        require_cross_replica(self, "strategy.restart")
        return self._incarnations.restart()

    def close(self) -> None:
        """End the workers and their variables for good. Further calls do nothing."""
        self._incarnations.close()

    def statistics(self) -> tuple[VariableStatistics, ...]:
        """Return the cost of each variable's synchronisation since the last start of workers."""
        return self._incarnations.statistics()

    def lock_statistics(self) -> tuple[LockStatistics, ...]:
        """Return how long each replica waited for each lock since the last start of workers."""
        return self._incarnations.lock_statistics()

    def alive_variables(self) -> list[ClusterVariable]:
        """Return the variables that the program still has, in the order of their creation."""
        return self._variables.alive()

    def renewed(self, devices: tuple[str, ...]) -> None:
        """Set the devices of the new workers, of which there can be fewer than before."""
        self.devices = devices
        self._packer = CallPacker(len(devices))
        self._variables.forget_values()
        if self.faults is not None:
            self.faults.resize(len(devices))

    # ------------------------------------------------------------ variables

    def create_variable(self, **kwargs: Any) -> Any:
        """Create a variable with a component on every replica; on a replica, by a host call."""
        frame = current_frame()
        if frame is not None and frame.replica is not None:
            if frame.replica.runs_program:  # as in TensorFlow, outside the scope of its strategy
                return create_plain(**kwargs)
            kwargs["initial_value"] = _sent_value(kwargs["initial_value"], frame.replica)
            return frame.replica.session.call_host(CreateVariable(kwargs))
        return self._variables.create(kwargs)

    def in_force(self, asked: VariableSpec, value: Array) -> VariableSpec:
        """Return the spec of a new variable with the settings that apply."""
        count, adaptive = self.num_replicas_in_sync, self.auto == "adaptive"
        return creation.in_force(asked, value, count, strict=self.strict, adaptive=adaptive)

    def duplicate(self, variable: ClusterVariable) -> ClusterVariable:
        """Return a new variable with the same settings, components and policy state."""
        return self._variables.duplicate(variable)

    # ------------------------------------------------------------ checkpoints

    def save(self, path: str | Path, *, exact: bool = True) -> str:
        """Save all variables of the strategy to a file, and return its path without the suffix.

        Variables with the same name are distinguished by the order of their creation.

        Args:
            exact: Whether to keep the component of every replica. If it is false, the file has one
                value for each variable, as in TensorFlow, and a variable without such a value is
                refused.
        Raises:
            CheckpointError: A variable has no such value, or the file cannot be written.
            ContextError: The program is on a replica.
        """
        return whole_strategy.save(self.alive_variables(), path, exact=exact)

    def restore(self, path: str | Path) -> None:
        """Restore all variables of the strategy from a file that `save` has made.

        Raises:
            CheckpointError: The file cannot be read; or it has no value for a variable, or a value
                for a variable that does not exist. No variable has changed.
            ContextError: The program is on a replica.
        """
        whole_strategy.restore(self.alive_variables(), path)

    def note_saved(self, saved: Saved) -> None:
        """Record which components are in a checkpoint, for a restart after a lost worker."""
        self._incarnations.note_saved(saved)

    # ------------------------------------------------------------ running and combining

    def run(
        self,
        fn: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
        options: Any = None,
    ) -> Any:
        """Call `fn` on every replica, in replica context; see `Strategy.run`."""
        return self._run(site_of(fn), fn, args, kwargs, options)

    def run_own(self, fn: Callable[..., Any], args: Sequence[Any] = ()) -> Any:
        """Call a function of varsim, without faults; it does not count as a call of the program."""
        return self._run(replace(site_of(fn), is_own=True), fn, args, None, None)

    def _run(self, site: CallSite, fn: Any, args: Any, kwargs: Any, options: Any) -> Any:
        check_call(self, fn, args)
        coordinator = self.coordinator
        limits = limits_of_call(options, coordinator.state.stalls.limits)
        given = tuple(args), dict(kwargs or {})
        plan, link = None if site.is_own else self.faults, coordinator.link
        leaves = leaves_of(given) if args or kwargs else []
        count = len(self.devices)
        present = present_of(leaves, count, args=given[0], kwargs=given[1]) if leaves else count
        faulty = plan and plan.wrapped(fn, self._incarnations.calls + 1, present, link.exchange)
        codec = link.codec
        number, function, arguments, copies = self._packer.packed(
            codec, fn, given, site, present, faulty or None
        )
        for text in copies:
            self.warn_once(text, site.called_at)
        host = RunHost(self, codec, self.warn_once, present, link.recorder, self.plain_uses)
        call = ProgramCall(number, function, arguments, site, limits=limits)
        try:
            rows = self._rows_of(leaves, site) if leaves else ()
            returned = self._incarnations.run(call, host, rows)
        except RaisedBy as raised:
            self._raise(raised.replica_id, raised.raised)
        results = [codec.unpack(one.result) for one in returned]
        if plan is not None and faulty is not None:
            results = [plan.took(result) for result in results]
        if results[0] is not None and link.recorder is not None and not site.is_own:
            record_results(link.recorder, site.called_at, results)
        return regroup(results, joined=count - present)

    def _rows_of(self, leaves: Sequence[Any], site: CallSite) -> Rows:
        """If only some replicas have rows, warn and return the numbers of rows; else return ()."""
        rows, is_warned = uneven_rows(leaves) or ((), True)
        if not is_warned:
            text = warning_of("an argument of strategy.run", rows)
            self.warn_once(text, site.called_at, f"no rows: {site.called_at}")
        return rows

    def warn_once(self, text: str, location: str, what: str = "") -> None:
        """Show a warning, unless it was shown before; see `Strategy.warn_once`."""
        if self.is_new(what or text.partition("\n")[0]):
            warn(text, location)

    def is_new(self, what: str) -> bool:
        """Return whether this is the first call with this text."""
        known = what in self._warned
        self._warned.add(what)
        return not known

    def _raise(self, replica_id: int, raised: Raised) -> None:
        cause = ReplicaError(replica_id, raised.traceback)
        if raised.exception.tree is None:
            raise cause
        try:
            error = self.coordinator.link.codec.unpack_exception(raised.exception)
        except Exception as reason:  # the text of a user's exception can raise any exception
            note = f"\n(the exception itself cannot be raised here: {reason})"
            raise ReplicaError(replica_id, raised.traceback + note) from None
        raise error from cause

    def reduce(self, reduce_op: Any, value: Any, axis: Any, *, weight: Any = None) -> Any:
        """Combine the replicas' values into one; see `Strategy.reduce`.

        Raises:
            ContextError: The program is on a replica.
            ValueError: The value is not a per-replica value, and the op is SUM or PROD; or the
                values cannot be combined.
        """
        require_cross_replica(self, "strategy.reduce")
        op = parse_op(reduce_op)
        require_own(value, self, "strategy.reduce")
        result = reduced(op, value, axis, len(self.devices), weight, self.warn_once)
        return record_combined(self._incarnations, "reduce", value, result, op)

    def gather(self, value: Any, axis: int) -> Any:
        """Concatenate the replicas' values along an axis.

        Raises:
            ContextError: The program is on a replica.
            ValueError: The values do not have this axis, or their other dimensions differ.
            TypeError: The values are bools.
        """
        require_cross_replica(self, "strategy.gather")
        require_own(value, self, "strategy.gather")
        return record_combined(self._incarnations, "gather", value, gathered(value, axis))


def _sent_value(value: Any, replica: ReplicaPort) -> Any:
    """Return the initial value to send to the program, which uses only replica 0's value."""
    if callable(value):
        return value() if replica.replica_id_in_sync_group == 0 else 0
    if isinstance(value, DistributedValues) and not isinstance(value, DistributedVariable):
        return np.asarray(value)
    return value
