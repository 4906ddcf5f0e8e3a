"""Iterate over the steps of a run: save its checkpoints, and continue from a checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import ReferenceType, ref

import numpy as np

from varsim.distribute.checkpoints import archive, folder, whole_strategy
from varsim.distribute.checkpoints.restoration import Restoration
from varsim.distribute.mirrored import MirroredStrategy
from varsim.distribute.values import PerReplica
from varsim.errors import CheckpointError, ConfigError
from varsim.experiments.active_run import ActiveRun
from varsim.experiments.checkpoint_settings import CheckpointSettings
from varsim.experiments.dataset_positions import DatasetPositions
from varsim.experiments.kept_values import Wrong, decoded, encoded, restore, state_of
from varsim.experiments.key_locations import WrongKey
from varsim.experiments.loop_variables import LoopVariables
from varsim.experiments.run_checkpoints import Place
from varsim.experiments.store import CHECKPOINTS
from varsim.launch.seeding import set_states, states_here
from varsim.spec import Array
from varsim.texts import resuming as texts


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """The checkpoint from which a run continues."""

    restoration: Restoration
    run: str  # the name of the run that saved it
    loop: int  # the number of the loop over job.steps(), from 0
    step: int  # the number of steps that are done
    kept: Mapping[str, Any]  # the states of kept objects, by name
    program: Array  # the states of the program's generators
    workers: list[Array]  # the states of the replicas' generators
    changed: list[str]  # the local variables that the loop had changed
    positions: Mapping[str, Any]  # the state of the `DatasetPositions`
    logged: int  # the number of lines of the metric series
    steps_before: int  # the number of steps in earlier loops


def resume_point(run_folder: Path, warn: Callable[[str], None]) -> ResumePoint | None:
    """Return the newest complete checkpoint of a run; None if there is none.

    Args:
        warn: Receives a warning for each damaged checkpoint that is newer.
    Raises:
        CheckpointError: The checkpoint was not saved by a run.
    """
    path = folder.newest_whole(reversed(folder.listed(run_folder / CHECKPOINTS)), warn)
    if path is None:
        return None
    restoration = Restoration(path)
    extra, arrays = restoration.contents.extra, restoration.contents.arrays
    try:
        found = {name: decoded(one, arrays) for name, one in extra.items()}
        numbers = [found["loop"], found["step"]]
        states = [found["program"], *found["workers"]]
        if not all(isinstance(state, np.ndarray) for state in states):
            raise Wrong("the states of its generators are not arrays")
        if any(type(number) is not int or number < 0 for number in numbers):
            raise Wrong("its loop or its step is not a number")
        return ResumePoint(
            restoration=restoration,
            run=run_folder.name,
            loop=found["loop"],
            step=found["step"],
            kept=dict(found["kept"]),
            program=found["program"],
            workers=states[1:],
            changed=[str(name) for name in found["changed"]],
            positions=dict(found["positions"]),
            logged=int(found.get("logged", 0)),  # earlier versions of varsim had no series
            steps_before=int(found.get("steps_before", 0)),
        )
    except (Wrong, KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(texts.DAMAGED.format(path=path, why=error)) from None


class StepLoop:
    """Iterates over the steps of one run, for `job.steps`."""

    def __init__(
        self, run: ActiveRun, strategy: MirroredStrategy, resumed: ResumePoint | None
    ) -> None:
        self._run = run
        self._strategy = strategy
        self._resumed = resumed
        self._settings: CheckpointSettings | None = run.experiment.checkpoint
        self._folder = run.directory.path / CHECKPOINTS
        run.metric_log.step = self._step
        self._paths: list[str] = []  # the paths of the checkpoints, the oldest first
        if resumed is not None:
            self._adopt(Path(resumed.restoration.path))
        self._loops = 0
        self._is_inside = False
        self._positions = DatasetPositions(strategy.passes) if self._is_used else None
        self._reports = False  # whether the workload reports its progress itself
        self._steps_before = 0  # the number of steps of the earlier loops
        self.begun = 0
        """The number of steps that have begun in the present loop."""
        self.place = ""
        """Where the workload is, such as "in step 3"; "" if it has not iterated yet."""

    def _adopt(self, path: Path) -> None:
        """Copy the checkpoint into this run, which can then be resumed before its first save."""
        own = self._folder / path.name
        if own == path:  # the run goes on after lost workers
            self._paths = folder.listed(self._folder)
            return
        archive.write_bytes(archive.file_of(own), archive.file_of(path).read_bytes())
        assert self._resumed is not None
        self._run.metric_log.keep(0)
        missing = self._run.metric_log.take_over(path.parent.parent, self._resumed.logged)
        if missing:
            self._run.warn(missing)
        self._paths = [str(own)]
        folder.write_list(self._folder, self._paths)

    @property
    def number(self) -> int:
        """Return the number of the present loop, from 0."""
        return self._loops - 1

    @property
    def _is_used(self) -> bool:
        return self._settings is not None or self._resumed is not None

    def progress(self, step: int, total: int, **metrics: float) -> None:
        """Handle the progress that the workload reports.

        Raises:
            WrongKey: The run has checkpoints, and the workload does not iterate with job.steps().
        """
        self._reports = True
        self._check_use()
        self._run.progress(step, total, **metrics)

    def _check_use(self) -> None:
        if self._is_used and not self._loops:
            raise WrongKey(("checkpoint",), texts.NOT_ITERATED)

    def check_end(self) -> None:
        """Check, at the end of the workload, that its checkpoints could be saved or resumed.

        Raises:
            ConfigError: The workload has not iterated, or has not reached the resumed loop.
        """
        self._check_use()
        point = self._resumed
        if point is not None and self._loops <= point.loop:
            raise ConfigError(
                texts.NO_SUCH_LOOP.format(run=point.run, wanted=point.loop + 1, loops=self._loops)
            )

    def __call__(self, total: int, keep: Mapping[str, Any]) -> Iterator[int]:
        """Return the loop over the steps, which `_iterate` describes."""
        own: list[ReferenceType[object]] = []  # weak, so that `break` ends the loop immediately
        loop = self._iterate(total, keep, own)
        own.append(ref(loop))
        return loop

    def _iterate(
        self, total: int, keep: Mapping[str, Any], own: list[ReferenceType[object]]
    ) -> Iterator[int]:
        """Yield the numbers of the steps. Between two steps, save a checkpoint if one is due.

        Raises:
            CheckpointError: A checkpoint cannot be saved or restored.
            ConfigError: The resumed run has fewer steps than are done.
        """
        number, point = self._loops, self._resumed
        self._loops += 1
        self._steps_before, self.begun = self._steps_before + self.begun, 0
        if self._is_inside and self._is_used:
            raise CheckpointError(texts.NESTED)
        if point is not None and number < point.loop:
            return
        frame = sys._getframe(1)  # noqa: SLF001  # the frame with the for loop
        watched = None
        if self._positions is not None:
            self._positions.enter(own[0]())
            watched = LoopVariables(frame, own[0](), keep, self._positions)
        self._run.check_settings()
        first = 0
        if point is not None and number == point.loop:
            assert watched is not None
            first = self._continue(point, watched, total)
        self._is_inside = True
        self.begun, self.place = first, f"before step {first + 1}"
        try:
            if watched is not None and self._settings is not None:
                known = len(self._run.settings.everything)
                self._save(number, first, watched, known)
            for step in range(first, total):
                self.begun = step + 1
                self.place = f"in step {self.begun}"
                yield step
                self.place = f"after step {self.begun}"
                if not self._reports:
                    self._run.progress(step + 1, total)
                done = step + 1
                if watched is not None and self._is_due(done, total):
                    self._save(number, done, watched, known)
        finally:
            self._is_inside = False
            if self._positions is not None:
                self._positions.leave()

    def _step(self) -> int:
        """Return the number of the running step, for metrics: counted over all loops.

        Without a loop, it is the number of calls.
        """
        return self._steps_before + self.begun if self._loops else self._run.calls()

    def _is_due(self, done: int, total: int) -> bool:
        settings = self._settings
        return settings is not None and (done % settings.every == 0 or done == total)

    # ------------------------------------------------------------ saving

    def _save(self, loop: int, done: int, watched: LoopVariables, known: int) -> None:
        settings, variables = self._settings, self._run.settings.everything
        assert settings is not None
        if len(variables) > known:
            new = [variable.name.removesuffix(":0") for variable in variables[known:]]
            raise CheckpointError(texts.CREATED_INSIDE.format(names=texts.of_names(new)))
        arrays: dict[str, Array] = {}
        workers = self._strategy.run_own(states_here)
        states = {
            "loop": loop,
            "step": done,
            "kept": {name: state_of(name, one) for name, one in watched.kept().items()},
            "program": states_here(),
            "workers": list(self._strategy.experimental_local_results(workers)),
            "changed": watched.changed(),
            "positions": watched.positions.state(),
            "logged": self._run.metric_log.lines,
            "steps_before": self._steps_before,
        }
        try:
            extra = {name: encoded(one, arrays) for name, one in states.items()}
        except Wrong as error:
            raise CheckpointError(
                f"a checkpoint cannot be saved: job.steps(keep=…): {error}"
            ) from error
        path = str(self._folder / Place(loop, done).name)
        whole_strategy.save(variables, path, exact=settings.exact, extra=extra, more=arrays)
        self._paths = [*(one for one in self._paths if one != path), path]
        old, self._paths = self._paths[: -settings.keep], self._paths[-settings.keep :]
        folder.write_list(self._folder, self._paths)
        for one in old:
            with suppress(OSError):
                archive.file_of(one).unlink()

    # ------------------------------------------------------------ resuming

    def _continue(self, point: ResumePoint, watched: LoopVariables, total: int) -> int:
        """Restore everything, and return the number of steps that are done."""
        if total < point.step:
            raise ConfigError(
                texts.TOO_FEW_STEPS.format(
                    run=point.run, step=point.step, total=total, more=point.step + total
                )
            )
        self._run.metric_log.keep(point.logged)  # the workload may log before its loop, each time
        self._steps_before = point.steps_before
        kept = watched.kept()
        if kept.keys() != point.kept.keys():
            raise CheckpointError(
                texts.OTHER_KEPT.format(
                    saved=texts.of_names(list(point.kept)), here=texts.of_names(list(kept))
                )
            )
        # First, because the datasets can draw from the generators that are restored below.
        is_same = len(point.workers) == self._strategy.num_replicas_in_sync
        watched.positions.restore(point.positions, compares=is_same, warn=self._run.warn)
        variables = self._run.settings.everything
        whole_strategy.restore_from(point.restoration, variables)
        point.restoration.forget_variables()  # after a loss, the workload creates them anew
        for name, one in kept.items():
            restore(name, one, point.kept[name])
        self._restore_generators(point)
        if point.changed:
            names = texts.of_names(point.changed)
            self._run.warn(texts.NOT_RESTORED.format(step=point.step, names=names))
        contents, settings = point.restoration.contents, self._settings
        if settings is not None and settings.exact and not contents.is_exact:
            self._run.warn(texts.NOT_EXACT.format(run=point.run))
        if Path(point.restoration.path).parent != self._folder:  # another run saved it
            self._run.resumed = f"{point.run} after step {point.step}"
        return point.step

    def _restore_generators(self, point: ResumePoint) -> None:
        count = self._strategy.num_replicas_in_sync
        each = [*point.workers[:count], *[None] * (count - len(point.workers))]
        try:
            set_states(point.program)
            self._strategy.run_own(set_states, (PerReplica(each),))
        except ValueError as error:
            raise CheckpointError(
                texts.DAMAGED.format(path=point.restoration.path, why=error)
            ) from error
