"""The sections about cost: the modes of the variables, traffic, waits and the critical path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from varsim.analysis.findings.model import milliseconds
from varsim.analysis.findings.waits import NOTICEABLE_S
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
_IF_ALONE: Final = "for each variable, as if it were sent alone"
_TRAFFIC: Final[tuple[tuple[str, str, Callable[[float], Unit]], ...]] = (
    ("bytes", "Bytes by call", byte_unit),
    ("messages", "Messages by call", lambda _: Unit("messages", 1)),
)
"""The charts of traffic: their keys, titles and units."""

_TIMES: Final = (
    (
        "critical-path",
        "Critical path by call",
        "of work on the critical path: of the replica that arrived last at each collective, since "
        "the one before",
    ),
    ("waits", "Waits by call", "that replicas waited for the work of the last one"),
)
"""The charts of times: their keys, titles and what their numbers are."""

_ON_THE_PATH: Final = (
    "A bar adds up, for each collective and for the end of the call, the work that the last "
    "replica did since its previous collective; the time of messages and of the start of a call is "
    "not in it, so all bars add up to {path}, and all calls to {calls}."
)
_WAITED: Final = (
    "A bar adds up the waits of all replicas, at each collective and at the end of the call, if a "
    "wait has {least} or more, and as far as the last replica had more work; `waited s per "
    "replica` of a variable is the mean over the replicas of the time from a write's arrival to "
    "its commit, so it has no waits at the end of a call or at other collectives."
)
"""The sentences below these charts."""

NumbersByCall = Mapping[int, Mapping[str, float]]
"""The number of a call → the name of a series → a number."""


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
    counted = [
        _by_call(
            (call, names.get(variable, str(variable)), number)
            for (call, variable), number in one.items()
        )
        for one in (traffic.size_bytes, traffic.messages)
    ]
    palette = _palette(counted, list(names.values()), "variable")
    charts = [
        _chart_by_call(key, title, _IF_ALONE, by_call, palette=palette, span=span, unit_of=unit_of)
        for (key, title, unit_of), by_call in zip(_TRAFFIC, counted, strict=True)
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


def _by_call(counted: Iterable[tuple[int, str, float]]) -> NumbersByCall:
    """Return numbers, each with its call and its series, by call and series."""
    found: dict[int, dict[str, float]] = {}
    for call, name, value in counted:
        found.setdefault(call, {})[name] = value
    return found


def _totals(by_call: NumbersByCall) -> Counter[str]:
    totals: Counter[str] = Counter()
    for numbers in by_call.values():
        totals.update(numbers)
    return totals


@dataclass(frozen=True, slots=True)
class _Palette:
    """The series of several charts, in the order of their colours."""

    names: Sequence[str]
    rest: str  # the name of the series that stands for all others; "" if there are no others

    @property
    def colors(self) -> list[str]:
        """Return all names in the order of their colours."""
        return [*self.names, *([self.rest] if self.rest else [])]


def _palette(charts: Sequence[NumbersByCall], order: Sequence[str], what: str) -> _Palette:
    """Return the series that several charts show, so that each has the same colour in all of them.

    If there are more series than colours, the charts show those with the largest shares of the
    totals, and one series for the others.

    Args:
        order: The names of all series.
        what: What one series stands for, for the name of those that share the last series.
    """
    if len(order) <= COLORS:
        return _Palette(order, "")
    shares: Counter[str] = Counter()
    for totals in map(_totals, charts):
        whole = sum(totals.values())
        shares.update({name: value / whole for name, value in totals.items() if value})
    shown, others = largest_first(shares, COLORS)
    rest = times(len(others), f"other {what}") if others else ""
    return _Palette([name for name in order if name in shown], rest)


def _chart_by_call(
    key: str,
    title: str,
    what: str,
    by_call: NumbersByCall,
    *,
    palette: _Palette,
    span: tuple[int, int],
    unit_of: Callable[[float], Unit],
) -> Chart | None:
    """Return a chart of stacked bars by call; None if all numbers are zero.

    Args:
        what: A clause that describes the numbers.
        by_call: The number of a call → the name of a series → a number.
        palette: The series.
        span: The first and the last call of the record.
        unit_of: The unit for the largest bar.
    """
    joined_calls = {call: _with_rest(numbers, palette) for call, numbers in by_call.items()}
    totals = _totals(joined_calls)
    series = [name for name in palette.colors if totals[name]]
    if not series:
        return None
    bins = binned(joined_calls, span)
    unit = unit_of(max(sum(bar.sums.values()) for bar in bins))
    width = max(bar.last - bar.first + 1 for bar in bins)
    amount = f"{unit.name} in {width} calls" if width > 1 else unit.name
    return bar_chart(
        key,
        title,
        f"{amount} {what}, by call",
        _bars(bins, series, unit),
        span=span,
        x=_CALL,
        y=amount,
        palette=palette.colors,
    )


def _with_rest(numbers: Mapping[str, float], palette: _Palette) -> dict[str, float]:
    """Return numbers in which the series that are not shown are one."""
    found: dict[str, float] = {}
    for name, value in numbers.items():
        series = name if name in palette.names or not palette.rest else palette.rest
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
    took = [one.took_s for one in record.times]
    critical = {one.step: _of_replicas(one.critical) for one in record.times}
    waits = {one.step: _of_replicas(one.waited) for one in record.times}
    count = 1 + max((i for one in record.times for i in (*one.critical, *one.waited)), default=0)
    palette = _palette(
        [critical, waits], [*_of_replicas(dict.fromkeys(range(count), 0.0))], "replica"
    )
    span = record.times[0].step, record.times[-1].step
    charts = [
        _chart_by_call(key, title, what, by_call, palette=palette, span=span, unit_of=time_unit)
        for (key, title, what), by_call in zip(_TIMES, (critical, waits), strict=True)
    ]
    on_path_s = _totals(critical).total()
    notes = (
        _ON_THE_PATH.format(path=duration(on_path_s), calls=duration(sum(took))),
        _WAITED.format(least=milliseconds(NOTICEABLE_S)),
    )
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
        charts=tuple(
            replace(one, notes=(note,))
            for one, note in zip(charts, notes, strict=True)
            if one is not None
        ),
    )


def _of_replicas(times_s: Mapping[int, float]) -> dict[str, float]:
    """Return times of replicas with the names of the replicas."""
    return {f"replica {i}": times_s[i] for i in sorted(times_s)}
