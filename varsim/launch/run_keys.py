"""The CURVE keys of one run: the coordinator's, and one pair for each worker."""

from __future__ import annotations

from varsim.launch.rendezvous import routing_id
from varsim.transport.keys import KeyPair


class RunKeys:
    """Key pairs of one run."""

    def __init__(self, num_replicas: int) -> None:
        self.server = KeyPair.generate()
        self._workers = [KeyPair.generate() for _ in range(num_replicas)]

    def owners(self) -> dict[bytes, bytes]:
        """Public key → routing id of the only peer that may use it."""
        return {pair.public: routing_id(i) for i, pair in enumerate(self._workers)}

    def as_text(self) -> tuple[tuple[str, str], ...]:
        """Each worker's public and secret key."""
        return tuple((pair.public.decode(), pair.secret.decode()) for pair in self._workers)
