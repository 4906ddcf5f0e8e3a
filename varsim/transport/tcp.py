"""Transport "tcp": TCP, encrypted by CURVE with new keys for each run.

The transport itself uses the loopback interface. `listen_on` binds an address that other hosts can
reach, for launchers that start workers on several hosts.
"""

from __future__ import annotations

import json
from pathlib import Path

from varsim.transport.keys import KeyPair
from varsim.transport.listening_port import ListeningPort
from varsim.transport.reliable import ReliableConnection, ReliableListener
from varsim.transport.sockets import (
    DealerConnection,
    DealerKeys,
    RouterListener,
    ServerKeys,
    routing_id,
)


class _TcpListener(RouterListener):
    """A listener whose addresses contain each worker's keys."""

    def __init__(
        self,
        num_replicas: int,
        link_loss_s: float,
        endpoint: str,
        port: ListeningPort | None,
        stretch: float = 1.0,
    ) -> None:
        """Bind the socket.

        Args:
            endpoint: The endpoint to bind, in ZeroMQ's form.
            port: The open port of the endpoint; None: open the port.
            stretch: See `link_times`.
        """
        own, pairs = KeyPair.generate(), [KeyPair.generate() for _ in range(num_replicas)]
        super().__init__(endpoint, num_replicas, ServerKeys(own, pairs), port, stretch)
        self._addresses = tuple(
            json.dumps(
                {
                    "endpoint": self.endpoint if port is None else port.endpoint_of(replica_id),
                    "public": pair.public.decode(),
                    "secret": pair.secret.decode(),
                    "server": own.public.decode(),
                    "link_loss_s": link_loss_s,
                    "stretch": stretch,
                }
            )
            for replica_id, pair in enumerate(pairs)
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return for each worker its endpoint, keys and settings, as JSON."""
        return self._addresses


def listen_on(
    endpoint: str, num_replicas: int, link_loss_s: float, stretch: float
) -> ReliableListener:
    """Bind an address of this host to which workers on other hosts connect.

    Args:
        endpoint: Such as "tcp://203.0.113.1:*", with "*" for any free port.
        stretch: See `link_times`.
    Raises:
        zmq.ZMQError: The endpoint cannot be bound.
    """
    listener = _TcpListener(num_replicas, link_loss_s, endpoint, None, stretch)
    return ReliableListener(listener, num_replicas, link_loss_s)


class Tcp:
    """Connects over TCP. Only workers with a key on the allow-list can connect."""

    same_memory = False
    can_lose = True

    def listen(
        self,
        num_replicas: int,
        directory: Path,  # noqa: ARG002 - for ipc
        link_loss_s: float,
    ) -> ReliableListener:
        """Bind a free port of the loopback interface."""
        port = ListeningPort(num_replicas)
        listener = _TcpListener(num_replicas, link_loss_s, port.endpoint, port)
        return ReliableListener(listener, num_replicas, link_loss_s)

    def connect(self, address: str, replica_id: int) -> ReliableConnection:
        """Connect with the keys in the address."""
        known = json.loads(address)
        public, secret, server = (known[one].encode() for one in ("public", "secret", "server"))
        keys = DealerKeys(KeyPair(public, secret), server)
        connection = DealerConnection(
            known["endpoint"], routing_id(replica_id), keys, known["stretch"]
        )
        return ReliableConnection(connection, known["link_loss_s"])
