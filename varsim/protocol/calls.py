"""Define the messages of calls: how a replica runs a function, and how the function ends."""

from __future__ import annotations

from varsim.protocol.parts import Message, Payload, Report
from varsim.value_class import value_class


@value_class(kw_only=True, eq=False)
class Define(Message):
    """Coordinator → replica: store a function, to which later `Start` messages refer by its id.

    Sent only once per function and worker. A second delivery changes nothing.
    """

    function_id: str
    function: Payload


@value_class(kw_only=True, eq=False)
class Start(Message):
    """Coordinator → replica: call a function in replica context.

    The answer is exactly one `Returned` or `Raised`, unless an `Abort` arrives first.
    """

    call_id: int
    function_id: str
    arguments: Payload  # (args, kwargs) for this replica; None if it has no arguments
    present: int  # number of replicas that take part in the call: 0 … present - 1


@value_class(kw_only=True, eq=False)
class Abort(Message):
    """Coordinator → every replica of a call: the call has failed.

    If the replica's function waits, an exception is raised in the function. The replica answers
    with `Left` when the function has ended. A replica that does not run the function answers
    immediately.
    """

    call_id: int
    reason: str


@value_class(kw_only=True, eq=False)
class HostCall(Message):
    """Replica → coordinator: perform a request in the program's process.

    A request uses objects that only the program has: variables outside the cluster, and values of
    other replicas. A request is performed when every replica with a lower id waits or has ended its
    call. The answer is a `HostResult`.
    """

    call_id: int
    request: Payload  # one of `distribute.host_requests`
    location: str


@value_class(kw_only=True, eq=False)
class HostResult(Message):
    """Coordinator → replica: the answer to a `HostCall`."""

    call_id: int
    result: Payload
    failed: bool = False  # whether the result is an exception


@value_class(kw_only=True, eq=False)
class Output(Message):
    """Replica → coordinator: print these lines of the running function now, not at its end.

    The answer is a `Printed`, so a replica that prints much waits for the coordinator.
    """

    call_id: int
    text: str
    is_error: bool  # whether the lines belong to stderr


@value_class(kw_only=True, eq=False)
class Printed(Message):
    """Coordinator → replica: the output is printed or will be; answers `Output`."""

    call_id: int


@value_class(kw_only=True, eq=False)
class Returned(Message):
    """Replica → coordinator: the function of a call has returned."""

    call_id: int
    result: Payload
    report: Report


@value_class(kw_only=True, eq=False)
class Raised(Message):
    """Replica → coordinator: the function of a call has raised."""

    call_id: int
    exception: Payload
    traceback: str
    report: Report


@value_class(kw_only=True, eq=False)
class Left(Message):
    """Replica → coordinator: this replica does not run the function of a call; answers `Abort`.

    The function has ended, or was never called. A second delivery changes nothing.
    """

    call_id: int
