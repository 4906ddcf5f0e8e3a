"""Define the messages of coordinator and workers; `deferral` has those about deferred writes.

Coordinator and workers send *envelopes*: one or more of these messages in order, encoded together
(see `codec`). A message is a value: after its creation, the message and its arrays do not change.
Messages of one channel arrive in the order in which they were sent.

Within one call every replica numbers its collectives (writes that are merged, reductions, gathers,
merge_calls) from 0. The coordinator pairs the collectives of all replicas by this `position`. If
paired collectives do not match, the call fails.
"""

from __future__ import annotations

from dataclasses import dataclass

from varsim.protocol.deferral import Delta, DeltaReply, PullDeltas, SyncRequest, WriteCounts
from varsim.protocol.parts import (
    BY_PROGRAM,
    OF_DEFERRED,
    Message,
    Payload,
    Report,
    Structure,
    Write,
)
from varsim.spec import Array, Operation, ReduceOp, Rows, VariableAggregation, VariableSpec

__all__ = [  # names defined in other modules; all classes below are public too
    "BY_PROGRAM",
    "OF_DEFERRED",
    "Delta",
    "DeltaReply",
    "Message",
    "Payload",
    "PullDeltas",
    "Report",
    "Structure",
    "SyncRequest",
    "Write",
    "WriteCounts",
]

