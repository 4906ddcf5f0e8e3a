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
        self._num_replicas = num_replicas
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
        """Add replicas that were lost at the same time; return those that were not lost before."""
        in_order = sorted(workers, key=lambda one: one.replica_id)
        new = {one.replica_id: one for one in in_order if one.replica_id not in self._workers}
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

    def error_of(
        self, spec: VariableSpec, needed: Iterable[int], unknown: Iterable[int]
    ) -> WorkerLost | None:
        """Return the error for a read that must fetch components; None if survivors have them.

        Args:
            needed: The replicas whose components the read must fetch.
            unknown: The lost replicas whose components are not known.
        """
        gone = tuple(sorted(i for i in needed if i in self._workers))
        if not gone:
            return None
        lost = set(unknown)
        others = tuple(i for i in range(self._num_replicas) if i not in lost)
        return WorkerLost(ComponentsLost(self.workers, spec.name, gone, others))

    def require_writes(self, spec: VariableSpec, lost_writes: int) -> None:
        """Check that no deferred write of a variable is lost.

        Raises:
            WorkerLost: A replica is lost with this number of its writes.
        """
        if lost_writes:
            raise WorkerLost(WritesLost(self.workers, spec.name, lost_writes))
