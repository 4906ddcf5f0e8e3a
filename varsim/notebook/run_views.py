"""Runs, their results and metrics, and comparisons of runs as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from varsim.errors import FileError
from varsim.experiments.finished_run import FinishedRun, RunResult
from varsim.experiments.metric_series import Series
from varsim.experiments.nested_keys import in_force
from varsim.notebook.charts import drawn
from varsim.notebook.finding_views import in_short
from varsim.notebook.fragments import (
    folded,
    heading,
    lines,
    listing,
    outcome,
    pairs,
    paragraph,
    table,
    view,
)
from varsim.report.comparison_page import comparison_columns
from varsim.report.formatting import bounded, flat_rows, number
from varsim.report.lens_page import LensRow, lens_rows, of_equal_length, relative
from varsim.report.metrics_page import metric_columns
from varsim.report.replica_columns import replica_columns
from varsim.report.run_rows import Comparison
from varsim.report.run_sentences import sentences_on_synchronisation
from varsim.report.summary import Plain, Summary
from varsim.report.tables import Column
from varsim.texts.facts import times
from varsim.webpage.outcome import outcome_of, training_section
from varsim.webpage.reported import MetricPoint, ReportedRecord, ReportedRun
from varsim.webpage.sweep_page import trade_off_charts

_FIRST: Final = ("workers", "mode", "steps", "seed")
"""The settings that are always visible; the others are folded."""

_LEFT_OUT: Final = ("name", "out")
_MOST_VARIABLES: Final = 8
_MOST_CHARTS: Final = 2
_MOST_DOTS: Final = 200  # of a chart; a notebook keeps 1 KB for each dot
_WITHOUT_CHARTS: Final = (
    f"Charts of more than {_MOST_DOTS} runs are too large for a notebook: `varsim report SWEEP` "
    "draws them."
)
_ROOM: Final = 100  # characters for the cells of replicas


def run_html(run: FinishedRun) -> str:
    """Return the outcome of a run, its settings, values, findings and training curves."""
    records = [run.summary, *(one.summary for one in run.further)]
    try:
        series = run.series
    except FileError as error:
        curves = paragraph(str(error))
    else:
        curves = drawn(training_section(_reported(run.path, records, series)).charts, _MOST_CHARTS)
    path = run.path
    more = paragraph(f"`varsim report {path}` · `varsim check {path}`", faint=True)
    return view(*_about(run.path, records), curves, more)


def summary_html(summary: Summary) -> str:
    """Return the outcome of a run, its settings, values and findings."""
    return view(*_about(Path(summary.directory), [summary]))


def _reported(path: Path, records: Sequence[Summary], series: Series | None) -> ReportedRun:
    points = () if series is None else series.lines
    return ReportedRun(
        name=path.resolve().name,
        records=[
            ReportedRecord(part="", path=str(path), summary=one, found=None) for one in records
        ],
        metrics=[MetricPoint(step=one.step, values=one.values) for one in points],
    )


def _about(path: Path, records: Sequence[Summary]) -> list[str]:
    """Return the parts about a run that its summaries know."""
    summary = records[-1]
    parts = [heading(path.resolve().name), outcome(*outcome_of(_reported(path, records, None)))]
    if summary.failure is not None:
        parts.append(lines(bounded(summary.failure.text, "summary.json").splitlines()))
    if summary.interrupted_in:
        parts.append(lines(summary.interrupted_in.splitlines()))
    parts.append(_settings(records[0]))
    if len(records) > 1:
        said = f"{times(len(records), 'record')}, of several strategies or incarnations; the last:"
        parts.append(paragraph(said))
    if summary.result:
        parts.append(pairs(_rows(summary.result), "Result"))
    parts += _lens(summary)
    parts += [paragraph(one) for one in sentences_on_synchronisation(summary)]
    verdict = summary.verdict
    if verdict is not None and verdict.findings:
        parts.append(in_short(verdict.findings))
    if verdict is not None and verdict.compared:
        parts.append(paragraph(f"oracle: {verdict.compared}"))
    if verdict is not None and verdict.not_looked_at:
        notes = [
            f"{one.text} ({one.option})" if one.option else one.text
            for one in verdict.not_looked_at
        ]
        parts.append(folded("What was not looked at", listing(notes)))
    if summary.warnings:
        title = f"Warnings of the run ({len(summary.warnings)})"
        parts.append(folded(title, listing(summary.warnings)))
    return parts


def _settings(summary: Summary) -> str:
    settings = {
        key: _value(value)
        for key, value in in_force(summary.experiment).items()
        if key not in _LEFT_OUT and value not in (None, "")
    }
    shown = " · ".join(f"{key} {settings[key]}" for key in _FIRST if key in settings)
    rest = [(key, value) for key, value in settings.items() if key not in _FIRST]
    return paragraph(shown, faint=True) + folded("All settings", pairs(rest))


def _value(value: Plain) -> str:
    return value if isinstance(value, str) else number(value)


def _rows(result: dict[str, Plain]) -> list[tuple[str, str]]:
    return [(name, number(value)) for name, value in flat_rows("", result)]


def _lens(summary: Summary) -> list[str]:
    """Return the value lens of the variables whose replicas differ most."""
    known = [(one, one.lens) for one in summary.variables if one.lens is not None]
    if not known:
        return []
    known.sort(key=lambda pair: -relative(pair[1]))
    rows: list[LensRow] = []
    modes: list[str] = []
    for variable, lens in known[:_MOST_VARIABLES]:
        told = lens_rows(variable.name, lens)
        rows += told
        modes += [f"{variable.synchronization}, {variable.aggregation}", *[""] * (len(told) - 1)]
    rows = of_equal_length(rows)
    columns = [Column("mode", modes, right=False)]
    said = []
    if rows[0].components:
        shown = replica_columns([row.components for row in rows], _ROOM)
        cells = [shown.cells(row.components) for row in rows]
        columns += [
            Column(one, [row[place] for row in cells]) for place, one in enumerate(shown.headings)
        ]
        said.append(shown.sentence(len(rows[0].components)))
    columns.append(Column("value", [row.value for row in rows]))
    if rows[0].components:
        columns.append(Column("apart", [row.apart for row in rows]))
    more = len(known) - _MOST_VARIABLES
    if more > 0:
        said.append(f"{times(more, 'more variable')}, whose replicas differ less, are not shown.")
    labels = [row.label.replace("  ", "\u2003") for row in rows]
    lens_table = table("Values at the end", labels, columns)
    return [lens_table, *(paragraph(one, faint=True) for one in said if one)]


def result_html(result: RunResult) -> str:
    """Return what a program returned, as names and values."""
    if not result:
        return view(paragraph("The program returned no values."))
    return view(pairs(_rows(result), "Result"))


def series_html(series: Series) -> str:
    """Return a row for each metric, and the curves of the first ones."""
    if not series:
        return view(paragraph("No metrics were logged: `job.log(loss=…)` keeps them."))
    metrics = list(series.metrics.values())
    columns = metric_columns(metrics)
    said = [paragraph(one, faint=True) for one in series.problems]
    charts = training_section(_reported(Path(), [], series)).charts
    labels = [one.name for one in metrics]
    return view(table("", labels, columns, "metric"), *said, drawn(charts, len(charts)))


def comparison_html(comparison: Comparison) -> str:
    """Return a row for each run, and a chart of what came out against what it cost."""
    columns, below = comparison_columns(comparison)
    rows = comparison.rows
    errors = [f"{row.name}: {row.error}" for row in rows if row.error]
    if len(rows) > _MOST_DOTS:
        charts = paragraph(_WITHOUT_CHARTS, faint=True)
    else:
        charts = drawn(list(trade_off_charts(comparison)) if rows[1:] else [], _MOST_CHARTS)
    return view(
        table(times(len(rows), "run"), [row.name for row in rows], columns, "run"),
        listing(errors) if errors else "",
        *(paragraph(one, faint=True) for one in below),
        charts,
    )
