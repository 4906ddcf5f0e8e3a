"""The look of charts, in a light and in a dark page, as Vega-Lite configurations.

The colours are those of Okabe and Ito, which colour-blind people tell apart
(https://jfly.uni-koeln.de/color/). Each page has them in the order that contrasts best with its
background; after seven series, they repeat with another dash.
"""

from __future__ import annotations

from typing import Any, Final

_BLUE, _SKY, _GREEN, _YELLOW = "#0072B2", "#56B4E9", "#009E73", "#F0E442"
_ORANGE, _VERMILLION, _PURPLE = "#E69F00", "#D55E00", "#CC79A7"

DASHES: Final = ([1, 0], [6, 3], [2, 2], [8, 2, 2, 2])
"""The dashes of the series 1 to 7, 8 to 14, and so on."""

COLORS: Final = 7
"""The number of colours of series."""

VALUE, ORACLE, FIRST = "value", "oracle", "first"
"""Styles of marks: what the program reads, what a single device has, the first difference."""

STYLE_DASHES: Final = {VALUE: [7, 3], ORACLE: [1.5, 3]}
"""The dashes of the styles of lines."""

_FONT: Final = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"


def _theme(*, text: str, faint: str, grid: str, mark: str, colors: list[str]) -> dict[str, Any]:
    lines = {"labelColor": faint, "titleColor": text, "labelFontSize": 11, "titleFontSize": 12}
    return {
        "background": None,
        "font": _FONT,
        "view": {"stroke": None},
        "axis": {
            **lines,
            "gridColor": grid,
            "domainColor": faint,
            "tickColor": faint,
            "titleFontWeight": "normal",
            "labelOverlap": True,
        },
        "axisX": {"grid": False},
        "axisY": {"domain": False, "ticks": False},
        "header": lines,
        "legend": {
            **lines,
            "symbolBaseStrokeColor": text,  # of lines that have no colour of their own
            "layout": {"top": {"direction": "vertical", "margin": 4}},  # one below the other
        },
        "title": {"color": text, "fontSize": 13, "anchor": "start"},
        "line": {"strokeWidth": 1.8},
        "range": {"category": colors},
        "style": {
            VALUE: {"color": text, "strokeWidth": 2.4},
            ORACLE: {"color": text, "strokeWidth": 1.4},
            FIRST: {"color": mark, "strokeWidth": 1.5},
            "guide-label": {"font": _FONT},
        },
    }


LIGHT: Final = _theme(
    text="#1d2430",
    faint="#566073",
    grid="#e3e7ee",
    mark="#B3261E",
    colors=[_BLUE, _VERMILLION, _GREEN, _PURPLE, _ORANGE, _SKY, "#7a7a7a"],
)
DARK: Final = _theme(
    text="#e8ebf1",
    faint="#a3adbd",
    grid="#2d3442",
    mark="#FF8A80",
    colors=[_SKY, _ORANGE, "#1FC296", _PURPLE, _YELLOW, "#FF8A3D", "#B5BDCA"],
)

_PAGE: Final = _theme(
    text="currentColor",  # of the page, which is not known
    faint="currentColor",
    grid="#88888855",
    mark="#D9483B",
    colors=["#2F86C1", _VERMILLION, _GREEN, "#B5609A", "#B07A00", "#7A7ACB", "#7A7A7A"],
)
ANY_PAGE: Final = {**_PAGE, "legend": {**_PAGE["legend"], "symbolOpacity": 1}}
"""For a chart in a page that may be light or dark, such as a notebook: each colour has a contrast
of 3 or more with white and with #111111."""
