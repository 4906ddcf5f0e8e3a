"""Runs an experiment: from its settings to a saved summary, however the run ends."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

import varsim
from varsim.distribute.mirrored import MirroredStrategy
from varsim.distribute.variable import variable_creator_scope
from varsim.errors import ConfigError, VarsimError, VarsimWarning
from varsim.experiments import yaml_lines
from varsim.experiments.aside import Chance
from varsim.experiments.catalog import Workload, load_workload
from varsim.experiments.cluster import strategy_of
from varsim.experiments.config import Experiment
from varsim.experiments.failure import failure_of
from varsim.experiments.interrupts import Interrupts, OutOfTime, within
from varsim.experiments.measure import measure_variables, reached
from varsim.experiments.oracle import check_oracle, run_oracle
from varsim.experiments.parameters import check_params
from varsim.experiments.pilot import ADVISED, take_advice
from varsim.experiments.recording import judged, write_history
from varsim.experiments.settings import AppliedSettings
from varsim.experiments.store import RunDirectory
from varsim.report.plain import plain
from varsim.report.summary import Failure, Judgement, Plain, Status, Summary, VariableSummary
from varsim.workloads.job import Job

LAST_LOOK_S: Final = 1.0
"""After a run that failed or was interrupted, how long its variables' values may take to come.

