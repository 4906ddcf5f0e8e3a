"""Define the actions that a state returns. A shell does only what these actions say."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final

from varsim.errors import VarsimError
from varsim.protocol.messages import (
    Combination,
    Granted,
    HostCall,
    HostResult,
    Joined,
    MergeCall,
    Merged,
    Message,
    Passed,
    Printed,
    Raised,
    Reduced,
    Report,
    Returned,
    SharedValue,
    Start,
)
from varsim.protocol.tracebacks import exception_in, recorded
from varsim.spec import Array, NamedArrays, Operation, Rows, VariableAggregation
from varsim.sync import reduce
from varsim.sync.waits import Wait
from varsim.texts.facts import Fact
from varsim.value_class import value_class

# ---------------------------------------------------------------- actions of both states


@value_class
class Send:
    """Send a message to replica `to`. A replica sends only to the coordinator (`to` is −1)."""

    to: int
    message: Message


COORDINATOR = -1


# ---------------------------------------------------------------- actions of ReplicaState


@value_class
class Run:
    """Call a function in replica context. Give the state events at its start and end."""

    start: Start


@value_class
class Deliver:
    """Give the replica's waiting program the answer to its operation."""

    answer: Reduced | Merged | Joined | HostResult | SharedValue | Granted | Passed | Printed


@value_class
class Await:
    """Let the program wait: handle messages until an action lets the program continue.

    If `may_block` is true, give the state `ProgramBlocks` before blocking for a message. If `again`
    is true, the state has changed nothing. Give the state the same event again when the program is
    allowed to continue.
    """

    may_block: bool
    again: bool = False


WAIT_AND_REPEAT: Final = Await(may_block=True, again=True)
"""Let the program wait for a commit; then give the state the same event again."""


@value_class(eq=False)
class ShowValue:
    """Let the program continue with this replica's component. The array never changes again."""

    value: Array


@value_class
class Proceed:
    """Let the program continue after a write that had to wait."""


@value_class(eq=False)
class Adopted:
    """Record that the policy has replaced this replica's component by a value."""

    variable_id: int
    value: Array


@value_class
class Abandon:
    """Unwind the program's function: its call or an outer call has failed."""

    reason: str


@value_class(eq=False)
class Supply:
    """Give the program an uninitialised array in which to build an update."""

    array: Array


@value_class
class Stop:
    """End the process."""


# ---------------------------------------------------------------- actions of CoordinatorState


@value_class
class RunMerge:
    """Run a merge_call's function in cross-replica context; answer with `MergeFunctionReturns`."""

    call_id: int
    position: int
    arrivals: tuple[MergeCall, ...]  # in replica order


@value_class
class PerformHostCall:
    """Perform a request of a replica in the program's process; answer with `HostCallDone`."""

    replica_id: int
    host_call: HostCall

    @property
    def call_id(self) -> int:
        """Return the id of the call that the replica runs."""
        return self.host_call.call_id


@value_class
class ShowOutput:
    """Print text that a replica's function has printed."""

    call_id: int
    replica_id: int
    text: str
    is_error: bool


@value_class(eq=False)
class Reduce:
    """Compute the value of a merge, then give the state a `ReductionDone`.

    The value must be equal to the value of `reduce.merge`, bit for bit. The state has checked that
    the operands can be combined. Until the value arrives, the state keeps most later events in a
    backlog, and the shell is allowed to delay the messages of earlier actions.
    """

    token: int
    operands: Sequence[Array]  # one per replica, or only one; all have the same shape and dtype
    aggregation: VariableAggregation
    operation: Operation
    mirror: Array | None  # None: return the combined operands themselves
    idle: Sequence[int]  # replicas whose workers have nothing else to do

    def computed(self) -> Array:
        """Compute the value in this process, and return it."""
        return reduce.merge(self.operands, self.aggregation, self.operation, self.mirror)


@value_class(eq=False)
class Obtain:
    """Get the bytes of contributions, which the state reads; answer with `Obtained`.

    Until then, the state waits as for a `Reduce`. All other contributions are only operands of a
    `Reduce`, so their bytes may be on another host.
    """

    token: int
    values: Sequence[Array]


