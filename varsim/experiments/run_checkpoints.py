"""Name the checkpoints of a run, and say from which one an unfinished run continues."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

from varsim.analysis.failures import DONE
from varsim.distribute.checkpoints import archive, folder
from varsim.experiments.run_ending import ending_of, summary_beside
from varsim.experiments.store import CHECKPOINTS, RunFiles
from varsim.texts import resuming

_NAME: Final = re.compile(r"loop-(\d+)-step-(\d+)")


class Place(NamedTuple):
    """The place of a checkpoint in a run."""

    loop: int  # the number of the loop over job.steps(), from 0
    step: int  # the number of steps of this loop that are done

    @property
    def name(self) -> str:
        """Return the name of the checkpoint."""
        return f"loop-{self.loop}-step-{self.step}"

    def __str__(self) -> str:
        return f"step {self.step}" + (f" of loop {self.loop + 1}" if self.loop else "")


def last_checkpoint(run: Path) -> Place | None:
    """Return the place of a run's last checkpoint; None if no step is saved.

    The checkpoint is not read: `varsim run --resume` uses the one before it if it is damaged.
    """
    for path in reversed(folder.listed(run / CHECKPOINTS)):
        found = _NAME.fullmatch(Path(path).name)
        if found and archive.file_of(path).is_file():
            place = Place(int(found[1]), int(found[2]))
            return None if place == (0, 0) else place
    return None


def continuation(run: Path) -> Place | None:
    """Return the checkpoint from which a run continues that has ended, but is not done.

    None means that the run is done, has not ended, or has no checkpoint.
    """
    place = last_checkpoint(run)
    if place is None:
        return None
    summary = summary_beside(run)
    if summary is not None:
        return None if ending_of(summary).status == DONE else place
    with RunFiles(run).claimed() as ours:  # else the run has not ended
        return place if ours else None


def how_to_continue(run: Path) -> str:
    """Return the line with the command that continues a run; "" if there is nothing to continue."""
    place = continuation(run)
    if run.is_symlink():  # `latest` will name another run
        run = run.with_name(run.resolve().name)
    return "" if place is None else resuming.CONTINUE.format(place=place, run=run)
