"""Define the interface of transports, which carry envelopes between coordinator and workers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from varsim.errors import ProtocolError
from varsim.protocol.buffers import Frame
from varsim.protocol.limits import Buffer
from varsim.registry import BuiltIn, Registry
from varsim.transport.link_faults import LinkFaults


class Listener(Protocol):
    """The coordinator's end, which accepts one connection for each worker."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return the address of this listener for each worker, in replica order.

        Only the transport reads an address. An address can contain secret keys, so it must be sent
        through a pipe.
        """

    @property
    def sockets(self) -> tuple[Any, ...]:
        """Return the sockets to poll; `drain` is called when one of them is readable."""

    def send(self, replica_id: int, frames: Sequence[Frame]) -> bool:
        """Send an envelope without waiting; return False if the worker is not connected."""

    def drain(self) -> Sequence[tuple[int, list[Buffer] | ProtocolError]]:
        """Return the received envelopes, each with its replica_id, in order of arrival.

        For a message that is not an envelope, a ProtocolError takes the place of the frames.
        """

    @property
    def look_s(self) -> float | None:
        """Return how often `look` must be called during a wait; None if never."""

    def look(self, is_stopped: Callable[[int], bool]) -> Collection[int]:
        """Look at the links to the workers; return the replicas whose links are lost.

        Args:
            is_stopped: Returns whether a replica's worker is stopped: then it cannot connect.
        """

    def lose(self, replica_id: int) -> None:
        """Record that a worker has ended."""

    def close(self) -> None:
        """Close the sockets; unsent messages are dropped."""


class Connection(Protocol):
    """A worker's end."""

    def send(self, frames: Sequence[Frame]) -> None:
        """Send an envelope; the first call waits until the connection is made."""

    def receive(self, timeout_s: float | None) -> list[list[Buffer]]:
        """Wait for an envelope, and return all that have arrived; [] after `timeout_s`."""

    @property
    def link_faults(self) -> LinkFaults | None:
        """Return the object that injects faults; None if links of this transport lose nothing."""

    @property
    def sockets(self) -> tuple[Any, ...]:
        """Return the sockets that are readable if `receive` would return an envelope."""

    def close(self, linger_s: float) -> None:
        """Wait at most `linger_s` until all messages are sent; close the socket."""


class Transport(Protocol):
    """Creates the coordinator's end and the workers' ends."""

    same_memory: bool
    """Whether the processes can share memory: workers inherit its descriptor from the program."""

    can_lose: bool
    """Whether a link can lose messages or its connection, so that faults can be injected."""

    def listen(self, num_replicas: int, directory: Path, link_loss_s: float) -> Listener:
        """Return the coordinator's end.

        Args:
            directory: A directory that only this user can enter. It is removed with the cluster.
            link_loss_s: After so many seconds without a connection, a link is lost.
        """

    def connect(self, address: str, replica_id: int) -> Connection:
        """Return a worker's end."""


AUTO: Final = "auto"

TRANSPORTS: Final = Registry[Transport](
    "transport",
    {
        "ipc": BuiltIn("varsim.transport.ipc:Ipc", "sockets in a private directory"),
        "tcp": BuiltIn("varsim.transport.tcp:Tcp", "TCP, encrypted by CURVE"),
    },
    also={AUTO: "ipc on one host, tcp between hosts"},
)
"""Every transport. A new transport is one file, with an entry here."""
