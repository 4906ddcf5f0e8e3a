"""The single-device oracle: the same program once more, on one replica with the whole batch."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, Final

import numpy as np

from varsim.distribute.mirrored import MirroredStrategy
from varsim.distribute.variable import variable_creator_scope
from varsim.errors import VarsimWarning
from varsim.experiments.catalog import load_workload
from varsim.experiments.config import Experiment
from varsim.experiments.failure import in_a_line
from varsim.experiments.places import WrongKey
from varsim.experiments.recording import trace_options, write_history
from varsim.experiments.settings import AppliedSettings
from varsim.experiments.store import RunFiles
from varsim.tracing.trace import OFF
from varsim.workloads.job import Job

_SAID: Final = "program.log"  # beside the worker's log


def check_oracle(experiment: Experiment) -> None:
    """Whether an oracle could tell anything, if one is asked for.

    Raises:
        WrongKey: Nothing is recorded, or the run has one replica itself.
    """
    if not experiment.oracle:
        return
    if experiment.trace == OFF:
        raise WrongKey(("oracle",), "an oracle is compared by its record: trace must not be off")
    if len(experiment.device_names) == 1:
        raise WrongKey(("oracle",), "a run on one worker is its own oracle: give more workers")


class Chance:
    """The state of what programs draw from at random, so that two runs can draw the same."""

    def __init__(self) -> None:
        self._python = random.getstate()
        self._numpy = np.random.get_state()  # noqa: NPY002  # which programs still use

    @contextmanager
    def again(self) -> Iterator[None]:
        """Within the block everything is drawn again; after it, chance goes on where it was."""
        before = Chance()
        self._restore()
        try:
            yield
        finally:
            before._restore()

    def _restore(self) -> None:
        random.setstate(self._python)
        np.random.set_state(self._numpy)  # noqa: NPY002


def run_oracle(
    experiment: Experiment, params: dict[str, Any], chance: Chance, files: RunFiles
) -> str | None:
    """Runs an experiment's workload on one replica, and keeps its history.

    Returns:
        Why there is no history, if that failed; nothing is kept then.
    """
    problem: str | None
    try:
        with chance.again():
            _run(experiment, params, files)
        problem = write_history(files)
    except KeyboardInterrupt:
        problem = "it was interrupted"
    except (Exception, SystemExit) as error:  # a workload may raise anything
        problem = f"on one replica the program fails: {in_a_line(error)}"
    if problem is not None:
        files.discard()
    return problem


def _run(experiment: Experiment, params: dict[str, Any], files: RunFiles) -> None:
    files.logs.mkdir(parents=True)
    strategy = MirroredStrategy(
        experiment.device_names[:1],
        transport=experiment.transport,
        strict=experiment.strict,
        auto=experiment.auto,
        log_dir=files.logs,
        trace=trace_options(experiment, files),
    )
    job = Job(strategy, experiment.seed, experiment.steps, _say_nothing)
    settings = AppliedSettings(experiment, strategy)
    with (
        (files.logs / _SAID).open("w", encoding="utf-8") as said,
        redirect_stdout(said),
        redirect_stderr(said),
        _without_warnings(),
    ):
        workload = load_workload(experiment.workload)  # what a file's module holds is made anew
        with strategy:
            strategy.start()
            with variable_creator_scope(settings):
                workload.run(job, **params)


@contextmanager
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VarsimWarning)  # the run itself has given them
        yield


def _say_nothing(step: int, total: int, **metrics: float) -> None:
    """Takes the progress that nobody watches."""
