"""Provide the sentences about the checkpoints of runs, and about resuming a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from varsim.texts.facts import Fact, name_replicas, times
from varsim.texts.incarnations import LostValues, Recovery

NOT_ITERATED: Final = (
    "the program does not iterate with `for step in job.steps():` (or with job.each_step(100), "
    "if the experiment gives no steps), so varsim does not know the step at which a resumed run "
    "continues"
)
NESTED: Final = (
    "job.steps() is called inside a loop over job.steps(): with checkpoints, a workload has one "
    "such loop at a time"
)
CREATED_INSIDE: Final = (
    "a checkpoint cannot be saved: {names} was created inside the loop over job.steps(), and a "
    "resumed run could not restore it before that step; create variables before the loop"
)
NO_CHECKPOINT: Final = "{run} has no complete checkpoint, so the run starts from its first step"
WITHOUT_CHECKPOINTS: Final = (
    "{run} cannot be resumed: it has no checkpoints, because its experiment has no key "
    "`checkpoint`. To repeat it with a checkpoint after every 10 steps: "
    "varsim run {run} checkpoint=10"
)
OTHER_SETTINGS: Final = (
    "the run was resumed after step {step} with other settings than {run}: {changed}. So its "
    "results differ from those of a run without interruption."
)
TOO_FEW_STEPS: Final = (
    "{run} has a checkpoint after step {step}, and the run has only {total} steps: give more "
    "steps, as in --steps {more}"
)
NO_SUCH_LOOP: Final = (
    "{run} was in loop {wanted} over job.steps(), and this run has only {loops}: it is not the "
    "same program"
)
NOT_RESTORED: Final = (
    "the run was resumed after step {step}, but local variables that the loop changes, and "
    "iterators, have their values from before the loop: {names}. To restore them, keep them in "
    "lists, dicts or arrays: job.steps(keep={{'history': history}})."
)
STEPS_FIRST: Final = (
    "the loop reads another iterator before job.steps(), so a resumed run could not find the right "
    "item of that iterator: write the steps first, as in zip(job.steps(), dataset)"
)
NOT_DISTRIBUTED: Final = (
    "the run was resumed, but iterators beside job.steps() start again at their first item, "
    "because they are not distributed datasets: {kinds}. Use "
    "job.strategy.experimental_distribute_dataset, or the number of the step as an index."
)
PARTLY_DISTRIBUTED: Final = (
    "the run was resumed, and the distributed datasets beside job.steps() continue, but {kinds} "
    "that reads them has its values from before the loop, such as a count. Use the number of the "
    "step to count."
)
OTHER_PASSES: Final = (
    "the checkpoint has the positions of {saved} iterators of distributed datasets, and this run "
    "has created {here} before its loop: it is not the same program"
)
OTHER_BATCHES: Final = (
    "the distributed dataset that is read at {place} does not give the same batches as in the run "
    "that saved the checkpoint: its first {taken} batches differ. So the resumed run can differ "
    "from a run without interruption. Let the dataset begin at its first batch whenever the "
    "workload is called, and draw from a random generator of its own, made of job.seed."
)
OTHER_END: Final = (
    "the distributed dataset that is read at {place} should continue after batch {taken}, as in "
    "the run that saved the checkpoint, but it is at batch {here}. So the resumed run differs from "
    "a run without interruption."
)
STARTS_AGAIN: Final = (
    "the run was resumed, but iterators of distributed datasets that were created inside the loop "
    "start again at their first batch: {places}. To continue them, create them before the loop, "
    "from a dataset that repeats its batches."
)
NOT_EXACT: Final = (
    "the checkpoint of {run} has one value for each variable, because it was saved with exact: "
    "false; what synchronizations keep beside it, such as LocalSGD's number of writes, begins "
    "anew. So the resumed run can differ from a run without interruption"
)
_BEGINS_ANEW: Final = (
    "what synchronizations keep beside them, such as LocalSGD's number of writes, begins anew"
)
OTHER_KEPT: Final = (
    "the checkpoint keeps {saved}, and the workload keeps {here}: it is not the same program"
)
OTHER_WORKLOAD: Final = (
    "a run is resumed with its own workload, so {what} cannot be given with --resume"
)
DAMAGED: Final = "{path} is not the checkpoint of a run: {why}"

CONTINUE: Final = "checkpoint after {place}: continue with `varsim run --resume {run}`"


def of_names(names: list[str]) -> str:
    """Return names as text; "nothing" if there are none."""
    return ", ".join(sorted(names)) or "nothing"


@dataclass(frozen=True, slots=True)
class ScriptAgain(Fact):
    """A script that runs on every replica begins again after lost workers."""

    recovery: Recovery

    def __str__(self) -> str:
        one = self.recovery
        are = "was" if len(one.gone) == 1 else "were"
        return (
            f"{name_replicas(one.gone)} {are} lost, so the script begins again from its first "
            f"line, on {times(one.num_replicas, 'replica')} (incarnation {one.incarnation})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CalledAgain(Fact):
    """How a run goes on after lost workers, if its workload did not catch the error."""

    lost: tuple[int, ...]  # the replicas whose workers were lost
    where: str  # such as "in step 6"
    incarnation: int  # the incarnation in which the workload is called
    num_replicas: int  # the number of its replicas
    removed: tuple[int, ...]  # the replicas that this incarnation does not have
    checkpoint: int | None  # the step of the checkpoint; None if there is no checkpoint
    is_exact: bool  # whether the checkpoint has every component
    last: int | None  # the last step that had begun; None if it is not in the checkpoint's loop
    missing: tuple[LostValues, ...]  # lost values of variables that are not created again

    def __str__(self) -> str:
        said = f"{self._loss()}: {self._start()}"
        if not self.missing:
            return said
        listed = "".join(f"\n  - {one}" for one in self.missing)
        return f"{said}\nThe program still has variables of the first call:{listed}"

    def _loss(self) -> str:
        if not self.lost:
            return f"workers were lost {self.where}"
        were = "was" if len(self.lost) == 1 else "were"
        return f"{name_replicas(self.lost)} {were} lost {self.where}"

    def _start(self) -> str:
        of_all = f"incarnation {self.incarnation} with {times(self.num_replicas, 'replica')}"
        numbered = ", numbered from 0" if self.removed else ""
        called = f"the workload is called again in {of_all}{numbered}, and"
        if self.checkpoint is None:
            return (
                f"{called} begins at its first step with new variables, because the run has no "
                "complete checkpoint. `checkpoint: 10` saves one every 10 steps, for workloads "
                "that iterate with job.steps()"
            )
        values = "" if self.is_exact else ", with one value for each variable"
        values += ", for fewer replicas" if self.removed else ""
        if values:
            values += f" ({_BEGINS_ANEW})"
        return (
            f"{called} continues from its checkpoint after step {self.checkpoint}. All variables "
            f"are restored from it{values}; {self._repeated(self.checkpoint)}"
        )

    def _repeated(self, step: int) -> str:
        if self.last is None:
            return f"the steps after step {step} are repeated"
        first = step + 1
        if self.last < first:
            return "no step is repeated"
        if self.last == first:
            return f"step {first} is repeated"
        return f"steps {first} to {self.last} are repeated"
