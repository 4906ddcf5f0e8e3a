"""The single-device oracle: the same program once more, on one replica with the whole batch."""

from __future__ import annotations

from typing import Any

from varsim.experiments.aside import run_aside
from varsim.experiments.config import Experiment
from varsim.experiments.failure import in_a_line
from varsim.experiments.places import WrongKey
from varsim.experiments.recording import write_history
from varsim.experiments.store import RunFiles
from varsim.interrupts import Interrupts
from varsim.report.summary import Plain
from varsim.tracing.trace import OFF


def check_oracle(experiment: Experiment) -> None:
    """Whether an oracle could tell anything, if one is asked for.

    Raises:
        WrongKey: Nothing is recorded, or the run has one replica itself.
    """
    if not experiment.oracle:
        return
    if experiment.trace.level == OFF:
        raise WrongKey(("oracle",), "an oracle is compared by its record: trace must not be off")
    if len(experiment.device_names) == 1:
        raise WrongKey(("oracle",), "a run on one worker is its own oracle: give more workers")


def run_oracle(
    experiment: Experiment,
    params: dict[str, Any],
    interrupts: Interrupts,
    files: RunFiles,
) -> dict[str, Plain] | str:
    """Runs an experiment's workload on one replica, and keeps its history.

    Args:
        interrupts: Heeded but while its cluster ends.
    Returns:
        What it returned; or why there is no history, and nothing is kept then.
    Raises:
        KeyboardInterrupt: SIGINT came. Nothing is kept.
    """
    problem: str | None
    try:
        returned = run_aside(experiment, experiment.device_names[:1], params, interrupts, files)
        interrupts.heed()
        problem = write_history(files)
    except KeyboardInterrupt:
        interrupts.heeded = False
        files.discard()
        raise
    except BaseException as error:  # a workload may raise anything
        problem = f"on one replica the program fails: {in_a_line(error)}"
    if problem is not None:
        files.discard()
        return problem
    return returned
