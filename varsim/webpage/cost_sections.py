"""The sections about cost: the modes of the variables, traffic, waits and the critical path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from varsim.analysis.step_times import StepTime
from varsim.analysis.step_traffic import StepTraffic
from varsim.charts.chart import Chart
from varsim.charts.series_chart import Bar, bar_chart
from varsim.charts.theme import COLORS
from varsim.charts.units import Unit, byte_unit, time_unit
from varsim.report.formatting import duration, size
from varsim.report.grouping import short_names
from varsim.report.summary import Summary, VariableSummary
from varsim.report.variable_tables import IF_ALONE, variable_columns
from varsim.texts.facts import times
from varsim.webpage.bins import Bin, binned, largest_first
from varsim.webpage.reported import ReportedRecord
from varsim.webpage.section import Section

_MOST_ROWS: Final = 200  # variables in the table; summary.json has all
_NAME_WIDTH: Final = 32
_CALL: Final = "call of strategy.run"


def modes_section(record: ReportedRecord) -> Section | None:
    """Return the section with the settings, uses and costs of each variable."""
    summary = record.summary
    if summary is None or not summary.variables:
        return None
    shown = summary.variables[:_MOST_ROWS]
    columns = variable_columns(shown, len(summary.devices))
    rows = [
        (one.name, [(column.cells[row], column.right) for column in columns])
        for row, one in enumerate(shown)
    ]
    content = {
        "headings": [(" ".join(one.heading.split()), one.right) for one in columns],
        "rows": rows,
        "left_out": len(summary.variables) - len(shown),
        "alone": IF_ALONE,
        "total_messages": sum(one.messages for one in summary.variables),
        "total_bytes": size(sum(one.size_bytes for one in summary.variables)),
    }
    return Section(
        key="modes", title="Modes and their costs", template="modes.html", content=content
    )


# ---------------------------------------------------------------- traffic


def traffic_section(record: ReportedRecord) -> Section | None:
    """Return the section with the bytes and messages of each variable by call."""
    traffic = record.traffic
    if traffic is None:
        return None
    names = _unique(record.names)
    span = traffic.first_step, max(traffic.step, traffic.first_step)
    charts = [
        _traffic_chart("bytes", "Bytes by call", traffic.size_bytes, names, span),
        _traffic_chart("messages", "Messages by call", traffic.messages, names, span),
    ]
    content = {"alone": IF_ALONE, "lacks": list(_lacks(record.summary, traffic))}
    return Section(
        key="traffic",
        title="Bytes and messages",
        template="traffic.html",
        content=content,
        charts=tuple(one for one in charts if one is not None),
    )


def _unique(names: Mapping[int, str]) -> dict[int, str]:
    """Return short and different names of variables, by their numbers."""
    return dict(zip(names, short_names(list(names.values()), _NAME_WIDTH), strict=True))


def _traffic_chart(
    key: str,
    title: str,
    counted: Counter[tuple[int, int]],
    names: Mapping[int, str],
    span: tuple[int, int],
) -> Chart | None:
    by_call: dict[int, dict[str, float]] = {}
    for (call, variable), value in counted.items():
        name = names.get(variable, str(variable))
        by_call.setdefault(call, {})[name] = value
    return _chart_by_call(
        key,
        title,
        "for each variable, as if it were sent alone",
        by_call,
        order=list(names.values()),
        span=span,
        unit_of=byte_unit if key == "bytes" else lambda _: Unit("messages", 1),
        one="variable",
    )


def _chart_by_call(
    key: str,
    title: str,
    what: str,
    by_call: Mapping[int, Mapping[str, float]],
    *,
    order: Sequence[str],
    span: tuple[int, int],
    unit_of: Callable[[float], Unit],
    one: str,
) -> Chart | None:
    """Return a chart of stacked bars by call; None if all numbers are zero.

    Args:
        what: A clause that describes the numbers.
        by_call: The number of a call → the name of a series → a number.
        order: The names of all series, so that each has its colour in every chart.
        span: The first and the last call of the record.
        unit_of: The unit for the largest bar.
        one: What one series stands for, for the name of those that share the last series.
    """
    totals: Counter[str] = Counter()
    for numbers in by_call.values():
        totals.update(numbers)
    shown, others = largest_first(totals, COLORS)
    if not shown:
        return None
    rest = times(len(others), f"other {one}")
    joined_calls = {call: _with_rest(numbers, shown, rest) for call, numbers in by_call.items()}
    bins = binned(joined_calls, span)
    unit = unit_of(max(sum(bar.sums.values()) for bar in bins))
    width = max(bar.last - bar.first + 1 for bar in bins)
    amount = f"{unit.name} in {width} calls" if width > 1 else unit.name
    series = [*(name for name in order if name in shown), *([rest] if others else [])]
    return bar_chart(
        key,
        title,
        f"{amount} {what}, by call",
        _bars(bins, series, unit),
        span=span,
        x=_CALL,
        y=amount,
    )


def _with_rest(numbers: Mapping[str, float], shown: Sequence[str], rest: str) -> dict[str, float]:
    """Return numbers in which the series that are not shown are one."""
    found: dict[str, float] = {}
    for name, value in numbers.items():
        series = name if name in shown else rest
        found[series] = found.get(series, 0.0) + value
    return found


def _bars(bins: Sequence[Bin], series: Sequence[str], unit: Unit) -> list[Bar]:
    return [
        Bar(series=name, begin=one.first, end=one.last, value=one.sums[name] / unit.size)
        for name in series
        for one in bins
        if one.sums.get(name)
    ]


def _lacks(summary: Summary | None, traffic: StepTraffic) -> list[str]:
    """Return a sentence on each variable of which the record does not show all messages."""
    recorded: Counter[int] = Counter()
    for (_, variable), value in traffic.messages.items():
        recorded[variable] += value
    variables = [] if summary is None else summary.variables
    if len(variables) != len(traffic.names):  # a program can have created and dropped variables
        return []
    return [
        _lack(one, recorded[number])
        for one, number in zip(variables, traffic.names, strict=True)
        if recorded[number] != one.messages
    ]


def _lack(variable: VariableSummary, recorded: int) -> str:
    return (
        f"{variable.name}: the record shows {recorded:,} of its "
        f"{times(variable.messages, 'message')}, because of its synchronization "
        f"{variable.synchronization}; the table has all."
    )


# ---------------------------------------------------------------- waits and the critical path


def times_section(record: ReportedRecord) -> Section | None:
    """Return the section with the waits, and the critical path, of each call."""
    if record.times is None or not record.times:
        return None
    charts = [
        _replica_chart(
            "critical-path",
            "Critical path by call",
            [one.critical for one in record.times],
            record.times,
            "of work on the critical path: of the replica that arrived last at each "
            "collective, since the one before",
        ),
        _replica_chart(
            "waits",
            "Waits by call",
            [one.waited for one in record.times],
            record.times,
            "that replicas waited for the work of the last one",
        ),
    ]
    took = [one.took_s for one in record.times]
    waited = any(one.waited for one in record.times)
    return Section(
        key="times",
        title="Waits and the critical path",
        template="times.html",
        content={
            "waited": waited,
            "calls": times(len(took), "call"),
            "mean": duration(sum(took) / len(took)),
            "longest": duration(max(took)),
        },
        charts=tuple(one for one in charts if one is not None),
    )


def _replica_chart(
    key: str,
    title: str,
    by_replica: Sequence[Mapping[int, float]],
    steps: Sequence[StepTime],
    what: str,
) -> Chart | None:
    """Return a chart of times of replicas by call; None if there are no times."""
    replicas = sorted({replica_id for one in by_replica for replica_id in one})
    by_call = {
        step.step: {f"replica {i}": one[i] for i in replicas if i in one}
        for step, one in zip(steps, by_replica, strict=True)
    }
    return _chart_by_call(
        key,
        title,
        what,
        by_call,
        order=[f"replica {i}" for i in replicas],
        span=(steps[0].step, steps[-1].step),
        unit_of=time_unit,
        one="replica",
    )
