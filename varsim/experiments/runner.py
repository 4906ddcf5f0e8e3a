"""Runs an experiment: from its settings to a saved summary, however the run ends."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import varsim
from varsim.errors import ConfigError, VarsimWarning
from varsim.experiments import catalog, yaml_lines
from varsim.experiments.carried import carry, program_key
from varsim.experiments.config import Experiment
from varsim.experiments.ending import ending_of
from varsim.experiments.failure import failure_of
from varsim.experiments.going import Going, Watcher
from varsim.experiments.interrupts import Interrupts
from varsim.experiments.measure import reached
from varsim.experiments.oracle import check_oracle, run_oracle
from varsim.experiments.pilot import ADVISED, take_advice
from varsim.experiments.programs import Program, load_program
from varsim.experiments.recording import judged, write_history
from varsim.experiments.store import RunDirectory
from varsim.launch.chance import seeded
from varsim.report.summary import Status, Summary


def run_experiment(experiment: Experiment, watcher: Watcher | None = None) -> Summary:
    """Runs an experiment and saves what came of it.

    Returns:
        What was measured, also of a run that failed or that SIGINT has interrupted.
    Raises:
        ConfigError: The experiment cannot be run as it is. Nothing is left behind then.
    """
    with experiment.places.pointed_at():
        check_oracle(experiment)
        program = load_program(experiment)
        keys = _all_keys(experiment, program)
        key = "workload" if experiment.script is None else "script"
        if program.home is not None and catalog.is_path(keys[key]):
            keys[key] = program_key(program.home)
        started = datetime.now().astimezone()
        began_s = time.perf_counter()
        directory = RunDirectory.make(Path(experiment.out), experiment.title, started)
        going = Going(experiment, keys, directory, started, watcher)
        try:
            directory.write_experiment(
                f"# Run by varsim {varsim.__version__} on {started:%Y-%m-%d at %H:%M:%S}\n"
                + yaml_lines.dump(keys)
            )
            going.carried = carry(directory, program.home, experiment.file, program.not_kept)
            with Interrupts() as interrupts, _warnings_to(going):
                if experiment.auto == ADVISED:
                    followed, going.advice = take_advice(
                        experiment, program.params, interrupts, directory.pilot
                    )
                    going.follow(followed)
                    interrupts.heed()
                launched_s = began_s if not going.advice else time.perf_counter()
                _play_and_measure(going, program, interrupts, launched_s)
                _record_and_judge(going, program, interrupts)
                going.seconds["in_all"] = time.perf_counter() - began_s
                for observed in going.strategies[1:]:
                    observed.files.save(going.summary_of(observed))
                summary = going.summary()
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
        return _all_keys(experiment, load_program(experiment))


def _all_keys(experiment: Experiment, program: Program) -> dict[str, Any]:
    keys = experiment.as_keys()
    if "devices" not in keys and experiment.script is None:
        keys["workers"] = len(experiment.device_names)
    keys |= {"name": experiment.title, **program.keys()}
    return {key: keys[key] for key in Experiment.model_fields if keys.get(key) not in (None, {})}


@contextmanager
def _warnings_to(going: Going) -> Iterator[None]:
    with warnings.catch_warnings():
        show_others = warnings.showwarning

        def show(message: Any, category: Any, *others: Any, **more: Any) -> None:
            if issubclass(category, VarsimWarning):
                going.warn(str(message))
            else:
                show_others(message, category, *others, **more)

        warnings.showwarning = show
        warnings.simplefilter("always", VarsimWarning)
        yield


def _play_and_measure(
    going: Going, program: Program, interrupts: Interrupts, began_s: float
) -> None:
    """Runs the program; the workers have ended when this returns."""
    try:
        try:
            with seeded(going.experiment.seed).here():
                result = program.play(going, began_s)
            for observed in going.strategies:
                observed.measure()
            going.result = reached(result)
        except KeyboardInterrupt:
            interrupts.ignore()
            going.status = Status.INTERRUPTED
            if not going.strategies:
                raise  # nothing can be measured
        except ConfigError:
            interrupts.ignore()
            raise
        except (Exception, SystemExit) as error:  # a workload may raise anything
            interrupts.ignore()
            going.status, going.failure = Status.FAILED, failure_of(error)
        interrupts.ignore()
        if going.status is not Status.DONE:
            going.take_a_last_look()
    finally:
        for observed in going.strategies:
            observed.strategy.close()


def _record_and_judge(going: Going, program: Program, interrupts: Interrupts) -> None:
    problems = [write_history(observed.files) for observed in going.strategies]
    for problem in problems:
        if problem is not None:
            going.warn(problem)
    going.no_oracle = program.no_oracle
    if going.experiment.oracle and going.status is not Status.DONE:
        how = "failed" if going.status is Status.FAILED else "was interrupted"
        going.no_oracle = f"the run {how}, so it was not repeated on a single device"
    elif going.experiment.oracle and not any(problems):
        if going.watcher is not None:
            going.watcher.ran()
        files = going.directory.oracle
        returned = run_oracle(going.experiment, program.params, interrupts, files)
        if isinstance(returned, str):
            going.no_oracle = returned
            going.warn(f"there is no oracle to compare with: {returned}")
        else:
            going.oracle_result = returned
    ending = ending_of(going.summary())
    for observed in going.strategies:
        observed.verdict = judged(observed.files, ending, no_oracle=going.no_oracle)
