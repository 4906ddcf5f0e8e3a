"""What the coordinator decides: the pure half of the process that the program runs in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count

from varsim.errors import ContextError, MismatchError, ProtocolError, StillRunning, VarsimError
from varsim.protocol.messages import (
    Abort,
    AllGather,
    AllReduce,
    Component,
    Contribution,
    DeltaReply,
    HostCall,
    HostResult,
    Layout,
    Left,
    MergeCall,
    Merged,
    Message,
    Raised,
    Reduced,
    Returned,
    Start,
    SyncRequest,
    Waiting,
    WriteCounts,
)
from varsim.spec import Array
from varsim.sync import reduce
from varsim.sync.actions import (
    CallBegins,
    CoordinatorAction,
    Finish,
    PerformHostCall,
    ProgramRefused,
    RunMerge,
    Send,
    Steps,
)
from varsim.sync.call_state import CallState
from varsim.sync.coordinator_events import (
    CoordinatorEvent,
    FreshEvent,
    HostCallDone,
    Located,
    MergeFunctionReturns,
    MessageArrives,
    ProgramCall,
    ProgramCreate,
    ProgramForget,
    ProgramGivesUp,
    ReductionDone,
    ReductionFailed,
    TimePasses,
)
from varsim.sync.crossings import Crossings
from varsim.sync.event_log import InvalidTransition
from varsim.sync.functions import Functions
from varsim.sync.participant import Collectives, Plans
from varsim.sync.program import await_departures, operate
from varsim.sync.statistics import VariableStatistics
from varsim.sync.steps import Runner
from varsim.sync.stragglers import Stragglers, describe
from varsim.sync.variable_registry import VariableRegistry


class CoordinatorState:
    """Decides, for a whole cluster, what every message and every step of the program means.

    The shell calls `handle` with each event, and performs the returned actions in order. After a
    `Reduce` the event is not over: later ones wait in a backlog until the value comes, except that
    the program gives something up. So a merge is atomic.

    Args:
        strict: Refuse what is likely a mistake: collectives without a name that would be paired
            although they stand in different lines. Otherwise each pair of lines is warned of once.
    """

    def __init__(self, num_replicas: int, *, strict: bool = False) -> None:
        self.num_replicas = num_replicas
        self.stragglers = Stragglers()
        self.calls_begun = 0
        self._strict = strict
        self.registry = VariableRegistry(num_replicas, count(1))
        self._runner = Runner()
        self._plans = Plans(num_replicas, self.registry.specs)
        self._calls: dict[int, CallState] = {}  # innermost last
        self._functions = Functions()
        self._crossings = Crossings()

    def _all(self, message: Message) -> list[CoordinatorAction]:
        return [Send(i, message) for i in range(self.num_replicas)]

    # ------------------------------------------------------------ events

    def handle(self, event: CoordinatorEvent) -> list[CoordinatorAction]:
        """Take one event, and return what the shell must do about it, in order.

        Raises:
            ProtocolError: A replica has sent what the protocol does not allow.
            InvalidTransition: The event makes no sense now; it is a bug of the shell.
        """
        runner = self._runner
        if event.__class__ is MessageArrives and not (runner.is_reducing or runner.is_behind):
            return self._begin(event)
        if isinstance(event, ReductionDone):
            actions = runner.resume(event)
        elif isinstance(event, ProgramGivesUp):
            actions = self._give_up(event)
        elif isinstance(event, ReductionFailed):
            runner.drop_reduction(event.token)
            actions = []
        elif runner.is_reducing:
            runner.backlog.append(event)
            return []
        else:
            actions = self._begin(event)
        if runner.is_behind:
            actions += runner.catch_up(self._begin)
        return actions

    def _begin(self, event: FreshEvent) -> list[CoordinatorAction]:
        runner = self._runner
        if isinstance(event, Located):
            runner.take_locations(event)
            return []
        runner.now_s = event.now_s
        match event:
            case MessageArrives():
                return self._take(event.replica_id, event.message, event.now_s)
            case ProgramCall() if not self.stragglers:
                return self._start(event)
            case ProgramCall():
                return runner.operate(event.token, self._call(event))
            case TimePasses():
                return runner.run(self._tick(event.now_s))
            case MergeFunctionReturns():
                return self._merged(event)
            case HostCallDone():
                return self._answered(event)
            case ProgramCreate():
                return self.registry.create(event.spec, event.value)
            case ProgramForget():
                return self.registry.forget(event.variable_id)
            case _:
                if event.variable_id not in self.registry.specs:
                    raise InvalidTransition(f"there is no variable {event.variable_id}")
                return runner.operate(event.token, operate(event, self.registry, self))

    @property
    def now_s(self) -> float:
        """Return the time of the event at hand."""
        return self._runner.now_s

    @property
    def is_reducing(self) -> bool:
        """Return whether the state waits for the value of a reduction."""
        return self._runner.is_reducing

    @property
    def deadline_s(self) -> float | None:
        """Return when `TimePasses` may have a consequence although no message came."""
        if self._runner.is_reducing:
            return None
        times = [self._runner.deadline_s, *(call.deadline_s for call in self._calls.values())]
        return min((time_s for time_s in times if time_s is not None), default=None)

    def _tick(self, now_s: float) -> Steps:
        for call in list(self._calls.values()):
            yield self._conclude(call, now_s)

    # ------------------------------------------------------------ calls

    def _call(self, event: ProgramCall) -> Steps:
        """Start a call once the replicas have left those that the program gave up."""
        try:
            yield from await_departures(self, event.token, range(self.num_replicas))
        except StillRunning as error:
            yield ProgramRefused(event.token, error)
            return
        yield self._start(event)

    def _start(self, event: ProgramCall) -> list[CoordinatorAction]:
        """Call a function on all replicas; its end is a `Finish`."""
        self.calls_begun += 1
        call_id = self.calls_begun
        self._calls[call_id] = CallState(
            call_id,
            self.num_replicas,
            self.registry.specs,
            event.site,
            self.now_s,
            strict=self._strict,
            token=event.token,
        )
        self.registry.call_running = True
        self.registry.exchanges.begin(call_id)
        actions: list[CoordinatorAction] = [CallBegins(event.token, call_id)]
        for message in self._functions.use(event.function_id, event.function):
            actions += self._all(message)
        start: Start | None = None
        for i, own in enumerate(event.arguments):
            if start is None or start.arguments is not own:  # else one message does for both
                start = Start(call_id=call_id, function_id=event.function_id, arguments=own)
            actions.append(Send(i, start))
        return actions

    def _give_up(self, event: ProgramGivesUp) -> list[CoordinatorAction]:
        """Drop an operation; or a call, with a merge that waits for the value of a reduction."""
        self._runner.now_s = event.now_s
        self._runner.drop_operation(event.token)
        call = self._call_of(event.token)
        if call is None:
            return []
        self._runner.drop_reduction()
        why = f"the program raised {event.why}"
        return self._abandon(call.call_id, why, event.why, event.now_s, by_program=True)

    def _abandon(
        self,
        call_id: int,
        reason: str,
        because: str,
        now_s: float,
        *,
        by_program: bool = False,
        error: VarsimError | None = None,
    ) -> list[CoordinatorAction]:
        """End a call before its replicas do: they stop where they wait next.

        Args:
            reason: For the replicas.
            because: The same in a word or two, for errors about replicas that do not stop.
            error: For the program, if it waits on behalf of a replica.
        """
        call = self._calls.pop(call_id, None)
        if call is None:
            return []
        for late in call.stragglers(because, by_program=by_program, now_s=now_s):
            self.stragglers.add(call_id, late)
        self.registry.call_running = bool(self._calls)
        self.registry.distrust_local()
        error = error or ContextError(f"the call has ended meanwhile: {reason}")
        self.registry.exchanges.fail(call_id, error)
        return self._all(Abort(call_id=call_id, reason=reason))

    def _merged(self, event: MergeFunctionReturns) -> list[CoordinatorAction]:
        """Send every replica its slice of what a merge_call's function returned."""
        call = self._calls.get(event.call_id)
        if call is None:
            raise InvalidTransition(f"call {event.call_id} does not run")
        for participant in call.participants:
            call.resume(participant)
        return [
            Send(i, Merged(call_id=event.call_id, position=event.position, result=result))
            for i, result in enumerate(event.results)
        ]

    def _answered(self, event: HostCallDone) -> list[CoordinatorAction]:
        """Send a replica the result of its host call; it goes on."""
        call = self._calls.get(event.call_id)
        if call is None:
            return []  # it has failed meanwhile
        if call.in_service != event.replica_id:
            raise InvalidTransition(f"replica {event.replica_id} has no host call in service")
        call.answered(event.replica_id)
        answer = HostResult(call_id=event.call_id, result=event.result, failed=event.failed)
        return [Send(event.replica_id, answer), *self._next_host_call(call)]

    def statistics(self) -> tuple[VariableStatistics, ...]:
        """Return the accounts of all variables, in order of creation."""
        return self.registry.statistics()

    def stuck(self, token: int, now_at: Mapping[int, str], now_s: float) -> str:
        """Return what replicas do, a line each, for the error when nothing has moved for long.

        Args:
            token: Of what the program waits for; the replicas of a call are described.
            now_at: The lines at which replicas are now, as far as that is known.
        """
        call = self._call_of(token)
        lines = [] if call is None else call.stuck(now_at)
        late = self.stragglers.among(range(self.num_replicas))
        return "".join(f"\n{line}" for line in (*lines, *describe(late, now_at, now_s)))

    def busy(self, token: int) -> list[int]:
        """Return the replicas that run their functions now, as far as is known."""
        late = {one.replica_id for one in self.stragglers.among(range(self.num_replicas))}
        call = self._call_of(token)
        return sorted(late.union([] if call is None else call.running()))

    def _call_of(self, token: int) -> CallState | None:
        return next((call for call in self._calls.values() if call.token == token), None)

    # ------------------------------------------------------------ deferred writes

    @property
    def _innermost(self) -> CallState | None:
        return next(reversed(self._calls.values()), None)

    @property
    def in_service(self) -> int | None:
        """Return the replica for which the program does something now; None: for all of them."""
        call = self._innermost
        return None if call is None else call.in_service

    def go_on(self) -> Steps:
        """Do whatever can happen now, after a request for an exchange."""
        return self._go_on(self._innermost, self.now_s)

    # ------------------------------------------------------------ messages

    def _take(self, replica_id: int, message: Message, now_s: float) -> list[CoordinatorAction]:
        exchanges = self.registry.exchanges
        match message:
            case Contribution():  # the most frequent, and only of a call
                pass
            case Component():
                self.registry.component(replica_id, message)
                return []
            case Layout():
                self._plans.learn(replica_id, message)
                return []
            case DeltaReply():
                exchanges.take(replica_id, message)
                return self._runner.run(self._go_on(self._innermost, now_s))
            case Returned() | Raised():
                self.registry.take_report(replica_id, message.report)
                self.stragglers.left(replica_id, message.call_id)
            case Left():
                self.stragglers.left(replica_id, message.call_id)
                return []
        call = self._calls.get(getattr(message, "call_id", 0))
        if call is None:  # it has failed, and this replica did not know yet
            return []
        complete = self._take_in_call(call, replica_id, message, now_s)
        if complete:
            return self._runner.run(self._happens(call, complete, message, now_s))
        if isinstance(message, WriteCounts) or (
            isinstance(message, Contribution) and not call.doomed
        ):
            return []
        if exchanges.is_open:
            return self._runner.run(self._go_on(call, now_s))
        return self._proceed(call, now_s)

    def _happens(
        self,
        call: CallState,
        complete: Iterable[Collectives],
        message: Message,
        now_s: float,
    ) -> Steps:
        """Do what all replicas have come to; then what can happen after the message."""
        try:
            for collectives in complete:
                if isinstance(collectives.arrivals[0].message, Contribution):
                    yield from self.registry.merging.merge(
                        call.call_id, collectives, now_s, call.idle()
                    )
                    call.release(collectives)
                else:
                    yield self._collective(call, collectives)
        except ProtocolError:
            raise
        except VarsimError as error:
            yield self._fail(call, error, now_s)
            return
        if call.doomed or not isinstance(message, Contribution):
            yield from self._go_on(call, now_s)

    def _go_on(self, call: CallState | None, now_s: float) -> Steps:
        """Do whatever can happen now that did not depend on one message alone."""
        exchanges = self.registry.exchanges
        if exchanges.is_open:
            idle = range(self.num_replicas) if call is None else call.idle()
            try:
                yield from exchanges.advance(call, now_s, idle)
            except MismatchError as error:
                assert call is not None, "what replicas wrote in calls that ended well is alike"
                yield self._fail(call, error, now_s)
                return
        if call is not None:
            yield self._proceed(call, now_s)

    def _proceed(self, call: CallState, now_s: float) -> list[CoordinatorAction]:
        return [*self._next_host_call(call), *self._conclude(call, now_s)]

    def _take_in_call(
        self, call: CallState, replica_id: int, message: Message, now_s: float
    ) -> list[Collectives]:
        """Take a message of a call that runs; return the collectives that are complete now."""
        match message:
            case Contribution():
                plan = self._plans.plan(replica_id, message.layout_id)
                return call.arrive(replica_id, message, now_s, plan)
            case Returned() | Raised():
                call.end(replica_id, message, now_s)
            case AllReduce() | AllGather() | MergeCall():
                return call.arrive(replica_id, message, now_s)
            case Waiting():
                call.wait(replica_id, message)
            case WriteCounts():
                self.registry.exchanges.tell(replica_id, message)
            case SyncRequest():
                if self.registry.exchanges.request_sync(replica_id, message, now_s):
                    call.request_sync(replica_id, message)
            case HostCall():
                call.request_host_call(replica_id, message)
            case _:
                raise ProtocolError(f"the coordinator does not take {message.name} messages")
        return []

    def _collective(
        self, call: CallState, collectives: Collectives
    ) -> CoordinatorAction | list[CoordinatorAction]:
        first = collectives.arrivals[0].message
        if isinstance(first, MergeCall):  # its replicas wait until it is done
            messages = tuple(arrival.message for arrival in collectives.arrivals)
            return RunMerge(call.call_id, first.position, messages)  # type: ignore[arg-type]
        if isinstance(first, AllReduce):
            leaves = tuple(reduce.reduce(values, first.op) for values in _by_leaf(collectives))
        else:
            assert isinstance(first, AllGather)
            leaves = tuple(
                reduce.concatenate(values, first.axis) for values in _by_leaf(collectives)
            )
        call.release(collectives)
        return self._all(Reduced(call_id=call.call_id, position=first.position, leaves=leaves))

    # ------------------------------------------------------------ ends of calls

    def _next_host_call(self, call: CallState) -> list[CoordinatorAction]:
        host_call = call.next_host_call()
        return [] if host_call is None else [PerformHostCall(*host_call)]

    def _conclude(self, call: CallState, now_s: float) -> list[CoordinatorAction]:
        exchanges = self.registry.exchanges
        failure = call.failure(now_s, exchanging=exchanges.is_under_way)
        if isinstance(failure, MismatchError):
            return self._fail(call, failure, now_s)
        if failure is not None:
            reason, because = "another replica raised", f"replica {failure[0]} raised"
            aborts = self._abandon(call.call_id, reason, because, now_s)
            return [*aborts, self._finish(call, raised=failure)]
        error = exchanges.standstill(call) if call is self._innermost else None
        if call.finished:
            error = exchanges.end(call)
        if error is not None:
            return self._fail(call, error, now_s)
        if call.finished:
            del self._calls[call.call_id]
            self.registry.call_running = bool(self._calls)
            return [self._finish(call, returned=call.returned())]
        return []

    def _fail(self, call: CallState, error: VarsimError, now_s: float) -> list[CoordinatorAction]:
        aborts = self._abandon(call.call_id, str(error), type(error).__name__, now_s, error=error)
        return [*aborts, self._finish(call, error=error)]

    def _finish(
        self,
        call: CallState,
        *,
        returned: tuple[Returned, ...] = (),
        error: VarsimError | None = None,
        raised: tuple[int, Raised] | None = None,
    ) -> Finish:
        return Finish(
            call.token,
            call.call_id,
            returned=returned,
            reports=call.reports(),
            error=error,
            raised=raised,
            warnings=tuple(self._crossings.new(call)),
        )

    def validate(self) -> None:
        """Assert what must hold after every event."""
        for call in self._calls.values():
            call.validate()
        self.registry.validate()
        assert self.registry.call_running == bool(self._calls)


def _by_leaf(collectives: Collectives) -> Iterable[tuple[Array, ...]]:
    each = (arrival.message.leaves for arrival in collectives.arrivals)  # type: ignore[union-attr]
    return zip(*each, strict=True)
