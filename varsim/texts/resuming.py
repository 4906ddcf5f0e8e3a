"""Provide the sentences about the checkpoints of runs, and about resuming a run."""

from __future__ import annotations

from typing import Final

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
TOO_FEW_STEPS: Final = (
    "{run} has a checkpoint after step {step}, and the run has only {total} steps: give more "
    "steps, as in --steps {more}"
)
NO_SUCH_LOOP: Final = (
    "{run} was in loop {wanted} over job.steps(), and this run has only {loops}: it is not the "
    "same program"
)
NOT_RESTORED: Final = (
    "the run was resumed after step {step}, but local variables that the loop changes have their "
    "values from before the loop: {names}. To restore them, keep them in lists, dicts or arrays: "
    "job.steps(keep={{'history': history}})."
)
NOT_EXACT: Final = (
    "the checkpoint of {run} has one value for each variable, because it was saved with exact: "
    "false; so the resumed run can differ from a run without interruption"
)
OTHER_KEPT: Final = (
    "the checkpoint keeps {saved}, and the workload keeps {here}: it is not the same program"
)
OTHER_WORKLOAD: Final = (
    "a run is resumed with its own workload, so {what} cannot be given with --resume"
)
DAMAGED: Final = "{path} is not the checkpoint of a run: {why}"


def of_names(names: list[str]) -> str:
    """Return names as text; "nothing" if there are none."""
    return ", ".join(sorted(names)) or "nothing"


AGAIN: Final = (
    "workers were lost, so the workload is called again in incarnation {incarnation}, and "
    "continues from its checkpoint after step {step}"
)
FROM_THE_START: Final = (
    "workers were lost, so the workload is called again in incarnation {incarnation}, from its "
    "first step, because the run has no complete checkpoint: `checkpoint: 10` saves one every 10 "
    "steps, for workloads that iterate with job.steps()"
)
