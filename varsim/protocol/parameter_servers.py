"""The messages of parameter servers: every process reads and writes the variables of a server.

A client is a worker, or the program. A client waits for the answer to each request, so it has at
most one request at a time. The variables themselves are created by `Create` and freed by `Forget`.
Workers run closures: a closure is a `Start`, whose `call_id` is the number of the closure.
"""

from __future__ import annotations

from varsim.protocol.parts import Message, Payload
from varsim.spec import Array, Operation, Rows
from varsim.value_class import value_class


@value_class(kw_only=True, eq=False)
class ServedCreated(Message):
    """Server → coordinator: the variable of a `Create` exists.

    Before that, no closure can begin that could use the variable: requests of workers come over
    other links, and could arrive before the `Create`.
    """

    variable_id: int


@value_class(kw_only=True, eq=False)
class ServedRead(Message):
    """Client → server: send the value of a variable. The answer is a `ServedValue`."""

    request_id: int
    closure_id: int  # the closure that reads; 0 for the program itself
    variable_id: int
    location: str


@value_class(kw_only=True, eq=False)
class ServedWrite(Message):
    """Client → server: apply an operation to a variable. The answer is a `ServedVersion`.

    The write takes effect in the order of arrival. A second delivery would apply it twice.
    """

    request_id: int
    closure_id: int  # the closure that writes; 0 for the program itself
    variable_id: int
    operation: Operation  # ASSIGN, ASSIGN_ADD or ASSIGN_SUB
    value: Array
    read_version: int  # the version that the closure has read last; -1 if it has not read it
    location: str


@value_class(kw_only=True, eq=False)
class ServedScatter(Message):
    """Client → server: apply a sparse write to a variable; as `ServedWrite`."""

    request_id: int
    closure_id: int
    variable_id: int
    operation: Operation  # one of `SCATTERS`
    rows: Rows
    read_version: int
    location: str


@value_class(kw_only=True, eq=False)
class ServedValue(Message):
    """Server → client: the value of a variable; answers `ServedRead`."""

    request_id: int
    version: int  # counts the writes of the variable; 0 is the initial value
    value: Array


@value_class(kw_only=True, eq=False)
class ServedVersion(Message):
    """Server → client: a write was applied, and made this version of the variable."""

    request_id: int
    version: int


@value_class(kw_only=True, eq=False)
class ServedRefusal(Message):
    """Server → client: the request is refused, and no variable has changed."""

    request_id: int
    exception: Payload


@value_class(kw_only=True, eq=False)
class AskForCosts(Message):
    """Client → server: send the costs of a variable. The answer is a `ServedCosts`.

    The server does not record this request, and does not count it as a read.
    """

    request_id: int
    variable_id: int


@value_class(kw_only=True, eq=False)
class ServedCosts(Message):
    """Server → client: what happened to a variable until now; answers `AskForCosts`."""

    request_id: int
    reads: int
    writes: int
    read_bytes: int  # size of the values in the answers to reads
    written_bytes: int  # size of the operands of writes
    based_writes: int  # writes whose closure had read the variable before
    stale_writes: int  # those of them before which another write had arrived
    behind: int  # sum over all based writes: by how many versions the read was older
    most_behind: int  # the largest of these numbers
    values: tuple[Array, ...]  # the value; empty if the program has dropped the variable


@value_class(kw_only=True, eq=False)
class MakeResource(Message):
    """Coordinator → worker: call a function, and keep its result for later closures.

    There is no answer. If the function raises, each closure that uses the resource raises this
    exception. A second delivery changes nothing.
    """

    resource_id: int
    function: Payload
    is_iterator: bool  # whether to keep an iterator over the result, and not the result itself


ServedRequest = ServedRead | ServedWrite | ServedScatter | AskForCosts
"""The requests of clients."""

ServedAnswer = ServedValue | ServedVersion | ServedRefusal | ServedCosts
"""The answers of servers. A client gets one for each request."""

OfParameterServers = (
    ServedCreated
    | ServedRead
    | ServedWrite
    | ServedScatter
    | ServedValue
    | ServedVersion
    | ServedRefusal
    | MakeResource
    | AskForCosts
    | ServedCosts
)
"""All messages that only clusters with parameter servers have."""
