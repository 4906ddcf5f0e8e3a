"""A chart of points, each of which is a run: what came out against what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from varsim.charts.chart import (
    HIDDEN,
    STEADY,
    Chart,
    Spec,
    in_tooltip,
)
from varsim.charts.dot_labels import SIDES, sides_of
from varsim.charts.number_axis import NumberAxis, log_ticks, number_axis, numbers_along, scale_of
from varsim.charts.series_chart import HEIGHT, SCHEMA, WIDTH, color_by_series

_DECIMAL: Final = ",~r"
"""The format of the numbers at an axis: never with an exponent, which `g` has for 20."""

_CROWDED: Final = "Where dots are close together, not each has its number; the table has all."


_TICKS: Final = 6  # at the horizontal axis, about
_PADDING: Final = 24  # pixels between the ends of an axis and the dots
_NARROW: Final = 400
"""The width in pixels for which labels are placed; a page draws charts as narrow as this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A run in a scatter chart."""

    series: str  # such as the mode
    label: str  # beside the dot, such as the number of workers
    name: str  # all settings, for a tooltip
    x: float
    y: float


def scatter_chart(
    key: str,
    title: str,
    description: str,
    dots: Sequence[Dot],
    *,
    x: str,
    y: str,
    palette: Sequence[str] = (),
    joined: bool = True,
) -> Chart:
    """Return a chart with a labelled dot for each run; a line joins the dots of a series.

    The horizontal axis is logarithmic if all its numbers are positive.

    Args:
        x: The title of the horizontal axis, with its unit.
        y: The title of the vertical axis.
        palette: The names of all series in the order of their colours, also of those that only
            other charts have; by default the series of `dots`.
        joined: Whether there are such lines.
    """
    names = list(dict.fromkeys(one.series for one in dots))
    color = color_by_series(names, palette)["color"]
    height = HEIGHT + 40
    along, upright = _along([one.x for one in dots]), _upright([one.y for one in dots])
    across = along.places([one.x for one in dots], _NARROW, _PADDING)
    up = upright.places([one.y for one in dots], height, _PADDING)
    sides = sides_of(
        [(at, height - above, one.label) for at, above, one in zip(across, up, dots, strict=True)],
        _NARROW,
        height,
    )
    values = [
        {**asdict(one), "place": place, "side": side}
        for place, (one, side) in enumerate(zip(dots, sides, strict=True))
    ]
    places = {**_places(along, upright, x, y), "color": color}
    line = {
        "mark": {"type": "line", "opacity": 0.35},
        "encoding": {**places, "order": {"field": "place", "type": "quantitative"}},
    }
    dot = {
        "mark": {"type": "point", "filled": True, "size": 90, "opacity": 0.8},
        "encoding": {**places, "shape": color},
    }
    texts = [_labels(places, name) for name in SIDES if name in sides]
    crowded = any(one.label and not side for one, side in zip(dots, sides, strict=True))
    spec = {
        "$schema": SCHEMA,
        "description": description,
        "width": WIDTH,
        "height": height,
        "params": [{"name": HIDDEN, "value": []}],
        "data": {"values": values},
        "transform": [{"filter": STEADY}],
        "layer": [*([line] if joined else []), dot, *texts],
    }
    return Chart(
        key=key,
        title=title,
        description=description,
        spec=spec,
        headings=("run", x, y),
        rows=tuple((one.name, f"{one.x:.6g}", f"{one.y:.6g}") for one in dots),
        series=tuple(names),
        palette=tuple(palette or names),
        notes=(_CROWDED,) if crowded else (),
    )


def _along(values: Sequence[float]) -> NumberAxis:
    """Return the horizontal axis."""
    log = all(one > 0 for one in values)
    scale = scale_of(values, log=log)
    axis: dict[str, Any] = {"format": _DECIMAL, "grid": True}
    if log:
        low, high = scale.get("domain") or (min(values), max(values))
        margin = (high / low) ** (_PADDING / WIDTH)
        axis["values"] = log_ticks(low / margin, high * margin)
    else:
        axis["tickCount"] = _TICKS
    return NumberAxis(axis, {**scale, "padding": _PADDING})


def _upright(values: Sequence[float]) -> NumberAxis:
    """Return the vertical axis; its ends are where labels expect them, not at round numbers."""
    axis, scale = number_axis(values)
    return NumberAxis(axis, {**scale, "padding": _PADDING, "nice": False})


def _places(along: NumberAxis, upright: NumberAxis, x: str, y: str) -> dict[str, Any]:
    """Return the places and the tooltips, which all marks have."""
    return {
        "x": numbers_along("x", x, **along._asdict()),
        "y": numbers_along("y", y, **upright._asdict()),
        "tooltip": [
            {"field": "name", "type": "nominal", "title": "run"},
            in_tooltip("x", x, ".4~g"),
            in_tooltip("y", y, ".6~g"),
        ],
    }


def _labels(places: dict[str, Any], name: str) -> Spec:
    """Return the layer of the labels at one side of their dots."""
    side = SIDES[name]
    mark = {"type": "text", "dx": side.dx, "dy": side.dy, "align": side.align, "fontSize": 11}
    return {
        "transform": [{"filter": f"datum.side === '{name}'"}],
        "mark": mark,
        "encoding": {**places, "text": {"field": "label"}},
    }
