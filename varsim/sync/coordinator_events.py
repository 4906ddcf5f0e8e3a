"""Events of `CoordinatorState`: messages, what the program does, and answers to actions.

Every event has the time at which it came, in seconds of any steady clock, except the answers to
`Reduce` and `Locate`. An operation of the program has a token: its end is a `ProgramDone`, a
`ProgramRefused` or a `Finish` with the same token. The shell sets both.

Those that come often are not frozen: that would double what they cost to make.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from varsim.errors import VarsimError
from varsim.protocol.messages import Message, Payload
from varsim.spec import Array, Operation, VariableSpec
from varsim.sync.call_site import UNKNOWN, CallSite

# ---------------------------------------------------------------- messages and time


@dataclass(slots=True, eq=False)
class MessageArrives:
    """A message of a replica has come."""

    replica_id: int
    message: Message
    now_s: float


@dataclass(frozen=True, slots=True)
class TimePasses:
    """The state's deadline has passed without a message."""

    now_s: float


# ---------------------------------------------------------------- the program


@dataclass(frozen=True, slots=True, eq=False)
class ProgramCreate:
    """The program creates a variable; every component starts at `value`, which is not written to.

    It has no token: nothing can refuse it.
    """

    spec: VariableSpec
    value: Array
    now_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ProgramForget:
    """The program has dropped a variable. It has no token either."""

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
        values: The value, or one for each replica; of the variable's dtype, or numbers of any dtype
            where the policy divides the value into shares.
        per_replica: The type of a value that has a component for each replica; else empty.
        is_indivisible: Whether the value is True or False, whose share is the value itself.
        returns_value: Whether the program uses the value of the variable after the write.
        problem: Why the value cannot be converted; then there are no `values`.
        location: file:line in the program, where it is recorded or an error may name it.
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
    """The program writes one component past the policy; the others do not follow.

    The value is of the variable's dtype.
    """

    variable_id: int
    replica_id: int
    operation: Operation
    value: Array
    location: str = ""
    token: int = 0
    now_s: float = 0.0


@dataclass(slots=True, eq=False)
class ProgramAssignComponents:
    """The program assigns several components past the policy, by replica_id.

    If they are all, and the same, they are a mirror again.
    """

    variable_id: int
    values: Mapping[int, Array]
    location: str = ""
    token: int = 0
    now_s: float = 0.0


@dataclass(slots=True, eq=False)
class ProgramCall:
    """The program calls a function on all replicas, each with its arguments."""

    function_id: str
    function: Payload
    arguments: Sequence[Payload]
    site: CallSite = UNKNOWN
    token: int = 0
    now_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ProgramGivesUp:
    """The program does not wait any more for the operation, or the call, of a token."""

    token: int
    why: str  # the name of the exception that ended the wait
    now_s: float = 0.0


ProgramWriting = ProgramWrite | ProgramWriteComponent | ProgramAssignComponents
ProgramOperation = ProgramRead | ProgramFetch | ProgramWriting
"""What the program does to variables and waits for."""


# ---------------------------------------------------------------- answers to actions


@dataclass(slots=True, eq=False)
class ReductionDone:
    """The value that a `Reduce` asked for; it belongs to the state from now on."""

    token: int
    value: Array


@dataclass(frozen=True, slots=True)
class ReductionFailed:
    """The shell cannot compute what a `Reduce` asked for, and raises to the program why."""

    token: int


@dataclass(slots=True, eq=False)
class MergeFunctionReturns:
    """The function of a merge_call has returned, with a slice for each replica."""

    call_id: int
    position: int
    results: Sequence[Payload]
    now_s: float = 0.0


@dataclass(slots=True, eq=False)
class HostCallDone:
    """The program has done what a replica asked for."""

    call_id: int
    replica_id: int
    result: Payload
    failed: bool  # whether the result is an exception
    now_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Located:
    """The lines at which replicas are now, as far as they can be seen: the answer to `Locate`."""

    token: int
    locations: Mapping[int, str]


FreshEvent = (
    MessageArrives
    | TimePasses
    | ProgramCreate
    | ProgramForget
    | ProgramOperation
    | ProgramCall
    | MergeFunctionReturns
    | HostCallDone
    | Located
)
"""What waits in the backlog while a reduction is computed."""

CoordinatorEvent = FreshEvent | ProgramGivesUp | ReductionDone | ReductionFailed
