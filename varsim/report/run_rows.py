"""The rows of a comparison of runs, which tables, documents and the JSON of `compare` show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from varsim.report.json_schema import schema_of
from varsim.report.summary import Plain
from varsim.shown_as_html import ShownAsHtml

VERSION: Final = 1
"""Version of the JSON of `compare`; it is increased when a field is removed or changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One run, or one point of a sweep, as a row of a comparison."""

    run: str  # the run's folder
    name: str  # the name of the folder; for the point of a sweep its number, as in "3" or "A/3"
    status: str  # "done", "failed", "interrupted", "running" or "waiting"
    error: str  # one line that says why the run failed; "" if it did not fail
    settings: dict[str, Plain]  # the keys of the experiment in which the runs differ; null: not set
    metrics: dict[str, Plain]  # the numbers that the program reported or returned last
    divergence: Plain  # largest difference of two components at the end; null if not measured
    diverged: str  # the variable with this difference; "" without a difference
    messages: int | None  # number of messages of all variables; null if not measured
    size_bytes: int | None  # size of the values in these messages
    waited_s: float | None  # time that writes waited for their effect, over variables and replicas
    training_s: float | None  # time of the training; null if it did not begin
    total_s: float | None  # time of the run with start, merge and verdict
    steps: int | None  # number of finished steps that the program reported
    verdict: str | None  # VALID, INVALID or UNKNOWN; null if the run was not judged
    findings: int | None  # groups of similar findings, with the run's failure; null if not judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(ShownAsHtml):
    """Runs side by side."""

    keys: list[str]  # the keys of `settings`, in their order
    metrics: list[str]  # the names of all metrics, in their order
    rows: list[RunRow]
    notes: list[str]  # sentences about what is not comparable, and why


MEASURES: Final = (
    "divergence",
    "messages",
    "size_bytes",
    "waited_s",
    "training_s",
    "total_s",
    "steps",
    "verdict",
    "findings",
)
"""The fields of a row that every run can have, in the order of the columns."""

_FIELDS: Final = ("status", *MEASURES)
_METRICS: Final = "metrics."

_BETTER: Final = ("test_accuracy", "accuracy", "test_loss", "loss")
"""Ends of the names of metrics that show how good a model is, the most telling first."""

_SHORT: Final = {"bytes": "size_bytes", "time": "training_s", "waits": "waited_s"}
"""A column's heading → its field, for --sort."""

_RUN: Final = "run"
"""The heading of the names of runs."""


def most_telling(metrics: Sequence[str]) -> str:
    """Return the metric that shows best how good a model is; "" if there are none."""
    for end in _BETTER:
        for name in metrics:
            if name.endswith(end):
                return name
    return metrics[0] if metrics else ""


def columns_of(comparison: Comparison) -> list[str]:
    """Return the names of all columns: settings, metrics and measures."""
    metrics = (column_of_metric(name, comparison.keys) for name in comparison.metrics)
    return [*comparison.keys, *metrics, *_FIELDS]


def sortable_columns(comparison: Comparison) -> dict[str, str]:
    """Return the columns by their names: the whole names, and the headings of tables."""
    columns = columns_of(comparison)
    last = [key.rpartition(".")[2] for key in comparison.keys]
    headings = {
        **dict(zip(last, comparison.keys, strict=True)),
        **{name.replace("_", " "): name for name in columns},
        **_SHORT,
        _RUN: _RUN,
    }
    unclear = {short for short in last if last.count(short) > 1}
    named = {name: column for name, column in headings.items() if name not in unclear}
    return named | {name: name for name in columns}


def column_of_metric(name: str, keys: Sequence[str]) -> str:
    """Return the name of a metric's column: "metrics.steps" if another column is called "steps".

    Args:
        keys: The settings in which the runs differ.
    """
    return f"{_METRICS}{name}" if name in keys or name in _FIELDS else name


def value_of(row: RunRow, column: str) -> Plain:
    """Return the value of a row in a column; None if the row has none."""
    if column in row.settings:
        return row.settings[column]
    if column in _FIELDS:
        return getattr(row, column)
    if column == _RUN and column not in row.metrics:
        return int(row.name) if row.name.isdecimal() else row.name
    return row.metrics.get(column, row.metrics.get(column.removeprefix(_METRICS)))


def ordered(rows: Sequence[RunRow], column: str, *, descending: bool) -> list[RunRow]:
    """Return the rows in the order of a column; rows without a value are the last ones."""
    known = [row for row in rows if value_of(row, column) is not None]
    unknown = [row for row in rows if value_of(row, column) is None]
    return sorted(known, key=lambda row: _rank(value_of(row, column)), reverse=descending) + unknown


def schema() -> dict[str, Any]:
    """Return the JSON Schema of `varsim compare --json`."""
    return schema_of(Comparison, VERSION, "varsim comparison")


_NOT_FINITE: Final = {"-Infinity": float("-inf"), "Infinity": float("inf")}


def _rank(value: Plain) -> tuple[int, float, str]:
    """Return a key that orders numbers before texts; NaN is a text."""
    if isinstance(value, bool | int | float):
        return 0, float(value), ""
    if value in _NOT_FINITE:
        return 0, _NOT_FINITE[value], ""
    return 1, 0.0, str(value)
