"""Define the events of `ReplicaState`: operations of the program, in addition to messages."""

from __future__ import annotations

from dataclasses import dataclass

from varsim.protocol.messages import (
    BarrierArrival,
    Combination,
    Combine,
    HostCall,
    Join,
    LockRelease,
    LockRequest,
    MergeCall,
    Message,
    Output,
    Payload,
    Raised,
    ReceiveRequest,
    Report,
    Returned,
    SendRequest,
    Structure,
)
from varsim.spec import Array, Operand, Operation, Rows
from varsim.value_class import value_class

# ---------------------------------------------------------------- variables


@dataclass(slots=True, eq=False)  # no value class: the shell reuses one object
class ReplicaWrite:
    """The program writes a variable in replica context, as the policy says.

    The value has the variable's dtype. The program may change the array afterwards.
    """

    variable_id: int
    operation: Operation
    value: Array
    location: str = ""


@value_class(eq=False)
class ReplicaScatter:
    """The program writes some rows of a variable in replica context, as the policy says.

    The values have the variable's dtype. The program does not change the arrays afterwards.
    """

    variable_id: int
    operation: Operation
    rows: Rows
    location: str = ""


@value_class(eq=False)
class ReplicaRead:
    """The program reads this replica's component of a variable."""

    variable_id: int


@value_class(eq=False)
class ComponentWrite:
    """The program writes this replica's component directly: `v.values[i].assign`."""

    variable_id: int
    operation: Operation
    operand: Operand


@value_class(eq=False)
class RowsRead:
    """The program reads some rows of this replica's component, as a copy.

    `key` selects the rows, as in NumPy: one array of indices, or one array for each axis.
    """

    variable_id: int
    key: tuple[Array, ...]


@value_class
class BufferRequest:
    """The program asks for an array in which to build an update of a variable."""

    variable_id: int


# ---------------------------------------------------------------- collectives


@value_class(eq=False)
class EnterCombine:
    """The program enters a collective that combines the replicas' values."""

    how: Combination
    structure: Structure
    leaves: tuple[Array, ...]
    label: str | None
    location: str
    weight: float | None = None
    performs: str = ""  # see `MergeCall`

    def message(self, call_id: int, index: int) -> Combine:
        """Return the message of the collective with this index in a call."""
        return Combine(
            call_id=call_id,
            position=index,
            how=self.how,
            structure=self.structure,
            leaves=self.leaves,
            weight=self.weight,
            label=self.label,
            location=self.location,
            performs=self.performs,
        )


@value_class
class EnterSync:
    """The program synchronises a variable with the other replicas: `how` names the variable.

    The state itself takes the component, and stores the result in it.
    """

    how: Combination
    structure: Structure  # of one leaf
    label: str | None
    location: str

    def combine(self, component: Array) -> EnterCombine:
        """Return the collective that combines the components."""
        return EnterCombine(self.how, self.structure, (component,), self.label, self.location)


@value_class(eq=False)
class EnterMerge:
    """The program enters a merge_call."""

    function: Payload
    arguments: Payload
    label: str | None
    location: str
    performs: str = ""  # see `MergeCall`

    def message(self, call_id: int, index: int) -> MergeCall:
        """Return the message of the collective with this index in a call."""
        return MergeCall(
            call_id=call_id,
            position=index,
            function=self.function,
            arguments=self.arguments,
            label=self.label,
            location=self.location,
            performs=self.performs,
        )


@value_class
class EnterJoin:
    """The program takes part in no more collectives until all replicas have joined."""

    location: str

    def message(self, call_id: int, index: int) -> Join:
        """Return the message of the collective with this index in a call."""
        return Join(call_id=call_id, position=index, location=self.location)


@value_class(eq=False)
class CallHost:
    """The replica requests an operation in the program's own process."""

    request: Payload
    location: str

    def message(self, call_id: int) -> HostCall:
        """Return the message to the coordinator."""
        return HostCall(call_id=call_id, request=self.request, location=self.location)


# ---------------------------------------------------------------- locks, barriers and sends


@value_class
class EnterLock:
    """The program waits for a lock."""

    lock: str
    is_shared: bool
    location: str

    def message(self, call_id: int) -> LockRequest:
        """Return the message to the coordinator."""
        return LockRequest(
            call_id=call_id, lock=self.lock, is_shared=self.is_shared, location=self.location
        )


