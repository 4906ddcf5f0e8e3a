"""Define the interface of exchanges, which move arrays and reduce the values of a merge.

An exchange creates the coordinator's end and each worker's end. The ends encode and decode
envelopes. So the exchange decides how an array is represented in a message: by value, or by a
reference to shared memory. The states pass the operands of a reduction to the exchange without
reading them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import numpy as np

from varsim.errors import ConfigError, StartError
from varsim.location import warn
from varsim.protocol.buffers import Frame
from varsim.protocol.limits import Buffer
from varsim.protocol.messages import Message
from varsim.registry import BuiltIn, Registry
from varsim.spec import Array
from varsim.sync.actions import Reduce
from varsim.sync.coordinator_events import OperandsLost, ReductionDone
from varsim.tracing.host_traffic import Moved
from varsim.transport.transport import Transport
from varsim.value_class import value_class


@value_class
class Handover:
    """The values that workers need to take part in an exchange."""

    descriptors: tuple[int, ...] = ()  # descriptors of open files, which worker processes inherit
    settings: str = ""  # only the exchange reads these settings


class ExchangeChannel(Protocol):
    """The connections to all workers, for the exchange's own messages."""

    def send(self, replica_id: int, messages: Sequence[Message]) -> None:
        """Send an envelope."""

    def hear(self, timeout_s: float) -> bool:
        """Decode the envelopes that arrive within `timeout_s`; return False if none arrives."""


class CoordinatorExchange(Protocol):
    """The coordinator's end of an exchange."""

    @property
    def handover(self) -> Handover:
        """Return the values that workers need; the descriptors are open until `close`."""

    @property
    def deadline_s(self) -> float | None:
        """Return when to call `look`; None if nothing is due."""

    @property
    def shared_bytes(self) -> int:
        """Return the size of the shared memory to which the last encoded envelope refers."""

    @property
    def direct(self) -> Mapping[tuple[int, int], Moved] | None:
        """Return what was moved outside envelopes until now, for the account of several hosts.

        (host, host), by the numbers of the hosts in the order of their replicas → what the first
        host has given to the second one; both are equal for workers of one host, as in shared
        memory; `PROGRAM_END` is the program. Empty if envelopes contain all values. None if it is
        not counted: then the account says so. It is also read after `close`.
        """

    def attach(self, channel: ExchangeChannel) -> None:
        """Set the connections that the exchange uses."""

    def encode(self, replica_id: int, messages: Sequence[Message]) -> list[Frame]:
        """Return the frames of an envelope to a worker."""

    def decode(self, replica_id: int, frames: Sequence[Buffer]) -> list[Message]:
        """Return the messages of a worker's envelope, except the exchange's own messages.

        Raises:
            ProtocolError: The frames are malformed.
        """

    def end_round(self) -> None:
        """Drop the frames kept for further workers. The channel calls this before each wait."""

    def lose(self, replica_id: int) -> None:
        """Record that a worker has died."""

    def reduce(self, request: Reduce, now_s: float) -> Array | None:
        """Return the same value as `reduce.merge`, bit for bit; None if workers compute it.

        If workers compute the value, `finished` returns it later. A new request replaces an
        unfinished request.
        """

    def obtain(self, values: Sequence[Array]) -> Sequence[Array] | None:
        """Return contributions with their bytes; None if they were on a host that is lost."""

    def look(self, now_s: float) -> None:
        """Do what is due at `deadline_s`, for example finish a reduction without the workers."""

    def finished(self) -> list[ReductionDone | OperandsLost]:
        """Return the reductions that have ended since the last call."""

    def fill(self) -> bool:
        """Simulate that shared memory is full; return False if this exchange has none."""

    def close(self) -> None:
        """Free everything. Arrays that the program still uses stay valid."""


class WorkerExchange(Protocol):
    """A worker's end of an exchange."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
        """Return an uninitialised array to fill and send. It is the cheapest array to send."""

    def fill(self) -> bool:
        """Simulate that shared memory is full; return False if this exchange has none."""

    @property
    def shared_bytes(self) -> int:
        """Return the size of the arrays to which the last encoded envelope refers."""

    def encode(self, messages: Sequence[Message]) -> list[Frame]:
        """Return the frames of an envelope to the coordinator."""

    def decode(self, frames: Sequence[Buffer]) -> tuple[list[Message], list[Message]]:
        """Return the messages of an envelope, and the exchange's answers to send immediately.

        Raises:
            ProtocolError: The frames are malformed.
        """

    def before_waiting(self) -> list[Frame]:
        """Return the frames of an envelope to send before the worker waits; [] for no envelope."""


class Exchange(Protocol):
    """Creates the coordinator's end and the workers' ends."""

    def problem(self, transport: Transport) -> str:
        """Return what the system or transport lacks for this exchange; "" if nothing is missing."""

    def open(self, num_replicas: int) -> CoordinatorExchange:
        """Return the coordinator's end.

        Raises:
            StartError: The system does not provide what the exchange needs.
        """

    def join(self, handover: Handover, replica_id: int, num_replicas: int) -> WorkerExchange:
        """Return a worker's end."""


AUTO: Final = "auto"
_PREFERRED: Final = ("shared", "star")
"""The exchanges that `AUTO` tries, in this order. The last one works on every system."""

EXCHANGES: Final = Registry[Exchange](
    "exchange",
    {
        "shared": BuiltIn(
            "varsim.exchange.shared:Shared", "large values are in memory that all processes share"
        ),
        "chain": BuiltIn(
            "varsim.exchange.chain_exchange:Chain", "hosts reduce large values among themselves"
        ),
        "star": BuiltIn("varsim.exchange.star:Star", "all values are sent through sockets"),
    },
    group="varsim.exchanges",
    also={AUTO: "chain between hosts, shared on one host, star where they are not possible"},
)
"""Every exchange. A new exchange is one file, with an entry here or in a package's metadata."""


def check_exchange(name: str, transport: Transport) -> None:
    """Check that an exchange exists, and that the transport and the system allow it.

    Raises:
        ConfigError: The exchange cannot be used; the text says what to use instead.
    """
    EXCHANGES.check(name)
    if name != AUTO:
        problem = EXCHANGES.make(name).problem(transport)
        if problem:
            raise ConfigError(f"exchange={name!r} needs {problem}: use exchange={AUTO!r}")


def open_exchange(
    name: str, transport: Transport, num_replicas: int
) -> tuple[str, CoordinatorExchange]:
    """Return the name of the exchange that is used, and its coordinator's end.

    Raises:
        StartError: The system does not provide what the exchange needs.
    """
    if name != AUTO:
        try:
            return name, EXCHANGES.make(name).open(num_replicas)
        except StartError as error:
            raise StartError(f"exchange={name!r}: {error}. Use exchange={AUTO!r}") from error
    *preferred, last = _PREFERRED
    for candidate in preferred:
        exchange = EXCHANGES.make(candidate)
        if not exchange.problem(transport):
            try:
                return candidate, exchange.open(num_replicas)
            except StartError as error:
                warn(f"exchange={AUTO!r} does not use {candidate!r}: {error}")
    return last, EXCHANGES.make(last).open(num_replicas)
