"""Define the messages between the coordinator's end and the hosts' ends of the exchange `chain`.

A message is sent as a list: the name of its class, then its members. Arrays are described by the
dtype's code (see `protocol.buffers`), and by where they are in the shared memory of the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, Final, NamedTuple, get_args, get_origin, get_type_hints

from varsim.errors import ProtocolError
from varsim.protocol.buffers import SharedReference
from varsim.spec import Operation, ReduceOp

HOME_BYTES: Final = 2**20
"""Size of a part of a value that a host sends to the program's machine, or gets from there."""


class Connect(NamedTuple):
    """To a host: connect to the host before this one."""

    address: str  # what this host's `Listens` has said


class Before(NamedTuple):
    """To a host: a part of the old value for the next reduction; the bytes are beside the message.

    The parts come in order, before the `ReduceOnHosts`. The answer to each is a `Progress`, so that
    the coordinator knows that the link is busy.
    """

    token: int  # of the reduction
    start: int  # offset of the part in the value, in bytes
    size_bytes: int  # of the value


class ReduceOnHosts(NamedTuple):
    """To a host: begin a reduction.

    The fields `counts` to `operation` are those of a `ChainPlan`.
    """

    token: int
    counts: tuple[int, ...]
    size: int
    chunk: int
    op: ReduceOp
    operation: Operation
    dtype_code: int
    values: tuple[SharedReference, ...]  # where this host's values are, in replica order
    mirror: SharedReference | None  # where the old value is here; None: see `Before`, or none
    comes_home: bool  # whether this host sends the result to the coordinator


class Ask(NamedTuple):
    """To a host: how far is this reduction? The answer is a `Progress`."""

    token: int


class Cancel(NamedTuple):
    """To a host: end this reduction without a result. Its block is free, also after `Filled`."""

    token: int


class Release(NamedTuple):
    """To a host: the results of these reductions are not used any more.

    Each `Filled` needs one, unless the reduction was cancelled.
    """

    tokens: tuple[int, ...]


class Fetch(NamedTuple):
    """To a host: send the bytes of a value to the coordinator, as `Home` parts."""

    token: int  # of the parts; never that of a reduction
    reference: SharedReference
    size_bytes: int


class Listens(NamedTuple):
    """From a host: this host listens for the next one; "" if there is no next one."""

    address: str


class Linked(NamedTuple):
    """From a host: this host has a connection to the host before it."""


class Filled(NamedTuple):
    """From a host: the host has the whole result, at this place."""

    token: int
    reference: SharedReference


class Refused(NamedTuple):
    """From a host: the host cannot continue a reduction, but has its values.

    The token 0 stands for all reductions, from now on.
    """

    token: int
    reason: str  # what follows "host NAME", such as "has no room for the result"


class Progress(NamedTuple):
    """From a host: how many chunks of a reduction, and parts of its old value, it has handled."""

    token: int
    chunks: int


class Home(NamedTuple):
    """From a host: a part of a value; the bytes are beside the message."""

    token: int
    start: int  # offset of the part in the value, in bytes


Order = (
    Connect
    | Before
    | ReduceOnHosts
    | Ask
    | Cancel
    | Release
    | Fetch
    | Listens
    | Linked
    | Filled
    | Refused
    | Progress
    | Home
)

_CLASSES: Final = {one.__name__: one for one in get_args(Order)}
_KINDS: Final = {name: get_type_hints(one).values() for name, one in _CLASSES.items()}


def packed(order: Order) -> list[Any]:
    """Return a message as a value that msgpack can pack."""
    members = [one.value if isinstance(one, Enum) else one for one in order]
    return [type(order).__name__, *members]


def unpacked(value: Any) -> Order:
    """Return the message of a value.

    Raises:
        ProtocolError: The value is not a message.
    """
    try:
        name, *members = value
        kinds = zip(_KINDS[name], members, strict=True)
        order: Order = _CLASSES[name](*(_member(kind, one) for kind, one in kinds))
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError(f"not a message of the exchange chain: {error!r}") from None
    return order


def _member(kind: Any, value: Any) -> Any:
    """Return a member of a message, which has this type there."""
    if get_origin(kind) is tuple:
        return tuple(_member(get_args(kind)[0], one) for one in _list(value))
    if kind is SharedReference:
        return SharedReference(*(_member(int, one) for one in _list(value)))
    if kind == SharedReference | None:
        return None if value is None else _member(SharedReference, value)
    if issubclass(kind, Enum):
        return kind(value)
    if type(value) is not kind or (kind is int and value < 0):
        raise ValueError(f"{value!r} is not {kind.__name__}, or is negative")
    return value


def _list(value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"{value!r} is not a list")
    return value
