"""Keep track of replicas whose workers have ended, and make the errors about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from varsim.errors import WorkerLost
from varsim.spec import VariableSpec
from varsim.texts.losses import AllNeeded, ComponentsLost, LostWorker, WritesLost


class Losses:
    """The lost replicas of one cluster, in the order in which they were lost.

    A lost replica never comes back.
    """

    def __init__(self, num_replicas: int) -> None:
        self.survivors: Sequence[int] = range(num_replicas)
        """The replicas that are not lost. Only they get messages."""
        self._workers: dict[int, LostWorker] = {}  # replica_id → how its worker ended

    def __bool__(self) -> bool:
        """Return whether any replica is lost."""
        return bool(self._workers)

    def __contains__(self, replica_id: int) -> bool:
        return replica_id in self._workers

    def add(self, workers: Iterable[LostWorker]) -> bool:
        """Add lost replicas; return whether any of them was not lost before."""
        before = len(self._workers)
        for worker in workers:
            self._workers.setdefault(worker.replica_id, worker)
        self.survivors = [i for i in self.survivors if i not in self._workers]
        return len(self._workers) > before

    @property
    def _all(self) -> tuple[LostWorker, ...]:
        return tuple(self._workers.values())

    def error(self) -> WorkerLost:
        """Return the error for an operation that needs all replicas."""
        return WorkerLost(AllNeeded(self._all))

    def require(self, spec: VariableSpec, replica_ids: Iterable[int]) -> None:
        """Check that components which are not known can be fetched.

        Raises:
            WorkerLost: A replica is lost; the text names the components that are lost with it.
        """
        gone = tuple(i for i in replica_ids if i in self._workers)
        if gone:
            raise WorkerLost(ComponentsLost(self._all, spec.name, gone))

    def require_writes(self, spec: VariableSpec, lost_writes: int) -> None:
        """Check that no deferred write of a variable is lost.

        Raises:
            WorkerLost: A replica is lost, and with it this number of its writes.
        """
        if lost_writes:
            raise WorkerLost(WritesLost(self._all, spec.name, lost_writes))
