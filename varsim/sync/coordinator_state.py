"""What the coordinator decides: the pure half of the process that the program runs in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from varsim.errors import ProtocolError, VarsimError
from varsim.protocol.messages import (
    Abort,
    AllGather,
    AllReduce,
    Answered,
    Ask,
    Commit,
    Component,
    Contribution,
    Create,
    Define,
    Fetch,
    Forget,
    MergeCall,
    Merged,
    Message,
    Payload,
    Raised,
    Reduced,
    Report,
    Returned,
    Start,
    Waiting,
)
from varsim.spec import Array, Context, Operation, VariableSpec
from varsim.sync import policy, reduce
from varsim.sync.actions import AnswerAsk, CoordinatorAction, Fetched, Finish, RunMerge, Send
from varsim.sync.call_state import Arrival, CallState
from varsim.sync.replica_state import check_shape
from varsim.sync.statistics import Account, VariableStatistics

MAX_FUNCTIONS = 256
"""How many functions a worker remembers; the one not used for longest is forgotten."""


@dataclass(slots=True)
class Tracked:
    """What the coordinator knows of one variable.

    `mirror` is what every component holds, as far as that is certain; None after something made
    them differ. While it is known, a cross-replica read needs no message, and a merge is sent as
    the value it leads to. While it is not, every replica applies the operation to its own.
    """

    account: Account
    mirror: Array | None
    version: int = 0

    @property
    def spec(self) -> VariableSpec:
        """The variable's spec."""
        return self.account.spec

    @property
    def merges(self) -> bool:
        """Whether replicas only change it together."""
        return policy.policy(self.spec, Context.REPLICA, Operation.ASSIGN) == policy.Merge()


@dataclass(slots=True)
class _Fetching:
    variable_id: int
    missing: dict[int, int]  # replica_id → place in `values`
    values: list[Array | None] = field(default_factory=list)


