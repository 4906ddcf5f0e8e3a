"""The argument of a workload: its strategy, common settings, and a way to report progress."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
            metrics: Numbers to show, such as `loss=0.3`. They are kept as series of the run, as
                those of `Job.log`.
        """


class Loop(Protocol):
    """A function that iterates over the steps of a run, and saves checkpoints between them."""

    def __call__(self, total: int, keep: Mapping[str, Any]) -> Iterator[int]:
        """Yield the numbers of the steps that are to be done, from 0 or from the resumed step."""


def every_step(total: int, keep: Mapping[str, Any]) -> Iterator[int]:  # noqa: ARG001  # a Loop
    """Yield the numbers from 0, without checkpoints."""
    yield from range(total)


class Steps(int):
    """The number of steps that the experiment gives, and the loop over them."""

    loop: Loop = staticmethod(every_step)

    def __call__(self, *, keep: Mapping[str, Any] | None = None) -> Iterator[int]:
        """Iterate over the steps, as `Job.each_step` does: `for step in job.steps():`."""
        return self.loop(int(self), keep or {})

    def __reduce__(self) -> Any:
        return Steps, (int(self),)  # a replica does not iterate over steps


class Job:
    """The first argument of a workload's `run(job, *, ...)`.

    A workload must create its variables before it first reports progress. At this first report,
    varsim checks that every variable that the experiment names exists.
    """

    __slots__ = ("_loop", "_steps", "has_read_steps", "progress", "seed", "strategy")

    def __init__(
        self,
        strategy: tf.distribute.MirroredStrategy,
        seed: int,
        steps: int | None,
        progress: Progress,
        loop: Loop = every_step,
    ) -> None:
        self.strategy = strategy
        """The strategy, with running workers."""
        self.seed = seed
        """The seed for random numbers of the workload."""
        self.progress = progress
        self.has_read_steps = False
        """Whether the workload may have read `steps`."""
        self._steps = None if steps is None else Steps(steps)
        if self._steps is not None:
            self._steps.loop = loop
        self._loop = loop

    @property
    def steps(self) -> Steps | None:
        """Return the requested number of steps; None for the workload's own default.

        The number is also the loop over the steps: `for step in job.steps():`.
        """
        self.has_read_steps = True
        return self._steps

    def each_step(self, default: int, *, keep: Mapping[str, Any] | None = None) -> Iterator[int]:
        """Iterate over the steps: `for step in job.each_step(100):`.

        Only a run that iterates in this way, or by `for step in job.steps():`, can save checkpoints
        (`checkpoint: {every: 10}`) and be resumed. A checkpoint has all variables, the states of
        `random` and `numpy.random` on every replica and in the program, the random generators in
        local variables, and the positions of the iterators of distributed datasets that exist
        before the first step: `for step, x in zip(job.each_step(100), dataset):`.

        Args:
            default: The number of steps if the experiment gives none.
            keep: Other objects to save, by name: lists, dicts and arrays, which are restored in
                place, and random generators. Lists and dicts hold numbers, texts and arrays.
        """
        return self._loop(default if self.steps is None else int(self.steps), keep or {})

    def log(self, *, step: int | None = None, **metrics: Any) -> None:
        """Keep metrics of a step as series of the run: `job.log(loss=0.3)`, as `tf.log` does.

        Args:
            step: The number of the step, from 0. By default the step of `job.each_step` that runs,
                or, without such a loop, the number of calls of `strategy.run` so far.
            metrics: Numbers of Python or NumPy.
        Raises:
            MetricError: A value is not a number.
            ContextError: A function of `strategy.run` logs.
        """
        import varsim as tf

        tf.log(step=step, **metrics)

    def __reduce__(self) -> Any:
        """Pickle without `progress`, because a replica cannot report progress."""
        return Job, (self.strategy, self.seed, self.steps, _on_a_replica)


def _on_a_replica(*_: Any, **__: Any) -> None:
    raise RuntimeError(
        "job.progress cannot be called on a replica: call it outside strategy.run, after the step, "
        "with the values that the replicas returned"
    )
