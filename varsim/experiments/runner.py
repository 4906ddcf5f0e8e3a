"""Run an experiment: from its settings to a saved summary, even if the run fails.

At its end, a run first reports its outcome and its measurements. Then it writes the summary and the
history, and judges the history. If one of these steps fails, the failure is reported, and the next
step is done.
"""

from __future__ import annotations

import sqlite3
import time
import warnings
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

import varsim
from varsim import disk
from varsim.distribute.cluster_resolver import has_chief
from varsim.distribute.metrics import logging_to
from varsim.distribute.supervision import supervised
from varsim.errors import ConfigError, VarsimWarning
from varsim.experiments import catalog, yaml_lines
from varsim.experiments.active_run import ActiveRun, RunWatcher
from varsim.experiments.carried_program import carry, program_key
from varsim.experiments.config import Experiment
from varsim.experiments.key_locations import WrongKey
from varsim.experiments.programs import RunProgram, load_program
from varsim.experiments.recording import judged, recorded_traffic, write_history
from varsim.experiments.room import limit_bytes, room_after
from varsim.experiments.shadow_runs import ADVISED, check_oracle, run_oracle, take_advice
from varsim.experiments.store import RunDirectory, RunFiles
from varsim.experiments.strategies import reached
from varsim.interrupts import Interrupts, came_of_interrupt
from varsim.launch.seeding import seeded
from varsim.protocol.paths import shown_path
from varsim.report.summary import Phase, RunStatus, Summary
from varsim.texts import policies, saving
from varsim.tracing.progress import Tell


def run_experiment(
    experiment: Experiment, watcher: RunWatcher | None = None, *, folder: Path | None = None
) -> Summary:
    """Run an experiment and save the results.

    Args:
        folder: The folder to create for the run; by default a new one in the experiment's `out`.
    Returns:
        The summary, even if the run failed or SIGINT interrupted it. Its field `unfinished` says
        what could not be written.
    Raises:
        ConfigError: The experiment cannot be run; no file is left.
        KeyboardInterrupt: SIGINT arrived before the first result; no file is left.
    """
    # `supervised(None)`: if a script calls this function, its supervisor must not see this run.
    with Interrupts() as interrupts, experiment.locations.located_errors(), supervised(None):
        check_oracle(experiment)
        _check_no_sweep(experiment)
        limit_bytes()  # an invalid limit is an error before the run
        program = load_program(experiment)
        keys = _all_keys(experiment, program)
        key = "workload" if experiment.script is None else "script"
        if program.location is not None and catalog.is_path(keys[key]):
            keys[key] = program_key(program.location)
        started = datetime.now().astimezone()
        began_s = time.perf_counter()
        interrupts.enabled = False  # until the directory exists and can be removed
        directory = (
            RunDirectory.make(Path(experiment.out), experiment.title, started)
            if folder is None
            else RunDirectory.at(folder)
        )
        run = ActiveRun(experiment, keys, directory, started, watcher, interrupts)
        try:
            with directory.claimed():
                _prepare(run, program)
                with _warnings_to(run):
                    _go_through(run, program, began_s)
                run.seconds["in_all"] = time.perf_counter() - began_s
                _save(run)
                run.finished()
        except (ConfigError, KeyboardInterrupt):
            interrupts.enabled = False
            directory.discard()
            raise
        finally:
            disk.free(directory.path)
        said = room_after(directory.path) if folder is None else ""
        if said and watcher is not None:
            watcher.warned(said)
        return run.summary()


def _check_no_sweep(experiment: Experiment) -> None:
    """Refuse an experiment that is a sweep.

    Raises:
        WrongKey: The experiment has a key `sweep`.
    """
    if experiment.sweep:
        what = experiment.file or "FILE"
        raise WrongKey(
            ("sweep",), f"this experiment is a sweep of several runs: use `varsim sweep {what}`"
        )


def _prepare(run: ActiveRun, program: RunProgram) -> None:
    """Write the files that exist before a run begins.

    Raises:
        WrongKey: A file cannot be written.
    """
    about = f"{run.started:%Y-%m-%d at %H:%M:%S}"
    text = f"# Run by varsim {varsim.__version__} on {about}\n" + yaml_lines.dump(run.keys)
    run.interrupts.enable()
    try:
        file, not_kept = run.experiment.file, program.not_kept
        run.carried = carry(
            run.directory,
            text,
            program.location,
            file,
            not_kept,
            with_chief=run.experiment.spmd and has_chief(),
        )
    except OSError as error:
        raise WrongKey(
            ("out",), f"the run cannot begin, because its files cannot be written: {error}"
        ) from None


def _go_through(run: ActiveRun, program: RunProgram, began_s: float) -> None:
    """Run all phases except the last one. After the return, SIGINT is delayed."""
    interrupts = run.interrupts
    if run.experiment.auto == ADVISED:
        with run.doing(Phase.PILOT):
            followed, run.advice = take_advice(
                run.experiment, program.params, interrupts, run.directory.pilot
            )
            interrupts.enable()
        run.follow(followed)
        run.part, began_s = Phase.START_UP, time.perf_counter()
    _play_and_measure(run, program, began_s)
    run.measured()
    with run.doing(Phase.WRITING):  # keep the results so far: a later phase may fail
        run.save()
    try:
        _record_and_judge(run, program)
    except KeyboardInterrupt:
        interrupts.enabled = False
        run.cut_short()
    interrupts.enabled = False