class CoordinatorState:
    """Decides, for a whole cluster, what every message and every step of the program means.

    The shell calls `handle` with each message and the time at which it came, and `create`,
    `write`, `fetch`, `start`, … for the program; it does what the returned actions say, in order.
    """

    def __init__(self, num_replicas: int) -> None:
        self.num_replicas = num_replicas
        self.specs: dict[int, VariableSpec] = {}
        self._tracked: dict[int, Tracked] = {}
        self._gone: list[Account] = []  # of variables that the program dropped
        self._calls: dict[int, CallState] = {}  # innermost last
        self._next_call_id = 1
        self._next_request_id = 1
        self._fetches: dict[int, _Fetching] = {}
        self._functions: dict[str, None] = {}  # what the workers remember, least recent first

    def _all(self, message: Message) -> list[CoordinatorAction]:
        return [Send(i, message) for i in range(self.num_replicas)]

    # ------------------------------------------------------------ variables

    def create(self, spec: VariableSpec, value: Array) -> list[CoordinatorAction]:
        """A new variable; every component starts at `value`, which nobody writes to any more."""
        self.specs[spec.variable_id] = spec
        self._tracked[spec.variable_id] = Tracked(Account(spec), value)
        return self._all(Create(spec=spec, value=value))

    def forget(self, variable_id: int) -> list[CoordinatorAction]:
        """The program dropped a variable; its account is kept."""
        tracked = self._tracked.pop(variable_id, None)
        if tracked is None:
            return []
        self._gone.append(tracked.account)
        return self._all(Forget(variable_ids=(variable_id,)))

    def mirror(self, variable_id: int) -> Array | None:
        """What every component of a variable holds, or None if they may differ.

        What a running call did to a variable that replicas write locally is known at its end.
        """
        tracked = self._tracked[variable_id]
        return None if self._calls and not tracked.merges else tracked.mirror

    def count_read(self, variable_id: int) -> None:
        """The program has read a variable."""
        self._tracked[variable_id].account.reads += 1

    def write(
        self, variable_id: int, operation: Operation, values: Sequence[Array], *, same: bool
    ) -> list[CoordinatorAction]:
        """The program writes all components of a variable.

        Args:
            values: One per replica, of the variable's dtype.
            same: All of them are the same array.
        Raises:
            ShapeError: A value does not fit; nothing has changed.
        """
        tracked = self._tracked[variable_id]
        mirror = self.mirror(variable_id)
        for value in values[:1] if same else values:
            check_shape(tracked.spec, operation, value if mirror is None else mirror, value)
        tracked.account.writes += 1
        tracked.account.moved(self.num_replicas, sum(value.nbytes for value in values))
        tracked.version += 1
        if same:
            return self._commit_all(tracked, operation, values[0], mirror)
        tracked.mirror = None
        return [
            Send(i, self._commit(tracked, operation, value)) for i, value in enumerate(values)
        ]

    def _commit(self, tracked: Tracked, operation: Operation, value: Array) -> Commit:
        return Commit(
            variable_id=tracked.spec.variable_id,
            version=tracked.version,
            operation=operation,
            value=value,
        )

    def _commit_all(
        self, tracked: Tracked, operation: Operation, value: Array, mirror: Array | None
    ) -> list[CoordinatorAction]:
        if mirror is not None:
            value = reduce.apply(operation, mirror, value)
            operation = Operation.ASSIGN
        tracked.mirror = value if operation is Operation.ASSIGN else None
        return self._all(self._commit(tracked, operation, value))

    def diverge(self, variable_id: int) -> None:
        """Something wrote single components; the mirror is not known any more."""
        self._tracked[variable_id].mirror = None

    def fetch(
        self, variable_id: int, replica_ids: Sequence[int]
    ) -> tuple[int, list[CoordinatorAction]]:
        """Asks replicas for their components. Answered by a `Fetched` with the returned number."""
        request_id = self._next_request_id
        self._next_request_id += 1
        missing = {replica_id: place for place, replica_id in enumerate(replica_ids)}
        self._fetches[request_id] = _Fetching(variable_id, missing, [None] * len(missing))
        self._tracked[variable_id].account.moved(2 * len(missing), 0)
        ask = Fetch(request_id=request_id, variable_id=variable_id)
        return request_id, [Send(replica_id, ask) for replica_id in replica_ids]

    def statistics(self) -> tuple[VariableStatistics, ...]:
        """The accounts of all variables, in order of creation."""
        accounts = [*self._gone, *(tracked.account for tracked in self._tracked.values())]
        accounts.sort(key=lambda account: account.spec.variable_id)
        return tuple(account.statistics() for account in accounts)

    # ------------------------------------------------------------ calls

    def knows_function(self, function_id: str) -> bool:
        """Whether every worker has been sent this function and remembers it."""
        return function_id in self._functions

    def start(
        self, function_id: str, function: Payload, arguments: Sequence[Payload]
    ) -> tuple[int, list[CoordinatorAction]]:
        """Calls a function on all replicas, each with its arguments; ends in a `Finish`."""
        call_id = self._next_call_id
        self._next_call_id += 1
        self._calls[call_id] = CallState(call_id, self.num_replicas)
        actions: list[CoordinatorAction] = []
        if function_id not in self._functions:
            actions += self._all(Define(function_id=function_id, function=function))
        self._functions.pop(function_id, None)
        self._functions[function_id] = None
        if len(self._functions) > MAX_FUNCTIONS:
            oldest = next(iter(self._functions))
            del self._functions[oldest]
            actions += self._all(Forget(function_ids=(oldest,)))
        actions += [
            Send(i, Start(call_id=call_id, function_id=function_id, arguments=arguments[i]))
            for i in range(self.num_replicas)
        ]
        return call_id, actions

    def abandon(self, call_id: int, reason: str) -> list[CoordinatorAction]:
        """A call is given up: its replicas stop where they wait next."""
        if self._calls.pop(call_id, None) is None:
            return []
        for tracked in self._tracked.values():
            if not tracked.merges:  # no report will tell what became of it
                tracked.mirror = None
        return self._all(Abort(call_id=call_id, reason=reason))

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
        call = self._calls[call_id]
        call.resume(call.participants[replica_id])
        answer = Answered(call_id=call_id, result=result, failed=failed)
        return [Send(replica_id, answer), *self._next_ask(call)]

    def stuck(self, call_id: int) -> str:
        """Who waits where in a call, for the error when nothing has moved for long."""
        return self._calls[call_id].stuck(self.specs)

    @property
    def deadline_s(self) -> float | None:
        """When `tick` may have something to say although no message came."""
        deadlines = [c.deadline_s for c in self._calls.values() if c.deadline_s is not None]
        return min(deadlines, default=None)

    def tick(self, now_s: float) -> list[CoordinatorAction]:
        """Time has passed."""
        actions: list[CoordinatorAction] = []
        for call in list(self._calls.values()):
            actions += self._conclude(call, now_s)
        return actions

    # ------------------------------------------------------------ messages

    def handle(self, replica_id: int, message: Message, now_s: float) -> list[CoordinatorAction]:
        """Takes one message of a replica that came at `now_s`, in seconds of any steady clock."""
        if isinstance(message, Component):
            return self._component(replica_id, message)
        call = self._calls.get(getattr(message, "call_id", 0))
        if call is None:  # it has failed, and this replica did not know yet
            if isinstance(message, Returned | Raised):
                self._take_report(message.report)
            return []
        actions: list[CoordinatorAction] = []
        try:
            match message:
                case Contribution() | AllReduce() | AllGather() | MergeCall():
                    parts = call.arrive(replica_id, message, self.specs, now_s)
                    if parts is not None:
                        actions += self._meet(call, parts, now_s)
                case Waiting():
                    call.wait(replica_id, message)
                case Ask():
                    call.ask(replica_id, message)
                case Returned() | Raised():
                    self._take_report(message.report)
                    call.end(replica_id, message, self.specs, now_s)
                case _:
                    raise ProtocolError(f"the coordinator does not take {message.name} messages")
        except ProtocolError:
            raise
        except VarsimError as error:
            return [*actions, *self._fail(call, error)]
        if isinstance(message, Contribution):
            return actions
        return [*actions, *self._next_ask(call), *self._conclude(call, now_s)]

    def _meet(
        self, call: CallState, parts: dict[int, Arrival], now_s: float
    ) -> list[CoordinatorAction]:
        first = parts[0].meeting
        actions: list[CoordinatorAction]
        match first:
            case Contribution():
                actions = self._merge(parts, first, now_s)
            case MergeCall():
                meetings = tuple(parts[i].meeting for i in range(self.num_replicas))
                return [RunMerge(call.call_id, first.index, meetings)]  # type: ignore[arg-type]
            case AllReduce():
                leaves = self._by_leaf(parts)
                reduced = tuple(reduce.reduce(values, first.op) for values in leaves)
                actions = self._reply(call, first.index, reduced)
            case AllGather():
                leaves = self._by_leaf(parts)
                gathered = tuple(reduce.concatenate(values, first.axis) for values in leaves)
                actions = self._reply(call, first.index, gathered)
        call.release(parts)
        return actions

    def _by_leaf(self, parts: dict[int, Arrival]) -> Iterable[tuple[Array, ...]]:
        return zip(
            *(parts[i].meeting.leaves for i in range(self.num_replicas)),  # type: ignore[union-attr]
            strict=True,
        )

    def _reply(
        self, call: CallState, index: int, leaves: tuple[Array, ...]
    ) -> list[CoordinatorAction]:
        return self._all(Reduced(call_id=call.call_id, index=index, leaves=leaves))

    def _merge(
        self, parts: dict[int, Arrival], first: Contribution, now_s: float
    ) -> list[CoordinatorAction]:
        """All replicas have contributed to one write: agree on its value, and commit it."""
        tracked = self._tracked[first.variable_id]
        values = []
        for i in range(self.num_replicas):
            contribution = parts[i].meeting
            assert isinstance(contribution, Contribution)
            if contribution.value is not None:
                values.append(contribution.value)
        agreed = reduce.aggregate(values, tracked.spec.aggregation)
        mirror = self.mirror(first.variable_id)
        if mirror is not None:
            check_shape(tracked.spec, first.operation, mirror, agreed)
        account = tracked.account
        account.merges += 1
        account.moved(
            2 * self.num_replicas,
            sum(value.nbytes for value in values) + self.num_replicas * agreed.nbytes,
        )
        account.waited_s += sum(now_s - arrival.at_s for arrival in parts.values())
        tracked.version += 1
        return self._commit_all(tracked, first.operation, agreed, mirror)

    def _component(self, replica_id: int, message: Component) -> list[CoordinatorAction]:
        fetching = self._fetches.get(message.request_id)
        if fetching is None or replica_id not in fetching.missing:
            return []  # of a fetch that was given up
        fetching.values[fetching.missing.pop(replica_id)] = message.value
        if message.variable_id in self._tracked:
            self._tracked[message.variable_id].account.moved(0, message.value.nbytes)
        if fetching.missing:
            return []
        del self._fetches[message.request_id]
        values = tuple(value for value in fetching.values if value is not None)
        return [Fetched(message.request_id, values)]

    def _take_report(self, report: Report) -> None:
        for variable_id, writes, reads in report.accesses:
            if variable_id in self._tracked:
                account = self._tracked[variable_id].account
                account.writes += writes
                account.reads += reads
        for variable_id in report.parted:
            if variable_id in self._tracked:
                self._tracked[variable_id].mirror = None

    # ------------------------------------------------------------ ends of calls

    def _next_ask(self, call: CallState) -> list[CoordinatorAction]:
        ask = call.next_ask()
        return [] if ask is None else [AnswerAsk(*ask)]

    def _conclude(self, call: CallState, now_s: float) -> list[CoordinatorAction]:
        failure = call.failure(now_s)
        if failure is not None:
            aborts = self.abandon(call.call_id, "another replica raised")
            return [*aborts, Finish(call.call_id, raised=failure)]
        if call.finished:
            del self._calls[call.call_id]
            return [Finish(call.call_id, returned=call.returned())]
        return []

    def _fail(self, call: CallState, error: VarsimError) -> list[CoordinatorAction]:
        return [*self.abandon(call.call_id, str(error)), Finish(call.call_id, error=error)]

    def validate(self) -> None:
        """Asserts what must hold after every event."""
        for call in self._calls.values():
            call.validate()
        for variable_id, tracked in self._tracked.items():
            assert tracked.spec is self.specs[variable_id]
            assert tracked.mirror is None or tracked.mirror.dtype == tracked.spec.dtype
