"""What a state wants done: the only things that a shell around it has to do."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from varsim.errors import VarsimError
from varsim.protocol.messages import (
    HostCall,
    HostResult,
    MergeCall,
    Merged,
    Message,
    Raised,
    Reduced,
    Report,
    Returned,
    Start,
)
from varsim.protocol.tracebacks import exception_in
from varsim.spec import Array, Operation, VariableAggregation
from varsim.sync import reduce
from varsim.sync.waits import Wait

# ---------------------------------------------------------------- of either state


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to a replica; from a replica, always to the coordinator (`to` is −1)."""

    to: int
    message: Message


COORDINATOR = -1


# ---------------------------------------------------------------- of ReplicaState


@dataclass(frozen=True, slots=True)
class Run:
    """Call a function in replica context, and give the state the events of its begin and end."""

    start: Start


@dataclass(frozen=True, slots=True)
class Deliver:
    """The program of this replica waits for this answer: let it go on."""

    answer: Reduced | Merged | HostResult


@dataclass(frozen=True, slots=True)
class Await:
    """Let the program wait: go on with messages until an action lets it go on.

    With `may_block`, give the state `ProgramBlocks` before blocking for a message. With `again`,
    the event has changed nothing: give it again when the program may go on.
    """

    may_block: bool
    again: bool = False


WAIT_AND_REPEAT: Final = Await(may_block=True, again=True)
"""The operation must wait for a commit before it can happen."""


@dataclass(slots=True, eq=False)  # not frozen: there may be thousands in a step
class ShowValue:
    """Let the program go on with this replica's component, which never changes any more."""

    value: Array


@dataclass(frozen=True, slots=True)
class Proceed:
    """Let the program go on after a write that had to wait."""


@dataclass(frozen=True, slots=True)
class Abandon:
    """Unwind the program's function: its call, or one around it, has failed elsewhere."""

    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Supply:
    """Give the program an array, uninitialised, to build an update in."""

    array: Array


@dataclass(frozen=True, slots=True)
class Stop:
    """End the process."""


# ---------------------------------------------------------------- of CoordinatorState


@dataclass(frozen=True, slots=True)
class RunMerge:
    """Run a merge_call's function in cross-replica context; answer with `MergeFunctionReturns`."""

    call_id: int
    position: int
    arrivals: tuple[MergeCall, ...]  # in replica order


@dataclass(frozen=True, slots=True)
class PerformHostCall:
    """Do for a replica what only the program can do; answer with `HostCallDone`."""

    replica_id: int
    host_call: HostCall

    @property
    def call_id(self) -> int:
        """Of the call in which the replica asks."""
        return self.host_call.call_id


@dataclass(slots=True, eq=False)  # not frozen: cheaper to make
class Reduce:
    """Compute the value that a merge leads to, then give the state a `ReductionDone`.

    The value is that of `reduce.merge`, bit for bit. The operands can be combined: the state has
    checked them. Until the value comes, the state keeps all later events in a backlog, and what it
    has sent before need not leave.
    """

    token: int
    operands: Sequence[Array]  # one per replica, or of the first alone; of one shape and dtype
    aggregation: VariableAggregation
    operation: Operation
    mirror: Array | None  # None: the value is the combined operands
    idle: Sequence[int]  # replicas whose workers have nothing else to do

    def computed(self) -> Array:
        """Return the value, computed here and now."""
        return reduce.merge(self.operands, self.aggregation, self.operation, self.mirror)


@dataclass(frozen=True, slots=True)
class Locate:
    """Find out at which lines replicas are now, if that is possible; answer with `Located`."""

    token: int
    replica_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CallBegins:
    """A call that the program asked for has its number: it names what belongs to the call."""

    token: int
    call_id: int


@dataclass(frozen=True, slots=True)
class Exchanged:
    """The deferred writes that an operation waited for are committed, and the program sees them."""

    token: int


@dataclass(slots=True, eq=False)  # not frozen: cheaper to make
class ProgramWrote:
    """Record a write of the program: nothing has refused it, and no commit has left yet.

    `written` are pairs of a replica_id, or None for all components alike, and a value.
    """

    variable_id: int
    operation: Operation
    written: tuple[tuple[int | None, Array], ...]
    location: str


@dataclass(slots=True, eq=False)  # not frozen: cheaper to make
class ProgramDone:
    """An operation of the program is done.

    Attributes:
        values: What was read or fetched, read-only.
        versions: How many commits each component of a fetch has had; of a read, the most of any.
    """

    token: int
    values: tuple[Array, ...] = ()
    versions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class ProgramRefused:
    """An operation of the program, or the start of a call, is refused: raise the error."""

    token: int
    error: VarsimError


@dataclass(frozen=True, slots=True)
class Finish:
    """A call has ended, in one of three ways."""

    token: int
    call_id: int
    returned: tuple[Returned, ...] = ()  # by every replica, in replica order
    reports: tuple[tuple[int, Report], ...] = ()  # of the replicas whose functions have ended
    error: VarsimError | None = None  # found by the coordinator
    raised: tuple[int, Raised] | None = None  # raised by a replica
    warnings: tuple[tuple[str, str], ...] = ()  # of the coordinator: (text, place)

    @property
    def story(self) -> str | None:
        """What the call's error said, in a line or a few; None if there is none."""
        if self.error is not None:
            return f"{type(self.error).__name__}: {self.error}"
        if self.raised is not None:
            return exception_in(self.raised[1].traceback)
        return None


ReplicaAction = Send | Run | Deliver | Await | ShowValue | Proceed | Abandon | Supply | Stop

ProgramAnswer = ProgramDone | ProgramRefused | Finish
"""How an operation of the program, or a call, ends."""

CoordinatorAction = (
    Send
    | RunMerge
    | PerformHostCall
    | Reduce
    | Locate
    | CallBegins
    | Exchanged
    | ProgramWrote
    | ProgramAnswer
)

Steps = Generator[CoordinatorAction | list[CoordinatorAction] | Wait, Any, None]
"""The actions that follow from one event, in order, one by one or several at once.

`yield Reduce(…)` gives the reduced value. An operation of the program also yields what it waits
for.
"""
