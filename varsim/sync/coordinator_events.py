"""Define the events of `CoordinatorState`: messages, the program's operations, and answers.

Every event except the answers to `Send`, `Reduce` and `Locate` contains its arrival time, in
seconds of a steady clock. An operation of the program has a token. The operation ends with a
`ProgramDone`, a `ProgramRefused` or a `Finish` that has the same token. The shell sets times and
tokens.

Events to which the shell gives a time or a token later are not value classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from varsim.errors import VarsimError
from varsim.protocol.messages import Combination, Message, Payload
from varsim.spec import Array, NamedArrays, Operand, Operation, Rows, VariableSpec
from varsim.sync.call_site import UNKNOWN, CallSite
from varsim.sync.one_sided import SharedValues
from varsim.sync.stalls import Sighting, StallLimits
from varsim.texts.losses import LostWorker
from varsim.value_class import value_class

# ---------------------------------------------------------------- messages and time


@dataclass(slots=True, eq=False)
class MessageArrives:
    """A message of a replica has arrived."""

    replica_id: int
    message: Message
    now_s: float


@value_class
class TimePasses:
    """The state's deadline has passed without a message."""

    now_s: float


@value_class
class LookForStalls:
    """The time has come to look for replicas without progress (`Stalls.look_at_s`)."""

    now_s: float
    behind: Mapping[int, float] = field(default_factory=dict)
    """replica_id → the time at which the program began to wait for the replica's worker, which does
    not receive messages."""


@value_class
class ReplicasLost:
    """The workers of these replicas have ended. All messages that they sent have arrived."""

    workers: tuple[LostWorker, ...]
    now_s: float = 0.0


# ---------------------------------------------------------------- the program


@value_class(eq=False)
class ProgramCreate:
    """The program creates a variable. The initial value of every component is `value`.

    The array must not change afterwards. The program does not wait, so there is no token.
    """

    spec: VariableSpec
    value: Array
    now_s: float = 0.0
    shared: SharedValues | None = None  # what was shared of it in the last incarnation


@value_class
class ProgramForget:
    """The program has dropped a variable. The program does not wait, so there is no token."""

    variable_id: int
    now_s: float = 0.0


@dataclass(slots=True, eq=False)
class ProgramRead:
    """The program reads a variable in cross-replica context, as the policy says."""

    variable_id: int
    token: int = 0
    now_s: float = 0.0


@dataclass(slots=True, eq=False)
class ProgramFetch:
    """The program reads the components of some replicas."""

    variable_id: int
    replica_ids: Sequence[int]
    token: int = 0
    now_s: float = 0.0


@dataclass(slots=True, eq=False)
class ProgramWrite:
    """The program writes a variable in cross-replica context, as the policy says.

    Attributes:
        values: The value, or one value for each replica, with the variable's dtype. If the policy
            divides the value into shares, the value can have another dtype.
        per_replica: The name of the value's class if it has a component for each replica; else "".
        is_indivisible: Whether the value is a bool of Python. If the policy divides values into
            shares, each share of such a value is the value itself.
        returns_value: Whether the program uses the value of the variable after the write.
        problem: The reason why the value cannot be converted; `values` is then empty.
        location: file:line in the program; empty if neither a trace nor an error needs the
            location.
    """

    variable_id: int
    operation: Operation
    values: tuple[Array, ...]
    per_replica: str = ""
    is_indivisible: bool = False
    returns_value: bool = False
    problem: VarsimError | None = None
    location: str = ""
    token: int = 0
    now_s: float = 0.0


@dataclass(slots=True, eq=False)
class ProgramWriteComponent:
    """The program writes one component directly, without applying the policy.

    The other components do not change. The operand has the variable's dtype.
    """

    variable_id: int
    replica_id: int
    operation: Operation
    operand: Operand
    location: str = ""
    token: int = 0
    now_s: float = 0.0


@dataclass(slots=True, eq=False)
class ProgramAssignComponents:
    """The program assigns several components directly, without applying the policy.

    `values` is a mapping: replica_id → new component. If all components get the same value, the
    variable has a mirror again.
    """

    variable_id: int
    values: Mapping[int, Array]
    location: str = ""
    token: int = 0
    now_s: float = 0.0


@dataclass(slots=True, eq=False)
class ProgramScatter:
    """The program writes some rows of a variable in cross-replica context, as the policy says.

    Attributes:
        rows: The same rows for all replicas, or separate rows for each replica. The values have the
            variable's dtype.
        per_replica: The name of the value's class if it has rows for each replica; else "".
    """

    variable_id: int
    operation: Operation
    rows: tuple[Rows, ...]
    per_replica: str = ""
    location: str = ""
    token: int = 0
    now_s: float = 0.0


@dataclass(slots=True, eq=False)
class ProgramCall:
    """The program calls a function on all replicas; each replica has its own arguments.

    If there are fewer arguments than replicas, the last replicas have joined: they take no part in
    the call, and its collectives combine the values of the replicas that are present.
    """

    function_id: str
    function: Payload
    arguments: Sequence[Payload]  # one per present replica
    site: CallSite = UNKNOWN
    token: int = 0
    now_s: float = 0.0
    limits: StallLimits | None = None  # None: the limits of the strategy