Replicas may be busy in the workload's code, and whoever pressed Ctrl-C is waiting.
"""


class Watcher(Protocol):
    """Who wants to know how a run goes on."""

    def started(self, summary_so_far: Summary) -> None:
        """The workers are ready, and the workload begins."""

    def progressed(self, step: int, total: int, metrics: dict[str, Plain]) -> None:
        """The workload has done a step."""

    def ran(self) -> None:
        """The workload is done; its oracle begins."""

    def warned(self, text: str) -> None:
        """The workload does what its author probably does not mean; each text comes once."""


@dataclass
class _Run:
    """What is known of a run while it goes on."""

    experiment: Experiment
    workload: Workload
    params: dict[str, Any]
    keys: dict[str, Any]  # of the experiment, with all that was left to defaults
    directory: RunDirectory
    started: datetime
    watcher: Watcher | None
    status: Status = Status.DONE
    failure: Failure | None = None
    settings: AppliedSettings | None = None
    checked: bool = False
    step: int = 0
    total: int | None = None
    metrics: dict[str, Plain] = field(default_factory=dict)
    result: dict[str, Plain] = field(default_factory=dict)
    variables: list[VariableSummary] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    verdict: Judgement | None = None

    def progress(self, step: int, total: int, **metrics: float) -> None:
        """What the workload calls after each step."""
        self.check_settings()
        self.step, self.total, self.metrics = step, total, plain(metrics)
        if self.watcher is not None:
            self.watcher.progressed(step, total, self.metrics)

    def check_settings(self) -> None:
        """Once: whether the experiment fits the variables that the workload has."""
        if not self.checked and self.settings is not None:
            self.checked = True
            self.settings.check()

    def warn(self, text: str) -> None:
        """Takes a warning, unless it has been taken before."""
        if text not in self.warnings:
            who, what = _who_and_what(text)
            likewise = any(_who_and_what(other)[1] == what for other in self.warnings)
            self.warnings.append(text)
            if self.watcher is not None:
                self.watcher.warned(f"{who}: likewise" if what and likewise else text)

    def summary(self) -> Summary:
        """All of it."""
        return Summary(
            status=self.status,
            failure=self.failure,
            varsim=varsim.__version__,
            started=self.started.isoformat(timespec="seconds"),
            directory=str(self.directory.path),
            experiment=self.keys,
            devices=list(self.experiment.device_names),
            seconds=self.seconds,
            step=self.step,
            total_steps=self.total,
            metrics=self.metrics,
            result=self.result,
            variables=self.variables,
            warnings=self.warnings,
            verdict=self.verdict,
            advice=self.advice,
        )


def run_experiment(experiment: Experiment, watcher: Watcher | None = None) -> Summary:
    """Runs an experiment and saves what came of it.

    Returns:
        What was measured, also of a run that failed or that SIGINT has interrupted.
    Raises:
        ConfigError: The experiment cannot be run as it is. Nothing is left behind then.
    """
    with experiment.places.pointed_at():
        check_oracle(experiment)
        workload, params = _loaded(experiment)
        keys = _all_keys(experiment, workload, params)
        started = datetime.now().astimezone()
        began_s = time.perf_counter()
        directory = RunDirectory.make(Path(experiment.out), experiment.title, started)
        run = _Run(experiment, workload, params, keys, directory, started, watcher)
        try:
            directory.write_experiment(
                f"# Run by varsim {varsim.__version__} on {started:%Y-%m-%d at %H:%M:%S}\n"
                + yaml_lines.dump(keys)
            )
            with Interrupts() as interrupts, _warnings_to(run):
                chance = Chance()
                if experiment.auto == ADVISED:
                    run.experiment, run.advice = take_advice(
                        experiment, params, chance, interrupts, directory.pilot
                    )
                    interrupts.heed()
                launched_s = began_s if not run.advice else time.perf_counter()
                _train_and_measure(run, interrupts, launched_s)
                _record_and_judge(run, interrupts, chance)
                run.seconds["in_all"] = time.perf_counter() - began_s
                summary = run.summary()
                directory.save(summary)
        except (ConfigError, KeyboardInterrupt):  # the latter before anything could be measured
            directory.discard()
            raise
    return summary


def resolved(experiment: Experiment) -> dict[str, Any]:
    """The experiment with everything that was left to defaults, as a YAML file would have it.

    Raises:
        ConfigError: There is no such workload, or it takes no such params.
    """
    with experiment.places.pointed_at():
        return _all_keys(experiment, *_loaded(experiment))


def _loaded(experiment: Experiment) -> tuple[Workload, dict[str, Any]]:
    workload = load_workload(experiment.workload)
    return workload, check_params(workload, experiment.params)


def _all_keys(experiment: Experiment, workload: Workload, params: dict[str, Any]) -> dict[str, Any]:
    keys = experiment.as_keys()
    if "devices" not in keys:
        keys["workers"] = len(experiment.device_names)
    keys |= {"name": experiment.title, "workload": workload.name, "params": plain(params)}
    return {key: keys[key] for key in Experiment.model_fields if keys.get(key) not in (None, {})}


@contextmanager
def _warnings_to(run: _Run) -> Iterator[None]:
    with warnings.catch_warnings():
        show_others = warnings.showwarning

        def show(message: Any, category: Any, *others: Any, **more: Any) -> None:
            if issubclass(category, VarsimWarning):
                run.warn(str(message))
            else:
                show_others(message, category, *others, **more)

        warnings.showwarning = show
        warnings.simplefilter("always", VarsimWarning)
        yield


def _train_and_measure(run: _Run, interrupts: Interrupts, began_s: float) -> None:
    experiment = run.experiment
    with strategy_of(experiment, experiment.device_names, run.directory) as strategy:
        run.settings = AppliedSettings(experiment, strategy)
        try:
            strategy.start()
            run.seconds["start_up"] = time.perf_counter() - began_s
            if run.watcher is not None:
                run.watcher.started(run.summary())
            result = _train(run, strategy)
            run.variables = measure_variables(strategy, run.settings)
            run.result = reached(result)
        except KeyboardInterrupt:
            interrupts.ignore()
            run.status = Status.INTERRUPTED
        except ConfigError:
            interrupts.ignore()
            raise
        except (Exception, SystemExit) as error:  # a workload may raise anything
            interrupts.ignore()
            run.status, run.failure = Status.FAILED, failure_of(error)
        interrupts.ignore()
        if run.status is not Status.DONE:
            _take_a_last_look(run, strategy, run.settings)


def _record_and_judge(run: _Run, interrupts: Interrupts, chance: Chance) -> None:
    problem = write_history(run.directory)
    if problem is not None:
        run.warn(problem)
    elif run.experiment.oracle and run.status is Status.DONE:
        if run.watcher is not None:
            run.watcher.ran()
        files = run.directory.oracle
        problem = run_oracle(run.experiment, run.params, chance, interrupts, files)
        if problem is not None:
            run.warn(f"there is no oracle to compare with: {problem}")
    run.verdict = judged(run.directory)


def _train(run: _Run, strategy: MirroredStrategy) -> object:
    """What the workload returned."""
    assert run.settings is not None
    job = Job(strategy, run.experiment.seed, run.experiment.steps, run.progress)
    began_s = time.perf_counter()
    try:
        with variable_creator_scope(run.settings):
            result: object = run.workload.run(job, **run.params)
    finally:
        run.seconds["training"] = time.perf_counter() - began_s
    run.check_settings()
    return result


def _take_a_last_look(run: _Run, strategy: MirroredStrategy, settings: AppliedSettings) -> None:
    try:
        with within(LAST_LOOK_S):
            run.variables = measure_variables(strategy, settings)
    except (VarsimError, OutOfTime):  # the cluster is no more, or busy
        run.variables = measure_variables(strategy, settings, with_values=False)


def _who_and_what(warning: str) -> tuple[str, str]:
    """The variable that a warning is about, and what it says of it, but for the fixes below."""
    who, _, what = warning.partition("\n")[0].partition(": ")
    return who, what
