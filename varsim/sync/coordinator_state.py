"""The state of the coordinator, without I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, ClassVar, Final, assert_never, get_args

from varsim.errors import CallTimeout, ProtocolError, StillRunning
from varsim.protocol.messages import (
    Component,
    DeltaReply,
    HostResult,
    Layout,
    Left,
    Merged,
    Publish,
    Push,
    Raised,
    Returned,
    ShownPolicyState,
)
from varsim.sync.actions import (
    CoordinatorAction,
    EndWorkers,
    Examine,
    ProgramRefused,
    Send,
    Steps,
    WarnOfStall,
)
from varsim.sync.call_messages import CallMessages
from varsim.sync.call_site import CallSite
from varsim.sync.call_state import CallState
from varsim.sync.coordinator_door import check_report
from varsim.sync.coordinator_events import (
    SETTLING,
    CoordinatorEvent,
    Examined,
    FreshEvent,
    HostCallDone,
    Located,
    LookForStalls,
    MergeFunctionReturns,
    MessageArrives,
    MessagesSent,
    Obtained,
    OperandsLost,
    ProgramCall,
    ProgramCreate,
    ProgramForget,
    ProgramGivesUp,
    ProgramOperation,
    ProgramReading,
    ReductionDone,
    ReductionFailed,
    ReplicasLost,
    SettlingEvent,
    TimePasses,
)
from varsim.sync.event_log import InvalidTransition
from varsim.sync.participant import Plans
from varsim.sync.program import await_departures, operate
from varsim.sync.running_calls import RunningCalls
from varsim.sync.stall_report import describe_stall
from varsim.sync.stalls import DEFAULT_LIMITS, Quiet, StallLimits, Stalls
from varsim.sync.statistics import LockStatistics, VariableStatistics
from varsim.sync.steps import Runner
from varsim.sync.stragglers import Stragglers
from varsim.sync.variable_registry import VariableRegistry
from varsim.texts.interrupted import InterruptedCall
from varsim.texts.stalls import Stall, StallFailure, StallWarning

_READS: Final = get_args(ProgramReading)

Begin = Callable[[Any, Any], list[CoordinatorAction]]
Take = Callable[[Any, int, Any], list[CoordinatorAction]]


class CoordinatorState:
    """Decides, for a whole cluster, the effect of every message and every program operation.

    The shell calls `handle` with each event, and performs the returned actions in order. After a
    `Reduce` the current event is not finished: later events wait in a backlog until the value
    arrives. Only answers to actions and a `ProgramGivesUp` do not wait. So a merge is atomic.

    Args:
        strict: Whether to refuse unnamed collectives in different lines, or only to warn of them.
        stall_limits: When replicas without progress are reported, and when their call fails.
        calls_before: The number of the program's calls in earlier clusters of the strategy.
    """

    def __init__(
        self,
        num_replicas: int,
        *,
        strict: bool = False,
        stall_limits: StallLimits = DEFAULT_LIMITS,
        calls_before: int = 0,
    ) -> None:
        self.num_replicas = num_replicas
        self.stalls = Stalls(stall_limits)
        self._slow: set[CallSite] = set()  # calls whose long computation was reported
        self.stragglers = Stragglers()
        self.registry = VariableRegistry(num_replicas, count(1))
        self._runner = Runner()
        self._plans = Plans(num_replicas, self.registry.specs)
        self._calls = RunningCalls(self.registry, self.stragglers, calls_before, strict=strict)
        self._messages = CallMessages(self.registry, self._calls, self._runner, self._plans)

    # ------------------------------------------------------------ events

    def handle(self, event: CoordinatorEvent) -> list[CoordinatorAction]:
        """Handle one event, and return the actions that the shell must perform, in order.

        Raises:
            ProtocolError: A replica has sent a message that the protocol does not allow.
            WorkerLost: The program creates a variable after the loss of a replica.
            InvalidTransition: The event is not valid now, which is a bug of the shell.
        """
        runner = self._runner
        if isinstance(event, SETTLING):
            actions = self._settle(event)
        elif runner.suspended is None:
            actions = self._begin(event)
        elif runner.awaits_loss and isinstance(event, ReplicasLost):
            runner.drop_reduction()
            actions = self._begin(event)
        else:
            runner.backlog.append(event)
            return []
        if runner.is_waiting:
            actions += runner.catch_up(self._begin)
        return actions

    def _begin(self, event: FreshEvent) -> list[CoordinatorAction]:
        self._runner.now_s = event.now_s
        return self._BEGINNINGS[event.__class__](self, event)

    def _settle(self, event: SettlingEvent) -> list[CoordinatorAction]:
        """Handle an event that can arrive while a reduction is computed."""
        match event:
            case ReductionDone():
                return self._runner.resume(event.token, event.value)
            case Obtained():
                return self._runner.resume(event.token, event.values)
            case OperandsLost():
                return self._fail_merge(event.token)
            case ReductionFailed():
                self._runner.drop_reduction(event.token)
            case Located():
                self._runner.take_locations(event)
            case ProgramGivesUp():
                return self._give_up(event)
            case MessagesSent():
                self.registry.catch_up()
            case _:
                assert_never(event)
        return []

    def _fail_merge(self, token: int) -> list[CoordinatorAction]:
        """Handle the loss of the replicas whose contributions are lost, before all other events.

        Otherwise a call of which all replicas have returned would end without its last writes.
        """
        runner = self._runner
        if not runner.is_suspended_by(token):
            return []
        loss = next((event for event in runner.backlog if isinstance(event, ReplicasLost)), None)
        if loss is None:
            runner.awaits_loss = True
            return []
        runner.backlog = deque(event for event in runner.backlog if event is not loss)
        runner.drop_reduction()
        return self._begin(loss)

    @property
    def now_s(self) -> float:
        """Return the time of the current event."""
        return self._runner.now_s

    @property
    def is_behind(self) -> bool:
        """Return whether `MessagesSent` has an effect."""
        return self.registry.is_behind

    @property
    def calls_begun(self) -> int:
        """Return the number of the program's calls, those of earlier clusters included."""
        return self._calls.begun

    @property
    def running_call(self) -> CallState | None:
        """Return the innermost running call; None if no call runs."""
        return self._calls.innermost

    @property
    def is_reducing(self) -> bool:
        """Return whether the state waits for the value of a reduction."""
        return self._runner.suspended is not None

    def running_in(self, token: int) -> list[int]:
        """Return the replicas that run their function in the call with this token, if it runs."""
        call = self._calls.of(token)
        return [] if call is None else call.running()

    def interrupted(self, token: int, now_at: Mapping[int, str]) -> InterruptedCall | None:
        """Return what the replicas of a call do now; None if no call with this token runs.

        Args:
            now_at: replica_id → the line that the replica runs now, if it is known.
        """
        call = self._calls.of(token)
        if call is None:
            return None
        return InterruptedCall(call.title, call.groups(now_at=now_at), tuple(call.running()))

    @property
    def deadline_s(self) -> float | None:
        """Return when the shell must give the state a `TimePasses` if no message arrives."""
        runner = self._runner
        if runner.suspended is not None:
            return None
        first_s = runner.deadline_s if runner.is_waiting else None
        for call in self._calls:
            time_s = call.deadline_s
            if time_s is not None and (first_s is None or time_s < first_s):
                first_s = time_s
        return first_s

    def _tick(self, _: TimePasses) -> list[CoordinatorAction]:
        return self._runner.run(self._calls.conclude_all(self._runner.now_s))

    def _operate(self, event: ProgramOperation) -> list[CoordinatorAction]:
        if event.variable_id not in self.registry.specs:
            raise InvalidTransition(f"there is no variable {event.variable_id}")
        reads = isinstance(event, _READS)
        if self.registry.losses and not reads:
            return [ProgramRefused(event.token, self.registry.losses.error())]
        steps = operate(event, self.registry, self)
        return self._runner.operate(event.token, steps, reads=reads)

    def _create(self, event: ProgramCreate) -> list[CoordinatorAction]:
        return self.registry.create(event.spec, event.value, event.now_s, event.shared)

    def _forget(self, event: ProgramForget) -> list[CoordinatorAction]:
        return self.registry.forget(event.variable_id)

    # ------------------------------------------------------------ calls

    def _call(self, event: ProgramCall) -> list[CoordinatorAction]:
        if self.registry.losses:
            return [ProgramRefused(event.token, self.registry.losses.error())]
        if event.limits is not None:
            self.stalls.look_at_s = event.now_s  # the limits may be shorter than the earlier limits
        if not self.stragglers:
            return self._calls.start(event)
        return self._runner.operate(event.token, self._start_later(event))

    def _start_later(self, event: ProgramCall) -> Steps:
        """Wait until the replicas have left abandoned calls; then start the call."""
        try:
            yield from await_departures(self, event.token, range(self.num_replicas))
        except StillRunning as error:
            yield ProgramRefused(event.token, error)
            return
        yield self._calls.start(event)

    def _give_up(self, event: ProgramGivesUp) -> list[CoordinatorAction]:
        """Drop an operation of the program; if it is a call, abandon the call and its reduction."""
        self._runner.now_s = event.now_s
        self._runner.drop_operation(event.token)
        call = self._calls.of(event.token)
        if call is None:
            return []
        self._runner.drop_reduction()
        why = f"the program raised {event.why}"
        return self._calls.abandon(call, why, event.why, event.now_s, by_program=True)

    def _merged(self, event: MergeFunctionReturns) -> list[CoordinatorAction]:
        """Send every replica its part of the value that a merge_call's function returned."""
        call = self._calls.find(event.call_id)
        if call is None:
            if self.registry.losses:
                return []  # the call has failed in the meantime
            raise InvalidTransition(f"call {event.call_id} does not run")
        call.merged(event.now_s)
        return [
            Send(i, Merged(call_id=event.call_id, position=event.position, result=result))
            for i, result in enumerate(event.results)
        ]

    def _answered(self, event: HostCallDone) -> list[CoordinatorAction]:
        """Send a replica the result of its host call."""
        call = self._calls.find(event.call_id)
        if call is None:
            return []  # the call has failed in the meantime
        if call.host_calls.in_service != event.replica_id:
            raise InvalidTransition(f"replica {event.replica_id} has no host call in service")
        call.answered(event.replica_id, event.now_s)
        answer = HostResult(call_id=event.call_id, result=event.result, failed=event.failed)
        return [Send(event.replica_id, answer), *self._calls.next_host_call(call)]

    def statistics(self) -> tuple[VariableStatistics, ...]:
        """Return the statistics of all variables, in order of creation."""
        return self.registry.statistics()

    def lock_statistics(self) -> tuple[LockStatistics, ...]:
        """Return how long each replica waited for each lock, by the name of the lock."""
        return self._calls.lock_account.statistics()

    # ------------------------------------------------------------ replicas without progress

    def _look(self, event: LookForStalls) -> list[CoordinatorAction]:
        """Request an examination of the processes of replicas without progress."""
        call, now_s = self._calls.innermost, event.now_s
        quiet = {} if call is None else call.quiet(now_s)
        wait, since_s = self._runner.innermost_wait
        if call is not None:
            since_s = max(since_s, call.started_s)
        for replica_id, asked_s in self.registry.owing(wait).items():
            quiet.setdefault(replica_id, Quiet(max(asked_s, since_s)))
        for replica_id, behind_s in event.behind.items():
            quiet.setdefault(replica_id, Quiet(behind_s))
        limits = self._limits(call)
        replica_ids, with_stacks = self.stalls.look(quiet, limits, now_s)
        return [Examine(replica_ids, with_stacks)] if replica_ids else []

    def _limits(self, call: CallState | None) -> StallLimits:
        limits = None if call is None else call.limits
        return self.stalls.limits if limits is None else limits

    def _examined(self, event: Examined) -> list[CoordinatorAction]:
        """Warn about replicas without progress, or end their processes and the wait for them."""
        call = self._calls.innermost
        limits = self._limits(call)
        judged = self.stalls.judge(event.sightings, limits, event.now_s)
        replica_ids = judged.ended or judged.told
        if not replica_ids:
            return []
        stall = describe_stall(
            replica_ids, event.sightings, self.stalls, call, self.stragglers, event.now_s
        )
        if judged.ended:
            return self._end_stalled(stall, call)
        if stall.is_slow:
            if call is None or call.site in self._slow:
                return []
            self._slow.add(call.site)
        fact = StallWarning(stall, limits.blocked_s, limits.computing_s)
        call_id, location = (0, "") if call is None else (call.call_id, call.site.called_at)
        return [WarnOfStall(call_id, fact, location)]

    def _end_stalled(self, stall: Stall, call: CallState | None) -> list[CoordinatorAction]:
        """End the processes of stalled replicas, and the innermost wait of the program."""
        error = CallTimeout(StallFailure(stall))
        ends = EndWorkers({one.replica_id: one.ending for one in stall.stalled})
        refused = self._runner.refuse(error)
        if not refused and call is not None:
            refused = self._calls.fail(call, error, self._runner.now_s)
        return [ends, *refused]

    # ------------------------------------------------------------ lost replicas

    def _lose(self, event: ReplicasLost) -> list[CoordinatorAction]:
        """Fail all calls, and refuse the operation for which the program waits.

        A read outside calls continues: it fails only if it needs lost components or lost writes.
        """
        replica_ids = self.registry.losses.add(event.workers)
        if not replica_ids:
            return []  # the replicas were lost before
        outside = self._calls.innermost is None
        error, actions = self._calls.lose(replica_ids, self._runner.now_s)
        return self._runner.refuse(error, but_reads=outside) + actions

    # ------------------------------------------------------------ used by `operate`

    @property
    def in_service(self) -> int | None:
        """Return the replica whose host call the program performs now; None outside a host call."""
        call = self._calls.innermost
        return None if call is None else call.host_calls.in_service

    def go_on(self) -> Steps:
        """Perform all steps that are possible now; call it after a request for an exchange."""
        return self._calls.go_on(self._calls.innermost, self._runner.now_s)

    # ------------------------------------------------------------ messages

    def _take(self, event: MessageArrives) -> list[CoordinatorAction]:
        message = event.message
        take_in_call = CallMessages.HANDLERS.get(message.__class__)
        if take_in_call is not None:
            call = self._calls.find(message.call_id)  # type: ignore[attr-defined]  # all have it
            if call is None:  # the call failed before the replica sent the message, or meanwhile
                return []
            return take_in_call(self._messages, call, event.replica_id, message)
        take = self._MESSAGES.get(message.__class__)
        if take is None:
            raise ProtocolError(f"the coordinator does not accept {message.name} messages")
        return take(self, event.replica_id, message)

    def _component(
        self, replica_id: int, message: Component | ShownPolicyState
    ) -> list[CoordinatorAction]:
        self.registry.component(replica_id, message)
        return []

    def _layout(self, replica_id: int, message: Layout) -> list[CoordinatorAction]:
        self._plans.learn(replica_id, message)
        return []

    def _delta(self, replica_id: int, message: DeltaReply) -> list[CoordinatorAction]:
        self.registry.exchanges.take(replica_id, message)
        return self._runner.run(self._calls.go_on(self._calls.innermost, self._runner.now_s))

    def _left(self, replica_id: int, message: Left) -> list[CoordinatorAction]:
        self.stragglers.left(replica_id, message.call_id)
        return []

    def _shared(self, replica_id: int, message: Publish | Push) -> list[CoordinatorAction]:
        self._messages.share(self._calls.find(message.call_id), replica_id, message)
        return []

    def _ended(self, replica_id: int, message: Returned | Raised) -> list[CoordinatorAction]:
        if message.report.accesses:
            check_report(message.report)
        call = self._calls.find(message.call_id)
        if call is not None:
            call.end(replica_id, message, self._runner.now_s)
        self.registry.take_report(replica_id, message.report)
        self.stragglers.left(replica_id, message.call_id)
        return [] if call is None else self._messages.after(call)

    def validate(self) -> None:
        """Assert the conditions that hold after every event."""
        self._runner.validate()
        self._calls.validate()
        self.registry.validate()

    # ------------------------------------------------------------ tables

    # A look-up in these tables takes less time than a `match` with many cases.

    _BEGINNINGS: ClassVar[Mapping[type, Begin]] = {
        MessageArrives: _take,
        TimePasses: _tick,
        LookForStalls: _look,
        Examined: _examined,
        ReplicasLost: _lose,
        ProgramCreate: _create,
        ProgramForget: _forget,
        ProgramCall: _call,
        MergeFunctionReturns: _merged,
        HostCallDone: _answered,
        **dict.fromkeys(get_args(ProgramOperation), _operate),
    }
    """Class of a fresh event → the method that handles it."""

    _MESSAGES: ClassVar[Mapping[type, Take]] = {
        Component: _component,
        ShownPolicyState: _component,
        Layout: _layout,
        DeltaReply: _delta,
        Returned: _ended,
        Raised: _ended,
        Left: _left,
        Publish: _shared,
        Push: _shared,
    }
    """Class of a message → method; for messages with an effect even after their call has failed."""
