"""Apply the program's operations and the replicas' reports to the variables of a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from varsim.errors import ProtocolError, VarsimError, WorkerLost
from varsim.protocol.messages import (
    OF_DEFERRED,
    Component,
    Create,
    Fetch,
    FetchPolicyState,
    Forget,
    Message,
    Report,
    SetPolicyState,
    ShownPolicyState,
)
from varsim.spec import (
    Array,
    NamedArrays,
    Operand,
    Operation,
    Rows,
    VariableSpec,
)
from varsim.sync import policies, reduce
from varsim.sync.actions import CoordinatorAction, Send
from varsim.sync.bounded_copies import BoundedCopies
from varsim.sync.components import check_shape
from varsim.sync.coordinator_door import check_component
from varsim.sync.coordinator_variables import CoordinatorVariable, CoordinatorVariables
from varsim.sync.exchanges import Exchanges
from varsim.sync.losses import Losses
from varsim.sync.merging import Merging
from varsim.sync.one_sided import OneSided, SharedValues
from varsim.sync.replica_door import check_state, named
from varsim.sync.statistics import Account, VariableStatistics
from varsim.sync.waits import Request, Wait


@dataclass(slots=True)
class _Fetching:
    variable_id: int
    missing: dict[int, int]  # replica_id → index in `values`
    asks_for: type[Component | ShownPolicyState]
    keep: bool  # whether to store the fetched components, which stay valid until the next write
    request: Request
    asked_s: float
    values: list[Any] = field(default_factory=list)  # components, or what policies keep beside them


class VariableRegistry:
    """All variables of one cluster, as the coordinator knows them.

    `RunningCalls` sets `call_running`. While a call runs, the coordinator does not know the
    local writes of the call's replicas. The replicas report these writes at the end of the call.
    """

    def __init__(self, num_replicas: int, tokens: Iterator[int]) -> None:
        self.num_replicas = num_replicas
        self.losses = Losses(num_replicas)
        self.call_running = False
        self.specs: dict[int, VariableSpec] = {}
        self._variables = CoordinatorVariables(num_replicas)
        self.one_sided = OneSided(num_replicas)
        self.merging = Merging(self._variables, self.one_sided, tokens)
        self.exchanges = Exchanges(self._variables, self.specs, tokens)
        self.bounded = BoundedCopies(self._variables)
        self._gone: list[Account] = []  # the accounts of variables that the program dropped
        self._next_request_id = 1
        self._fetches: dict[int, _Fetching] = {}

    def _all(self, message: Message) -> list[CoordinatorAction]:
        return [Send(i, message) for i in self.losses.survivors]

    def create(
        self,
        spec: VariableSpec,
        value: Array,
        now_s: float = 0.0,
        shared: SharedValues | None = None,
    ) -> list[CoordinatorAction]:
        """Create a variable. Every component gets `value`, which must not change afterwards.

        Args:
            shared: What was shared of the variable in the last incarnation.
        Raises:
            WorkerLost: A replica is lost, so the variable cannot have all components.
        """
        if self.losses:
            raise self.losses.error()
        self.specs[spec.variable_id] = spec
        self._variables.add(spec, value)
        if policies.defers(spec):
            self.exchanges.add(spec.variable_id)
        bound = policies.bound_of(spec)
        if bound is not None:
            self.bounded.add(spec.variable_id, bound)
        if policies.has_shared_values(spec):
            account = self._variables.by_id[spec.variable_id].account
            self.one_sided.add(spec.variable_id, account, value, now_s, shared)
        return self._all(Create(spec=spec, value=value))

    def forget(self, variable_id: int) -> list[CoordinatorAction]:
        """Remove a variable that the program has dropped; keep its account for the statistics."""
        variable = self._variables.remove(variable_id)
        if variable is None:
            return []
        self._gone.append(variable.account)
        self.exchanges.forget(variable_id)
        self.one_sided.forget(variable_id)
        self.bounded.forget(variable_id)
        if not self.call_running:  # an error of a running call may need the variable's name
            del self.specs[variable_id]
        return self._all(Forget(variable_ids=(variable_id,)))

    @property
    def kept_specs(self) -> list[VariableSpec]:
        """Return the specs of the variables that the program has not dropped."""
        return [variable.spec for variable in self._variables.by_id.values()]

    def call_begins(self) -> None:
        """Record that a call runs. Components that were requested before it are not stored.

        The program may have given up such a request, and the call may change the components before
        the answer arrives.
        """
        self.call_running = True
        for fetching in self._fetches.values():
            fetching.keep = False

    def mirror(self, variable_id: int) -> Array | None:
        """Return the value of all components of a variable; None if the components may differ."""
        variable = self._variables.by_id[variable_id]
        return None if self._is_uncertain(variable) else variable.mirror

    def _is_uncertain(self, variable: CoordinatorVariable) -> bool:
        """Return whether a running call may have written components that are not reported yet."""
        return self.call_running and not variable.merges

    def version(self, variable_id: int, replica_id: int | None) -> int:
        """Return the version of a replica's component; for None, the largest version."""
        variable = self._variables.by_id[variable_id]
        if replica_id is not None:
            return variable.version(replica_id)
        return max(variable.version(i) for i in range(self.num_replicas))

    def count_read(self, variable_id: int) -> None:
        """Count a read by the program."""
        self._variables.by_id[variable_id].account.reads += 1

    def write(
        self, variable_id: int, operation: Operation, values: Sequence[Array], *, same: bool
    ) -> list[CoordinatorAction]:
        """Write all components of a variable for the program.

        Args:
            values: One array per replica, of the variable's dtype.
            same: Whether all values are the same array.
        Raises:
            ShapeError: The shape of a value does not match. Nothing has changed.
        """
        variable = self._variables.by_id[variable_id]
        mirror = self.mirror(variable_id)
        for value in values[:1] if same else values:
            check_shape(
                variable.spec, operation, (value if mirror is None else mirror).shape, value
            )
        variable.account.writes += 1
        if variable.renews:
            assert same, "the program writes one value to a copy"
            self.bounded.change(variable, operation, values[0])
            return []
        variable.account.moved(self.num_replicas, sum(value.nbytes for value in values))
        if same:
            value = values[0]
            if mirror is not None:
                value, operation = reduce.apply(operation, mirror, value), Operation.ASSIGN
            return self._to_all(variable, operation, value)
        return [self._to_one(variable, i, operation, value) for i, value in enumerate(values)]

    def overwrite(self, variable_id: int, value: Array) -> list[CoordinatorAction]:
        """Assign all components of a deferred variable for the program, while no replica runs.

        Unexchanged writes are dropped, because the assign overwrites them.

        Raises:
            ShapeError: The shape of the value does not match. Nothing has changed.
            MismatchError: The replicas have not made the same writes to the variable.
        """
        variable = self._variables.by_id[variable_id]
        check_shape(variable.spec, Operation.ASSIGN, value.shape, value)
        count = self.exchanges.overwrite(variable_id)
        variable.account.writes += 1
        variable.account.moved(self.num_replicas, self.num_replicas * value.nbytes)
        block = self._variables.separate(variable)
        block.apply(Operation.ASSIGN, value)
        return block.commit_all(Operation.ASSIGN, value, OF_DEFERRED, count)

    def _to_all(
        self, variable: CoordinatorVariable, operation: Operation, value: Array
    ) -> list[CoordinatorAction]:
        block = self._variables.separate(variable)
        if self._is_uncertain(variable) and operation is not Operation.ASSIGN:
            block.distrust()
        else:
            block.apply(operation, value)
        return block.commit_all(operation, value)

    def write_component(
        self, variable_id: int, replica_id: int, operation: Operation, operand: Operand
    ) -> CoordinatorAction:
        """Write one component for the program. The other components do not change.

        Args:
            operand: A value of the variable's dtype, or rows. The caller has already checked it
                with `check_operand`.
        """
        variable = self._variables.by_id[variable_id]
        if isinstance(operand, Rows):
            size_bytes = self._variables.separate(variable).bytes_of_one()
            variable.account.wrote_rows(1, operand.nbytes, size_bytes)
        else:
            variable.account.writes += 1
            variable.account.moved(1, operand.nbytes)
        return self._to_one(variable, replica_id, operation, operand)

    def _to_one(
        self, variable: CoordinatorVariable, replica_id: int, operation: Operation, operand: Operand
    ) -> CoordinatorAction:
        block = self._variables.separate(variable)
        if self._is_uncertain(variable):
            block.distrust_one(replica_id)
        block.apply_to(replica_id, operation, operand)
        return block.commit_to(replica_id, operation, operand)

    def scatter(
        self, variable_id: int, operation: Operation, rows: Sequence[Rows]
    ) -> list[CoordinatorAction]:
        """Change rows of all components for the program.

        Args:
            rows: One item for all replicas, or one item per replica. The caller has already
                checked them with `check_rows`.
        """
        variable = self._variables.by_id[variable_id]
        block = self._variables.separate(variable)
        if self._is_uncertain(variable):
            block.distrust()
        each = [*rows] * (self.num_replicas // len(rows))
        size_bytes = sum(one.nbytes for one in each)
        variable.account.wrote_rows(self.num_replicas, size_bytes, block.bytes_of_one())
        if len(rows) == 1:
            return self._variables.scatter(block, operation, rows[0])
        for replica_id, one in enumerate(each):
            block.apply_to(replica_id, operation, one)
        return [block.commit_to(replica_id, operation, one) for replica_id, one in enumerate(each)]

    @property
    def is_behind(self) -> bool:
        """Return whether mirrors lack committed sparse writes."""
        return bool(self._variables.behind)

    def catch_up(self) -> None:
        """Apply committed sparse writes to the mirrors."""
        behind, self._variables.behind = self._variables.behind, []
        for block in behind:
            block.catch_up()

    def synced(self, variable_id: int, num_replicas: int, size_bytes: int) -> None:
        """Count the messages of a `v.sync` or `v.broadcast` by replicas."""
        variable = self._variables.by_id.get(variable_id)
        if variable is not None:
            variable.account.moved(2 * num_replicas, 2 * num_replicas * size_bytes)

    # ------------------------------------------------------------ fetches

    def known(self, variable_id: int, replica_ids: Sequence[int]) -> tuple[Array | None, ...]:
        """Return the components of some replicas; None for a component that must be fetched.

        The components that need no fetch are counted.
        """
        found = self.components(variable_id, replica_ids)
        variable = self._variables.by_id[variable_id]
        if not variable.merges:
            variable.account.spared += sum(value is not None for value in found)
        return found

    def components(self, variable_id: int, replica_ids: Sequence[int]) -> tuple[Array | None, ...]:
        """Return the components of some replicas; None for a component that is not known."""
        variable = self._variables.by_id[variable_id]
        if self._is_uncertain(variable):
            return (None,) * len(replica_ids)
        return tuple(variable.component(i) for i in replica_ids)

    def last_known(self, variable_id: int) -> Sequence[Array | None] | None:
        """Return the components as they were last known; () if all components are equal.

        A running call may have changed the components of a variable that it does not merge.
        Return None if the program has dropped the variable.
        """
        variable = self._variables.by_id.get(variable_id)
        if variable is None:
            return None
        if not variable.block.components and self._is_uncertain(variable):
            return (None,) * self.num_replicas
        return variable.block.components

    @property
    def fetches_ended(self) -> int:
        """Return how many requests for components have been answered, or have failed."""
        return self._next_request_id - 1 - len(self._fetches)

    def fetch(
        self, variable_id: int, replica_ids: Sequence[int], now_s: float = 0.0
    ) -> tuple[Request, list[CoordinatorAction]]:
        """Request components. The answer contains them in the order of `replica_ids`."""
        return self._fetch(Component, variable_id, replica_ids, now_s)

    def fetch_states(
        self, variable_id: int, replica_ids: Sequence[int], now_s: float = 0.0
    ) -> tuple[Request, list[CoordinatorAction]]:
        """Request what the policy keeps beside components; the answer is in the same order."""
        return self._fetch(ShownPolicyState, variable_id, replica_ids, now_s)

    def _fetch(
        self,
        asks_for: type[Component | ShownPolicyState],
        variable_id: int,
        replica_ids: Sequence[int],
        now_s: float,
    ) -> tuple[Request, list[CoordinatorAction]]:
        request_id = self._next_request_id
        self._next_request_id += 1
        variable = self._variables.by_id[variable_id]
        missing = {replica_id: index for index, replica_id in enumerate(replica_ids)}
        keep = not self._is_uncertain(variable)
        request, values = Request(), [None] * len(missing)
        self._fetches[request_id] = _Fetching(
            variable_id, missing, asks_for, keep, request, now_s, [*values]
        )
        variable.account.moved(2 * len(missing), 0)
        message = Fetch if asks_for is Component else FetchPolicyState
        fetch = message(request_id=request_id, variable_id=variable_id)
        return request, [Send(replica_id, fetch) for replica_id in replica_ids]

    def set_states(
        self, variable_id: int, states: Sequence[NamedArrays]
    ) -> list[CoordinatorAction]:
        """Replace what the policy keeps beside each component; one item per replica."""
        account = self._variables.by_id[variable_id].account
        account.moved(self.num_replicas, _size_bytes(*states))
        return [
            Send(
                replica_id,
                SetPolicyState(
                    variable_id=variable_id,
                    names=tuple(name for name, _ in state),
                    arrays=tuple(array for _, array in state),
                ),
            )
            for replica_id, state in enumerate(states)
        ]

    def component(self, replica_id: int, message: Component | ShownPolicyState) -> None:
        """Store a component, or what a policy keeps beside it, that answers a fetch.

        Raises:
            ProtocolError: The message does not match the variable or the fetch.
        """
        fetching = self._fetches.get(message.request_id)
        if fetching is None or replica_id not in fetching.missing:
            return
        if message.variable_id != fetching.variable_id:
            raise ProtocolError(
                f"a component of variable {message.variable_id} answers a fetch of variable "
                f"{fetching.variable_id}"
            )
        if type(message) is not fetching.asks_for:
            raise ProtocolError(f"a {message.name} does not answer this fetch")
        spec = self.specs.get(message.variable_id)
        variable = self._variables.by_id.get(message.variable_id)
        index = fetching.missing.pop(replica_id)
        if isinstance(message, ShownPolicyState):
            state = fetching.values[index] = named(message)
            if spec is not None:
                check_state(spec, state)
            if variable is not None:
                variable.account.moved(0, _size_bytes(state))
        else:
            if spec is not None:
                check_component(spec, message)
            fetching.values[index] = message.value
            if variable is not None:
                variable.account.moved(0, message.value.nbytes)
                if fetching.keep and variable.version(replica_id) == message.version:
                    variable.block.learn(replica_id, message.value)
        if not fetching.missing:
            del self._fetches[message.request_id]
            fetching.request.end(tuple(fetching.values))

    def owing(self, request: Wait | None) -> dict[int, float]:
        """Return the replicas that have not answered a request, with the time of the request.

        Args:
            request: The wait of an operation of the program, if there is one.
        """
        owing = self.exchanges.owing()
        for fetching in self._fetches.values():
            if fetching.request is request:
                owing |= dict.fromkeys(fetching.missing, fetching.asked_s)
        return owing

    # ------------------------------------------------------------ lost replicas

    def lose(self, error: VarsimError) -> None:
        """End what can never be complete after a loss: fetches from lost replicas, and exchanges.

        Args:
            error: The error for operations that wait for an exchange.
        """
        for request_id, fetching in list(self._fetches.items()):
            if any(i in self.losses for i in fetching.missing):
                del self._fetches[request_id]
                is_there = fetching.variable_id in self._variables.by_id  # else it is dropped
                gone = self.loss_of(fetching.variable_id, fetching.missing) if is_there else error
                fetching.request.end(error=gone)
        self.exchanges.lose(error)

    def loss_of(self, variable_id: int, replica_ids: Iterable[int]) -> WorkerLost | None:
        """Return the error for a fetch of components; None if survivors have all of them."""
        if not self.losses:
            return None
        unknown = self._unknown(self._variables.by_id[variable_id])
        return self.losses.error_of(self.specs[variable_id], replica_ids, unknown)

    def _unknown(self, variable: CoordinatorVariable) -> tuple[int, ...]:
        """Return the lost replicas whose components of a variable are not known."""
        components = variable.block.components
        return tuple(sorted(i for i in self.losses if components and components[i] is None))

    def remains(self) -> Iterator[tuple[VariableSpec, tuple[int, ...], int]]:
        """Yield each variable with what is lost of it. No call may run.

        The second item has the lost replicas whose components are not known. The third item is
        the number of deferred writes of each replica that can never be exchanged.
        """
        for variable_id, variable in self._variables.by_id.items():
            gone = self._unknown(variable)
            yield variable.spec, gone, self.exchanges.unexchanged_writes(variable_id)

    # ------------------------------------------------------------ reports

    def statistics(self) -> tuple[VariableStatistics, ...]:
        """Return the statistics of all variables, in order of creation."""
        self._variables.settle()
        accounts = [*self._gone, *(variable.account for variable in self._variables.by_id.values())]
        accounts.sort(key=lambda account: account.spec.variable_id)
        return tuple(account.statistics(self.num_replicas) for account in accounts)

    def take_report(self, replica_id: int, report: Report) -> None:
        """Count a report's reads and writes; mark the locally changed components as unknown."""
        by_id = self._variables.by_id
        for variable_id, writes, reads in report.accesses:
            variable = by_id.get(variable_id)
            if variable is not None:
                variable.account.writes += writes
                variable.account.reads += reads
        for variable_id in report.diverged:
            variable = by_id.get(variable_id)
            if variable is not None:
                self._variables.separate(variable).distrust_one(replica_id)

    def distrust_local(self) -> None:
        """Forget components that replicas may have written in a call without a report."""
        for variable in self._variables.by_id.values():
            if not variable.merges:
                self._variables.separate(variable).distrust()

    def validate(self) -> None:
        """Assert the conditions that hold after every event."""
        for fetching in self._fetches.values():
            assert not any(i in self.losses for i in fetching.missing)
        assert not (self.losses and (self.call_running or self.exchanges.is_open))
        self._variables.validate(self.specs)
        self.exchanges.validate()
        self.one_sided.validate()


def _size_bytes(*states: NamedArrays) -> int:
    return sum(array.nbytes for state in states for _, array in state)
