"""`auto: advised`: a short run first, whose advice the run takes for its AUTO variables."""

from __future__ import annotations

from glob import escape
from typing import Any, Final

from varsim.experiments.aside import run_aside
from varsim.experiments.config import Experiment, TraceSettings, VariableSettings
from varsim.experiments.failure import in_a_line
from varsim.experiments.mode import without_auto
from varsim.experiments.recording import write_history
from varsim.experiments.store import RunFiles
from varsim.interrupts import Interrupts
from varsim.tracing.history import open_history

ADVISED: Final = "advised"
STEPS: Final = 50
"""Of a pilot run, at the most."""

_AUTO: Final = "AUTO"


def take_advice(
    experiment: Experiment,
    params: dict[str, Any],
    interrupts: Interrupts,
    files: RunFiles,
) -> tuple[Experiment, list[str]]:
    """The experiment with the settings that a pilot run advises, and what it advises in sentences.

    If the pilot run fails, AUTO is ON_WRITE, and the sentence says why.

    Raises:
        ConfigError: The simulated cluster, in which advice is checked, is not installed.
    """
    as_it_was = experiment.model_copy(update={"auto": "on_write"})
    steps = min(experiment.steps or STEPS, STEPS)
    pilot = as_it_was.model_copy(update={"steps": steps, "trace": TraceSettings()})
    problem: str | None
    try:
        run_aside(pilot, experiment.device_names, params, interrupts, files)
        interrupts.heed()
        problem = write_history(files)
    except (Exception, SystemExit) as error:  # a workload may raise anything
        problem = f"the pilot run fails: {in_a_line(error)}"
    if problem is not None:
        return as_it_was, [f"AUTO is ON_WRITE: {problem}"]
    chosen, said, adaptive = _advice(files)
    if not said:
        return as_it_was, ["no variable is AUTO: there was nothing to advise"]
    kept = {key: value for key, value in experiment.variables.items() if key not in chosen}
    update = {
        "auto": "adaptive" if adaptive else "on_write",
        "mode": None if experiment.mode is None else without_auto(experiment.mode),
        "variables": {**kept, **chosen},
    }
    return experiment.model_copy(update=update), said


def _advice(files: RunFiles) -> tuple[dict[str, VariableSettings], list[str], bool]:
    """By name, the settings of all AUTO variables; a sentence for each; whether any is adaptive."""
    from varsim.whatif.advice import advise, in_words
    from varsim.whatif.compare import Replays
    from varsim.whatif.lines import at_odds, is_adaptive

    with open_history(files.path) as history:
        rows = history.variables
        auto = [number for number, row in rows.items() if row.requested == _AUTO]
        if not auto:
            return {}, [], False
        replays = Replays(history)
        advised = advise(replays, only=auto, careful=True)
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