@value_class
class Locate:
    """Find the lines that replicas run now, if possible; answer with `Located`."""

    token: int
    replica_ids: tuple[int, ...]


@value_class
class Examine:
    """Look at the processes of replicas that make no progress; answer with `Examined`."""

    replica_ids: tuple[int, ...]
    with_stacks: tuple[int, ...]  # the replicas of which the stacks are needed, too


@value_class
class WarnOfStall:
    """Show a warning about replicas that make no progress."""

    call_id: int  # 0 if no call runs
    fact: Fact
    location: str


@value_class
class EndWorkers:
    """End the processes of replicas that make no progress; answer with `ReplicasLost`.

    `reasons` is a mapping: replica_id → the text that follows "worker" in the error.
    """

    reasons: Mapping[int, str]


@value_class
class CallBegins:
    """Record the id of a call that the program has started. The call's messages contain the id."""

    token: int
    call_id: int


@value_class
class Exchanged:
    """Record that an operation's wait is over: the deferred writes are committed and visible."""

    token: int


@value_class(eq=False)
class ProgramWrote:
    """Record a write of the program. The write is legal, and its commits are not sent yet.

    `written` is a list of pairs: a replica_id (None means all components) and a value or rows.
    """

    variable_id: int
    operation: Operation
    written: tuple[tuple[int | None, Array | Rows], ...]
    location: str


@value_class(eq=False)
class ProgramSynced:
    """Record that the program synchronises a variable; a `ProgramWrote` with the value follows."""

    variable_id: int
    how: Combination
    value: Array
    location: str


@value_class(eq=False)
class ProgramDone:
    """Let the program continue: its operation is done.

    Attributes:
        values: The values that were read or fetched; read-only.
        versions: The version of each fetched component. A read returns only the largest version.
        ages_ns: The age of each shared value, if the operation is one-sided.
        states: What the policy keeps beside the component of each requested replica.
    """

    token: int
    values: tuple[Array, ...] = ()
    versions: tuple[int, ...] = ()
    ages_ns: tuple[int, ...] = ()
    states: tuple[NamedArrays, ...] = ()


@value_class(eq=False)
class ProgramRefused:
    """Raise this error in the program: its operation, or the start of its call, is refused."""

    token: int
    error: VarsimError


@value_class
class Finish:
    """End a call: all replicas returned, or one raised, or the coordinator found an error."""

    token: int
    call_id: int
    returned: tuple[Returned, ...] = ()  # the results of all replicas, in replica order
    reports: tuple[tuple[int, Report], ...] = ()  # from the replicas whose functions have ended
    error: VarsimError | None = None  # the error that the coordinator found
    raised: tuple[int, Raised] | None = None  # a replica_id, and what this replica raised
    warnings: tuple[tuple[str, str], ...] = ()  # the coordinator's warnings: (text, location)

    @property
    def error_text(self) -> str | None:
        """Return the text of the call's error in a few lines; None if there is no error."""
        if self.error is not None:
            return recorded(self.error)
        if self.raised is not None:
            return exception_in(self.raised[1].traceback)
        return None


ReplicaAction = (
    Send | Run | Deliver | Await | ShowValue | Proceed | Adopted | Abandon | Supply | Stop
)

ProgramAnswer = ProgramDone | ProgramRefused | Finish
"""The actions that end an operation of the program or a call."""

OtherAction = (
    RunMerge
    | PerformHostCall
    | Reduce
    | Obtain
    | Locate
    | Examine
    | WarnOfStall
    | ShowOutput
    | EndWorkers
    | CallBegins
    | Exchanged
    | ProgramWrote
    | ProgramSynced
    | ProgramAnswer
)
"""All actions of the coordinator except `Send`."""

CoordinatorAction = Send | OtherAction

Steps = Generator[CoordinatorAction | list[CoordinatorAction] | Wait, Any, None]
"""A generator that yields the actions of one event in order, one by one or in lists.

The value of `yield Reduce(…)` is the reduced value, and that of `yield Obtain(…)` are the
arrays. The generator of a program's operation can also
yield a wait (see `waits`).
"""
