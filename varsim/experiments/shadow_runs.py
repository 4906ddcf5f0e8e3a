"""Run a program one more time without output: as the single-device oracle, or as the pilot run."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from glob import escape
from typing import Any, Final

from varsim.distribute.metrics import logging_to
from varsim.distribute.variable import variable_creator_scope
from varsim.errors import VarsimWarning
from varsim.experiments.applied_settings import AppliedSettings
from varsim.experiments.catalog import load_workload
from varsim.experiments.config import Experiment
from varsim.experiments.key_locations import WrongKey
from varsim.experiments.mode_text import without_auto
from varsim.experiments.recording import write_history
from varsim.experiments.run_ending import in_a_line
from varsim.experiments.store import RunFiles
from varsim.experiments.strategies import reached, strategy_of
from varsim.experiments.trace_settings import TraceSettings
from varsim.experiments.variable_settings import VariableSettings
from varsim.interrupts import Interrupts, came_of_interrupt
from varsim.launch.backends import LAUNCHERS
from varsim.launch.launcher import Backends
from varsim.launch.seeding import AT_IMPORT, seeded
from varsim.private import make_private_folder, private_opener
from varsim.report.summary import Plain
from varsim.texts.uneven import JOIN
from varsim.tracing.history import open_history
from varsim.tracing.trace import OFF
from varsim.workloads.job import Job

_LOG: Final = "program.log"  # beside the workers' logs


def run_shadow(
    experiment: Experiment,
    device_names: Sequence[str],
    params: dict[str, Any],
    interrupts: Interrupts,
    files: RunFiles,
    ends: Mapping[int, int],
) -> dict[str, Plain]:
    """Run an experiment's workload on these devices, and keep its traces.

    Args:
        ends: Where passes over datasets must end; see `Passes`.
        interrupts: Raises KeyboardInterrupt at SIGINT while the workload runs, and delays SIGINT
            after the workload.
    Returns:
        The workload's result.
    Raises:
        Exception: Any error of the workload.
    """
    make_private_folder(files.logs)
    strategy = strategy_of(experiment, device_names, files)
    strategy.passes.limits = ends
    job = Job(strategy, experiment.seed, experiment.steps, _say_nothing)
    settings = AppliedSettings(experiment, strategy)
    with (
        open(files.logs / _LOG, "w", encoding="utf-8", opener=private_opener) as said,
        redirect_stdout(said),
        redirect_stderr(said),
        logging_to(None),
        _without_warnings(),
        strategy,
    ):
        interrupts.enable()
        try:
            with seeded(experiment.seed, *AT_IMPORT).here():
                workload = load_workload(experiment.workload)  # a file gets new global variables
            strategy.start()
            with variable_creator_scope(settings), seeded(experiment.seed).here():
                return reached(workload.run(job, **params))
        except Exception as error:
            if came_of_interrupt(error):
                raise KeyboardInterrupt from None
            raise
        finally:
            interrupts.enabled = False


@contextmanager
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VarsimWarning)  # the run itself shows them
        yield


def _say_nothing(step: int, total: int, **metrics: float) -> None:
    """Ignore the progress."""


def _history_problem(files: RunFiles) -> str | None:
    """Write the history. If this fails, return the reason; else return None."""
    why = write_history(files)
    return None if why is None else f"its history was not written: {why}"


# ---------------------------------------------------------------- the oracle


def check_oracle(experiment: Experiment) -> None:
    """Check that an oracle is useful, if the experiment asks for one.

    Raises:
        WrongKey: The trace is off, or the run itself has one replica.
    """
    if not experiment.oracle:
        return
    if experiment.trace.level == OFF:
        raise WrongKey(("oracle",), "the comparison needs the record: trace must not be off")
    if len(experiment.device_names) == 1:
        raise WrongKey(("oracle",), "a run on one worker is its own oracle: give more workers")


def on_one_machine(experiment: Experiment) -> Experiment:
    """Return the experiment with workers on the program's machine, if it has them on hosts.

    One worker cannot be on several hosts, and the backends between hosts suit no single machine.
    """
    from varsim.launch.remote.host_launcher import HostLauncher  # slow to import

    if not issubclass(LAUNCHERS.load(experiment.backends.launcher), HostLauncher):
        return experiment
    here = Backends()
    update = {"launcher": here.launcher, "transport": here.transport, "exchange": here.exchange}
    return experiment.model_copy(update=update)


def run_oracle(
    experiment: Experiment,
    params: dict[str, Any],
    interrupts: Interrupts,
    files: RunFiles,
    ends: Mapping[int, int],
) -> dict[str, Plain] | str:
    """Run an experiment's workload on one replica, and keep its history.

    Args:
        ends: Where the run's passes over datasets ended; see `Passes`.
        interrupts: Raises KeyboardInterrupt at SIGINT, except while the cluster ends.
    Returns:
        The workload's result, or the reason why there is no history. Without a history, no file is
        kept.
    Raises:
        KeyboardInterrupt: SIGINT arrived; no file is kept.
    """
    problem: str | None
    try:
        one = experiment.device_names[:1]
        alone = on_one_machine(experiment)
        returned = run_shadow(alone, one, params, interrupts, files, ends)
        interrupts.enable()
        problem = _history_problem(files)
    except KeyboardInterrupt:
        interrupts.enabled = False
        files.discard()
        raise
    except BaseException as error:  # a workload may raise anything
        problem = f"on one replica the program fails: {in_a_line(error)}"
    if problem is not None:
        files.discard()
        return problem
    return returned


# ---------------------------------------------------------------- the pilot

ADVISED: Final = "advised"
STEPS: Final = 50
"""Largest number of steps of a pilot run."""

_AUTO: Final = "AUTO"


def take_advice(
    experiment: Experiment,
    params: dict[str, Any],
    interrupts: Interrupts,
    files: RunFiles,
) -> tuple[Experiment, list[str]]:
    """Return the experiment with the settings that a pilot run advises, and the advice as text.

    If the pilot run fails, AUTO is ON_WRITE, and the text says why.

    Raises:
        ConfigError: The packages of the simulated cluster, which checks advice, are missing.
    """
    as_it_was = experiment.model_copy(update={"auto": "on_write"})
    steps = min(experiment.steps or STEPS, STEPS)
    pilot = as_it_was.model_copy(update={"steps": steps, "trace": TraceSettings()})
    problem: str | None
    try:
        run_shadow(pilot, experiment.device_names, params, interrupts, files, {})
        interrupts.enable()
        problem = _history_problem(files)
    except (Exception, SystemExit) as error:  # a workload may raise anything
        problem = f"the pilot run fails: {in_a_line(error)}"
    if problem is None:
        try:
            chosen, said, adaptive = _advice(files, may_join=experiment.uneven == JOIN)
        except (OSError, sqlite3.Error) as error:
            problem = f"the record of the pilot run cannot be replayed: {error}"
    if problem is not None:
        return as_it_was, [f"AUTO is ON_WRITE: {problem}"]
    if not said:
        return as_it_was, ["no variable is AUTO, so there is nothing to advise"]
    kept = {key: value for key, value in experiment.variables.items() if key not in chosen}
    update = {
        "auto": "adaptive" if adaptive else "on_write",
        "mode": None if experiment.mode is None else without_auto(experiment.mode),
        "variables": {**kept, **chosen},
    }
    return experiment.model_copy(update=update), said


def _advice(
    files: RunFiles, *, may_join: bool
) -> tuple[dict[str, VariableSettings], list[str], bool]:
    """Return settings by the names of AUTO variables, the advice, and whether AUTO is adaptive."""
    from varsim.whatif.advice import advise, in_words
    from varsim.whatif.compare import Replays
    from varsim.whatif.lines import at_odds, is_adaptive

    with open_history(files.path) as history:
        rows = history.variables
        auto = [number for number, row in rows.items() if row.requested == _AUTO]
        if not auto:
            return {}, [], False
        replays = Replays(history)
        advised = advise(replays, only=auto, careful=True, may_join=may_join)
    own = [one for one in advised.advice if one.effect.variable in auto]
    settings = replays.program.settings()
    chosen = {number: settings[number] for number in auto}
    chosen |= {one.effect.variable: one.effect.after for one in own}
    said = [
        f"{one.effect.name}: {in_words(one.effect.after)}"
        + (f", which saves {one.saves}" if one.saves else "")
        for one in own
    ]
    odd = at_odds(replays.program, chosen)
    by_name = {
        escape(rows[number].name): VariableSettings(
            synchronization=one.synchronization, aggregation=one.aggregation
        )
        for number, one in chosen.items()
        if number not in odd
    }
    return by_name, said, is_adaptive(replays.program, chosen)
