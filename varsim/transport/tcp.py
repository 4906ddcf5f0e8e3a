"""Transport "tcp": the loopback interface, encrypted by CURVE with new keys for each run."""

from __future__ import annotations

import json
from pathlib import Path

from varsim.transport.keys import KeyPair
from varsim.transport.listening_port import ListeningPort
from varsim.transport.reliable import ReliableConnection, ReliableListener
from varsim.transport.sockets import DealerConnection, DealerKeys, RouterListener, ServerKeys


class _TcpListener(RouterListener):
    """A listener whose addresses contain each worker's keys."""

    def __init__(self, num_replicas: int, link_loss_s: float) -> None:
        own, pairs = KeyPair.generate(), [KeyPair.generate() for _ in range(num_replicas)]
        port = ListeningPort(num_replicas)
        super().__init__(port.endpoint, num_replicas, ServerKeys(own, pairs), port)
        self._addresses = tuple(
            json.dumps(
                {
                    "endpoint": port.endpoint_of(replica_id),
                    "public": pair.public.decode(),
                    "secret": pair.secret.decode(),
                    "server": own.public.decode(),
                    "link_loss_s": link_loss_s,
                }
            )
            for replica_id, pair in enumerate(pairs)
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return for each worker its endpoint, keys and settings, as JSON."""
        return self._addresses


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
        listener = _TcpListener(num_replicas, link_loss_s)
        return ReliableListener(listener, num_replicas, link_loss_s)

    def connect(self, address: str, replica_id: int) -> ReliableConnection:
        """Connect with the keys in the address."""
        known = json.loads(address)
        public, secret, server = (known[one].encode() for one in ("public", "secret", "server"))
        keys = DealerKeys(KeyPair(public, secret), server)
        connection = DealerConnection(known["endpoint"], replica_id, keys)
        return ReliableConnection(connection, known["link_loss_s"])