def _save(run: ActiveRun) -> None:
    run.save()
    if run.interrupts.pending and not run.interrupted:  # SIGINT arrived during the save
        run.interrupts.pending = False
        run.part = Phase.WRITING
        run.cut_short()
        run.save()


def resolved(experiment: Experiment) -> dict[str, Any]:
    """Return the keys of an experiment with all defaults, as in a YAML file.

    Raises:
        ConfigError: The workload does not exist, or does not take these params.
    """
    with experiment.locations.located_errors():
        return _all_keys(experiment, load_program(experiment))


def _all_keys(experiment: Experiment, program: RunProgram) -> dict[str, Any]:
    keys = experiment.as_keys()
    if "devices" not in keys and experiment.script is None:
        keys["workers"] = len(experiment.device_names)
    keys |= {"name": experiment.title, **program.keys()}
    return {key: keys[key] for key in Experiment.model_fields if keys.get(key) not in (None, {})}


@contextmanager
def _warnings_to(run: ActiveRun) -> Iterator[None]:
    is_built_in = run.experiment.workload in catalog.built_in()
    with warnings.catch_warnings():
        show_others = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, VarsimWarning):
                short = policies.short_warning(str(message)) if is_built_in else ""
                located = lineno and not short
                run.warn(
                    short or str(message), f"{shown_path(filename)}:{lineno}" if located else ""
                )
            else:
                show_others(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        warnings.simplefilter("always", VarsimWarning)
        yield


def _play_and_measure(run: ActiveRun, program: RunProgram, began_s: float) -> None:
    """Run the program and measure its variables; the workers have ended when this returns."""
    interrupts = run.interrupts
    try:
        try:
            # The program may change the working directory and the random state: both are restored.
            with chdir("."), seeded(run.experiment.seed).here(), logging_to(run):
                result = program.play(run, began_s)
            run.start_no_more()
            for observed in run.strategies:
                observed.measure()
            run.save()  # first, because `reached` can fail in methods of the program's objects
            run.result = reached(result)
        except KeyboardInterrupt:
            interrupts.enabled = False
            if run.part is Phase.START_UP:
                raise  # nothing can be measured
            run.cut_short()
        except ConfigError:
            interrupts.enabled = False
            raise
        except BaseException as error:  # a workload may raise anything
            interrupts.enabled = False
            if came_of_interrupt(error):
                run.cut_short()
            else:
                run.fail(error)
        interrupts.enabled = False
        if run.status is not RunStatus.DONE:
            run.start_no_more()
            run.take_a_last_look()
        run.warn_of_missed_faults()
        run.warn_of_unused_settings()
    finally:
        run.metric_log.close()
        for observed in run.strategies:
            observed.strategy.close()


def _record_and_judge(run: ActiveRun, program: RunProgram) -> None:
    interrupts, experiment = run.interrupts, run.experiment
    for observed in run.strategies:
        if not observed.has_workers:
            observed.files.discard_traces()  # nothing was recorded
    with run.doing(Phase.MERGING) as tell:
        interrupts.enable()
        problems = [_write_history(run, observed.files, tell) for observed in run.strategies]
        for observed in run.strategies:
            if observed.hosts:
                observed.recorded_traffic = recorded_traffic(observed.files)
    run.no_oracle = program.no_oracle or _lacks_steps(run)
    if experiment.oracle and not run.no_oracle and not any(problems):
        _play_oracle(run, program)
    with run.doing(Phase.JUDGING) as tell:
        for observed in run.strategies:
            files = observed.files
            try:
                observed.verdict = judged(files, run.summary_of(observed), tell=tell)
            except (ConfigError, OSError, sqlite3.Error, MemoryError) as error:
                why = str(error) or type(error).__name__
                run.leave_unfinished(files.path, saving.not_judged(str(files.path), why))


def _play_oracle(run: ActiveRun, program: RunProgram) -> None:
    """Run the program on a single device, or keep the reason why this was not done."""
    if run.status is not RunStatus.DONE:
        how = "failed" if run.status is RunStatus.FAILED else "was interrupted"
        run.no_oracle = f"the run {how}, so it was not repeated on a single device"
        return
    run.no_oracle = "the oracle was interrupted"  # until the oracle has ended
    with run.doing(Phase.ORACLE):
        files, ends = run.directory.oracle, run.strategies[0].strategy.passes.ends
        returned = run_oracle(run.experiment, program.params, run.interrupts, files, ends)
        run.interrupts.enable()
    if isinstance(returned, str):
        run.no_oracle = returned
        run.warn(f"no oracle to compare with: {returned}")
    else:
        run.no_oracle, run.oracle_result = "", returned


def _lacks_steps(run: ActiveRun) -> str:
    """Return why no record has all steps, so that an oracle is impossible; "" if one has them."""
    if run.resumed:
        return "the run was resumed, so its record does not have the first steps"
    if any(one.incarnation > 1 for one in run.strategies):
        return "workers were lost, so no record has the whole run"
    return ""


def _write_history(run: ActiveRun, files: RunFiles, tell: Tell | None) -> bool:
    """Write a history and report a failure. Return whether writing failed."""
    why = write_history(files, tell=tell)
    if why is not None:
        run.leave_unfinished(files.path, saving.history_not_written(str(files.path), why))
    return why is not None
