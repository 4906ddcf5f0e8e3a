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
from varsim.report.formatting import duration, names, number, size
from varsim.report.run_rows import Comparison, RunRow, value_of
from varsim.report.summary import Plain
from varsim.texts.facts import times
from varsim.webpage.bins import chosen
from varsim.webpage.reported import MetricPoint
from varsim.webpage.section import Page, Part, Section

_BETTER: Final = ("test_accuracy", "accuracy", "test_loss", "loss")
"""Ends of the names of metrics that show how good a model is, the most telling first."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedSweep:
    """A sweep, as a report shows it."""

    name: str  # the name of its folder
    path: str  # as a command takes it
    state: str  # how many points are done: "16 of 16 points"
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
    mood = "bad" if bad else "good" if sure else "unsure"
    return Page(title=sweep.name, outcome=_outcome(sweep), mood=mood, parts=parts)


def _outcome(sweep: ReportedSweep) -> str:
    rows = sweep.comparison.rows
    done = _done(sweep.comparison)
    clauses = [f"{sweep.state} of {' × '.join(sweep.comparison.keys)}"]
    if metric := telling_metric(sweep.comparison):
        known = [(one, value) for one in done if (value := _number(one, metric)) is not None]
        better = min if "loss" in metric else max
        best, value = better(known, key=lambda pair: pair[1])
        clauses.append(f"best {metric} {number(value)} ({_settings(best)})")
    for column, what in (("size_bytes", size), ("training_s", duration)):
        known = [(one, value) for one in done if (value := _number(one, column)) is not None]
        if known:
            least, value = min(known, key=lambda pair: pair[1])
            said = size(int(value)) if what is size else duration(value)
            word = "fewest bytes" if column == "size_bytes" else "shortest training"
            clauses.append(f"{word} {said} ({_settings(least)})")
    findings = sum(one.findings or 0 for one in rows)
    clauses.append(times(findings, "finding") if findings else "no finding")
    return f"{'; '.join(clauses)}."


def telling_metric(comparison: Comparison) -> str:
    """Return the metric that shows best how good a model is; "" if no finished run has a metric."""
    known = [
        name
        for name in comparison.metrics
        if any(_number(row, name) is not None for row in _done(comparison))
    ]
    for end in _BETTER:
        for name in known:
            if name.endswith(end):
                return name
    return known[0] if known else ""


def _done(comparison: Comparison) -> list[RunRow]:
    """Return the runs whose numbers can be compared: those of the others end where they ended."""
    return [row for row in comparison.rows if row.status == "done"]


def _number(row: RunRow, column: str) -> float | None:
    """Return the finite number of a row in a column; None if there is none."""
    value: Plain = value_of(row, column)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _settings(row: RunRow) -> str:
    return ", ".join(f"{key}={_text(value)}" for key, value in row.settings.items())


def _in_short(row: RunRow) -> str:
    """Return the settings of a row; a text needs no key to be understood."""
    return ", ".join(
        value if isinstance(value, str) else f"{key}={_text(value)}"
        for key, value in row.settings.items()
    )


def _text(value: Plain) -> str:
    return str(value) if isinstance(value, str) else number(value)


def _points(comparison: Comparison) -> Section:
    columns, below = comparison_columns(comparison)
    rows = [
        (row.name, [(column.cells[place], column.right) for column in columns])
        for place, row in enumerate(comparison.rows)
    ]
    content = {
        "headings": [(one.heading, one.right) for one in columns],
        "rows": rows,
        "same": [one for one in below if one not in comparison.notes],
    }
    return Section(key="points", title="Points", template="points.html", content=content)


# ---------------------------------------------------------------- trade-off


def _trade_off(comparison: Comparison) -> Section:
    content = {
        "along": _split(comparison)[1],
        "not_done": len(comparison.rows) - len(_done(comparison)),
    }
    return Section(
        key="trade-off",
        title="Trade-off",
        template="trade_off.html",
        content=content,
        charts=tuple(trade_off_charts(comparison)),
    )


def trade_off_charts(comparison: Comparison) -> Iterator[Chart]:
    """Yield a chart for each cost: the most telling metric of the finished runs against it."""
    metric = telling_metric(comparison)
    for cost in _COSTS if metric else ():
        chart = _scatter(comparison, metric, cost)
        if chart is not None:
            yield chart


def _split(comparison: Comparison) -> tuple[list[str], str]:
    """Return the keys whose values name a series, and the numeric key along a series, or ""."""
    numeric = [
        key
        for key in comparison.keys
        if len({str(row.settings.get(key)) for row in comparison.rows}) > 1
        and all(_number(row, key) is not None for row in comparison.rows)
    ]
    along = "workers" if "workers" in numeric else numeric[0] if numeric else ""
    return [key for key in comparison.keys if key != along], along


def _series(row: RunRow, keys: Sequence[str]) -> str:
    if len(keys) == 1:
        return _text(row.settings[keys[0]])
    return ", ".join(f"{key}={_text(row.settings[key])}" for key in keys) or "all"


def _palette(comparison: Comparison, keys: Sequence[str]) -> list[str]:
    """Return all series in the order of their colours, which are the same in all charts."""
    return list(dict.fromkeys(_series(row, keys) for row in _done(comparison)))


def _scatter(comparison: Comparison, metric: str, cost: str) -> Chart | None:
    keys, along = _split(comparison)
    found = [
        (row, x, y)
        for row in _done(comparison)
        if (x := _number(row, cost)) is not None and (y := _number(row, metric)) is not None
    ]
    if not found:
        return None
    costs = [x for _, x, _ in found]
    # The axis is logarithmic if it can be: its middle has the unit.
    unit = _unit(cost, math.sqrt(min(costs) * max(costs)) or max(costs))
    dots = [
        Dot(
            series=_series(row, keys),
            label=_text(row.settings[along]) if along else "",
            name=f"{row.name}: {_settings(row)}",
            x=x / unit.size,
            y=y,
        )
        for row, x, y in found
    ]
    cost_title = _TITLES[cost]
    labels = f"; the number beside a dot is {along}" if along else ""
    return scatter_chart(
        f"trade-off-{cost}",
        f"{metric} against {cost_title.lower()}",
        f"A dot for each run: {metric} against {cost_title.lower()}{labels}",
        dots,
        x=f"{cost_title} [{unit.name}]" if unit.name else cost_title,
        y=metric,
        palette=_palette(comparison, keys),
    )


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
        content={"not_done": len(comparison.rows) - len(_done(comparison))},
        charts=tuple(one for one in charts if one is not None),
    )


def _multiple(comparison: Comparison, column: str, keys: Sequence[str], along: str) -> Chart | None:
    """Return a chart of one column, with a line for each series; None if all rows are equal."""
    found = [
        (row, value) for row in _done(comparison) if (value := _number(row, column)) is not None
    ]
    if len({value for _, value in found}) < 2:
        return None
    unit = _unit(column, max(abs(value) for _, value in found))
    lines: dict[str, dict[float, list[float]]] = {}
    for row, value in found:
        at = _number(row, along)
        if at is not None:
            lines.setdefault(_series(row, keys), {}).setdefault(at, []).append(value / unit.size)
    title = _TITLES.get(column, column)
    chart = line_chart(
        f"by-{along}-{column}",
        title,
        f"{title} by {along}, with a line for each setting of the other keys",
        [
            Line(
                name=name,
                points=[(at, sum(values) / len(values)) for at, values in sorted(points.items())],
            )
            for name, points in lines.items()
        ],
        x=along,
        y=f"{title} [{unit.name}]" if unit.name else title,
        palette=_palette(comparison, keys),
    )
    return replace(chart, notes=(*chart.notes, *_covered(lines)))


def _covered(lines: Mapping[str, object]) -> Iterator[str]:
    """Yield a sentence for lines that are drawn one over the other."""
    same: dict[str, list[str]] = {}
    for name, points in lines.items():
        same.setdefault(repr(points), []).append(name)
    for found in same.values():
        if len(found) > 1:
            yield f"The last of these lines covers the others, which are the same: {names(found)}."


def _curves(sweep: ReportedSweep) -> Section | None:
    names = list(
        dict.fromkeys(
            name for points in sweep.curves.values() for one in points for name in one.values
        )
    )
    if not names:
        return None
    rows = [row for row in sweep.comparison.rows if sweep.curves.get(row.name)]
    return Section(
        key="curves",
        title="Training curves",
        template="curves.html",
        content={
            "left_out": names[_MOST_METRICS:],
            "rows_left_out": max(0, len(rows) - _MOST_CURVES),
        },
        charts=tuple(_curve(sweep, rows[:_MOST_CURVES], one) for one in names[:_MOST_METRICS]),
    )


def _curve(sweep: ReportedSweep, rows: Sequence[RunRow], metric: str) -> Chart:
    lines = [
        Line(name=f"{row.name}: {_in_short(row)}", points=list(_drawn(sweep, row, metric)))
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
