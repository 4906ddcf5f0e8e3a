"""Facts about lost workers: how they ended, and what is lost with them."""

from __future__ import annotations

from dataclasses import dataclass

from varsim.texts.facts import Fact, name_replicas, times


@dataclass(frozen=True, slots=True)
class LostWorker(Fact):
    """A worker process that has ended."""

    replica_id: int
    reason: str  # for example "exited with code 3", "was killed by SIGKILL"
    stderr_tail: str = ""
    log_path: str = ""  # "" if there is no log

    @property
    def ending(self) -> str:
        """Return how the process ended, in one line."""
        return f"replica {self.replica_id}: worker {self.reason}"

    def __str__(self) -> str:
        said = f"; it said:\n{self.stderr_tail}" if self.stderr_tail else "; it said nothing"
        where = f"\n  full log: {self.log_path}" if self.log_path else ""
        return f"{self.ending}{said}{where}"


@dataclass(frozen=True, slots=True)
class Loss(Fact):
    """What an operation of the program has met: some workers are lost.

    The first worker is the one that was lost first.
    """

    workers: tuple[LostWorker, ...]

    @property
    def endings(self) -> str:
        """Return how the processes ended, in one line."""
        return "; ".join(worker.ending for worker in self.workers)


@dataclass(frozen=True, slots=True)
class AllNeeded(Loss):
    """The operation needs all replicas."""

    def __str__(self) -> str:
        return "\n".join(
            [
                *map(str, self.workers),
                "  this strategy cannot run or write any more: make a new one",
            ]
        )


@dataclass(frozen=True, slots=True)
class ComponentsLost(Loss):
    """A read needs components that are lost with their workers."""

    variable: str
    replica_ids: tuple[int, ...]

    def __str__(self) -> str:
        several = len(self.replica_ids) > 1
        return (
            f"variable {self.variable!r}: the component{'s' if several else ''} of "
            f"{name_replicas(self.replica_ids)} {'are' if several else 'is'} lost "
            f"({self.endings})\n"
            f"  {self.variable}.values[i] still reads the components of the other replicas"
        )


@dataclass(frozen=True, slots=True)
class WritesLost(Loss):
    """A read needs deferred writes that are lost with their worker."""

    variable: str
    count: int  # the number of lost writes of each replica; of the replica with the most

    def __str__(self) -> str:
        return (
            f"variable {self.variable!r}: the last {times(self.count, 'write')} of each replica "
            f"{'was' if self.count == 1 else 'were'} not exchanged, and cannot be exchanged any "
            f"more ({self.endings})\n"
            f"  {self.variable}.values[i] still reads the value before "
            f"{'this write' if self.count == 1 else 'these writes'}"
        )
