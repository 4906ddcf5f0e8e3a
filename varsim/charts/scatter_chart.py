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
    log_ticks,
    numbers_along,
    scale_of,
)
from varsim.charts.dot_labels import SIDES, sides_of
from varsim.charts.series_chart import HEIGHT, SCHEMA, WIDTH, color_by_series

_DECIMAL: Final = ",~r"
"""The format of the numbers at an axis: never with an exponent, which `g` has for 20."""

_CROWDED: Final = "Where dots are close together, not each has its number; the table has all."


_TICKS: Final = 6  # at the horizontal axis, about
_PADDING: Final = 24  # pixels between the ends of the horizontal axis and the dots


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
) -> Chart:
    """Return a chart with a labelled dot for each run; a line joins the dots of a series.

    The horizontal axis is logarithmic if all its numbers are positive.

    Args:
        x: The title of the horizontal axis, with its unit.
        y: The title of the vertical axis.
        palette: The names of all series in the order of their colours, also of those that only
            other charts have; by default the series of `dots`.
    """
    names = list(dict.fromkeys(one.series for one in dots))
    color = color_by_series(names, palette)["color"]
    log, height = all(one.x > 0 for one in dots), HEIGHT + 40
    sides = sides_of([(one.x, one.y, one.label) for one in dots], WIDTH, height, log=log)
    values = [
        {**asdict(one), "place": place, "side": side}
        for place, (one, side) in enumerate(zip(dots, sides, strict=True))
    ]
    places = {**_places(dots, x, y, log=log), "color": color}
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
        "layer": [line, dot, *texts],
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


def _places(dots: Sequence[Dot], x: str, y: str, *, log: bool) -> dict[str, Any]:
    """Return the places and the tooltips, which all marks have."""
    scale = scale_of([one.x for one in dots], log=log)
    axis: dict[str, Any] = {"format": _DECIMAL, "grid": True}
    if log:
        low, high = scale.get("domain") or (min(one.x for one in dots), max(one.x for one in dots))
        margin = (high / low) ** (_PADDING / WIDTH)
        axis["values"] = log_ticks(low / margin, high * margin)
    else:
        axis["tickCount"] = _TICKS
    return {
        "x": numbers_along("x", x, axis=axis, scale={**scale, "padding": _PADDING}),
        "y": numbers_along("y", y, axis={}, scale=scale_of([one.y for one in dots])),
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
