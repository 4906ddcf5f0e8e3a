"""Start the workers of a strategy, and start new ones after workers were lost.

Each start is an *incarnation*: a whole new cluster with its own sockets, keys and private folder.
So late messages of an earlier incarnation cannot arrive. The strategy and its variables stay.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from varsim.distribute.checkpoints.saving import Saved
from varsim.distribute.cluster_variable import ClusterVariable
from varsim.distribute.count_use import CountUse
from varsim.distribute.known_values import KnownValues
from varsim.distribute.lease import Lease
from varsim.distribute.lost_workers import LostWorkers, OnWorkerLost
from varsim.distribute.naming import PROGRAM
from varsim.distribute.rescue import KeptVariable
from varsim.distribute.strategy_arguments import limits_of_environment
from varsim.distribute.supervision import Supervisor
from varsim.errors import CallTimeout, ContextError, StartError, WorkerLost
from varsim.launch.launcher import Launcher, LaunchOptions
from varsim.location import user_location, warn
from varsim.protocol.messages import Returned
from varsim.shells.coordinator import Coordinator
from varsim.shells.host import Host
from varsim.spec import Array, VariableSpec
from varsim.sync.actions import ProgramDone
from varsim.sync.coordinator_events import (
    ProgramAssignComponents,
    ProgramCall,
    ProgramPush,
    ProgramReading,
    ProgramSetStates,
    ProgramSync,
    ProgramWriting,
)
from varsim.sync.statistics import LockStatistics, VariableStatistics
from varsim.texts.incarnations import LostValues, NoRecovery, Recovery, RecoveryAfterCall
from varsim.tracing.trace import Trace

BACK_OFF_S: Final = 0.1
"""The delay before the first restart by the policy. Each further delay is twice as long."""


class Owner(Protocol):
    """The strategy of the incarnations."""

    @property
    def devices(self) -> tuple[str, ...]:
        """Return the device of each replica."""

    @property
    def count_use(self) -> CountUse:
        """Return the record of where the program uses the number of replicas."""

    def alive_variables(self) -> Sequence[ClusterVariable]:
        """Return the variables that the program still has, in the order of their creation."""

    def renewed(self, devices: tuple[str, ...]) -> None:
        """Set the devices of the next incarnation, and forget what the present workers have."""


class Incarnations:
    """The incarnations of one strategy, of which at most one has workers.

    The methods that use workers do the same as the methods of `Coordinator`. If workers are lost,
    and the policy is to go on, these methods also prepare the next incarnation before they raise
    the error.

    Args:
        owner: The strategy.
        launcher: What starts the workers.
        options: The options of the first incarnation.
        strict: See `CoordinatorState`.
        stall_times: The times without progress after which varsim warns, and ends the call; None
            for the default.
        lost_workers: What happens after workers were lost.
        supervisor: What is called when workers start and end.
    """

    def __init__(
        self,
        owner: Owner,
        launcher: Launcher,
        options: LaunchOptions,
        *,
        strict: bool,
        stall_times: tuple[float | None, float | None],
        lost_workers: LostWorkers,
        supervisor: Supervisor | None,
    ) -> None:
        self.number = 1
        """The number of the present incarnation, or of the next one if `is_over`."""
        self.restarts = 0
        """The number of restarts by the policy."""
        self.lost_workers = lost_workers
        self._owner = owner
        self._launcher = launcher
        self.options = options
        """The options of the first incarnation."""
        self._strict = strict
        self._stall_times = stall_times
        self._supervisor = supervisor
        self._coordinator: Coordinator | None = None
        self._end: weakref.finalize[..., Any] | None = None  # ends the present workers
        self._is_over = False  # whether the next use starts a new incarnation
        self._is_ending = False
        self._closed = False  # whether the strategy was closed
        self.interrupted_call: int | None = None
        """The number of the program's call that was interrupted last; None if there is none."""
        self.interrupted_in = ""
        """What each replica did in this call, in lines; "" if it is not known."""
        self._running = 0  # number of running calls, nested ones included
        self._calls_before = 0  # number of the program's calls in earlier incarnations
        self._delay_s = 0.0  # the delay before the next start
        self._kept: list[KeptVariable] = []  # variables that the next incarnation gets
        self._known = KnownValues()

    # ------------------------------------------------------------ the present incarnation

    @property
    def coordinator(self) -> Coordinator:
        """Return the present cluster of workers. If there is none, start one.

        Raises:
            ContextError: The strategy was closed while it had no workers.
            StartError: The workers did not start.
        """
        if self._coordinator is None or self._is_over:
            self._start()
            assert self._coordinator is not None
        return self._coordinator

    @property
    def recorder(self) -> Trace | None:
        """Return the trace of the program's operations; None if nothing is recorded."""
        return self.coordinator.link.recorder

    @property
    def records_reads(self) -> bool:
        """Return whether the program's reads are recorded, too."""
        return self.coordinator.observed

    @property
    def has_workers(self) -> bool:
        """Return whether workers have been started; they may have ended since then."""
        return self._coordinator is not None

    @property
    def is_over(self) -> bool:
        """Return whether the workers have ended, and the next use starts new ones."""
        return self._is_over

    @property
    def calls(self) -> int:
        """Return the number of the program's calls that have begun, in all incarnations."""
        return 0 if self._coordinator is None else self._coordinator.calls

    @property
    def own_calls(self) -> int:
        """Return the number of the program's calls in the last incarnation with workers."""
        return self.calls - self._calls_before

    def lock_statistics(self) -> tuple[LockStatistics, ...]:
        """Return the waits for locks in the last incarnation that had workers."""
        return () if self._coordinator is None else self._coordinator.state.lock_statistics()

    def statistics(self) -> tuple[VariableStatistics, ...]:
        """Return the statistics of the last incarnation that had workers."""
        return () if self._coordinator is None else self._coordinator.statistics()

    def _start(self) -> None:
        """Start an incarnation. If workers are lost meanwhile, try again as often as allowed."""
        if self._closed:
            raise ContextError("this strategy was closed, and has no workers: make a new one")
        while True:
            try:
                self._launch()
            except StartError:
                if self.number == 1 or not self._may_restart:
                    raise
                self._count_restart()
            else:
                break
        try:
            self._recreate()
        except BaseException as error:  # including Ctrl-C
            if isinstance(error, WorkerLost | CallTimeout):
                self._survive(error)
            self._abandon()
            raise

    def _launch(self) -> None:
        limits = limits_of_environment().changed(*self._stall_times)  # may raise an error
        options = self._options_now()
        if self._supervisor is not None:
            options = self._supervisor.launching(self._owner, options)
        link = self._launcher.launch(options, PROGRAM)
        if self._supervisor is not None:
            link = self._supervisor.linked(self._owner, link)
        self._owner.count_use.record_in(link.recorder)
        before = self.calls
        if self.number > 1 and link.recorder is not None:
            link.recorder.continued(before, [one.spec.variable_id for one in self._kept])
        coordinator = Coordinator(
            link, strict=self._strict, limits=limits, warn=warn, calls_before=before
        )
        # This is also called when the program ends.
        self._end = weakref.finalize(self._owner, coordinator.close)
        self._coordinator, self._is_over, self._delay_s = coordinator, False, 0.0
        self._calls_before = before
        if self._supervisor is not None:
            self._supervisor.launched(self._owner)

    def _options_now(self) -> LaunchOptions:
        options, name = self.options, f"incarnation-{self.number}"
        if self.number == 1:
            return options
        log_dir, trace = options.log_dir, options.trace
        return replace(
            options,
            devices=self._owner.devices,
            log_dir=None if log_dir is None else log_dir / name,
            trace=None if trace is None else replace(trace, directory=trace.directory / name),
            incarnation=self.number,
            delay_s=self._delay_s,
        )

    def _recreate(self) -> None:
        """Create the variables that were kept, unless the program has dropped them."""
        alive = {one.spec.variable_id for one in self._owner.alive_variables()}
        coordinator = self.coordinator
        for one in self._kept:
            spec, first = one.spec, one.each[0]
            if spec.variable_id not in alive:
                continue
            for component in one.each:
                component.setflags(write=False)
            coordinator.create(spec, first, one.shared)
            if any(component is not first for component in one.each):
                values = dict(enumerate(one.each))
                coordinator.write(
                    ProgramAssignComponents(spec.variable_id, values, spec.created_at)
                )
            if any(one.states):
                coordinator.write(ProgramSetStates(spec.variable_id, one.states))
        self._kept = []

    # ------------------------------------------------------------ operations

    def create(self, spec: VariableSpec, value: Array) -> None:
        """Create a variable; see `Coordinator.create`."""
        try:
            self.coordinator.create(spec, value)
        except (WorkerLost, CallTimeout) as error:
            self._survive(error)
            raise
        self._known.created(spec, value)

    def forget_with(self, lease: Lease[ClusterVariable], variable_id: int) -> None:
        """Forget a variable as soon as its lease is freed."""
        # A reference to this object would keep the strategy alive as long as the lease.
        finalizer = weakref.finalize(lease, _forget, weakref.ref(self), variable_id)
        finalizer.atexit = False

    def forget(self, variable_id: int) -> None:
        """Record that the program dropped a variable. Finalizers may call this at any time."""
        self._known.forget(variable_id)
        if self._coordinator is not None:
            self._coordinator.forget(variable_id)

    def look(self, event: ProgramReading) -> ProgramDone:
        """Read a variable, its components, or what replicas share of it; see `Coordinator.look`."""
        try:
            return self.coordinator.look(event)
        except (WorkerLost, CallTimeout) as error:
            self._survive(error)
            raise

    def write(self, event: ProgramWriting | ProgramPush | ProgramSync) -> ProgramDone:
        """Write or synchronise a variable, or push to its copy; see `Coordinator.write`."""
        try:
            done = self.coordinator.write(event)
        except (WorkerLost, CallTimeout) as error:
            self._survive(error)
            raise
        if not isinstance(event, ProgramPush):
            self._note_written(event.variable_id)
        return done

    def _note_written(self, variable_id: int) -> None:
        if variable_id in self._known.initial:
            self._known.just_written.add(variable_id)
            if self._running:
                self._keep_written()

    def _keep_written(self) -> None:
        self._known.keep_written(self.coordinator, len(self._owner.devices))

    def run(self, call: ProgramCall, host: Host, rows: Sequence[int]) -> tuple[Returned, ...]:
        """Call a function on all replicas; see `Coordinator.run`."""
        coordinator = self.coordinator
        if self._known.just_written:
            self._keep_written()
        self._running += 1
        try:
            return coordinator.run(call, host, rows)
        except (WorkerLost, CallTimeout) as error:
            self._survive(error, in_call=self._running == 1)
            raise
        except KeyboardInterrupt:
            if self._running == 1 and not call.site.is_own:
                self.interrupted_call = self.calls
                fact = coordinator.interrupted
                self.interrupted_in = "" if fact is None else str(fact)
            raise
        finally:
            self._running -= 1

    def note_saved(self, saved: Saved) -> None:
        """Record the components of a checkpoint that was written."""
        self._known.saved_as(saved, self.calls)

    # ------------------------------------------------------------ the end of an incarnation

    @property
    def _may_restart(self) -> bool:
        is_on = self.lost_workers.policy is not OnWorkerLost.FAIL
        return is_on and self.restarts < self.lost_workers.max_restarts

    def _count_restart(self) -> None:
        self._delay_s = BACK_OFF_S * 2**self.restarts
        self.restarts += 1

    def _survive(self, error: WorkerLost | CallTimeout, *, in_call: bool = False) -> None:
        """Prepare the next incarnation if the policy is to go on, and say so in the error."""
        policy = self.lost_workers.policy
        if policy is OnWorkerLost.FAIL or self._is_ending:
            return
        assert self._coordinator is not None
        # More replicas can be lost after the error was made, such as during a merge_call.
        gone = {*error.replica_ids, *self._coordinator.state.registry.losses}
        removed = gone if policy is OnWorkerLost.SHRINK else set()
        left = len(self._owner.devices) - len(removed)
        if not self._may_restart or not left:
            most = self.lost_workers.max_restarts
            error.aftermath = NoRecovery(self.restarts, most, left)
            return
        if self._running > in_call:  # the error of the outermost call ends the incarnation
            error.aftermath = RecoveryAfterCall(policy.value)
            return
        recovery = self._finish(gone, removed, in_call=in_call)
        self._count_restart()
        error.aftermath = recovery
        if self._supervisor is None:
            warn(str(recovery).strip(), user_location())
        else:
            self._supervisor.going_on(self._owner, recovery, user_location())

    def restart(self) -> Recovery:
        """End the workers, start new ones for all replicas, and return what is lost.

        Raises:
            ContextError: A call is running, or the strategy is closed.
            StartError: The workers did not start.
        """
        if self._running:
            raise ContextError(
                "strategy.restart cannot be called inside a call of strategy.run: call it after "
                "the call has ended"
            )
        recovery = Recovery(self.number, len(self._owner.devices))
        if self._coordinator is not None and not self._is_over and not self._closed:
            torn = self._coordinator.in_use.torn
            gone = range(self._coordinator.num_replicas) if torn else ()
            recovery = self._finish(gone)
        try:
            self._start()
            recovery = replace(recovery, has_started=True)
        finally:  # if the start fails, the next use starts workers with the same values
            if recovery.lost:
                warn(str(recovery).strip(), user_location())
        return recovery

    def _finish(
        self, gone: Collection[int], removed: Collection[int] = (), *, in_call: bool = False
    ) -> Recovery:
        """End the present incarnation, and keep its values for the next one.

        If Ctrl-C interrupts the reads of the values, the incarnation has not ended.

        Args:
            gone: The replicas that cannot answer.
            removed: The replicas that the next incarnation does not have.
        """
        coordinator, devices = self._coordinator, self._owner.devices
        assert coordinator is not None
        with coordinator.in_use:
            self._is_ending = True
            try:
                lost, gone = self._keep(coordinator, gone, removed)
                if self._supervisor is not None:
                    self._supervisor.ending(self._owner)
            finally:
                self._is_ending = False
            self._abandon()
            devices = tuple(one for i, one in enumerate(devices) if i not in removed)
            self._owner.renewed(devices)
            self._known.remove(removed)
        return Recovery(
            incarnation=self.number,
            num_replicas=len(devices),
            removed=tuple(sorted(removed)),
            in_call=in_call,
            gone=tuple(sorted(gone)),
            lost=tuple(lost),
        )

    def _keep(
        self, coordinator: Coordinator, gone: Collection[int], removed: Collection[int]
    ) -> tuple[list[LostValues], Collection[int]]:
        """Keep the values of all variables; return what is lost, and which replicas are gone."""
        if self._kept:  # the program has not used this incarnation, because its start failed
            self._kept = [one.without(removed) for one in self._kept]
            return [], gone
        self._keep_written()
        rescue = self._known.rescue(coordinator, gone)
        alive = self._owner.alive_variables()
        self._kept = [rescue.kept(variable.spec, removed) for variable in alive]
        return rescue.lost, rescue.gone

    def _abandon(self) -> None:
        """End the workers, so that the next use starts the next incarnation."""
        if self._is_over or self._coordinator is None:
            return
        self._is_over = True
        self.number += 1
        assert self._end is not None
        self._end()

    def start_no_more(self) -> None:
        """Start no further incarnation, even if workers are lost from now on."""
        self.lost_workers = LostWorkers()
        if self._coordinator is None or self._is_over:
            self.close()

    def close(self) -> None:
        """End the workers for good. Further calls do nothing."""
        if self._coordinator is not None and not self._is_over and not self._closed:
            if self._supervisor is not None:
                self._supervisor.closing(self._owner)
            with self._coordinator.in_use:  # refuses to close while another thread waits
                self._coordinator.close()
        self._closed = True


def _forget(incarnations: weakref.ref[Incarnations], variable_id: int) -> None:
    if (found := incarnations()) is not None:
        found.forget(variable_id)
