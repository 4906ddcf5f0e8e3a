"""Runs an experiment: from its settings to a saved summary, however the run ends."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import varsim
from varsim.distribute.supervision import supervised
from varsim.errors import ConfigError, VarsimWarning
from varsim.experiments import catalog, yaml_lines
from varsim.experiments.active_run import Going, Watcher
from varsim.experiments.carried_program import carry, program_key
from varsim.experiments.config import Experiment
from varsim.experiments.programs import Program, load_program
from varsim.experiments.recording import judged, write_history
from varsim.experiments.run_ending import ending_of, failure_of
from varsim.experiments.shadow_runs import ADVISED, check_oracle, run_oracle, take_advice
from varsim.experiments.store import RunDirectory
from varsim.experiments.strategies import reached
from varsim.interrupts import Interrupts, came_of_interrupt
from varsim.launch.chance import seeded
from varsim.report.summary import Phase, RunStatus, Summary


def run_experiment(experiment: Experiment, watcher: Watcher | None = None) -> Summary:
    """Runs an experiment and saves what came of it.

    Returns:
        What was measured, also of a run that failed or that SIGINT has interrupted.
    Raises:
        ConfigError: The experiment cannot be run as it is. Nothing is left behind then.
        KeyboardInterrupt: SIGINT came before there was anything to measure. Likewise.
    """
    # Also of a script that runs an experiment: this is a run of its own.
    with Interrupts() as interrupts, experiment.places.pointed_at(), supervised(None):
        check_oracle(experiment)
        program = load_program(experiment)
        keys = _all_keys(experiment, program)
        key = "workload" if experiment.script is None else "script"
        if program.home is not None and catalog.is_path(keys[key]):
            keys[key] = program_key(program.home)
        started = datetime.now().astimezone()
        began_s = time.perf_counter()
        interrupts.heeded = False  # until it is known what is to be removed
        directory = RunDirectory.make(Path(experiment.out), experiment.title, started)
        going = Going(experiment, keys, directory, started, watcher, interrupts)
        try:
            with directory.claimed():
                directory.write_experiment(
                    f"# Run by varsim {varsim.__version__} on {started:%Y-%m-%d at %H:%M:%S}\n"
                    + yaml_lines.dump(keys)
                )
                interrupts.heed()
                going.carried = carry(directory, program.home, experiment.file, program.not_kept)
                with _warnings_to(going):
                    _go_through(going, program, began_s)
                going.seconds["in_all"] = time.perf_counter() - began_s
                _save(going)
        except (ConfigError, KeyboardInterrupt):
            interrupts.heeded = False
            directory.discard()
            raise
        return going.summary()


def _go_through(going: Going, program: Program, began_s: float) -> None:
    """All parts of a run but the last. When it is done, SIGINT waits."""
    interrupts = going.interrupts
    if going.experiment.auto == ADVISED:
        with going.doing(Phase.PILOT):
            followed, going.advice = take_advice(
                going.experiment, program.params, interrupts, going.directory.pilot
            )
            interrupts.heed()
        going.follow(followed)
        going.part, began_s = Phase.START_UP, time.perf_counter()
    _play_and_measure(going, program, began_s)
    with going.doing(Phase.WRITING):  # whatever comes now, this much is kept
        going.save()
    try:
        _record_and_judge(going, program)
    except KeyboardInterrupt:
        interrupts.heeded = False
        going.cut_short()
    interrupts.heeded = False


def _save(going: Going) -> None:
    going.save()
    if going.interrupts.waits and not going.interrupted:  # it came while all was saved
        going.interrupts.waits = False
        going.part = Phase.WRITING
        going.cut_short()
        going.save()


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


def _play_and_measure(going: Going, program: Program, began_s: float) -> None:
    """Runs the program; the workers have ended when this returns."""
    interrupts = going.interrupts
    try:
        try:
            with chdir("."), seeded(going.experiment.seed).here():  # wherever it goes
                result = program.play(going, began_s)
            for observed in going.strategies:
                observed.measure()
            going.save()  # before a program's objects are asked what they are
            going.result = reached(result)
        except KeyboardInterrupt:
            interrupts.heeded = False
            if going.part is Phase.START_UP:
                raise  # nothing can be measured
            going.cut_short()
        except ConfigError:
            interrupts.heeded = False
            raise
        except BaseException as error:  # a workload may raise anything
            interrupts.heeded = False
            if came_of_interrupt(error):
                going.cut_short()
            else:
                going.status, going.failure = RunStatus.FAILED, failure_of(error)
        interrupts.heeded = False
        if going.status is not RunStatus.DONE:
            going.take_a_last_look()
    finally:
        for observed in going.strategies:
            observed.strategy.close()


def _record_and_judge(going: Going, program: Program) -> None:
    interrupts, experiment = going.interrupts, going.experiment
    with going.doing(Phase.MERGING) as tell:
        interrupts.heed()
        problems = [write_history(observed.files, tell=tell) for observed in going.strategies]
    for problem in problems:
        if problem is not None:
            going.warn(problem)
    going.no_oracle = program.no_oracle
    if experiment.oracle and going.status is not RunStatus.DONE:
        how = "failed" if going.status is RunStatus.FAILED else "was interrupted"
        going.no_oracle = f"the run {how}, so it was not repeated on a single device"
    elif experiment.oracle and not any(problems):
        going.no_oracle = "it was interrupted"  # until it has come to its end
        with going.doing(Phase.ORACLE):
            files = going.directory.oracle
            returned = run_oracle(experiment, program.params, interrupts, files)
            interrupts.heed()
        if isinstance(returned, str):
            going.no_oracle = returned
            going.warn(f"there is no oracle to compare with: {returned}")
        else:
            going.no_oracle, going.oracle_result = "", returned
    ending = ending_of(going.summary())
    with going.doing(Phase.JUDGING) as tell:
        for observed in going.strategies:
            observed.verdict = judged(observed.files, ending, no_oracle=going.no_oracle, tell=tell)
