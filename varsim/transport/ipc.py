"""Transport "ipc": sockets in a private directory, for the processes of one host."""

from __future__ import annotations

from pathlib import Path

from varsim.transport.folders import SOCKET_NAME
from varsim.transport.sockets import DealerConnection, RouterListener, routing_id


class Ipc:
    """Connects processes of one user on one host; other users cannot enter the directory."""

    same_memory = True
    can_lose = False

    def listen(
        self,
        num_replicas: int,
        directory: Path,
        link_loss_s: float,  # noqa: ARG002 - for tcp
    ) -> RouterListener:
        """Bind a socket in the directory."""
        return RouterListener(f"ipc://{directory / SOCKET_NAME}", num_replicas)

    def connect(self, address: str, replica_id: int) -> DealerConnection:
        """Connect; the address is the endpoint."""
        return DealerConnection(address, routing_id(replica_id))
