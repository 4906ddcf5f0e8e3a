"""A chart of points, each of which is a run: what came out against what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from varsim.charts.chart import HIDDEN, STEADY, Chart
from varsim.charts.series_chart import HEIGHT, SCHEMA, color_by_series


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A run in a scatter chart."""

    series: str  # such as the mode
    label: str  # beside the dot, such as the number of workers
    name: str  # all settings, for a tooltip
    x: float
    y: float


def scatter_chart(
    key: str, title: str, description: str, dots: Sequence[Dot], *, x: str, y: str
) -> Chart:
    """Return a chart with a labelled dot for each run; a line joins the dots of a series.

    The horizontal axis is logarithmic if all its numbers are positive.

    Args:
        x: The title of the horizontal axis, with its unit.
        y: The title of the vertical axis.
    """
    names = list(dict.fromkeys(one.series for one in dots))
    values = [{**asdict(one), "place": place} for place, one in enumerate(dots)]
    scale = (
        {"type": "log", "nice": False, "padding": 24}
        if all(one.x > 0 for one in dots)
        else {"padding": 24}
    )
    places: dict[str, Any] = {
        "x": {
            "field": "x",
            "type": "quantitative",
            "title": x,
            "scale": scale,
            "axis": {"format": "~g", "grid": True, "tickCount": 6},
        },
        "y": {"field": "y", "type": "quantitative", "title": y, "scale": {"zero": False}},
        "color": color_by_series(names)["color"],
        "tooltip": [
            {"field": "name", "type": "nominal", "title": "run"},
            {"field": "x", "type": "quantitative", "title": x, "format": ".4~g"},
            {"field": "y", "type": "quantitative", "title": y, "format": ".6~g"},
        ],
    }
    line = {
        "mark": {"type": "line", "opacity": 0.35},
        "encoding": {**places, "order": {"field": "place", "type": "quantitative"}},
    }
    shape = {**places["color"], "scale": {"domain": names}}
    dot = {
        "mark": {"type": "point", "filled": True, "size": 90, "opacity": 0.8},
        "encoding": {**places, "shape": shape},
    }
    text = {
        "mark": {"type": "text", "dx": 8, "align": "left", "fontSize": 11},
        "encoding": {**places, "text": {"field": "label"}},
    }
    spec = {
        "$schema": SCHEMA,
        "description": description,
        "width": 680,
        "height": HEIGHT + 40,
        "params": [{"name": HIDDEN, "value": []}],
        "data": {"values": values},
        "transform": [{"filter": STEADY}],
        "layer": [line, dot, text],
    }
    return Chart(
        key=key,
        title=title,
        description=description,
        spec=spec,
        headings=("run", x, y),
        rows=tuple((one.name, f"{one.x:.6g}", f"{one.y:.6g}") for one in dots),
        series=tuple(names),
    )
