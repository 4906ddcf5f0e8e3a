"""Lines of an experiment and of a program that select settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from glob import escape
from typing import Any, Final

from varsim.spec import VariableSynchronization
from varsim.sync import policies
from varsim.texts.program_lines import variable_lines
from varsim.whatif.recorded import RecordedProgram, Settings, settings_of, spec_of

_AUTO: Final = VariableSynchronization.AUTO


def at_odds(program: RecordedProgram, chosen: Mapping[int, Settings]) -> set[int]:
    """Return the chosen variables for which another variable has the same name but other settings.

    An experiment cannot distinguish such variables, because it refers to variables by name.
    """
    settings = program.settings() | dict(chosen)
    by_name: dict[str, set[Settings]] = {}
    for number, row in program.variables.items():
        by_name.setdefault(row.name, set()).add(settings[number])
    for one in program.left_out.values():
        by_name.setdefault(one.row.name, set()).add(settings_of(one.row))
    return {one for one in chosen if len(by_name[program.variables[one].name]) > 1}


def experiment_keys(program: RecordedProgram, chosen: Mapping[int, Settings]) -> dict[str, Any]:
    """Return the keys of an experiment that select these settings and keep all other settings."""
    keys: dict[str, Any] = {}
    if not chosen:
        return keys
    if is_adaptive(program, chosen):
        keys["auto"] = "adaptive"
    elif is_adaptive(program, {}):
        keys["auto"] = "on_write"  # a run refuses `adaptive` if no variable can be adaptive
    keys["variables"] = {}
    for number, settings in _written(program, chosen).items():
        row = program.variables[number]
        of_variable = {"synchronization": settings.synchronization.name.lower()}
        if settings.aggregation.name != row.aggregation:
            of_variable["aggregation"] = settings.aggregation.name.lower()
        keys["variables"][escape(row.name)] = of_variable  # a key is a pattern
    return keys


def python_lines(program: RecordedProgram, chosen: Mapping[int, Settings]) -> Iterator[str]:
    """Yield the arguments of `tf.Variable` that select these settings."""
    if is_adaptive(program, chosen):
        yield 'strategy = tf.distribute.MirroredStrategy(…, auto="adaptive")'
    for number, settings in _written(program, chosen).items():
        yield from variable_lines(
            program.variables[number].name, settings.synchronization, settings.aggregation.name
        )


def is_adaptive(program: RecordedProgram, chosen: Mapping[int, Settings]) -> bool:
    """Return whether any variable defers writes."""
    settings = program.settings() | dict(chosen)
    return any(policies.defers(spec_of(row, settings[n])) for n, row in program.variables.items())


def _written(program: RecordedProgram, chosen: Mapping[int, Settings]) -> dict[int, Settings]:
    """Return the choices that an experiment can express, in order of creation.

    If AUTO becomes adaptive, add the AUTO variables that must stay ON_WRITE.
    """
    turns = is_adaptive(program, chosen) and not is_adaptive(program, {})
    stays = {
        number: settings
        for number, settings in program.settings().items()
        if turns
        and program.variables[number].requested == _AUTO.name
        and policies.defers(
            spec_of(program.variables[number], Settings(_AUTO, settings.aggregation))
        )
    }
    both = stays | dict(chosen)
    told = both.keys() - at_odds(program, both)
    return {number: both[number] for number in program.variables if number in told}
