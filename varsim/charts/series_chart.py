"""Charts of series over the calls of a run: lines, and stacked bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from varsim.charts.chart import (
    HIDDEN,
    STEADY,
    Chart,
    Spec,
    in_expression,
    in_tooltip,
    not_drawn,
    plain_number,
)
from varsim.charts.number_axis import number_axis, numbers_along
from varsim.charts.theme import COLORS, DASHES, FIRST, STYLE_DASHES

WIDTH: Final = 680
HEIGHT: Final = 240
"""The size of a chart, in pixels."""

SCHEMA: Final = "https://vega.github.io/schema/vega-lite/v6.json"
"""The version of Vega-Lite for which specifications are written."""

_SPARSE: Final = 40  # points of a series, each of which gets a visible mark
_FEW: Final = 8  # ticks
_INTEGER: Final = ",d"  # the format of the numbers of calls and steps
_LETTER, _SYMBOL = 7, 28  # widths in a legend, in pixels, with the space around them
_MARGIN: Final = 6  # pixels at both ends of an axis, so that no mark covers a label
_ANYWHERE: Final = {"zero": False, "nice": False}  # a scale from the first number to the last one
_SERIES: Final = {"field": "series", "type": "nominal", "title": "series"}  # in a tooltip
_APART: Final = {"color": "independent", "strokeDash": "independent"}  # scales of the layers
_RANGE: Final = 0.5  # opacity of the bar of a range
_INVISIBLE: Final = 0  # opacity of a mark that only shows a tooltip


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One series of a line chart."""

    name: str
    points: Sequence[tuple[float, float | None]]  # a gap in the line is None
    style: str = ""  # a style of the theme; "" for the next colour
    spread: Sequence[tuple[float, float, float]] = ()
    """Ranges that vertical bars show: the place, the smallest and the largest value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A vertical line with a text, such as at the first difference."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A bar of a series; bars of several series at one place are stacked."""

    series: str
    begin: float  # the first call
    end: float  # the last call
    value: float


def line_chart(
    key: str,
    title: str,
    description: str,
    lines: Sequence[Line],
    *,
    x: str,
    y: str,
    marks: Sequence[Mark] = (),
    palette: Sequence[str] = (),
) -> Chart:
    """Return a chart of lines.

    Args:
        x: The title of the horizontal axis, with its unit.
        y: The title of the vertical axis, with its unit.
        palette: The names of all lines without a style in the order of their colours, also of
            those that only other charts have; by default those of `lines`.
    """
    every = sorted({at for one in lines for at, _ in one.points})
    ends = [end for one in lines for _, *both in one.spread for end in both]
    places = _xy(x, y, every, [*(value for one in lines for _, value in one.points), *ends])
    colored = [one for one in lines if not one.style]
    styled = [one for one in lines if one.style]
    layers = []
    if colored:
        color = color_by_series([one.name for one in colored], palette, beside=bool(styled))
        layers.append(_colored_layer(colored, {**places, **color}))
    if styled:
        layers.append(_styled_layer(styled, places, beside=bool(colored)))
    middle = (every[0] + every[-1]) / 2 if every else 0
    layers += [_mark_layer(one, x, middle) for one in marks]
    spec = _spec(description, {"layer": layers, "resolve": {"scale": _APART}})
    by_line = [_cells(one) for one in lines]
    return Chart(
        key=key,
        title=title,
        description=description,
        spec=spec,
        headings=(x, *(one.name for one in lines)),
        rows=tuple((f"{at:g}", *(one.get(at, _cell(None)) for one in by_line)) for at in every),
        series=tuple(one.name for one in (*colored, *styled)),
        palette=tuple(palette) or tuple(one.name for one in colored),
        styles={one.name: one.style for one in styled},
        notes=not_drawn([value for one in lines for _, value in one.points]),
    )


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.6g}"


def _cells(line: Line) -> dict[float, str]:
    """Return the text of each value, with its range if there is one: "2 (1 to 3)"."""
    cells = {at: _cell(value) for at, value in line.points}
    for at, low, high in line.spread:
        cells[at] += f" ({_cell(low)} to {_cell(high)})"
    return cells


def _values(line: Line) -> list[dict[str, Any]]:
    return [{"series": line.name, "x": at, "y": plain_number(y)} for at, y in line.points]


