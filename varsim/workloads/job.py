"""The argument of a workload: its strategy, common settings, and a way to report progress."""

from __future__ import annotations

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


class Job:
    """The first argument of a workload's `run(job, *, ...)`.

    A workload must create its variables before it first reports progress. At this first report,
    varsim checks that every variable that the experiment names exists.
    """

    __slots__ = ("_steps", "has_read_steps", "progress", "seed", "strategy")

    def __init__(
        self,
        strategy: tf.distribute.MirroredStrategy,
        seed: int,
        steps: int | None,
        progress: Progress,
    ) -> None:
        self.strategy = strategy
        """The strategy, with running workers."""
        self.seed = seed
        """The seed for random numbers of the workload."""
        self.progress = progress
        self.has_read_steps = False
        """Whether the workload may have read `steps`."""
        self._steps = steps

    @property
    def steps(self) -> int | None:
        """Return the requested number of steps; None for the workload's own default."""
        self.has_read_steps = True
        return self._steps

    def __reduce__(self) -> Any:
        """Pickle without `progress`, because a replica cannot report progress."""
        return Job, (self.strategy, self.seed, self.steps, _on_a_replica)


def _on_a_replica(*_: Any, **__: Any) -> None:
    raise RuntimeError(
        "job.progress cannot be called on a replica: call it outside strategy.run, after the step, "
        "with the values that the replicas returned"
    )
