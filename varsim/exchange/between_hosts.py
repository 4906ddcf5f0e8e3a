"""Define what an exchange needs that moves values directly between the hosts of the workers.

Such an exchange has an end on each host, in the agent that starts the workers there. The
coordinator's end and the hosts' ends send each other messages over the agents' links. Only the
exchange reads them. A message is a value that msgpack can pack, and perhaps a frame of bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from varsim.exchange.exchange import (
    AUTO,
    EXCHANGES,
    CoordinatorExchange,
    Handover,
    check_exchange,
    open_exchange,
)
from varsim.protocol.buffers import Frame
from varsim.protocol.limits import Buffer
from varsim.transport.transport import Transport


class HostMessage(NamedTuple):
    """A message between the coordinator's end and a host's end of an exchange."""

    value: Any
    part: Frame | Buffer = b""  # must not change before the receiver has it


class HostPlace(NamedTuple):
    """Where a host is in a cluster."""

    host: int  # number of the host, from 0; its replicas have ids after those of earlier hosts
    num_hosts: int
    replica_ids: range
    num_replicas: int  # of the cluster
    endpoint: str  # where the host can listen for other hosts, such as "tcp://203.0.113.1:*"
    link_loss_s: float  # after so many seconds without a connection, a link is lost
    settings: str  # what the coordinator's end has said for all hosts
    stretch: float = 1.0  # of the times of links; see `varsim.transport.link_times`


class HostEnd(Protocol):
    """A host's end of an exchange."""

    @property
    def handover(self) -> Handover:
        """Return the values that the host's workers need; see `CoordinatorExchange.handover`."""

    @property
    def sockets(self) -> Sequence[Any]:
        """Return the sockets to poll. They can change with each message."""

    def take(self, message: HostMessage) -> list[HostMessage]:
        """Handle a message of the coordinator's end; return the answers.

        Raises:
            ProtocolError: The message is malformed.
        """

    def serve(self) -> list[HostMessage]:
        """Handle what has arrived at the sockets; return messages for the coordinator's end.

        Call it when a socket is readable, after `take`, and every `reliable.LOOK_S`.
        """

    def close(self) -> None:
        """Free everything."""


class HostLinks(Protocol):
    """The coordinator's links to the hosts' ends."""

    def send(self, host: int, message: HostMessage) -> None:
        """Send a message to a host's end, unless the host is lost."""

    def name(self, host: int) -> str:
        """Return the name of a host."""

    def lose(self, host: int, why: str) -> None:
        """Lose a host that does not do its part. `why` follows the name of the host."""

    def hear(self, timeout_s: float) -> None:
        """Wait for messages of hosts, and give them to the exchange; return after the first one."""


class HostsCoordinator(CoordinatorExchange, Protocol):
    """The coordinator's end of an exchange between hosts."""

    @property
    def settings(self) -> str:
        """Return what all hosts must know; only the exchange reads it."""

    def attach_hosts(self, links: HostLinks) -> None:
        """Set the links to the hosts' ends."""

    def take(self, host: int, message: HostMessage) -> None:
        """Handle a message of a host's end.

        Raises:
            ProtocolError: The message is malformed.
        """

    def lose_host(self, host: int) -> None:
        """Record that a host is lost, with all its values."""


@runtime_checkable
class BetweenHosts(Protocol):
    """An exchange that needs an end on each host."""

    def open_between(self, hosts: Sequence[range], round_trip_s: float) -> HostsCoordinator:
        """Return the coordinator's end.

        Args:
            hosts: The replicas of each host.
            round_trip_s: The longest time of a message to a host and its answer.
        """

    def join_host(self, place: HostPlace) -> HostEnd:
        """Return the end of a host, in the process that starts the host's workers.

        Raises:
            StartError: The host does not provide what the exchange needs.
        """


_PREFERRED: Final = "chain"
"""The exchange that `AUTO` uses between hosts which all have shared memory."""


def check_between(name: str, transport: Transport) -> None:
    """Check that an exchange exists, and can be used by workers on several hosts.

    Raises:
        ConfigError: The exchange cannot be used; the text says what to use instead.
    """
    EXCHANGES.check(name)
    if name == AUTO or not isinstance(EXCHANGES.make(name), BetweenHosts):
        check_exchange(name, transport)


def open_between(
    name: str,
    transport: Transport,
    hosts: Sequence[range],
    *,
    round_trip_s: float,
    have_memory: bool,
) -> tuple[str, CoordinatorExchange, HostsCoordinator | None]:
    """Return the name of the exchange that is used, and its coordinator's end.

    Args:
        hosts: The replicas of each host.
        round_trip_s: The longest time of a message to a host and its answer.
        have_memory: Whether all hosts have shared memory.
    Returns:
        The name, the end, and the end again if the exchange has an end on each host, else None.
    Raises:
        StartError: A host does not provide what the exchange needs.
    """
    if name == AUTO:
        name = _PREFERRED if have_memory else "star"
    exchange = EXCHANGES.make(name)
    if isinstance(exchange, BetweenHosts):
        end = exchange.open_between(hosts, round_trip_s)
        return name, end, end
    return *open_exchange(name, transport, hosts[-1].stop), None