def _xy(x: str, y: str, every: Sequence[float], values: Sequence[float | None]) -> dict[str, Any]:
    """Return the places of marks.

    Args:
        every: The numbers at the horizontal axis; few of them have a tick each.
        values: The numbers at the vertical axis.
    """
    ticks = _ticks(every)
    if all(float(at).is_integer() for at in every):
        ticks["format"] = _INTEGER
    along: dict[str, Any] = {**_ANYWHERE, "padding": _MARGIN}
    if every and not any(plain_number(value) is not None for value in values):
        along["domain"] = [every[0], every[-1]]  # Vega takes it from points with a value
    return {
        "x": numbers_along("x", x, axis=ticks, scale=along),
        "y": numbers_along("y", y, **number_axis(values)._asdict()),
        "tooltip": [_SERIES, in_tooltip("x", x), in_tooltip("y", y, ".6~g")],
    }


def _ticks(every: Sequence[float]) -> dict[str, Any]:
    """Return the ticks of an axis: one at each number, if the numbers are few."""
    return {"values": list(every)} if len(every) <= _FEW else {"tickMinStep": 1}


def color_by_series(
    names: Sequence[str], palette: Sequence[str] = (), *, beside: bool = False
) -> dict[str, Any]:
    """Return the channels `color` and `strokeDash` of series, and their legend.

    Args:
        names: The series of the chart.
        palette: These names, and those of series of other charts, in the order of their colours;
            by default `names`.
        beside: Whether the chart has other lines beside these, so that one series has a legend.
    """
    domain = list(palette or names)
    dashes = [DASHES[index // COLORS % len(DASHES)] for index in range(len(domain))]
    legend = _legend(names) if beside or len(domain) > 1 else None
    if legend is not None and len(domain) > len(names):
        legend["values"] = list(names)
    common = {"field": "series", "type": "nominal", "legend": legend}
    return {
        "color": {**common, "scale": {"domain": domain}},
        "strokeDash": {**common, "scale": {"domain": domain, "range": dashes}},
    }


def _legend(names: Sequence[str]) -> dict[str, Any]:
    """Return a legend that is not wider than the chart."""
    columns = max(1, WIDTH // (_LETTER * max(map(len, names)) + _SYMBOL))
    return {"title": None, "orient": "top", "columns": columns}


def _points(longest: int) -> dict[str, Any]:
    sparse = longest <= _SPARSE
    return {"filled": True, "size": 28 if sparse else 60, "opacity": 1 if sparse else _INVISIBLE}


def _colored_layer(lines: Sequence[Line], encoding: dict[str, Any]) -> Spec:
    longest = max(len(one.points) for one in lines)
    drawn: Spec = {
        "data": {"values": [row for one in lines for row in _values(one)]},
        "transform": [{"filter": STEADY}],
        "mark": {"type": "line", "point": _points(longest)},
        "encoding": encoding,
    }
    ranges = [
        {"series": one.name, "x": at, "y": low, "high": high}
        for one in lines
        for at, low, high in one.spread
    ]
    if not ranges:
        return drawn
    bars = {
        "data": {"values": ranges},
        "transform": [{"filter": STEADY}],
        "mark": {"type": "rule", "opacity": _RANGE},
        "encoding": {
            **{channel: encoding[channel] for channel in ("x", "y", "color")},
            "y2": {"field": "high"},
        },
    }
    return {"layer": [bars, drawn]}


def _styled_layer(lines: Sequence[Line], places: dict[str, Any], *, beside: bool) -> Spec:
    """Return the lines with a style of the theme; a legend tells them by their dashes.

    Args:
        beside: Whether the chart has other lines beside these, so that one line has a legend.
    """
    names = [one.name for one in lines]
    dash = {
        "field": "series",
        "type": "nominal",
        "legend": _legend(names) if beside or len(names) > 1 else None,
        "scale": {"domain": names, "range": [STYLE_DASHES[one.style] for one in lines]},
    }
    layers: list[Spec] = [
        {
            "data": {"values": _values(one)},
            "transform": [{"filter": STEADY}],
            "mark": {"type": "line", "style": one.style},
            "encoding": {**places, "strokeDash": dash},
        }
        for one in lines
    ]
    return {"layer": layers}


def _mark_layer(mark: Mark, x: str, middle: float) -> Spec:
    """Return a mark. Its text is at the side where there is more room.

    Args:
        x: The title of the horizontal axis.
        middle: The number in the middle of that axis.
    """
    side, dx = ("right", -4) if mark.at > middle else ("left", 4)
    at = {"field": "x", "type": "quantitative", "title": x}
    return {
        "data": {"values": [{"x": mark.at, "text": mark.text}]},
        "layer": [
            {"mark": {"type": "rule", "style": FIRST}, "encoding": {"x": at}},
            {
                "mark": {
                    "type": "text",
                    "style": FIRST,
                    "strokeWidth": 0,
                    "baseline": "top",
                    "align": side,
                    "dx": dx,
                    "fontSize": 11,
                },
                "encoding": {"x": at, "y": {"value": 0}, "text": {"field": "text"}},
            },
        ],
    }


def bar_chart(
    key: str,
    title: str,
    description: str,
    bars: Sequence[Bar],
    *,
    span: tuple[int, int],
    x: str,
    y: str,
    palette: Sequence[str] = (),
) -> Chart:
    """Return a chart of stacked bars over calls; the first series of the legend is at the bottom.

    Args:
        span: The first and the last call of the axis.
        palette: The names of all series in the order of their colours, also of those that only
            other charts have; by default the series of `bars`.
        x: The title of the horizontal axis.
        y: The title of the vertical axis, with its unit.
    """
    names = list(dict.fromkeys(one.series for one in bars))
    values = [
        {
            "series": one.series,
            "place": names.index(one.series),
            "x": one.begin - 0.5,
            "end": one.end + 0.5,
            "y": one.value,
            "calls": _calls(one),
            "said": f"{x} {_calls(one)}: {one.series} {one.value:.4g} {y}",
        }
        for one in bars
    ]
    content = {
        "data": {"values": values},
        "transform": [{"filter": STEADY}],
        "mark": {"type": "bar", "binSpacing": 0.5},
        "encoding": _bar_encoding(names, palette, span, x, y),
    }
    places = list(dict.fromkeys((one.begin, _calls(one)) for one in bars))
    found = {(one.begin, one.series): one.value for one in bars}
    rows = [
        (calls, *(_cell(found.get((begin, name))) for name in names)) for begin, calls in places
    ]
    return Chart(
        key=key,
        title=title,
        description=description,
        spec=_spec(description, content),
        headings=(x, *names),
        rows=tuple(rows),
        series=tuple(names),
        palette=tuple(palette or names),
        areas=True,
    )


def _bar_encoding(
    names: Sequence[str], palette: Sequence[str], span: tuple[int, int], x: str, y: str
) -> dict[str, Any]:
    """Return the channels of stacked bars, as `bar_chart` has them."""
    ticks = {**_ticks(range(span[0], span[1] + 1)), "format": _INTEGER}
    scale = {**_ANYWHERE, "domain": [span[0] - 0.5, span[1] + 0.5]}
    color = color_by_series(names, palette)
    return {
        "x": {"bin": "binned", **numbers_along("x", x, axis=ticks, scale=scale)},
        "x2": {"field": "end"},
        "y": {"stack": "zero", **numbers_along("y", y, axis={}, scale={})},
        "color": color["color"],
        "order": {"field": "place", "type": "quantitative"},
        "description": {"field": "said", "type": "nominal"},
        "tooltip": [
            _SERIES,
            {"field": "calls", "type": "nominal", "title": in_expression(x)},
            in_tooltip("y", y, ".4~g"),
        ],
    }


def _calls(bar: Bar) -> str:
    return f"{bar.begin:g}" if bar.begin == bar.end else f"{bar.begin:g}–{bar.end:g}"


def histogram(
    key: str, title: str, description: str, bars: Sequence[tuple[str, float]], *, x: str, y: str
) -> Chart:
    """Return a chart with a bar for each label, in the given order."""
    content = {
        "data": {"values": [{"label": label, "y": value} for label, value in bars]},
        "mark": {"type": "bar", "tooltip": True},
        "encoding": {
            "x": {
                "field": "label",
                "type": "ordinal",
                "title": x,
                "sort": None,
                "axis": {"labelAngle": 0},
            },
            "y": {"field": "y", "type": "quantitative", "title": y},
            "color": {"datum": title, "legend": None},
        },
    }
    rows = tuple((label, _cell(value)) for label, value in bars)
    return Chart(
        key=key,
        title=title,
        description=description,
        spec=_spec(description, content),
        headings=(x, y),
        rows=rows,
    )


def _spec(description: str, content: Spec) -> Spec:
    return {
        "$schema": SCHEMA,
        "description": description,
        "width": WIDTH,
        "height": HEIGHT,
        "params": [{"name": HIDDEN, "value": []}],
        **content,
    }
