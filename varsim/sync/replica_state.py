"""What one replica holds and owes: the pure half of a worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from varsim.errors import ProtocolError, ShapeError
from varsim.protocol.messages import (
    Abort,
    Answered,
    Commit,
    Component,
    Contribution,
    Create,
    Define,
    Fetch,
    Forget,
    Meeting,
    Merged,
    Message,
    Reduced,
    Report,
    Shutdown,
    Start,
    Waiting,
)
from varsim.spec import Array, Context, Operation, VariableAggregation, VariableSpec
from varsim.sync import policy, reduce
from varsim.sync.actions import COORDINATOR, Deliver, ReplicaAction, Run, Send, Stop


@dataclass(slots=True)
class Held:
    """This replica's component of one variable.

    `value` is never written to once somebody has read it: reading makes the array read-only,
    and a local add to a read-only array makes a new one.
    """

    spec: VariableSpec
    value: Array
    version: int = 0  # of the last commit that was applied here
    owed: int = 0  # contributions whose commit has not come yet
    coming: Array | None = None  # of those the last that was assigned: of the shape to come
    writes: int = 0
    reads: int = 0
    parted: bool = False

    def pay(self, count: int) -> None:
        """Some contributions have been committed, or never will be."""
        self.owed -= count
        if not self.owed:
            self.coming = None


@dataclass(slots=True)
class _Call:
    call_id: int
    next_index: int = 0
    owed: Counter[int] = field(default_factory=Counter)  # variable_id → contributions
    aborted: str | None = None


class ReplicaState:
    """Decides, for one replica, what every message and every step of its program means.

    The shell calls `handle` with each message, and `write`, `read`, `meet`, … for the program;
    it does what the returned actions say, in order. Nothing here waits: where the program must,
    `waits_for` says so, and the shell handles messages until it does not.
    """

    def __init__(self, replica_id: int, num_replicas: int) -> None:
        self.replica_id = replica_id
        self.num_replicas = num_replicas
        self.held: dict[int, Held] = {}
        self._outbox: list[Contribution] = []
        self._calls: list[_Call] = []  # innermost last
        self._warnings: list[tuple[str, str]] = []
        self._warned: set[int] = set()
        self._touched: dict[int, Held] = {}

    # ------------------------------------------------------------ messages

    def handle(self, message: Message) -> list[ReplicaAction]:
        """Takes one message from the coordinator."""
        match message:
            case Commit():
                self._commit(message)
            case Create():
                if message.spec.variable_id not in self.held:
                    self.held[message.spec.variable_id] = Held(message.spec, message.value)
            case Forget():
                for variable_id in message.variable_ids:
                    self.held.pop(variable_id, None)
                    self._touched.pop(variable_id, None)
            case Fetch():
                return [Send(COORDINATOR, self._component(message))]
            case Start():
                return [Run(message)]
            case Reduced() | Merged() | Answered():
                if self._calls and self._calls[-1].call_id == message.call_id:
                    return [Deliver(message)]
            case Abort():
                for call in self._calls:
                    if call.call_id == message.call_id:
                        call.aborted = message.reason
            case Shutdown():
                return [Stop()]
            case Define():
                raise AssertionError("functions are the shell's business")
            case _:
                raise ProtocolError(f"a replica does not take {message.name} messages")
        return []

    def _commit(self, commit: Commit) -> None:
        held = self._get(commit.variable_id)
        if commit.version <= held.version:
            return
        if commit.version != held.version + 1:
            raise ProtocolError(
                f"variable {held.spec.name!r}: commit {commit.version} came after {held.version}"
            )
        held.value = reduce.apply(commit.operation, held.value, commit.value)
        held.version = commit.version
        for call in self._calls:
            if call.call_id == commit.call_id:
                call.owed[commit.variable_id] -= 1
                held.pay(1)

    def _component(self, fetch: Fetch) -> Component:
        held = self._get(fetch.variable_id)
        held.value.setflags(write=False)
        return Component(
            request_id=fetch.request_id,
            variable_id=fetch.variable_id,
            version=held.version,
            value=held.value,
        )

    def _get(self, variable_id: int) -> Held:
        held = self.held.get(variable_id)
        if held is None:
            raise ProtocolError(f"replica {self.replica_id} holds no variable {variable_id}")
        return held

    # ------------------------------------------------------------ the program's operations

    def spec_of(self, variable_id: int) -> VariableSpec:
        """The spec of a variable that this replica holds."""
        return self._get(variable_id).spec

    def write(
        self, variable_id: int, operation: Operation, value: Array, place: str = ""
    ) -> list[ReplicaAction]:
        """Writes a variable in replica context: locally, or as a contribution to a merge.

        Args:
            value: Of the variable's dtype.
            place: file:line in the user's program.
        Raises:
            VariableError: The policy, the dtype or the shape refuses it; nothing has changed.
        """
        held = self._get(variable_id)
        cell = policy.policy(held.spec, Context.REPLICA, operation)
        if held.spec.dtype.kind == "b":
            merges = isinstance(cell, policy.Merge)
            policy.check_arithmetic(held.spec, operation, self.num_replicas if merges else 1)
        before = held.value if held.coming is None else held.coming
        check_shape(held.spec, operation, before, value)
        held.writes += 1
        self._touched[variable_id] = held
        match cell:
            case policy.Local(parts=parts):
                self._write_locally(held, operation, value)
                if parts:
                    self._part(held, operation, place)
            case policy.Merge():
                self._contribute(held, operation, value, place)
            case _:
                raise AssertionError(f"{cell} is no policy of replica context")
        return []

    def _write_locally(self, held: Held, operation: Operation, value: Array) -> None:
        held.parted = True
        if operation is Operation.ASSIGN:
            held.value = value
        elif held.value.flags.writeable:
            reduce.apply_in_place(operation, held.value, value)
        else:
            held.value = reduce.apply(operation, held.value, value)

    def _part(self, held: Held, operation: Operation, place: str) -> None:
        if held.spec.variable_id in self._warned or self.num_replicas == 1:
            return
        self._warned.add(held.spec.variable_id)
        self._warnings.append(
            (
                f"variable {held.spec.name!r}: {operation.value} in replica context with "
                "synchronization=ON_WRITE and aggregation=NONE changes this replica's copy only; "
                "the mirror is broken, and a cross-replica read shows replica 0's value. "
                "Give the variable an aggregation (SUM, MEAN, ONLY_FIRST_REPLICA), or say "
                "ON_READ if every replica is meant to have a value of its own.",
                place,
            )
        )

    def _contribute(self, held: Held, operation: Operation, value: Array, place: str) -> None:
        call = self._calls[-1]
        needed = (
            self.replica_id == 0
            or held.spec.aggregation is not VariableAggregation.ONLY_FIRST_REPLICA
        )
        self._outbox.append(
            Contribution(
                call_id=call.call_id,
                index=call.next_index,
                variable_id=held.spec.variable_id,
                operation=operation,
                value=value if needed else None,
                shape=value.shape,
                place=place,
            )
        )
        call.next_index += 1
        call.owed[held.spec.variable_id] += 1
        held.owed += 1
        if operation is Operation.ASSIGN:
            held.coming = value

    def waits_for(self, variable_id: int) -> bool:
        """Whether the program must wait before it reads: its own write is not committed yet."""
        return self._get(variable_id).owed > 0

    def wait(self, variable_id: int, place: str = "") -> list[ReplicaAction]:
        """Says that the program waits for a variable; the outbox leaves with it."""
        call_id = self._calls[-1].call_id
        return self.flush(Waiting(call_id=call_id, variable_id=variable_id, place=place))

    def read(self, variable_id: int) -> Array:
        """This replica's component: read-only, and the same for ever."""
        held = self._get(variable_id)
        assert held.owed == 0, "the shell waits before it reads"
        held.reads += 1
        self._touched[variable_id] = held
        held.value.setflags(write=False)
        return held.value

    def write_component(self, variable_id: int, operation: Operation, value: Array) -> None:
        """Writes this replica's component itself, past the policy, as `v.values[i].assign` does."""
        held = self._get(variable_id)
        policy.check_arithmetic(held.spec, operation, 1)
        check_shape(held.spec, operation, held.value, value)
        held.writes += 1
        self._touched[variable_id] = held
        self._write_locally(held, operation, value)

    # ------------------------------------------------------------ calls

    @property
    def call_id(self) -> int:
        """The innermost call that runs here."""
        return self._calls[-1].call_id

    @property
    def aborted(self) -> str | None:
        """Why the innermost call, or one around it, has failed elsewhere."""
        return next((call.aborted for call in self._calls if call.aborted is not None), None)

    def begin(self, call_id: int) -> None:
        """The function of a call starts to run."""
        self._calls.append(_Call(call_id))

    def next_index(self) -> int:
        """Numbers the program's next meeting point."""
        call = self._calls[-1]
        call.next_index += 1
        return call.next_index - 1

    def flush(self, *last: Message) -> list[ReplicaAction]:
        """The outbox leaves, and then the message that made it leave."""
        outbox, self._outbox = self._outbox, []
        return [Send(COORDINATOR, message) for message in (*outbox, *last)]

    def meet(self, meeting: Meeting) -> list[ReplicaAction]:
        """Comes to a meeting point that the program waits at."""
        return self.flush(meeting)

    def report(self, output: str = "") -> Report:
        """What this replica saw since the last report."""
        touched, self._touched = self._touched, {}
        warnings, self._warnings = tuple(self._warnings), []
        accesses = tuple((i, held.writes, held.reads) for i, held in touched.items())
        parted = tuple(i for i, held in touched.items() if held.parted)
        for held in touched.values():
            held.writes = held.reads = 0
            held.parted = False
        return Report(accesses=accesses, parted=parted, warnings=warnings, output=output)

    def end(self, last: Message | None) -> list[ReplicaAction]:
        """The function of the innermost call has ended; `last` says how, unless it was aborted."""
        call = self._calls.pop()
        if last is None:  # what an aborted call still owes will never be committed
            for variable_id, count in call.owed.items():
                if variable_id in self.held:
                    self.held[variable_id].pay(count)
            self._outbox = []
            return []
        # A commit of this call may come after its end: what it pays is accounted to the outer
        # call, or to nobody. Nobody can read in between, since the coordinator ends the call last.
        for variable_id, count in call.owed.items():
            if variable_id in self.held:
                self.held[variable_id].pay(count)
        return self.flush(last)

    def validate(self) -> None:
        """Asserts what must hold after every event."""
        for variable_id, held in self.held.items():
            assert held.value.dtype == held.spec.dtype
            assert held.owed == sum(call.owed[variable_id] for call in self._calls)
            assert held.version >= 0
        indices = [c.index for c in self._outbox if self._calls[-1].call_id == c.call_id]
        assert indices == sorted(set(indices))


def check_shape(spec: VariableSpec, operation: Operation, component: Array, value: Array) -> None:
    """Refuses a value whose shape does not fit; an assign never broadcasts.

    Raises:
        ShapeError: The shape differs from the variable's, or for an add from the component's.
    """
    declared = operation is Operation.ASSIGN or None not in spec.shape
    wanted = spec.shape if declared else component.shape
    if len(wanted) == value.ndim and all(
        size is None or size == got for size, got in zip(wanted, value.shape, strict=True)
    ):
        return
    raise ShapeError(
        spec.name,
        f"{operation.value} of a value of shape {list(value.shape)} "
        f"to a variable of shape {describe_shape(wanted)}: shapes must be equal",
        "Nothing is broadcast; reshape the value, or use numpy.broadcast_to.",
    )


def describe_shape(shape: Iterable[int | None]) -> str:
    """A shape as people write it: [3, ?]."""
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"
