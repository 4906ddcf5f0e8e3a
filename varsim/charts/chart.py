"""The model of a chart: a Vega-Lite specification, and the same numbers as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from varsim.visible import on_one_line

Spec = dict[str, Any]
"""A Vega-Lite specification: https://vega.github.io/vega-lite/docs/spec.html"""

HIDDEN: Final = "hidden"
"""The parameter of a specification that has the names of the series that are not shown."""

STEADY: Final = "indexof(hidden, datum.series) < 0"
"""The filter of a specification: it keeps the series that are not hidden."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart, and what is needed to show it to people who do not see it."""

    key: str  # unique in a page; the name of the chart's file
    title: str
    description: str  # what the axes and the marks are, in a sentence
    spec: Spec
    headings: tuple[str, ...]  # of the table with the same numbers
    rows: tuple[tuple[str, ...], ...]
    series: tuple[str, ...] = ()  # the series that a reader can hide
    palette: tuple[str, ...] = ()  # names in the order of the colours, also of series not drawn
    styles: Mapping[str, str] = field(default_factory=dict)  # series → its style, if it has one
    areas: bool = False  # whether its marks are areas, as bars, and not lines
    notes: tuple[str, ...] = ()  # sentences on its numbers, such as on what is not drawn


_OF_EVERY_OBJECT: Final = frozenset(
    (
        "__defineGetter__",
        "__defineSetter__",
        "__lookupGetter__",
        "__lookupSetter__",
        "__proto__",
        "constructor",
        "hasOwnProperty",
        "isPrototypeOf",
        "propertyIsEnumerable",
        "toLocaleString",
        "toString",
        "valueOf",
    )
)
"""The members of every object of JavaScript. Vega does not draw a chart with such a title."""


def in_title(text: str) -> str:
    """Return a text that can be the title of an axis: one line, and not a name of JavaScript."""
    shown = on_one_line(text)
    return f"{shown} " if shown in _OF_EVERY_OBJECT else shown


def titled(chart: Chart) -> Spec:
    """Return the specification of a chart with its title, for an image that stands alone."""
    return {**chart.spec, "title": {"text": in_title(chart.title)}}


def in_expression(title: str) -> str:
    """Return a title of a channel or tooltip, from which Vega-Lite makes a text in an expression.

    Vega-Lite escapes only the quotes of such a text.
    """
    return in_title(title).replace("\\", "\\\\")


def in_tooltip(field: str, title: str, number_format: str = "") -> Spec:
    """Return a line of a tooltip: a number, with a format of D3 or as it is."""
    said = {"field": field, "type": "quantitative", "title": in_expression(title)}
    return {**said, "format": number_format} if number_format else said


def plain_number(value: float | None) -> float | None:
    """Return a number that JSON and a scale can hold; None for NaN, infinity and no number."""
    return value if value is not None and math.isfinite(value) else None


def not_drawn(values: Sequence[float | None], what: str = "value") -> tuple[str, ...]:
    """Return a sentence on the values that are NaN or infinite, if there are any."""
    count = sum(value is not None and not math.isfinite(value) for value in values)
    if not count:
        return ()
    is_not = f"1 {what} is" if count == 1 else f"{count:,} {what}s are"
    return (f"{is_not} NaN or infinite, and not drawn; the table shows each.",)


def without_legends(spec: Spec) -> Spec:
    """Return a specification that draws no legends, for a page that has a legend of its own."""
    found: Spec = _without_legends(spec)
    return found


def _without_legends(part: Any) -> Any:
    if isinstance(part, dict):
        return {
            key: None if key == "legend" else _without_legends(one) for key, one in part.items()
        }
    return [*map(_without_legends, part)] if isinstance(part, list) else part


def without_hidden_points(spec: Spec) -> Spec:
    """Return a specification without the points that are there only for tooltips, for an image."""
    found: Spec = _without_hidden_points(spec)
    return found


def _without_hidden_points(part: Any) -> Any:
    if isinstance(part, dict):
        return {
            key: _without_hidden_points(one)
            for key, one in part.items()
            if not (key == "point" and isinstance(one, dict) and one.get("opacity") == 0)
        }
    return [*map(_without_hidden_points, part)] if isinstance(part, list) else part
