"""What the coordinator decides: the pure half of the process that the program runs in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, count

from varsim.errors import ContextError, MismatchError, ProtocolError, VarsimError
from varsim.protocol.messages import (
    Abort,
    AllGather,
    AllReduce,
    Component,
    Contribution,
    Deferred,
    Define,
    Demand,
    Forget,
    HostCall,
    HostResult,
    Layout,
    Left,
    MergeCall,
    Merged,
    Message,
    Payload,
    Raised,
    Reduced,
    Returned,
    Start,
    Tally,
    Waiting,
)
from varsim.spec import Array, Operation
from varsim.sync import mismatch, reduce
from varsim.sync.actions import (
    CoordinatorAction,
    Finish,
    PerformHostCall,
    Reduce,
    RunMerge,
    Send,
    Steps,
)
from varsim.sync.call_site import UNKNOWN, CallSite
from varsim.sync.call_state import CallState
from varsim.sync.events import ReductionDone
from varsim.sync.ledger import Ledger
from varsim.sync.participant import Met, Plans
from varsim.sync.stragglers import Stragglers, describe

MAX_FUNCTIONS = 256
"""How many functions a worker remembers; the one not used for longest is forgotten."""


@dataclass(frozen=True, slots=True)
class _Suspended:
    """What is left to do about an event once the value of a reduction has come."""

    token: int
    steps: Steps


class CoordinatorState:
    """Decides, for a whole cluster, what every message and every step of the program means.

    The shell calls `handle` with each message and the time at which it came, `start`, … for the
    program, and the methods of `ledger` for what the program does to variables itself; it does
    what the returned actions say, in order. It answers a `Reduce` with `reduced`. Until then the
    state is in the middle of an event: messages wait in a backlog, and the program may only give
    up a call.

    Args:
        strict: Refuse what is likely a mistake: collectives without a name that would meet although
            they stand in different lines. Otherwise each pair of lines is warned of once.
    """

    def __init__(self, num_replicas: int, *, strict: bool = False) -> None:
        self.num_replicas = num_replicas
        self._strict = strict
        self.ledger = Ledger(num_replicas, count(1))
        self._suspended: _Suspended | None = None
        self._backlog: deque[tuple[int, Message, float]] = deque()
        self._plans = Plans(num_replicas, self.ledger.specs)
        self._calls: dict[int, CallState] = {}  # innermost last
        self._next_call_id = 1
        self.stragglers = Stragglers()
        self._functions: dict[str, None] = {}  # what the workers remember, least recent first
        self._crossed: set[frozenset[str]] = set()  # pairs of lines that were warned of

    def _all(self, message: Message) -> list[CoordinatorAction]:
        return [Send(i, message) for i in range(self.num_replicas)]

    # ------------------------------------------------------------ calls

    def knows_function(self, function_id: str) -> bool:
        """Whether every worker has been sent this function and remembers it."""
        return function_id in self._functions

    @property
    def calls(self) -> int:
        """How many have been started."""
        return self._next_call_id - 1

    def start(
        self,
        function_id: str,
        function: Payload,
        arguments: Sequence[Payload],
        site: CallSite = UNKNOWN,
        now_s: float = 0.0,
    ) -> tuple[int, list[CoordinatorAction]]:
        """Calls a function on all replicas, each with its arguments; ends in a `Finish`."""
        call_id = self._next_call_id
        self._next_call_id += 1
        specs, strict = self.ledger.specs, self._strict
        self._calls[call_id] = CallState(
            call_id, self.num_replicas, specs, site, now_s, strict=strict
        )
        self.ledger.call_running = True
        self.ledger.exchanges.begin(call_id)
        actions: list[CoordinatorAction] = []
        if function_id not in self._functions:
            actions += self._all(Define(function_id=function_id, function=function))
        self._functions.pop(function_id, None)
        self._functions[function_id] = None
        if len(self._functions) > MAX_FUNCTIONS:
            oldest = next(iter(self._functions))
            del self._functions[oldest]
            actions += self._all(Forget(function_ids=(oldest,)))
        start: Start | None = None
        for i, own in enumerate(arguments):
            if start is None or start.arguments is not own:  # else one message does for both
                start = Start(call_id=call_id, function_id=function_id, arguments=own)
            actions.append(Send(i, start))
        return call_id, actions

    def give_up(self, call_id: int, why: str, now_s: float) -> list[CoordinatorAction]:
        """The program gives up a call, by an interrupt or a time-out.

        A merge that waits for the value of a reduction does not happen.
        """
        if self._suspended is not None:
            self._suspended.steps.close()
            self._suspended = None
        actions = self._abandon(call_id, f"the program raised {why}", why, now_s, by_program=True)
        return [*actions, *self._take_backlog()]

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
        """A call is over: its replicas stop where they wait next.

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
        self.ledger.call_running = bool(self._calls)
        self.ledger.distrust_local()
        error = error or ContextError(f"the call has ended meanwhile: {reason}")
        unanswered = self.ledger.exchanges.fail(call_id, error)
        return [*self._all(Abort(call_id=call_id, reason=reason)), *unanswered]

    def merged(
        self, call_id: int, index: int, results: Sequence[Payload]
    ) -> list[CoordinatorAction]:
        """A merge_call's function has returned; every replica gets its slice."""
        call = self._calls[call_id]
        for participant in call.participants:
            call.resume(participant)
        return [
            Send(i, Merged(call_id=call_id, index=index, result=result))
            for i, result in enumerate(results)
        ]

    def answered(
        self, call_id: int, replica_id: int, result: Payload, *, failed: bool
    ) -> list[CoordinatorAction]:
        """An ask has been answered; the replica goes on."""
        call = self._calls.get(call_id)
        if call is None:
            return []  # it has failed meanwhile
        call.answered(replica_id)
        answer = HostResult(call_id=call_id, result=result, failed=failed)
        return [Send(replica_id, answer), *self._next_ask(call)]

    def stuck(self, call_id: int | None, now_at: Mapping[int, str], now_s: float) -> str:
        """What replicas do, a line each, for the error when nothing has moved for long.

        Args:
            call_id: Of a call that the program waits for; None: it waits for an answer.
            now_at: The lines at which replicas are now, as far as that is known.
        """
        lines = [] if call_id is None else self._calls[call_id].stuck(now_at)
        late = self.stragglers.among(range(self.num_replicas))
        return "".join(f"\n{line}" for line in (*lines, *describe(late, now_at, now_s)))

    def busy(self, call_id: int | None) -> list[int]:
        """The replicas that run their functions now, as far as is known: those of `stuck`."""
        late = {one.replica_id for one in self.stragglers.among(range(self.num_replicas))}
        running = [] if call_id is None else self._calls[call_id].running()
        return sorted(late.union(running))

    @property
    def deadline_s(self) -> float | None:
        """When `tick` may have something to say although no message came."""
        if self._suspended is not None:
            return None
        deadlines = [c.deadline_s for c in self._calls.values() if c.deadline_s is not None]
        return min(deadlines, default=None)

    def tick(self, now_s: float) -> list[CoordinatorAction]:
        """Time has passed."""
        actions: list[CoordinatorAction] = []
        for call in list(self._calls.values()):
            actions += self._conclude(call, now_s)
        return actions

    # ------------------------------------------------------------ deferred writes

    @property
    def _innermost(self) -> CallState | None:
        return next(reversed(self._calls.values()), None)

    @property
    def _asker(self) -> int | None:
        """The replica for which the program does something now; None: for all of them."""
        call = self._innermost
        return None if call is None else call.in_service

    def exchange(
        self, variable_id: int, now_s: float
    ) -> tuple[int | None, list[CoordinatorAction]]:
        """The program is about to need a variable: what replicas wrote to it is exchanged.

        Returns:
            What an `Exchanged` will name when it is done; None: nothing is outstanding.
        Raises:
            MismatchError: The replicas have not written it alike.
        """
        request_id = self.ledger.exchanges.request(variable_id, self._asker, now_s)
        if request_id is None:
            return None, []
        return request_id, self._advance(self._go_on(self._innermost, now_s))

    def overwrites(self, variable_id: int, operation: Operation, *, same: bool) -> bool:
        """Whether a write of the program makes outstanding deferred writes worthless."""
        deferred = self.ledger.exchanges.defers(variable_id)
        return deferred and same and operation is Operation.ASSIGN and self._asker is None

    # ------------------------------------------------------------ messages

    def handle(self, replica_id: int, message: Message, now_s: float) -> list[CoordinatorAction]:
        """Take one message of a replica that came at `now_s`, in seconds of any steady clock."""
        if self._suspended is not None:
            self._backlog.append((replica_id, message, now_s))
            return []
        return self._advance(self._take(replica_id, message, now_s))

    def reduced(self, done: ReductionDone) -> list[CoordinatorAction]:
        """Take the value of a reduction, unless its call was given up; then the backlog."""
        if self._suspended is None or self._suspended.token != done.token:
            return []
        actions = self._advance(self._suspended.steps, done.value)
        return [*actions, *self._take_backlog()] if self._backlog else actions

    def _take_backlog(self) -> list[CoordinatorAction]:
        actions: list[CoordinatorAction] = []
        while self._backlog and self._suspended is None:
            actions += self._advance(self._take(*self._backlog.popleft()))
        return actions

    def _advance(self, steps: Steps, value: Array | None = None) -> list[CoordinatorAction]:
        """Return the next actions of an event, up to the next reduction or its end."""
        actions: list[CoordinatorAction] = []
        self._suspended = None
        try:
            action = next(steps) if value is None else steps.send(value)
            while not isinstance(action, Reduce):
                actions.append(action)
                action = next(steps)
        except StopIteration:
            return actions
        self._suspended = _Suspended(action.token, steps)
        actions.append(action)
        return actions

    def _take(self, replica_id: int, message: Message, now_s: float) -> Steps:
        match message:
            case Component():
                yield from self.ledger.component(replica_id, message)
                return
            case Layout():
                self._plans.learn(replica_id, message)
                return
            case Deferred():
                self.ledger.exchanges.take(replica_id, message)
                yield from self._go_on(self._innermost, now_s)
                return
            case Returned() | Raised():
                self.ledger.take_report(replica_id, message.report)
                self.stragglers.left(replica_id, message.call_id)
            case Left():
                self.stragglers.left(replica_id, message.call_id)
                return
        call = self._calls.get(getattr(message, "call_id", 0))
        if call is None:  # it has failed, and this replica did not know yet
            return
        try:
            yield from self._take_in_call(call, replica_id, message, now_s)
        except ProtocolError:
            raise
        except VarsimError as error:
            yield from self._fail(call, error, now_s)
            return
        if isinstance(message, Tally) or (isinstance(message, Contribution) and not call.doomed):
            return
        yield from self._go_on(call, now_s)

    def _go_on(self, call: CallState | None, now_s: float) -> Steps:
        """Do whatever can happen now that did not depend on one message alone."""
        exchanges = self.ledger.exchanges
        if exchanges.is_open:
            idle = range(self.num_replicas) if call is None else call.idle()
            try:
                yield from exchanges.advance(call, now_s, idle)
            except MismatchError as error:
                assert call is not None, "what replicas wrote in calls that ended well is alike"
                yield from self._fail(call, error, now_s)
                return
        if call is not None:
            yield from self._next_ask(call)
            yield from self._conclude(call, now_s)

    def _take_in_call(
        self, call: CallState, replica_id: int, message: Message, now_s: float
    ) -> Steps:
        match message:
            case Contribution():
                plan = self._plans.plan(replica_id, message.layout_id)
                for met in call.arrive(replica_id, message, now_s, plan):
                    yield from self._happen(call, met, now_s)
            case AllReduce() | AllGather() | MergeCall():
                for met in call.arrive(replica_id, message, now_s):
                    yield from self._happen(call, met, now_s)
            case Waiting():
                call.wait(replica_id, message)
            case Tally():
                self.ledger.exchanges.tell(replica_id, message)
            case Demand():
                if self.ledger.exchanges.demand(replica_id, message, now_s):
                    call.demand(replica_id, message)
            case HostCall():
                call.ask(replica_id, message)
            case Returned() | Raised():
                call.end(replica_id, message, now_s)
            case _:
                raise ProtocolError(f"the coordinator does not take {message.name} messages")

    def _happen(self, call: CallState, met: Met, now_s: float) -> Steps:
        first = met.parts[0].meeting
        match first:
            case Contribution():
                yield from self.ledger.merging.merge(call.call_id, met, now_s, call.idle())
            case MergeCall():
                meetings = tuple(part.meeting for part in met.parts)
                yield RunMerge(call.call_id, first.index, meetings)  # type: ignore[arg-type]
                return  # its replicas wait until it is done
            case AllReduce():
                leaves = self._by_leaf(met)
                reduced = tuple(reduce.reduce(values, first.op) for values in leaves)
                yield from self._reply(call, first.index, reduced)
            case AllGather():
                leaves = self._by_leaf(met)
                gathered = tuple(reduce.concatenate(values, first.axis) for values in leaves)
                yield from self._reply(call, first.index, gathered)
        call.release(met)

    def _by_leaf(self, met: Met) -> Iterable[tuple[Array, ...]]:
        return zip(
            *(part.meeting.leaves for part in met.parts),  # type: ignore[union-attr]
            strict=True,
        )

    def _reply(
        self, call: CallState, index: int, leaves: tuple[Array, ...]
    ) -> list[CoordinatorAction]:
        return self._all(Reduced(call_id=call.call_id, index=index, leaves=leaves))

    # ------------------------------------------------------------ ends of calls

    def _next_ask(self, call: CallState) -> list[CoordinatorAction]:
        ask = call.next_ask()
        return [] if ask is None else [PerformHostCall(*ask)]

    def _conclude(self, call: CallState, now_s: float) -> list[CoordinatorAction]:
        exchanges = self.ledger.exchanges
        failure = call.failure(now_s, exchanging=exchanges.is_under_way)
        if isinstance(failure, MismatchError):
            return self._fail(call, failure, now_s)
        if failure is not None:
            because = f"replica {failure[0]} raised"
            aborts = self._abandon(call.call_id, "another replica raised", because, now_s)
            return [*aborts, self._finish(call, raised=failure)]
        error = exchanges.standstill(call) if call is self._innermost else None
        if call.finished:
            error = exchanges.end(call)
        if error is not None:
            return self._fail(call, error, now_s)
        if call.finished:
            del self._calls[call.call_id]
            self.ledger.call_running = bool(self._calls)
            return [self._finish(call, returned=call.returned())]
        return []

    def _fail(self, call: CallState, error: VarsimError, now_s: float) -> list[CoordinatorAction]:
        because = type(error).__name__
        aborts = self._abandon(call.call_id, str(error), because, now_s, error=error)
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
            call.call_id,
            returned=returned,
            reports=call.reports(),
            error=error,
            raised=raised,
            warnings=tuple(self._warnings(call)),
        )

    def _warnings(self, call: CallState) -> Iterator[tuple[str, str]]:
        """Of the unnamed collectives that met, each pair of lines once."""
        for points in call.crossings():
            pairs = {
                frozenset(pair)
                for pair in combinations(dict.fromkeys(one.place for one in points), 2)
            }
            if not pairs <= self._crossed:
                self._crossed |= pairs
                yield mismatch.crossing(points)

    def validate(self) -> None:
        """Asserts what must hold after every event."""
        for call in self._calls.values():
            call.validate()
        self.ledger.validate()
        assert self.ledger.call_running == bool(self._calls)
