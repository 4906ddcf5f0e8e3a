"""What a workload is given: the cluster, the settings that every workload has, a way to report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import varsim as tf


class Progress(Protocol):
    """Where a workload reports how far it is."""

    def __call__(self, step: int, total: int, **metrics: float) -> None:
        """Called after each step.

        Args:
            step: How many steps are done, from 1.
            total: How many there will be.
            metrics: What is worth watching, such as `loss=0.3`.
        """


@dataclass(frozen=True, slots=True)
class Job:
    """The first argument of a workload's `run(job, *, ...)`.

    A workload creates its variables before it first reports progress: by then it is known whether
    every name that the experiment mentions is a variable's.
    """

    strategy: tf.distribute.MirroredStrategy  # its workers run already
    seed: int  # for whatever the workload draws at random
    steps: int | None  # None: as many as the workload finds right
    progress: Progress

    def __reduce__(self) -> Any:
        """Travels with a replica's function that uses it; only the program can report progress."""
        return Job, (self.strategy, self.seed, self.steps, _on_a_replica)


def _on_a_replica(*_: Any, **__: Any) -> None:
    raise RuntimeError(
        "job.progress is the program's: call it outside strategy.run, after the step, with what "
        "the replicas returned"
    )
