"""Actions that a state returns; a shell performs nothing else."""

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
from varsim.spec import Array, Operation, Rows, VariableAggregation
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
    """Call a function in replica context; give the state the events of its start and end."""

    start: Start


@dataclass(frozen=True, slots=True)
class Deliver:
    """Give this answer to the program of this replica, which waits for it."""

    answer: Reduced | Merged | HostResult


@dataclass(frozen=True, slots=True)
class Await:
    """Let the program wait: handle messages until an action lets the program continue.

    With `may_block`, give the state `ProgramBlocks` before blocking for a message. With `again`,
    the event has changed nothing: give it again when the program may continue.
    """

    may_block: bool
    again: bool = False


WAIT_AND_REPEAT: Final = Await(may_block=True, again=True)
"""The operation must wait for a commit before it can happen."""


@dataclass(slots=True, eq=False)  # not frozen: there may be thousands in a step
class ShowValue:
    """Let the program continue with this replica's component; the array never changes again."""

    value: Array


@dataclass(frozen=True, slots=True)
class Proceed:
    """Let the program continue after a write that had to wait."""


@dataclass(frozen=True, slots=True)
class Abandon:
    """Unwind the program's function: its call, or an outer call, has failed elsewhere."""

    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Supply:
    """Give the program an uninitialised array in which to build an update."""

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
    """Perform a request of a replica in the program's process; answer with `HostCallDone`."""

    replica_id: int
    host_call: HostCall

    @property
    def call_id(self) -> int:
        """Return the id of the call that the replica runs."""
        return self.host_call.call_id


@dataclass(slots=True, eq=False)  # not frozen: cheaper to make
class Reduce:
    """Compute the value of a merge, then give the state a `ReductionDone`.

    The value equals that of `reduce.merge`, bit for bit. The state has checked that the operands
    can be combined. Until the value arrives, the state keeps all later events in a backlog, and the
    shell may delay messages of earlier actions.
    """

    token: int
    operands: Sequence[Array]  # one per replica, or only the first one's; of one shape and dtype
    aggregation: VariableAggregation
    operation: Operation
    mirror: Array | None  # None: the value is the combined operands
    idle: Sequence[int]  # replicas whose workers have nothing else to do

    def computed(self) -> Array:
        """Return the value, computed here and now."""
        return reduce.merge(self.operands, self.aggregation, self.operation, self.mirror)


@dataclass(frozen=True, slots=True)
class Locate:
    """Find the lines at which replicas are now, if possible; answer with `Located`."""

    token: int
    replica_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CallBegins:
    """Record the id of a call that the program started; messages of the call contain it."""

    token: int
    call_id: int


@dataclass(frozen=True, slots=True)
class Exchanged:
    """Record that the deferred writes for which an operation waited are committed and visible."""

    token: int


@dataclass(slots=True, eq=False)  # not frozen: cheaper to make
class ProgramWrote:
    """Record a write of the program. It is legal, and its commits are not sent yet.

    `written` holds pairs of a replica_id (None: all components) and a value, or rows.
    """

    variable_id: int
    operation: Operation
    written: tuple[tuple[int | None, Array | Rows], ...]
    location: str


@dataclass(slots=True, eq=False)  # not frozen: cheaper to make
class ProgramDone:
    """An operation of the program is done.

    Attributes:
        values: The values that were read or fetched; read-only.
        versions: The number of commits of each fetched component; for a read, the largest one.
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
    warnings: tuple[tuple[str, str], ...] = ()  # of the coordinator: (text, location)

    @property
    def story(self) -> str | None:
        """Return the text of the call's error, in one or a few lines; None without an error."""
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
"""The actions of one event, in order, one by one or several at once.

`yield Reduce(…)` returns the reduced value. An operation of the program also yields its waits.
"""