# ---------------------------------------------------------------- coordinator → worker


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Create(Message):
    """Coordinator → every replica: a new variable, with its component's initial value.

    A second delivery of the same `spec.variable_id` changes nothing.
    """

    spec: VariableSpec
    value: Array  # shape and dtype of the variable


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forget(Message):
    """Coordinator → every replica: free these variables and functions, which are not used any more.

    A second delivery changes nothing.
    """

    variable_ids: tuple[int, ...] = ()
    function_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Commit(Message):
    """Coordinator → replica: apply `operation` with `value` to your components of variables.

    For several variables, `operation` is always ASSIGN, and `value` holds their new values, flat
    and in order. If a replica already has this version of a variable or a later version, it does
    not change that variable.
    """

    call_id: int  # the call that this merge belongs to; else BY_PROGRAM or OF_DEFERRED
    settled: int  # number of collectives of that call, or of deferred writes, that are done so far
    variable_ids: Array  # int64, (n,), no id twice
    versions: Array  # int64, (n,); counts each variable's commits from 1
    operation: Operation  # ASSIGN, ASSIGN_ADD or ASSIGN_SUB
    value: Array  # shape and dtype of the variable; one-dimensional for several variables


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScatterCommit(Message):
    """Coordinator → replica: apply a sparse write to your component of a variable.

    A replica that already has this version or a later version does not change the variable.
    """

    call_id: int  # the call that this merge belongs to; else BY_PROGRAM
    settled: int  # as in `Commit`
    variable_id: int
    version: int  # counts the variable's commits from 1
    operation: Operation  # one of `SCATTERS`
    rows: Rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fetch(Message):
    """Coordinator → replica: send your component of a variable. Answered by `Component`."""

    request_id: int
    variable_id: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Define(Message):
    """Coordinator → replica: a function; later `Start` messages refer to it by its id.

    Sent only one time per function and worker. A second delivery changes nothing.
    """

    function_id: str
    function: Payload


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Start(Message):
    """Coordinator → replica: call a function in replica context.

    Answered by exactly one `Returned` or `Raised`, unless an `Abort` arrives first.
    """

    call_id: int
    function_id: str
    arguments: Payload  # (args, kwargs) for this replica


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reduced(Message):
    """Coordinator → replica: the leaves of the result of an `AllReduce` or an `AllGather`."""

    call_id: int
    position: int
    leaves: tuple[Array, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Merged(Message):
    """Coordinator → replica: this replica's slice of the value that a merge_call returned."""

    call_id: int
    position: int
    result: Payload


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HostResult(Message):
    """Coordinator → replica: the answer to a `HostCall`; `failed` if `result` is an exception."""

    call_id: int
    result: Payload
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Abort(Message):
    """Coordinator → every replica of a call: the call has failed.

    If the function of the call waits on the replica, the replica raises an exception in the
    function. The replica answers with `Left` when the function has ended. A replica that does not
    run the function answers immediately.
    """

    call_id: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shutdown(Message):
    """Coordinator → every replica: end your process with exit code 0."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReduceSlice(Message):
    """Coordinator → waiting worker: compute a slice of a reduction, in shared memory.

    Answered by `SliceReduced`. Only the exchange handles these two messages; they are never passed
    to a state.
    """

    request_id: int
    aggregation: VariableAggregation
    operation: Operation
    values: tuple[Array, ...]  # slices of the replicas' values, in replica order
    mirror: tuple[Array, ...]  # a slice of the mirror; empty if the reduction does not use it
    out: Array  # the worker writes the result here


# ---------------------------------------------------------------- worker → coordinator


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ready(Message):
    """Worker → coordinator: the worker is connected and ready for messages. Sent only one time."""

    process_id: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout(Message):
    """Replica → coordinator: the writes of an outbox, in order.

    A layout is sent only one time. Later `Contribution` messages refer to the layout by its id. A
    later layout with the same id replaces the earlier layout.
    """

    layout_id: int
    writes: tuple[Write, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contribution(Message):
    """Replica → coordinator: this replica's values for the merges of all writes of an outbox.

    Each write is a separate collective, so the writes have consecutive positions. The first write
    has `position`. The replica does not wait for the commits that answer this message.
    """

    call_id: int
    position: int  # of the first write
    layout_id: int
    buckets: tuple[Array, ...]  # the values, as `protocol.buckets` arranges the writes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scatter(Message):
    """Replica → coordinator: this replica's rows for the merge of one sparse write.

    Replicas may have different numbers of rows. The replica does not wait for the commit.
    """

    call_id: int
    position: int
    write: Write  # its `shape` is the shape of the component
    rows: Rows  # none if this replica's rows do not count


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AllReduce(Message):
    """Replica → coordinator: reduce these leaves over all replicas. Answered by `Reduced`."""

    call_id: int
    position: int
    op: ReduceOp
    structure: Structure  # of the value with these leaves; must be the same on all replicas
    leaves: tuple[Array, ...]  # in the order of the structure
    label: str | None  # the program's name for the reduction; must be the same on all replicas
    location: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AllGather(Message):
    """Replica → coordinator: concatenate these leaves over all replicas. Answered by `Reduced`."""

    call_id: int
    position: int
    axis: int
    structure: Structure
    leaves: tuple[Array, ...]
    label: str | None
    location: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MergeCall(Message):
    """Replica → coordinator: run a function in cross-replica context, one time for all replicas.

    The coordinator runs the function of the first replica. Answered by `Merged`.
    """

    call_id: int
    position: int
    function: Payload
    arguments: Payload  # (args, kwargs) of this replica
    label: str | None
    location: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Waiting(Message):
    """Replica → coordinator: the replica's program reads a variable and waits for its commit."""

    call_id: int
    variable_id: int
    position: int  # of the last write of that variable
    location: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HostCall(Message):
    """Replica → coordinator: perform a request in the program's process; answered by `HostResult`.

    A request is for objects that only the program has: variables outside the cluster, and other
    replicas' values. Requests are performed in replica order: a request is performed when every
    replica with a lower id waits or has ended its call.
    """

    call_id: int
    request: Payload  # one of `distribute.host_requests`
    location: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Returned(Message):
    """Replica → coordinator: the function of a call has returned."""

    call_id: int
    result: Payload
    report: Report


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Raised(Message):
    """Replica → coordinator: the function of a call has raised."""

    call_id: int
    exception: Payload
    traceback: str
    report: Report


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Left(Message):
    """Replica → coordinator: the replica does not run the function of a call; answers `Abort`.

    The function has ended, or was not called. A second delivery changes nothing.
    """

    call_id: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Component(Message):
    """Replica → coordinator: one replica's value of a variable; answers `Fetch`."""

    request_id: int
    variable_id: int
    version: int
    value: Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SliceReduced(Message):
    """Worker → coordinator: the slice is computed."""

    request_id: int


ToWorker = (
    Create
    | Forget
    | Commit
    | ScatterCommit
    | Fetch
    | PullDeltas
    | Define
    | Start
    | Reduced
    | Merged
    | HostResult
    | Abort
    | Shutdown
    | ReduceSlice
)
CollectiveMessage = Contribution | Scatter | AllReduce | AllGather | MergeCall
"""Messages for collectives: a `Contribution` for several, every other message for one."""

ExplicitCollective = AllReduce | AllGather | MergeCall
"""Collectives without a variable: identified by the label, or by the location without a label."""

Collective = Write | ExplicitCollective
"""One replica's operation at one position."""

ToCoordinator = (
    Ready
    | Layout
    | Contribution
    | Scatter
    | AllReduce
    | AllGather
    | MergeCall
    | Waiting
    | WriteCounts
    | SyncRequest
    | HostCall
    | Returned
    | Raised
    | Left
    | Component
    | SliceReduced
    | DeltaReply
)
