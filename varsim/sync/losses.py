"""Keep track of replicas whose workers have ended, and make the errors about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from varsim.errors import WorkerLost
from varsim.spec import VariableSpec
from varsim.texts.losses import AllNeeded, ComponentsLost, LostWorker, WritesLost


class Losses:
    """The lost replicas of one cluster, in the order in which they were lost.

    A lost replica never comes back.
    """

    def __init__(self, num_replicas: int) -> None:
        self.survivors: Sequence[int] = range(num_replicas)
        """The replicas that are not lost. Only these replicas get messages."""
        self._workers: dict[int, LostWorker] = {}  # replica_id → how its worker ended

    def __bool__(self) -> bool:
        """Return whether any replica is lost."""
        return bool(self._workers)

    def __contains__(self, replica_id: int) -> bool:
        return replica_id in self._workers

    def __iter__(self) -> Iterator[int]:
        return iter(self._workers)

    def add(self, workers: Iterable[LostWorker]) -> tuple[int, ...]:
        """Add lost replicas; return those that were not lost before."""
        new = {one.replica_id: one for one in workers if one.replica_id not in self._workers}
        self._workers |= new
        self.survivors = [i for i in self.survivors if i not in new]
        return tuple(new)

    @property
    def workers(self) -> tuple[LostWorker, ...]:
        """Return how the workers ended."""
        return tuple(self._workers.values())

    def error(self) -> WorkerLost:
        """Return the error for a new operation that needs all replicas."""
        return WorkerLost(AllNeeded(self.workers))

    def require(self, spec: VariableSpec, replica_ids: Iterable[int]) -> None:
        """Check that components which are not known can be fetched.

        Raises:
            WorkerLost: A replica is lost; the text names its lost components.
        """
        gone = tuple(i for i in replica_ids if i in self._workers)
        if gone:
            raise WorkerLost(ComponentsLost(self.workers, spec.name, gone))

    def require_writes(self, spec: VariableSpec, lost_writes: int) -> None:
        """Check that no deferred write of a variable is lost.

        Raises:
            WorkerLost: A replica is lost with this number of its writes.
        """
        if lost_writes:
            raise WorkerLost(WritesLost(self.workers, spec.name, lost_writes))
