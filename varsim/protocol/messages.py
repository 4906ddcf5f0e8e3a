"""Define the messages of coordinator and workers.

The other modules have the messages of bounded staleness, calls, compressed contributions, deferred
writes, joined replicas, locks and barriers, one-sided operations, and of what policies keep.

Coordinator and workers send *envelopes*: one or more of these messages in order, encoded together
(see `codec`). A message is a value: after its creation, the message and its arrays do not change.
Messages on one channel arrive in the order in which they were sent.

In each call, every replica numbers its collectives from 0. A collective is a write that is merged,
a `Combine` or a merge_call. The coordinator pairs the collectives of all replicas by this
`position`. If paired collectives do not match, the call fails. The collectives of each process
group are numbered and paired separately.
"""

from __future__ import annotations

from varsim.protocol.bounded import BoundedWrite, CopyRequest, FreshCopy
from varsim.protocol.calls import (
    Abort,
    Define,
    HostCall,
    HostResult,
    Left,
    Output,
    Printed,
    Raised,
    Returned,
    Start,
)
from varsim.protocol.compression import CompressedContribution
from varsim.protocol.deferral import (
    Delta,
    DeltaPart,
    DeltaReply,
    PullDeltas,
    SyncRequest,
    WriteCounts,
)
from varsim.protocol.joining import Join, Joined
from varsim.protocol.meetings import (
    BarrierArrival,
    Granted,
    LockRelease,
    LockRequest,
    Meeting,
    Passed,
    ReceiveRequest,
    SendRequest,
)
from varsim.protocol.one_sided import FetchPublished, Publish, Pull, Push, SharedValue
from varsim.protocol.parts import (
    BY_PROGRAM,
    OF_DEFERRED,
    OWN_CALLS,
    Combination,
    CombineKind,
    Message,
    Payload,
    Report,
    Structure,
    Write,
    is_own_call,
)
from varsim.protocol.policy_messages import (
    ComponentCommit,
    FetchPolicyState,
    SetPolicyState,
    ShownPolicyState,
)
from varsim.protocol.slices import ReduceSlice, SliceReduced
from varsim.spec import Array, Operation, Rows, VariableSpec
from varsim.value_class import value_class

__all__ = [  # only the names from other modules; all classes below are public too
    "BY_PROGRAM",
    "OF_DEFERRED",
    "OWN_CALLS",
    "Abort",
    "BarrierArrival",
    "BoundedWrite",
    "Combination",
    "CombineKind",
    "ComponentCommit",
    "CompressedContribution",
    "CopyRequest",
    "Define",
    "Delta",
    "DeltaPart",
    "DeltaReply",
    "FetchPolicyState",
    "FetchPublished",
    "FreshCopy",
    "Granted",
    "HostCall",
    "HostResult",
    "Join",
    "Joined",
    "Left",
    "LockRelease",
    "LockRequest",
    "Meeting",
    "Message",
    "Output",
    "Passed",
    "Payload",
    "Printed",
    "Publish",
    "Pull",
    "PullDeltas",
    "Push",
    "Raised",
    "ReceiveRequest",
    "ReduceSlice",
    "Report",
    "Returned",
    "SendRequest",
    "SetPolicyState",
    "SharedValue",
    "ShownPolicyState",
    "SliceReduced",
    "Start",
    "Structure",
    "SyncRequest",
    "Write",
    "WriteCounts",
    "is_own_call",
]

# ---------------------------------------------------------------- coordinator → worker


@value_class(kw_only=True, eq=False)
class Create(Message):
    """Coordinator → every replica: create a variable; your component gets this value.

    A second message with the same `spec.variable_id` changes nothing.
    """

    spec: VariableSpec
    value: Array  # shape and dtype of the variable


@value_class(kw_only=True, eq=False)
class Forget(Message):
    """Coordinator → every replica: free these variables and functions, which are no longer used.

    A second delivery changes nothing.
    """

    variable_ids: tuple[int, ...] = ()
    function_ids: tuple[str, ...] = ()


@value_class(kw_only=True, eq=False)
class Commit(Message):
    """Coordinator → replica: apply `operation` with `value` to your components of these variables.

    For several variables, `operation` is always ASSIGN, and `value` contains their new values, flat
    and in order. A variable does not change if the replica already has this version or a later one.
    """

    call_id: int  # the call to which the merge belongs; else BY_PROGRAM or OF_DEFERRED
    settled: int  # how many collectives of the call, or how many deferred writes, are committed
    variable_ids: Array  # int64, (n,), without duplicates
    versions: Array  # int64, (n,); counts each variable's commits from 1
    operation: Operation  # ASSIGN, ASSIGN_ADD or ASSIGN_SUB
    value: Array  # shape and dtype of the variable; one-dimensional for several variables


@value_class(kw_only=True, eq=False)
class ScatterCommit(Message):
    """Coordinator → replica: apply a sparse write to your component of a variable.

    The variable does not change if the replica already has this version or a later one.
    """

    call_id: int  # the call to which the merge belongs; else BY_PROGRAM or OF_DEFERRED
    settled: int  # see `Commit`
    variable_id: int
    version: int  # counts the variable's commits from 1
    operation: Operation  # one of `SCATTERS`
    rows: Rows


@value_class(kw_only=True, eq=False)
class Fetch(Message):
    """Coordinator → replica: send your component of a variable. The answer is a `Component`."""

    request_id: int
    variable_id: int


