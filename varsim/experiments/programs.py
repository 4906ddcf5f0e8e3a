"""The program of a run: it makes strategies, or is given one, and the run observes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from varsim.distribute.variable import variable_creator_scope
from varsim.experiments.catalog import Workload, built_in, is_path, load_workload, whole_path
from varsim.experiments.cluster import strategy_of
from varsim.experiments.config import Experiment
from varsim.experiments.going import Going
from varsim.experiments.parameters import check_params
from varsim.experiments.scripts import ScriptProgram
from varsim.experiments.sources import Home, forget_imported, home_of_file, home_of_module
from varsim.launch.chance import AT_IMPORT, seeded
from varsim.report.plain import plain
from varsim.report.summary import Phase
from varsim.workloads.job import Job


class Program(Protocol):
    """The program of a run."""

    params: dict[str, Any]  # its arguments, with the defaults of those that the experiment left out
    no_oracle: str  # why an oracle is impossible; "" if it is possible

    home: Home | None  # where its sources stand; None if a run keeps none of them
    not_kept: str  # why sources of a user are not kept; "" otherwise

    def keys(self) -> dict[str, Any]:
        """The keys that it adds to the experiment, so that the experiment is complete."""

    def play(self, going: Going, began_s: float) -> object:
        """Runs it, and returns what it returned.

        The strategies that `going` then observes are still open.

        Raises:
            BaseException: Whatever the program raises.
        """


class WorkloadProgram:
    """A function `run(job, ...)`, which gets a strategy as the experiment wants it."""

    no_oracle = ""

    def __init__(self, workload: Workload, params: dict[str, Any]) -> None:
        self.workload = workload
        self.params = params
        self.home = _home_of(workload)
        foreign = self.home is None and workload.name not in built_in()
        self.not_kept = f"module {workload.name!r}: it is installed" if foreign else ""

    def keys(self) -> dict[str, Any]:
        """The workload by its whole name, and all arguments."""
        return {"workload": self.workload.name, "params": plain(self.params)}

    def play(self, going: Going, began_s: float) -> object:
        """What the workload returned."""
        experiment = going.experiment
        strategy = strategy_of(experiment, experiment.device_names, going.directory)
        going.observe(strategy)
        going.settings.watch(strategy)
        strategy.start()
        going.launched(began_s)
        job = Job(strategy, experiment.seed, experiment.steps, going.progress)
        with going.doing(Phase.TRAINING), variable_creator_scope(going.settings):
            result: object = self.workload.run(job, **self.params)
        going.check_settings()
        return result


def _home_of(workload: Workload) -> Home | None:
    if workload.name in built_in():
        return None
    if is_path(workload.name):
        return home_of_file(Path(workload.name))
    return home_of_module(workload.name, workload.module.__file__)


def load_program(experiment: Experiment) -> Program:
    """The program that an experiment runs.

    Raises:
        WrongKey: There is none, or it cannot be loaded, or it takes no such arguments.
    """
    if experiment.script is not None:
        return ScriptProgram(experiment.script, experiment.args)
    if is_path(experiment.workload):
        forget_imported(home_of_file(whole_path(experiment.workload)))
    with seeded(experiment.seed, *AT_IMPORT).here():
        workload = load_workload(experiment.workload)
    return WorkloadProgram(workload, check_params(workload, experiment.params))
