"""What the coordinator knows of every variable: its mirror, its version and its account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from varsim.protocol.messages import (
    BY_PROGRAM,
    Commit,
    Component,
    Contribution,
    Create,
    Fetch,
    Forget,
    Message,
    Report,
)
from varsim.spec import Array, Context, Operation, VariableSpec
from varsim.sync import policy, reduce
from varsim.sync.actions import CoordinatorAction, Fetched, Send
from varsim.sync.call_state import Arrival
from varsim.sync.replica_state import check_shape
from varsim.sync.statistics import Account, VariableStatistics


@dataclass(slots=True)
class Tracked:
    """What the coordinator knows of one variable.

    `mirror` is what every component holds, as far as that is certain; None after something made
    them differ. While it is known, a cross-replica read needs no message, and a merge is sent as
    the value it leads to. While it is not, every replica applies the operation to its own.
    """

    account: Account
    mirror: Array | None
    versions: list[int]  # of every replica's component
    waited_until_s: dict[int, float] = field(default_factory=dict)  # by replica

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


class Ledger:
    """All variables of one cluster, as the coordinator sees them.

    `call_running` is set by `CoordinatorState`: what a running call did to variables that replicas
    write locally is only known at its end.
    """

    def __init__(self, num_replicas: int) -> None:
        self.num_replicas = num_replicas
        self.call_running = False
        self.specs: dict[int, VariableSpec] = {}
        self._tracked: dict[int, Tracked] = {}
        self._gone: list[Account] = []  # of variables that the program dropped
        self._next_request_id = 1
        self._fetches: dict[int, _Fetching] = {}

    def _all(self, message: Message) -> list[CoordinatorAction]:
        return [Send(i, message) for i in range(self.num_replicas)]

    def create(self, spec: VariableSpec, value: Array) -> list[CoordinatorAction]:
        """A new variable; every component starts at `value`, which nobody writes to any more."""
        self.specs[spec.variable_id] = spec
        value.setflags(write=False)
        self._tracked[spec.variable_id] = Tracked(Account(spec), value, [0] * self.num_replicas)
        return self._all(Create(spec=spec, value=value))

    def forget(self, variable_id: int) -> list[CoordinatorAction]:
        """The program dropped a variable; its account is kept."""
        tracked = self._tracked.pop(variable_id, None)
        if tracked is None:
            return []
        self._gone.append(tracked.account)
        if not self.call_running:  # an error of a running call may have to name it
            del self.specs[variable_id]
        return self._all(Forget(variable_ids=(variable_id,)))

    def mirror(self, variable_id: int) -> Array | None:
        """What every component of a variable holds, or None if they may differ.

        What a running call did to a variable that replicas write locally is known at its end.
        """
        tracked = self._tracked[variable_id]
        return None if self.call_running and not tracked.merges else tracked.mirror

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
        if same:
            return self._commit_all(tracked, operation, values[0], mirror, BY_PROGRAM)
        tracked.mirror = None
        return [self._commit(tracked, i, operation, value) for i, value in enumerate(values)]

    def write_component(
        self, variable_id: int, replica_id: int, operation: Operation, value: Array
    ) -> list[CoordinatorAction]:
        """The program writes one component; the others do not follow.

        Args:
            value: Of the variable's dtype, and of a shape that fits the component.
        """
        tracked = self._tracked[variable_id]
        tracked.account.writes += 1
        tracked.account.moved(1, value.nbytes)
        tracked.mirror = None
        return [self._commit(tracked, replica_id, operation, value)]

    def _commit(
        self,
        tracked: Tracked,
        replica_id: int,
        operation: Operation,
        value: Array,
        call_id: int = BY_PROGRAM,
    ) -> Send:
        value.setflags(write=False)  # it may be what several components hold
        tracked.versions[replica_id] += 1
        commit = Commit(
            call_id=call_id,
            variable_id=tracked.spec.variable_id,
            version=tracked.versions[replica_id],
            operation=operation,
            value=value,
        )
        return Send(replica_id, commit)

    def _commit_all(
        self,
        tracked: Tracked,
        operation: Operation,
        value: Array,
        mirror: Array | None,
        call_id: int,
    ) -> list[CoordinatorAction]:
        if mirror is not None:
            value = reduce.apply(operation, mirror, value)
            operation = Operation.ASSIGN
        tracked.mirror = value if operation is Operation.ASSIGN else None
        return [
            self._commit(tracked, i, operation, value, call_id) for i in range(self.num_replicas)
        ]

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

    def merge(
        self, call_id: int, parts: dict[int, Arrival], first: Contribution, now_s: float
    ) -> list[CoordinatorAction]:
        """All replicas have contributed to one write: agree on its value, and commit it.

        Raises:
            VariableError: The values do not fit; nothing has changed.
        """
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
        for replica_id, arrival in parts.items():
            since_s = max(arrival.at_s, tracked.waited_until_s.get(replica_id, 0.0))
            account.waited_s += now_s - since_s
            tracked.waited_until_s[replica_id] = now_s
        return self._commit_all(tracked, first.operation, agreed, mirror, call_id)

    def component(self, replica_id: int, message: Component) -> list[CoordinatorAction]:
        """A replica has sent the component that a fetch asked for."""
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

    def take_report(self, report: Report) -> None:
        """Counts what a replica saw during a call."""
        for variable_id, writes, reads in report.accesses:
            if variable_id in self._tracked:
                account = self._tracked[variable_id].account
                account.writes += writes
                account.reads += reads
        for variable_id in report.parted:
            if variable_id in self._tracked:
                self._tracked[variable_id].mirror = None

    def distrust_local(self) -> None:
        """A call ended without a report: what replicas write locally may have changed."""
        for tracked in self._tracked.values():
            if not tracked.merges:
                tracked.mirror = None

    def validate(self) -> None:
        """Asserts what must hold after every event."""
        for variable_id, tracked in self._tracked.items():
            assert tracked.spec is self.specs[variable_id]
            assert tracked.mirror is None or tracked.mirror.dtype == tracked.spec.dtype
