"""What one replica holds and owes: the pure half of a worker."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np

from varsim.errors import MAX_FIXES, ProtocolError
from varsim.protocol.buckets import PACK_LIMIT_BYTES
from varsim.protocol.messages import (
    OF_DEFERRED,
    Abort,
    Answered,
    Collect,
    Commit,
    Component,
    Create,
    Deferred,
    Define,
    Demand,
    Fetch,
    Forget,
    Left,
    Merged,
    Message,
    Reduced,
    Report,
    Shutdown,
    Start,
    Waiting,
)
from varsim.spec import Array, Operation, VariableSpec
from varsim.sync import fixes
from varsim.sync.actions import COORDINATOR, Deliver, ReplicaAction, Run, Send, Stop
from varsim.sync.components import Components, Held, check_shape
from varsim.sync.deferred import Allocate, DeferredWrites
from varsim.sync.outbox import Outbox
from varsim.sync.policies.legality import check_arithmetic


@dataclass(slots=True)
class _Call:
    call_id: int
    next_index: int = 0
    left: int = 0  # meetings that have left this process
    settled: int = 0  # meetings whose commits have come
    aborted: str | None = None


class ReplicaState:
    """Decides, for one replica, what every message and every step of its program means.

    The shell calls `handle` with each message, and `write`, `read`, `meet`, … for the program;
    it does what the returned actions say, in order. Nothing here waits: where the program must,
    `waits_for` says so, and the shell handles messages until it does not.

    Args:
        allocate: Makes the array that a large contribution is copied to.
    """

    def __init__(self, replica_id: int, num_replicas: int, allocate: Allocate = np.empty) -> None:
        self.replica_id = replica_id
        self.num_replicas = num_replicas
        self.components = Components(replica_id)
        self.aborted: str | None = None
        """Why the innermost call, or one around it, has failed elsewhere."""
        self._held = self.components.held
        self._allocate = allocate
        self._outbox = Outbox(self.components)
        self._deferred = DeferredWrites(allocate)
        self._given: dict[int, Array] = {}  # id → an array for an update, not written yet
        self._calls: list[_Call] = []  # innermost last
        self._warnings: list[tuple[str, str]] = []
        self._warned: set[int] = set()
        self._touched: dict[int, Held] = {}

    # ------------------------------------------------------------ messages

    def handle(self, message: Message) -> list[ReplicaAction]:
        """Takes one message from the coordinator."""
        match message:
            case Commit():
                self.components.commit(message)
                if message.call_id == OF_DEFERRED:
                    self._deferred.settle(int(message.variable_ids[0]), message.settled)
                for call in self._calls:
                    if call.call_id == message.call_id:
                        call.settled = max(call.settled, message.settled)
            case Create():
                self.components.create(message.spec, message.value)
            case Forget():
                self._forget(message)
            case Fetch():
                return [Send(COORDINATOR, self._component(message))]
            case Collect():
                part = self._deferred.part(message.variable_id, message.count)
                return [Send(COORDINATOR, Deferred(request_id=message.request_id, part=part))]
            case Start():
                return [Run(message)]
            case Reduced() | Merged() | Answered():
                if self._calls and self._calls[-1].call_id == message.call_id:
                    return [Deliver(message)]
            case Abort():
                return self._abort(message)
            case Shutdown():
                return [Stop()]
            case Define():
                raise AssertionError("functions are the shell's business")
            case _:
                raise ProtocolError(f"a replica does not take {message.name} messages")
        return []

    def _forget(self, forget: Forget) -> None:
        for variable_id in forget.variable_ids:
            self.components.forget(variable_id)
            self._touched.pop(variable_id, None)
            self._outbox.forget()
            self._deferred.forget(variable_id)

    def _abort(self, abort: Abort) -> list[ReplicaAction]:
        self._deferred.fail(abort.call_id)
        inside = [call for call in self._calls if call.call_id == abort.call_id]
        for call in inside:
            call.aborted = abort.reason
        self._see_whether_aborted()
        return [] if inside else self._leave(abort.call_id)

    def _see_whether_aborted(self) -> None:
        reasons = (call.aborted for call in self._calls if call.aborted is not None)
        self.aborted = next(reasons, None)

    def _component(self, fetch: Fetch) -> Component:
        held = self.components.find(fetch.variable_id)
        value = held.show()
        return Component(
            request_id=fetch.request_id,
            variable_id=fetch.variable_id,
            version=held.version,
            value=value,
        )

    # ------------------------------------------------------------ the program's operations

    def spec_of(self, variable_id: int) -> VariableSpec:
        """The spec of a variable that this replica holds."""
        return self.components[variable_id]

    def write(self, variable_id: int, operation: Operation, value: Array, place: str = "") -> bool:
        """Writes a variable in replica context: locally, or as a contribution to a merge.

        Args:
            value: Of the variable's dtype. The caller may change it afterwards.
            place: file:line in the user's program.
        Returns:
            Whether the program must wait for the variable: more deferred writes are not kept.
        Raises:
            VariableError: The policy, the dtype or the shape refuses it; nothing has changed.
        """
        held = self._held.get(variable_id) or self.components.find(variable_id)
        shape = value.shape
        if shape != held.spec.shape or held.is_bool:
            self._check(held, operation, value)
        cell = held.cells[operation]
        if cell.is_sent:
            self._contribute(held, operation, value, shape, place)
            return False
        held.writes += 1
        self._touched[variable_id] = held
        if cell.is_deferred:
            kept = self._kept(value) if held.is_needed else None
            return self._deferred.write(variable_id, operation, kept)
        if held.block is not None:
            self.components.alone(held)
        held.write_locally(operation, value)
        if cell.diverges:
            self._part(held, operation, value, place)
        return False

    def _check(self, held: Held, operation: Operation, value: Array) -> None:
        """Refuses what does not fit, where it is not plain that it does."""
        merges = held.cells[operation].combines
        check_arithmetic(held.spec, operation, self.num_replicas if merges else 1)
        if not self._owes(held):
            held.coming = None
        before = held.component() if held.coming is None else held.coming
        check_shape(held.spec, operation, before, value)

    def _part(self, held: Held, operation: Operation, value: Array, place: str) -> None:
        spec = held.spec
        if spec.variable_id in self._warned or self.num_replicas == 1:
            return
        self._warned.add(spec.variable_id)
        text = (
            f"variable {spec.name!r}: {operation.value} in replica context with "
            f"synchronization={spec.synchronization.name} and aggregation=NONE changes "
            "this replica's copy only; the mirror is broken, and a cross-replica read shows "
            "replica 0's value."
        )
        ways = islice(fixes.of_parting(spec, operation, value, self.num_replicas), MAX_FIXES)
        self._warnings.append(("\n  - ".join([text, *map(str, ways)]), place))

    def _contribute(
        self,
        held: Held,
        operation: Operation,
        value: Array,
        shape: tuple[int, ...],
        place: str,
    ) -> None:
        own: bytes | Array | None = None
        if held.is_needed:
            own = value.tobytes() if value.nbytes <= PACK_LIMIT_BYTES else self._own(value)
        self._outbox.add(held.spec.variable_id, operation, shape, place, own)
        call = self._calls[-1]
        held.owed_to = call.call_id
        held.owed_index = call.next_index
        call.next_index += 1
        if operation is Operation.ASSIGN and shape != held.spec.shape:
            held.coming = value

    def _own(self, value: Array) -> Array:
        """An array with the value that the program cannot write to."""
        if self._given.get(id(value)) is value:
            own = self._given.pop(id(value))
        else:
            own = self._allocate(value.shape, value.dtype)
            np.copyto(own, value)
        own.setflags(write=False)
        return own

    def _kept(self, value: Array) -> Array:
        """An array with the value, as it is now, that nobody writes to."""
        given = self._given.get(id(value)) is value
        kept = self._given.pop(id(value)) if given else np.array(value, order="C")
        kept.setflags(write=False)
        return kept

    def buffer(self, variable_id: int) -> Array:
        """An array for the program to build an update in; a large one is written uncopied."""
        held = self.components.find(variable_id)
        array = self._allocate(held.component().shape, held.spec.dtype)
        if array.nbytes > PACK_LIMIT_BYTES:
            self._given[id(array)] = array
        return array

    def _owes(self, held: Held) -> bool:
        for call in self._calls:
            if call.call_id == held.owed_to:
                return held.owed_index >= call.settled
        return False

    def waits_for(self, variable_id: int) -> bool:
        """Whether the program must wait before it reads: its own write is not committed yet."""
        return self._owes(self.components.find(variable_id)) or self._deferred.owes(variable_id)

    def wait(self, variable_id: int, place: str = "") -> list[ReplicaAction]:
        """Says that the program waits for a variable; the outbox leaves with it."""
        held = self.components.find(variable_id)
        call_id = self._calls[-1].call_id
        if self._deferred.owes(variable_id):
            part = self._deferred.part(variable_id)
            return self.flush(Demand(call_id=call_id, part=part, place=place))
        return self.flush(
            Waiting(
                call_id=call_id,
                variable_id=variable_id,
                index=held.owed_index,
                place=place,
            )
        )

    def read(self, variable_id: int) -> Array:
        """This replica's component: read-only, and the same for ever."""
        held = self.components.find(variable_id)
        owes = self._owes(held) or self._deferred.owes(variable_id)
        assert not owes, "the shell waits before it reads"
        held.reads += 1
        self._touched[variable_id] = held
        return held.show()

    def write_component(self, variable_id: int, operation: Operation, value: Array) -> None:
        """Writes this replica's component itself, past the policy, as `v.values[i].assign` does."""
        held = self.components.alone(self.components.find(variable_id))
        check_arithmetic(held.spec, operation, 1)
        check_shape(held.spec, operation, held.value, value)
        held.writes += 1
        self._touched[variable_id] = held
        held.write_locally(operation, value)

    # ------------------------------------------------------------ calls

    @property
    def is_running(self) -> bool:
        """Whether the function of a call runs here."""
        return bool(self._calls)

    @property
    def call_id(self) -> int:
        """The innermost call that runs here."""
        return self._calls[-1].call_id

    def begin(self, call_id: int) -> None:
        """The function of a call starts to run."""
        self._calls.append(_Call(call_id))
        self._deferred.begin(call_id)

    def next_index(self) -> int:
        """Numbers the program's next meeting point."""
        call = self._calls[-1]
        call.next_index += 1
        return call.next_index - 1

    def flush(self, *last: Message) -> list[ReplicaAction]:
        """The outbox leaves, and then the message that made it leave."""
        call = self._calls[-1]
        writes = self._outbox.leave(call.call_id, call.left)
        call.left = call.next_index
        tally = self._deferred.tally()
        return [Send(COORDINATOR, message) for message in (*writes, *tally, *last)]

    def report(self, output: str = "") -> Report:
        """What this replica saw since the last report."""
        touched, self._touched = self._touched, {}
        warnings, self._warnings = tuple(self._warnings), []
        accesses = tuple([(i, held.writes, held.reads) for i, held in touched.items()])
        parted = tuple([i for i, held in touched.items() if held.parted])
        for held in touched.values():
            held.writes = held.reads = 0
            held.parted = False
        return Report(accesses=accesses, parted=parted, warnings=warnings, output=output)

    def end(self, last: Message | None) -> list[ReplicaAction]:
        """The function of the innermost call has ended; `last` says how, unless it was aborted.

        The coordinator is told of every end: of an aborted call's, too, since it waits for it.

        Commits of the call may still come. Nobody waits for them: they come before anything else.
        """
        self._given.clear()
        if last is None:
            self._outbox.clear()
        actions = self._leave(self.call_id) if last is None else self.flush(last)
        self._calls.pop()
        self._deferred.end()
        self._see_whether_aborted()
        return actions

    def _leave(self, call_id: int) -> list[ReplicaAction]:
        return [Send(COORDINATOR, Left(call_id=call_id))]

    def validate(self) -> None:
        """Asserts what must hold after every event."""
        self.components.validate()
        self._deferred.validate()
        if self._calls:
            assert len(self._outbox) <= self._calls[-1].next_index - self._calls[-1].left
            assert all(call.settled <= call.next_index for call in self._calls)
        else:
            assert not self._outbox