@value_class(kw_only=True, eq=False)
class Reduced(Message):
    """Coordinator → replica: the leaves of your result of a `Combine`."""

    call_id: int
    position: int
    leaves: tuple[Array, ...]
    group: tuple[int, ...] = ()  # that of the `Combine`


@value_class(kw_only=True, eq=False)
class Merged(Message):
    """Coordinator → replica: your part of the value that a merge_call's function returned."""

    call_id: int
    position: int
    result: Payload


@value_class(kw_only=True, eq=False)
class Shutdown(Message):
    """Coordinator → every replica: end your process with exit code 0."""


@value_class(kw_only=True, eq=False)
class Acknowledge(Message):
    """Coordinator → worker: confirm that you have received everything before this message.

    This message is the last one of its envelope. The answer is an `Acknowledged`. The channels
    handle both messages; a state never gets them.
    """

    request_id: int


# ---------------------------------------------------------------- worker → coordinator


@value_class(kw_only=True, eq=False)
class Ready(Message):
    """Worker → coordinator: the worker is connected and ready for messages. Sent only once."""

    process_id: int


@value_class(kw_only=True, eq=False)
class Layout(Message):
    """Replica → coordinator: the writes of an outbox, in order.

    A layout is sent only once. Later `Contribution` messages refer to the layout by its id. A
    later layout with the same id replaces the earlier one.
    """

    layout_id: int
    writes: tuple[Write, ...]


@value_class(kw_only=True, eq=False)
class Contribution(Message):
    """Replica → coordinator: this replica's values for the merges of all writes of an outbox.

    Each write is a separate collective, so the writes have consecutive positions. The replica
    continues without waiting for the commits that answer this message.
    """

    call_id: int
    position: int  # the position of the first write
    layout_id: int
    buckets: tuple[Array, ...]  # the values, as `protocol.buckets` arranges the writes


@value_class(kw_only=True, eq=False)
class Scatter(Message):
    """Replica → coordinator: this replica's rows for the merge of one sparse write.

    Replicas can have different numbers of rows. The replica continues without waiting for the
    commit.
    """

    call_id: int
    position: int
    write: Write  # `write.shape` is the shape of the component
    rows: Rows  # empty if the aggregation does not use this replica's rows


@value_class(kw_only=True, eq=False)
class Combine(Message):
    """Replica → coordinator: combine these leaves with those of all replicas, or of a group.

    The answer is a `Reduced`.
    """

    call_id: int
    position: int  # counts the collectives of the call and of the group `how.group`
    how: Combination
    structure: Structure  # the nesting of the leaves; must be the same on all replicas
    leaves: tuple[Array, ...]  # in the order of the structure
    weight: float | None  # of a weighted MEAN: the weight of this replica's leaves
    label: str | None  # the program's name for the collective; must be the same on all replicas
    location: str
    performs: str = ""  # see `MergeCall`


@value_class(kw_only=True, eq=False)
class MergeCall(Message):
    """Replica → coordinator: run a function in cross-replica context, once for all replicas.

    The coordinator runs the function of the first replica. The answer is a `Merged`.
    """

    call_id: int
    position: int
    function: Payload
    arguments: Payload  # (args, kwargs) of this replica
    label: str | None
    location: str
    # The operation of cross-replica context that the programs of all workers perform together by
    # this collective, such as "read of variable 'v'"; "" if the program calls the collective.
    performs: str = ""


@value_class(kw_only=True, eq=False)
class Waiting(Message):
    """Replica → coordinator: the replica's program waits for the commit of a variable."""

    call_id: int
    variable_id: int
    position: int  # the position of the replica's last write of this variable
    location: str


@value_class(kw_only=True, eq=False)
class Component(Message):
    """Replica → coordinator: one replica's value of a variable; answers `Fetch`."""

    request_id: int
    variable_id: int
    version: int
    value: Array


@value_class(kw_only=True, eq=False)
class Acknowledged(Message):
    """Worker → coordinator: the worker has received everything before an `Acknowledge`."""

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
    | Granted
    | Passed
    | Abort
    | Shutdown
    | ReduceSlice
    | Acknowledge
    | SharedValue
    | Printed
    | FetchPolicyState
    | SetPolicyState
    | FreshCopy
    | ComponentCommit
    | Joined
)
CollectiveMessage = Contribution | Scatter | CompressedContribution | Combine | MergeCall | Join
"""Messages for collectives. Only a `Contribution` and a `Join` can be for several collectives."""

ExplicitCollective = Combine | MergeCall
"""Collectives without a variable, which are identified by their label, or else by location."""

Collective = Write | ExplicitCollective | Join
"""One replica's operation at one position."""

ToCoordinator = (
    Ready
    | Layout
    | Contribution
    | Scatter
    | Combine
    | MergeCall
    | Waiting
    | WriteCounts
    | SyncRequest
    | HostCall
    | LockRequest
    | LockRelease
    | BarrierArrival
    | SendRequest
    | ReceiveRequest
    | Returned
    | Raised
    | Left
    | Component
    | SliceReduced
    | DeltaReply
    | Acknowledged
    | Publish
    | Push
    | FetchPublished
    | Pull
    | Output
    | ShownPolicyState
    | BoundedWrite
    | CopyRequest
    | Join
    | CompressedContribution
)