@value_class
class ProgramGivesUp:
    """The program stops waiting for the operation or call with this token."""

    token: int
    why: str  # the name of the exception that ended the wait
    now_s: float = 0.0


@dataclass(slots=True, eq=False)
class ProgramPull:
    """The program reads the authoritative copy of a variable."""

    variable_id: int
    token: int = 0
    now_s: float = 0.0


@dataclass(slots=True, eq=False)
class ProgramFetchPublished:
    """The program reads the last published component of a replica."""

    variable_id: int
    replica_id: int
    token: int = 0
    now_s: float = 0.0


@dataclass(slots=True, eq=False)
class ProgramPush:
    """The program adds to the authoritative copy of a variable.

    The delta has the variable's dtype. The array does not change afterwards.
    """

    variable_id: int
    delta: Array
    token: int = 0
    now_s: float = 0.0


@dataclass(slots=True, eq=False)
class ProgramFetchStates:
    """The program reads what the policy keeps beside the components of some replicas."""

    variable_id: int
    replica_ids: tuple[int, ...]
    token: int = 0
    now_s: float = 0.0


@dataclass(slots=True, eq=False)
class ProgramSetStates:
    """The program replaces what the policy keeps beside each component; one item per replica."""

    variable_id: int
    states: tuple[NamedArrays, ...]
    token: int = 0
    now_s: float = 0.0


ProgramWriting = (
    ProgramWrite
    | ProgramWriteComponent
    | ProgramAssignComponents
    | ProgramScatter
    | ProgramSetStates
)


@dataclass(slots=True, eq=False)
class ProgramSync:
    """The program stores the aggregate of a variable's components in all of them.

    `how` is the reduction, or the broadcast of one component.
    """

    variable_id: int
    how: Combination
    location: str = ""
    token: int = 0
    now_s: float = 0.0


ProgramReading = (
    ProgramRead | ProgramFetch | ProgramPull | ProgramFetchPublished | ProgramFetchStates
)
"""Operations that change nothing; some of them are possible after the loss of a replica."""

ProgramOperation = ProgramReading | ProgramWriting | ProgramPush | ProgramSync
"""Operations on variables for which the program waits."""


# ---------------------------------------------------------------- answers to actions


@value_class
class MessagesSent:
    """All messages are sent. Now the state does postponed work on which no message depends.

    The shell gives the state this event only if there is such work (`CoordinatorState.is_behind`).
    """


@dataclass(slots=True, eq=False)
class ReductionDone:
    """The value of a `Reduce`. From now on, only the state is allowed to change the array."""

    token: int
    value: Array


@value_class(eq=False)
class Obtained:
    """The answer to an `Obtain`: the same arrays, now with their bytes."""

    token: int
    values: Sequence[Array]


@value_class
class ReductionFailed:
    """The shell cannot compute a `Reduce`, and raises an exception in the program."""

    token: int


@value_class
class OperandsLost:
    """The operands of a `Reduce` or an `Obtain` were on a host that is lost.

    The `ReplicasLost` of its replicas has arrived, or follows.
    """

    token: int


@dataclass(slots=True, eq=False)
class MergeFunctionReturns:
    """The function of a merge_call has returned. `results` has one value for each replica."""

    call_id: int
    position: int
    results: Sequence[Payload]
    now_s: float = 0.0


@dataclass(slots=True, eq=False)
class HostCallDone:
    """The program has performed the host call of a replica."""

    call_id: int
    replica_id: int
    result: Payload
    failed: bool  # whether the result is an exception
    now_s: float = 0.0


@value_class
class Located:
    """The answer to `Locate`: replica_id → the line that the replica runs now, if known."""

    token: int
    locations: Mapping[int, str]


@value_class
class Examined:
    """The answer to `Examine`: replica_id → what was seen of the replica's process."""

    sightings: Mapping[int, Sighting]
    now_s: float = 0.0


FreshEvent = (
    MessageArrives
    | TimePasses
    | LookForStalls
    | Examined
    | ReplicasLost
    | ProgramCreate
    | ProgramForget
    | ProgramOperation
    | ProgramCall
    | MergeFunctionReturns
    | HostCallDone
)
"""Events that wait in the backlog while a reduction is computed."""

SettlingEvent = (
    ReductionDone
    | ReductionFailed
    | OperandsLost
    | Obtained
    | Located
    | ProgramGivesUp
    | MessagesSent
)
"""Events that are handled even while a reduction is computed. Most of them end a wait."""

SETTLING: Final = (
    ReductionDone,
    ReductionFailed,
    OperandsLost,
    Obtained,
    Located,
    ProgramGivesUp,
    MessagesSent,
)
"""The classes of `SettlingEvent`: `isinstance` with a tuple is faster than with a union."""

CoordinatorEvent = FreshEvent | SettlingEvent
