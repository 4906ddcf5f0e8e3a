"""Transport "tcp": the loopback interface, encrypted by CURVE with new keys for each run."""

from __future__ import annotations

import json
from pathlib import Path

from varsim.transport.keys import KeyPair
from varsim.transport.listening_port import ListeningPort
from varsim.transport.sockets import DealerConnection, DealerKeys, RouterListener, ServerKeys


class _TcpListener(RouterListener):
    """A listener whose addresses contain each worker's keys."""

    def __init__(self, num_replicas: int) -> None:
        own, workers = KeyPair.generate(), [KeyPair.generate() for _ in range(num_replicas)]
        self._server = own.public.decode()
        self._workers = workers
        port = ListeningPort()
        super().__init__(port.endpoint, num_replicas, ServerKeys(own, workers), port)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return for each worker the endpoint, its two keys, and the coordinator's public key."""
        return tuple(
            json.dumps([self.endpoint, pair.public.decode(), pair.secret.decode(), self._server])
            for pair in self._workers
        )


class Tcp:
    """Connects over TCP. Only workers with a key on the allow-list can connect."""

    same_memory = False

    def listen(self, num_replicas: int, directory: Path) -> RouterListener:  # noqa: ARG002 - for ipc
        """Bind a free port of the loopback interface."""
        return _TcpListener(num_replicas)

    def connect(self, address: str, replica_id: int) -> DealerConnection:
        """Connect with the keys in the address."""
        endpoint, *texts = json.loads(address)
        public, secret, server_public = (text.encode() for text in texts)
        keys = DealerKeys(KeyPair(public, secret), server_public)
        return DealerConnection(endpoint, replica_id, keys)
