"""A program that runs once more beside its run, silently: on other devices, or for fewer steps."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, Final

from varsim.distribute.variable import variable_creator_scope
from varsim.errors import VarsimWarning
from varsim.experiments.catalog import load_workload
from varsim.experiments.cluster import strategy_of
from varsim.experiments.config import Experiment
from varsim.experiments.measure import reached
from varsim.experiments.settings import AppliedSettings
from varsim.experiments.store import RunFiles
from varsim.interrupts import Interrupts, came_of_interrupt
from varsim.launch.chance import AT_IMPORT, seeded
from varsim.report.summary import Plain
from varsim.workloads.job import Job

_SAID: Final = "program.log"  # beside the workers' logs


def run_aside(
    experiment: Experiment,
    device_names: Sequence[str],
    params: dict[str, Any],
    interrupts: Interrupts,
    files: RunFiles,
) -> dict[str, Plain]:
    """Runs an experiment's workload on these devices, and leaves its traces.

    Args:
        interrupts: Heeded while the workload runs, and not afterwards.
    Returns:
        What it returned.
    Raises:
        Exception: Whatever the workload raises.
    """
    files.logs.mkdir(parents=True)
    strategy = strategy_of(experiment, device_names, files)
    job = Job(strategy, experiment.seed, experiment.steps, _say_nothing)
    settings = AppliedSettings(experiment, strategy)
    with (
        (files.logs / _SAID).open("w", encoding="utf-8") as said,
        redirect_stdout(said),
        redirect_stderr(said),
        _without_warnings(),
        strategy,
    ):
        interrupts.heed()
        try:
            with seeded(experiment.seed, *AT_IMPORT).here():
                workload = load_workload(experiment.workload)  # a file's module is made anew
            strategy.start()
            with variable_creator_scope(settings), seeded(experiment.seed).here():
                return reached(workload.run(job, **params))
        except Exception as error:
            if came_of_interrupt(error):
                raise KeyboardInterrupt from None
            raise
        finally:
            interrupts.heeded = False


@contextmanager
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VarsimWarning)  # the run itself has given them
        yield


def _say_nothing(step: int, total: int, **metrics: float) -> None:
    """Takes the progress that nobody watches."""
