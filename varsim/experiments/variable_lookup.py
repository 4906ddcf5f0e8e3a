"""Find a variable of a run by its name or number, or choose the most informative one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from varsim.analysis import component_distance as distances
from varsim.analysis.failures import Ending
from varsim.analysis.integrity import valid_events
from varsim.analysis.lens import moments
from varsim.analysis.narrow_values import rounded_alike
from varsim.analysis.plain_values import plain_variables
from varsim.analysis.returned import ReturnedValue
from varsim.analysis.search import find_and_compare
from varsim.analysis.verdict import sound
from varsim.errors import ConfigError
from varsim.experiments.store import load_summary
from varsim.nearest import listed, no_variable
from varsim.report.formatting import number
from varsim.report.lens_page import relative
from varsim.report.summary import Plain
from varsim.tracing.history import History, VariableRow

_MOST_EVENTS: Final = 50_000  # a history of this length is read in about a second


class Chosen(NamedTuple):
    """A variable that varsim has chosen."""

    row: VariableRow
    why: str  # a clause


def find_variable(history: History, name: str) -> VariableRow:
    """Return the variable with this name or, if several have the same name, with this number.

    Raises:
        ConfigError: No variable matches, or several match; the text names the nearest variables.
    """
    rows = list(history.variables.values())
    found = [row for row in rows if name in {row.name, str(row.variable)}]
    if len(found) == 1:
        return found[0]
    if found:
        numbers = listed(str(row.variable) for row in found)
        raise ConfigError(f"{len(found)} variables are called {name!r}; give a number: {numbers}")
    plain = [one.name for one in plain_variables(history)]
    raise ConfigError(no_variable(name, (*(row.name for row in rows), *plain)))


def most_telling(
    history: History,
    run: Path,
    oracle: History | None = None,
    ending: Ending | None = None,
) -> Chosen:
    """Return the most informative variable: with a finding, or else with the largest differences.

    Args:
        run: The run's directory, or its history. For a long run, only its summary is read.
        oracle: The history of the same program on a single device, for comparison.
        ending: How the run ended, with what the program returned; None if it is unknown.
    Raises:
        ConfigError: The run has no variable, or its history is damaged.
    """
    if not history.variables:
        raise ConfigError("the record of this run has no variable")
    (last,) = history.connection.execute("SELECT MAX(event) FROM events").fetchone()
    returned = () if ending is None else rounded_alike(ending.returned, history, oracle)
    is_short = (last or 0) <= _MOST_EVENTS
    choices = _of_all(history, oracle, returned) if is_short else _of_summary(history, run)
    for choice in choices:
        return choice
    written = _most_written(history)
    why = "no recorded values of replicas differ, and it was written most often"
    return Chosen(history.variables[written], why)


def _of_all(
    history: History, oracle: History | None, returned: Sequence[ReturnedValue]
) -> Iterator[Chosen]:
    """Choose a variable by reading the whole history, after a check of all its rows."""
    for _ in valid_events(history):
        pass
    findings, compared = find_and_compare(history, sound(oracle), returned=returned)
    for finding in findings:
        if finding.variable_id is not None and finding.kind.about_values:
            row = history.variables[finding.variable_id]
            yield Chosen(row, f"`varsim check` has a finding about it: {finding.kind.name}")
    for difference in () if compared is None else (*compared.leading, *compared.unexplained):
        yield Chosen(history.variables[difference.variable_id], _UNLIKE)
    best, chosen = 0.0, None
    for row in history.variables.values():
        for moment in moments(history, row):
            known = [one for one in moment.components if one is not None]
            apart = distances.relative(known) if moment.diverged else 0.0
            if apart > best:
                when = f"at the end of call {moment.step}"
                by = float(distances.ranges(known).max())
                best, chosen = apart, Chosen(row, _apart(by, apart, when))
    if chosen is not None:
        yield chosen


_UNLIKE: Final = "its values differ from a single device's, and no finding explains this"


def _of_summary(history: History, run: Path) -> Iterator[Chosen]:
    """Choose a variable by the run's summary, which has the replicas' differences at the end."""
    try:
        summary = load_summary(run if run.is_dir() else run.parent)
    except ConfigError:
        return
    best, chosen = 0.0, None
    for variable in summary.variables:
        rows = [row for row in history.variables.values() if row.name == variable.name]
        apart = 0.0 if variable.lens is None else relative(variable.lens)
        if variable.lens is not None and len(rows) == 1 and apart > best:
            best, chosen = apart, Chosen(rows[0], _apart(variable.lens.apart, apart, "at the end"))
    if chosen is not None:
        yield chosen


def _apart(by: Plain, apart: float, when: str) -> str:
    """Return a clause on the difference of a variable's replicas.

    Args:
        by: The largest difference in an element.
        apart: The same, relative to the largest element.
    """
    if np.isinf(apart):
        return f"its replicas differ infinitely {when}"
    share = f"{number(apart)} times" if apart > 1 else f"{number(apart * 100)} % of"
    return f"its replicas differ by up to {number(by)} {when}, {share} its largest element"


def _most_written(history: History) -> int:
    rows = history.connection.execute(
        "SELECT variable FROM events WHERE kind = 'write' AND variable IS NOT NULL "
        "GROUP BY variable ORDER BY COUNT(*) DESC, variable"
    )
    return next(
        (int(row[0]) for row in rows if row[0] in history.variables), min(history.variables)
    )


def shape_of(row: VariableRow) -> list[int | None]:
    """Return a variable's shape; an unknown dimension is None."""
    return list(json.loads(row.shape))
