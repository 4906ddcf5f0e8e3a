"""Keep what the coordinator knows of one variable, to count the messages of operations."""

from __future__ import annotations

from collections.abc import Iterable


class Known:
    """What the coordinator knows of one variable. The cost of an operation depends on it.

    Attributes:
        num_replicas: The number of components of the variable.
        unknown: The replicas whose components must be fetched.
        pending: Whether replicas have writes that the next read will exchange.
    """

    def __init__(self, num_replicas: int) -> None:
        self.num_replicas = num_replicas
        self.unknown: set[int] = set()
        self.pending = False

    def fetch(self, replica_ids: Iterable[int]) -> int:
        """Count the messages of a fetch: a request and an answer for each unknown component.

        Pending writes are exchanged first: a request, an answer and a commit for each replica.
        """
        exchange = 3 * self.num_replicas if self.pending else 0
        self.pending = False
        asked = self.unknown.intersection(replica_ids)
        self.unknown -= asked
        return exchange + 2 * len(asked)