@value_class
class LeaveLock:
    """The program releases a lock."""

    lock: str
    location: str

    def message(self, call_id: int) -> LockRelease:
        """Return the message to the coordinator."""
        return LockRelease(call_id=call_id, lock=self.lock, location=self.location)


@value_class
class EnterBarrier:
    """The program waits at a barrier."""

    barrier: str | None
    group: tuple[int, ...]
    location: str

    def message(self, call_id: int) -> BarrierArrival:
        """Return the message to the coordinator."""
        return BarrierArrival(
            call_id=call_id, barrier=self.barrier, group=self.group, location=self.location
        )


@value_class(eq=False)
class EnterSend:
    """The program sends a value to another replica, and waits until that replica receives it."""

    to: int
    value: Payload
    location: str

    def message(self, call_id: int) -> SendRequest:
        """Return the message to the coordinator."""
        return SendRequest(call_id=call_id, to=self.to, value=self.value, location=self.location)


@value_class
class EnterReceive:
    """The program waits for a value of another replica."""

    source: int
    location: str

    def message(self, call_id: int) -> ReceiveRequest:
        """Return the message to the coordinator."""
        return ReceiveRequest(call_id=call_id, source=self.source, location=self.location)


# ---------------------------------------------------------------- one-sided operations


@value_class
class ReplicaPublish:
    """The program publishes this replica's component of a variable."""

    variable_id: int
    location: str


@value_class(eq=False)
class ReplicaPush:
    """The program adds to the authoritative copy of a variable.

    The delta has the variable's dtype. The array does not change afterwards.
    """

    variable_id: int
    delta: Array
    location: str


@value_class
class ReplicaFetch:
    """The program requests the last published component of a replica."""

    variable_id: int
    replica_id: int
    location: str


@value_class
class ReplicaPull:
    """The program requests the authoritative copy of a variable."""

    variable_id: int
    location: str


ReplicaOneSided = ReplicaPublish | ReplicaPush | ReplicaFetch | ReplicaPull


# ---------------------------------------------------------------- waits and calls


@value_class
class ProgramBlocks:
    """The program waits for a variable, and the shell has no more messages to handle."""

    location: str


@value_class
class MessagesHandled:
    """All messages are handled. The shell gives the state this event only if `is_behind` is true.

    The state then does postponed work on which no message depends.
    """


@value_class
class FunctionPrints:
    """The function has printed text, which the program's process must show now."""

    text: str
    is_error: bool

    def message(self, call_id: int) -> Output:
        """Return the message to the coordinator."""
        return Output(call_id=call_id, text=self.text, is_error=self.is_error)


@value_class
class FunctionBegins:
    """The function of a call begins to run on this replica."""

    call_id: int


@value_class(eq=False)
class FunctionReturns:
    """The function of the innermost call has returned.

    `warnings` are pairs of text and location. The warnings and the output are added to the call's
    report. If the call has failed in the meantime, they are added to the next report.
    """

    result: Payload
    output: str = ""
    warnings: tuple[tuple[str, str], ...] = ()

    def message(self, call_id: int, report: Report) -> Returned:
        """Return the message to the coordinator."""
        return Returned(call_id=call_id, result=self.result, report=report)


@value_class(eq=False)
class FunctionRaises:
    """The function of the innermost call has raised; see `FunctionReturns`."""

    exception: Payload
    traceback: str
    output: str = ""
    warnings: tuple[tuple[str, str], ...] = ()

    def message(self, call_id: int, report: Report) -> Raised:
        """Return the message to the coordinator."""
        return Raised(
            call_id=call_id, exception=self.exception, traceback=self.traceback, report=report
        )


@value_class
class FunctionUnwinds:
    """The function of the innermost call has ended after `Abandon`."""


ProgramEvent = (
    ReplicaWrite
    | ReplicaScatter
    | ReplicaRead
    | RowsRead
    | ComponentWrite
    | BufferRequest
    | EnterCombine
    | EnterSync
    | EnterMerge
    | EnterJoin
    | CallHost
    | EnterLock
    | LeaveLock
    | EnterBarrier
    | EnterSend
    | EnterReceive
    | ReplicaOneSided
    | ProgramBlocks
    | MessagesHandled
    | FunctionPrints
    | FunctionBegins
    | FunctionReturns
    | FunctionRaises
    | FunctionUnwinds
)
ReplicaEvent = Message | ProgramEvent
