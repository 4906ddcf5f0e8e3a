"""The page about a sweep: its points in a table, the trade-off, small multiples, curves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from varsim.charts.chart import Chart
from varsim.charts.scatter_chart import Dot, scatter_chart
from varsim.charts.series_chart import Line, line_chart
from varsim.charts.units import Unit, byte_unit, time_unit
from varsim.report.comparison_page import comparison_columns
from varsim.report.formatting import middle, names
from varsim.report.metric_facts import diverged
from varsim.report.run_rows import Comparison, RunRow
from varsim.report.summary import Plain
from varsim.report.tables import Column
from varsim.webpage.bins import chosen
from varsim.webpage.reported import MetricPoint, steady_value
from varsim.webpage.section import Page, Part, Section
from varsim.webpage.sweep_settings import (
    Setting,
    finished,
    finite,
    outcome_of,
    settings_of,
    settings_text,
    telling_metric,
    value_text,
    varied,
)

_COSTS: Final = ("size_bytes", "messages", "training_s")
_MEASURES: Final = ("divergence", "messages", "size_bytes", "waited_s", "training_s")
_TITLES: Final = {
    "divergence": "Divergence",
    "messages": "Messages",
    "size_bytes": "Bytes",
    "waited_s": "Waits",
    "training_s": "Time of the training",
}
_MOST_METRICS: Final = 4  # with curves
_MOST_POINTS: Final = 120  # of a curve; a page has many curves
_MOST_CURVES: Final = 28  # colours times dashes
_LONGEST_NAME: Final = 60  # characters of a curve's name, which each of its points has
_ALL: Final = "all runs"  # the one series of a chart of more settings than that


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedSweep:
    """A sweep, as a report shows it."""

    name: str  # the name of its folder
    path: str  # as a command takes it
    comparison: Comparison
    yaml: str  # the sweep as it was asked
    curves: Mapping[str, Sequence[MetricPoint]] = field(default_factory=dict)
    """The name of a row → the metrics that its program logged."""

    damage: Sequence[str] = ()  # what could not be read of the files of the points


def sweep_page(sweep: ReportedSweep) -> Page:
    """Return the page about a sweep."""
    sections = [
        _trade_off(sweep.comparison),
        _points(sweep.comparison),
        _multiples(sweep.comparison),
        _curves(sweep),
        _notes(sweep),
        _configuration(sweep),
    ]
    parts = (Part(heading="", sections=tuple(one for one in sections if one is not None)),)
    rows = sweep.comparison.rows
    bad = any(one.status == "failed" or one.verdict == "INVALID" for one in rows)
    sure = all(one.status == "done" and one.verdict == "VALID" and not one.findings for one in rows)
    strange = [row.name for row in finished(sweep.comparison) if _diverged(sweep, row)]
    mood = "bad" if bad else "good" if sure and not strange else "unsure"
    said = outcome_of(sweep.comparison)
    if strange:
        said += f" A loss grew, or a number ended as NaN or infinity, in {names(strange)}."
    return Page(title=sweep.name, outcome=said, mood=mood, parts=parts)


def _diverged(sweep: ReportedSweep, row: RunRow) -> bool:
    """Return whether a run has numbers that a reader must not miss, whatever its verdict is."""
    first: dict[str, Plain] = {}
    for one in sweep.curves.get(row.name, ()):
        first = {**one.values, **first}
    return bool(diverged(first, row.metrics))


def _in_short(row: RunRow) -> str:
    """Return the settings of a row; a text needs no key to be understood."""
    return ", ".join(
        value if isinstance(value, str) else f"{key}={value_text(value)}"
        for key, value in row.settings.items()
    )


def _points(comparison: Comparison) -> Section:
    columns, below = comparison_columns(comparison)
    if any(row.error for row in comparison.rows):
        columns.append(Column("error", [row.error for row in comparison.rows], right=False))
    rows = [
        (row.name, settings_text(row.settings), [(one.cells[at], one.right) for one in columns])
        for at, row in enumerate(comparison.rows)
    ]
    content = {
        "headings": [(one.heading, one.right) for one in columns],
        "rows": rows,
        "same": [one for one in below if one not in comparison.notes],
    }
    return Section(key="points", title="Points", template="points.html", content=content)


# ---------------------------------------------------------------- trade-off


def _trade_off(comparison: Comparison) -> Section:
    keys, along = _split(comparison)
    content = {
        "along": along,
        "joined": len(_palette(comparison, keys)) <= _MOST_CURVES,
        "metric": telling_metric(comparison),
        **_drawn_runs(comparison),
    }
    return Section(
        key="trade-off",
        title="Trade-off",
        template="trade_off.html",
        content=content,
        charts=tuple(trade_off_charts(comparison)),
    )


def _drawn_runs(comparison: Comparison) -> dict[str, object]:
    """Return what sections with charts say of the runs: what is not drawn, and what is a mean."""
    done = finished(comparison)
    return {
        "not_done": len(comparison.rows) - len(done),
        "means": len(settings_of(comparison)) < len(done),
    }


def trade_off_charts(comparison: Comparison) -> Iterator[Chart]:
    """Yield a chart for each cost: the most telling metric of the settings against it."""
    metric = telling_metric(comparison)
    for cost in _COSTS if metric else ():
        chart = _scatter(comparison, metric, cost)
        if chart is not None:
            yield chart


def _split(comparison: Comparison) -> tuple[list[str], str]:
    """Return the keys whose values name a series, and the numeric key along a series, or ""."""
    keys = varied(comparison)
    numeric = [
        key
        for key in keys
        if len({str(row.settings.get(key)) for row in comparison.rows}) > 1
        and all(finite(row, key) is not None for row in comparison.rows)
    ]
    along = "workers" if "workers" in numeric else numeric[0] if numeric else ""
    return [key for key in keys if key != along], along


def _series(setting: Setting, keys: Sequence[str]) -> str:
    if len(keys) == 1:
        return value_text(setting.settings[keys[0]])
    return settings_text({key: setting.settings[key] for key in keys}) or "all"


def _palette(comparison: Comparison, keys: Sequence[str]) -> list[str]:
    """Return all series in the order of their colours, which are the same in all charts."""
    return list(dict.fromkeys(_series(one, keys) for one in settings_of(comparison)))


def _scatter(comparison: Comparison, metric: str, cost: str) -> Chart | None:
    keys, along = _split(comparison)
    found = [
        (one, x, y)
        for one in settings_of(comparison)
        if (x := one.mean(cost)) is not None and (y := one.mean(metric)) is not None
    ]
    if len(found) < 2:  # nothing to compare
        return None
    costs = [x for _, x, _ in found]
    palette = _palette(comparison, keys)
    told_apart = len(palette) <= _MOST_CURVES
    # The axis is logarithmic if it can be: its middle has the unit.
    unit = _unit(cost, math.sqrt(min(costs) * max(costs)) or max(costs))
    dots = [
        Dot(
            series=_series(one, keys) if told_apart else _ALL,
            label=value_text(one.settings[along]) if along else "",
            name=one.name,
            x=x / unit.size,
            y=y,
        )
        for one, x, y in found
    ]
    cost_title = _TITLES[cost]
    labels = f"; the number beside a dot is {along}" if along else ""
    chart = scatter_chart(
        f"trade-off-{cost}",
        f"{metric} against {cost_title.lower()}",
        f"A dot for each setting: {metric} against {cost_title.lower()}{labels}",
        dots,
        x=f"{cost_title} [{unit.name}]" if unit.name else cost_title,
        y=metric,
        palette=palette if told_apart else [_ALL],
        joined=told_apart,
    )
    if told_apart:
        return chart
    said = (
        f"There are {len(palette):,} settings, and colours for {_MOST_CURVES}: point at a dot to "
        "see its settings."
    )
    return replace(chart, notes=(*chart.notes, said))


def _unit(column: str, largest: float) -> Unit:
    if column == "size_bytes":
        return byte_unit(largest)
    return time_unit(largest) if column.endswith("_s") else Unit("", 1)


# ---------------------------------------------------------------- small multiples and curves


def _multiples(comparison: Comparison) -> Section | None:
    keys, along = _split(comparison)
    if not along:
        return None
    metric = telling_metric(comparison)
    columns = [*([metric] if metric else []), *_MEASURES]
    charts = [_multiple(comparison, column, keys, along) for column in columns]
    return Section(
        key="multiples",
        title=f"By {along}",
        template="multiples.html",
        content=_drawn_runs(comparison),
        charts=tuple(one for one in charts if one is not None),
    )


def _multiple(comparison: Comparison, column: str, keys: Sequence[str], along: str) -> Chart | None:
    """Return a chart of one column, with a line for each series; None if all rows are equal."""
    settings = [one for one in settings_of(comparison) if one.values(column)]
    every = [value for one in settings for value in one.values(column)]
    if len(set(every)) < 2:
        return None
    unit = _unit(column, max(map(abs, every)))
    lines: dict[str, dict[float, list[float]]] = {}
    for one in settings:
        values = [value / unit.size for value in one.values(column)]
        at = finite(one.runs[0], along)
        if at is not None:
            lines.setdefault(_series(one, keys), {})[at] = values
    title = _TITLES.get(column, column)
    palette = _palette(comparison, keys)[:_MOST_CURVES]
    shown = {name: points for name, points in lines.items() if name in palette}
    chart = line_chart(
        f"by-{along}-{column}",
        title,
        f"{title} by {along}, with a line for each setting of the other keys",
        [
            Line(
                name=name,
                points=[(at, math.fsum(all_) / len(all_)) for at, all_ in sorted(points.items())],
                spread=[
                    (at, min(all_), max(all_))
                    for at, all_ in sorted(points.items())
                    if len(all_) > 1
                ],
            )
            for name, points in shown.items()
        ],
        x=along,
        y=f"{title} [{unit.name}]" if unit.name else title,
        palette=palette,
    )
    left_out = len(lines) - len(shown)
    said = [f"{left_out:,} more settings are not drawn; the points above have all."]
    return replace(chart, notes=(*chart.notes, *_covered(shown), *(said if left_out else [])))


def _covered(lines: Mapping[str, object]) -> Iterator[str]:
    """Yield a sentence for lines that are drawn one over the other."""
    same: dict[str, list[str]] = {}
    for name, points in lines.items():
        same.setdefault(repr(points), []).append(name)
    for found in same.values():
        if len(found) > 1:
            yield f"The last of these lines covers the others, which are the same: {names(found)}."


def _curves(sweep: ReportedSweep) -> Section | None:
    logged = list(
        dict.fromkeys(
            name for points in sweep.curves.values() for one in points for name in one.values
        )
    )
    if not logged:
        return None
    changing = [
        name
        for name in logged
        if any(steady_value(one, name) is None for one in sweep.curves.values())
    ]
    rows = [row for row in sweep.comparison.rows if sweep.curves.get(row.name)]
    return Section(
        key="curves",
        title="Training curves",
        template="curves.html",
        content={
            "steady": [name for name in logged if name not in changing],
            "left_out": changing[_MOST_METRICS:],
            "rows_left_out": max(0, len(rows) - _MOST_CURVES),
        },
        charts=tuple(_curve(sweep, rows[:_MOST_CURVES], one) for one in changing[:_MOST_METRICS]),
    )


def _curve(sweep: ReportedSweep, rows: Sequence[RunRow], metric: str) -> Chart:
    lines = [
        Line(
            name=middle(f"{row.name}: {_in_short(row)}", _LONGEST_NAME),
            points=list(_drawn(sweep, row, metric)),
        )
        for row in rows
    ]
    return line_chart(
        f"curve-{metric}",
        metric,
        f"{metric}, as the programs logged it, by step, with a line for each run",
        lines,
        x="step",
        y=metric,
    )


def _drawn(sweep: ReportedSweep, row: RunRow, metric: str) -> Iterator[tuple[float, float]]:
    points = [one for one in sweep.curves[row.name] if metric in one.values]
    for index in chosen(len(points), _MOST_POINTS):
        yield points[index].step, points[index].values[metric]


# ---------------------------------------------------------------- the rest


def _notes(sweep: ReportedSweep) -> Section:
    known = sweep.comparison.notes
    notes = [*known, *(one for one in sweep.damage if one not in known)]
    content = {"notes": notes, "path": sweep.path}
    return Section(
        key="not-looked-at",
        title="What was not looked at",
        template="sweep_notes.html",
        content=content,
    )


def _configuration(sweep: ReportedSweep) -> Section:
    return Section(
        key="configuration",
        title="Configuration",
        template="sweep_configuration.html",
        content={"yaml": sweep.yaml, "command": f"varsim compare {sweep.path}"},
    )
