"""The argument of a workload: its strategy, common settings, and a way to report progress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import varsim as tf


class Progress(Protocol):
    """A function by which a workload reports its progress."""

    def __call__(self, step: int, total: int, **metrics: float) -> None:
        """Report a step that is done.

        Args:
            step: The number of steps done, from 1.
            total: The number of steps planned.
            metrics: Numbers to show, such as `loss=0.3`.
        """


@dataclass(frozen=True, slots=True)
class Job:
    """The first argument of a workload's `run(job, *, ...)`.

    A workload must create its variables before it first reports progress. At this first report,
    varsim checks that every variable that the experiment names exists.
    """

    strategy: tf.distribute.MirroredStrategy  # with running workers
    seed: int  # for random numbers of the workload
    steps: int | None  # None: the workload's own default
    progress: Progress

    def __reduce__(self) -> Any:
        """Pickle without `progress`, because a replica cannot report progress."""
        return Job, (self.strategy, self.seed, self.steps, _on_a_replica)


def _on_a_replica(*_: Any, **__: Any) -> None:
    raise RuntimeError(
        "job.progress cannot be called on a replica: call it outside strategy.run, after the step, "
        "with the values that the replicas returned"
    )
