"""Charts: their specifications, their tables, and how they are rendered."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from tests.rendering import renderer  # noqa: F401  # a fixture
from varsim.charts import rendering
from varsim.charts.chart import Chart, without_legends
from varsim.charts.dot_labels import sides_of
from varsim.charts.number_axis import log_ticks, number_axis
from varsim.charts.scatter_chart import Dot, scatter_chart
from varsim.charts.series_chart import Bar, Line, Mark, bar_chart, histogram, line_chart
from varsim.charts.theme import COLORS, DARK, LIGHT, ORACLE, VALUE
from varsim.charts.units import byte_unit, time_unit
from varsim.errors import ConfigError


def lens(count: int = 2, styles: Sequence[str] = (ORACLE,), at: float = 2) -> Chart:
    lines = [
        Line(name=f"replica {i}", points=[(1, float(i)), (2, None), (3, math.nan)])
        for i in range(count)
    ]
    styled = [Line(name=one, points=[(1, 0.5), (2, 0.5)], style=one) for one in styles]
    marks = [Mark(at=at, text="here")]
    return line_chart("w", "w", "about w", [*lines, *styled], x="call", y="w", marks=marks)


def traffic() -> Chart:
    bars = [Bar(series=s, begin=b, end=b + 1, value=v) for s, b, v in [("w", 1, 2), ("v", 3, 1)]]
    return bar_chart("b", "bytes", "about bytes", bars, span=(1, 4), x="call", y="B")


def staleness() -> Chart:
    return histogram("h", "age", "about age", [("0", 3), ("1–2", 1)], x="behind", y="reads")


@pytest.mark.parametrize("chart", [lens(), lens(20), traffic(), staleness()])
def test_a_specification_is_standard_json_with_all_data_inside(chart: Chart):
    text = json.dumps(chart.spec, allow_nan=False)

    assert '"values"' in text
    assert '"url"' not in text
    assert chart.description == chart.spec["description"]
    assert all(len(chart.headings) == len(row) for row in chart.rows)


def test_a_table_shows_the_values_that_cannot_be_drawn():
    chart = lens()

    assert ("call", "replica 0", "replica 1", "oracle") == chart.headings
    assert (("1", "0", "1", "0.5"), ("2", "–", "–", "0.5"), ("3", "nan", "nan", "–")) == chart.rows
    assert ("2 values are NaN or infinite, and not drawn; the table shows each.",) == chart.notes


def test_a_bar_stands_for_all_its_calls():
    assert (("1–2", "2", "–"), ("3–4", "–", "1")) == traffic().rows


def test_series_after_the_last_colour_have_another_dash():
    (layer, *_) = lens(COLORS + 1).spec["layer"]
    dashes = layer["encoding"]["strokeDash"]["scale"]["range"]

    assert dashes[0] == dashes[COLORS - 1] != dashes[COLORS]


@pytest.mark.usefixtures("renderer")
@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_legend_names_each_line_with_its_dash(count: int):
    drawn = rendering.svg(lens(count, styles=(VALUE, ORACLE)).spec)
    entries = re.findall(
        r'role-legend-symbol.*?stroke-dasharray="([^"]*)".*?>([^<>]+)</text>', drawn
    )

    of_replicas = [("1,0", f"replica {i}") for i in range(count)]
    assert [*of_replicas, ("7,3", VALUE), ("1.5,3", ORACLE)] == entries


@pytest.mark.usefixtures("renderer")
@pytest.mark.parametrize(("at", "anchor"), [(1, "start"), (3, "end")])
def test_the_text_of_a_mark_is_at_the_side_with_more_room(at: float, anchor: str):
    drawn = rendering.svg(lens(at=at).spec)

    assert re.search(rf'text-anchor="{anchor}"[^>]*>here<', drawn)


@pytest.mark.usefixtures("renderer")
def test_bars_are_stacked_in_the_order_of_the_legend():
    """The first series is at the bottom, whatever the names are."""
    bars = [Bar(series=name, begin=1, end=1, value=1) for name in ("w", "b", "m")]
    drawn = rendering.svg(bar_chart("k", "t", "d", bars, span=(1, 2), x="call", y="B").spec)
    tops = dict(re.findall(r'aria-label="call 1: (\w) 1 B"[^>]* d="M[\d.]+,([\d.]+)', drawn))

    assert ["w", "b", "m"] == sorted(tops, key=lambda name: -float(tops[name]))


@pytest.mark.usefixtures("renderer")
def test_each_of_few_calls_has_one_tick():
    bars = [Bar(series="w", begin=1, end=1, value=1)]
    chart = bar_chart("k", "t", "d", bars, span=(1, 2), x="call", y="B")
    axis = rendering.svg(chart.spec).partition("X-axis")[2].partition("Y-axis")[0]

    assert ["1", "2"] == re.findall(r">(\d+)</text>", axis)


def test_a_page_with_its_own_legend_has_charts_without_one():
    def legends(part: Any) -> list[Any]:
        parts = part.values() if isinstance(part, dict) else part if isinstance(part, list) else []
        found = [part["legend"]] if isinstance(part, dict) and "legend" in part else []
        return found + [one for inner in parts for one in legends(inner)]

    assert any(legends(traffic().spec))
    assert not any(legends(without_legends(traffic().spec)))


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_each_theme_has_different_colours(theme: dict[str, Any]):
    assert COLORS == len(set(theme["range"]["category"]))


@pytest.mark.parametrize(
    ("unit", "name"),
    [(byte_unit(0), "B"), (byte_unit(3000), "KiB"), (time_unit(0.02), "ms"), (time_unit(2), "s")],
)
def test_an_axis_has_the_largest_unit_that_fits(unit: Any, name: str):
    assert name == unit.name


def scatter(*places: tuple[float, float]) -> Chart:
    dots = [Dot(series=f"s{i}", label="8", name="", x=x, y=y) for i, (x, y) in enumerate(places)]
    return scatter_chart("k", "t", "d", dots, x="Bytes [B]", y="accuracy")


def test_labels_of_dots_at_one_place_are_at_different_sides():
    chart = scatter(*[(20, 0.5)] * 4, (10, 0.4))
    sides = [one["side"] for one in chart.spec["data"]["values"]]

    assert ["right", "left", "above", "below", "right"] == sides
    assert () == chart.notes
    assert "not each has its number" in scatter(*[(20, 0.5)] * 5).notes[0]
    near = [(40.0, 50.0, "1234"), (50.0, 50.0, "1234"), (90.0, 90.0, "")]
    assert ["left", "right", ""] == sides_of(near, 100, 100)


@pytest.mark.parametrize(
    ("x", "y", "side"), [(9, 50, "right"), (91, 50, "left"), (50, 9, "right"), (9, 9, "right")]
)
def test_a_label_does_not_leave_the_chart(x: float, y: float, side: str):
    """Beyond the left end, "80" beside 0.9 was read as 800.9."""
    assert [side] == sides_of([(x, y, "80")], 100, 100)
    assert [""] == sides_of([(x, y, "8" * 20)], 100, 100)


def test_dots_have_room_for_labels_beside_the_axes():
    """The last dot has its label at its left, and the first one at its right."""
    chart = scatter((10, 0.4), (20, 0.5), (1000, 0.9))

    assert all(one["side"] for one in chart.spec["data"]["values"])


DIVERGED = [0.31, 0.5, 0.62, 0.28, 4.68e12, 9e35]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (DIVERGED, "log"),
        ([-one for one in DIVERGED], "symlog"),
        ([0, 0, *DIVERGED], "symlog"),
        ([2.3, 1.0, 0.3, 0.1, 0.05], None),
        ([0.9, 0.95, 0.97], None),
        ([5e12, 6e12], None),
        ([*range(4400)], None),
        ([0, 0, 0, 0.02], None),
        ([], None),
    ],
)
def test_an_axis_is_logarithmic_if_values_would_be_at_one_place(
    values: list[float], kind: str | None
):
    found = number_axis(values)

    assert kind == found.scale.get("type")
    if kind:
        places = found.places(values, 1000)
        assert (0, 1000) == (round(min(places)), round(max(places)))
        assert len({*map(round, places)}) > 3
        assert all(min(values) <= one <= max(values) for one in found.axis["values"])


@pytest.mark.usefixtures("renderer")
@pytest.mark.parametrize("sign", [1, -1])
def test_a_diverged_value_does_not_hide_the_others(sign: int):
    """The axis has short numbers, and its title says that it is not linear."""
    points = [(float(i), sign * one) for i, one in enumerate(DIVERGED)]
    chart = line_chart("k", "t", "d", [Line(name="a", points=points)], x="step", y="loss")
    drawn = rendering.svg(chart.spec)

    assert f">loss ({'' if sign > 0 else 'sym'}log scale)<" in drawn
    axis = re.findall(r">([−\d.e+]+)</text>", drawn.partition("Y-axis")[2])
    assert len(axis) >= 3
    assert all(len(one) < 8 for one in axis)
    assert ">5e+12<" in rendering.svg(scatter((1, 5e12), (2, 6e12), (3, 4e12)).spec)


@pytest.mark.parametrize(
    ("value", "domain"), [(0.5, [0.45, 0.55]), (0, [-1, 1]), (-20, [-22, -18])]
)
def test_an_axis_of_equal_values_has_ticks(value: float, domain: list[float]):
    (line,) = [Line(name="a", points=[(1, value), (2, value)])]
    (layer,) = line_chart("k", "t", "d", [line], x="step", y="a").spec["layer"]

    assert pytest.approx(domain) == layer["encoding"]["y"]["scale"]["domain"]
    assert [1, 2] == layer["encoding"]["x"]["axis"]["values"]
    (_, dot, *_) = scatter((20, value)).spec["layer"]
    assert pytest.approx(domain) == dot["encoding"]["y"]["scale"]["domain"]


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_an_axis_of_values_that_cannot_be_drawn_has_ticks(value: float | None):
    (line,) = [Line(name="a", points=[(3, value), (5, value)])]
    (layer,) = line_chart("k", "t", "d", [line], x="step", y="a").spec["layer"]

    assert ([3, 5], [0, 1]) == tuple(layer["encoding"][one]["scale"]["domain"] for one in "xy")


@pytest.mark.parametrize(("calls", "format_"), [((1, 2, 3), ",d"), ((1, 1.5), None)])
def test_numbers_of_calls_are_whole(calls: tuple[float, ...], format_: str | None):
    lines = [Line(name="a", points=[(call, 0.0) for call in calls])]
    (layer,) = line_chart("k", "t", "d", lines, x="call", y="a").spec["layer"]

    assert format_ == layer["encoding"]["x"]["axis"].get("format")


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (15, 1000, [20, 50, 100, 200, 500, 1000]),
        (0.95, 8, [1, 2, 3, 4, 5, 6, 7, 8]),
        (4.1, 4.8, [4.2, 4.4, 4.6]),
        (1, 10e11, [1, 100, 10e3, 10e5, 10e7, 10e9, 10e11]),
    ],
)
def test_a_logarithmic_axis_has_round_numbers_in_all_its_parts(
    low: float, high: float, ticks: list[float]
):
    assert pytest.approx(ticks) == log_ticks(low, high)


@pytest.mark.usefixtures("renderer")
def test_each_tick_of_a_logarithmic_axis_has_its_label():
    drawn = rendering.svg(scatter((20.4, 0.86), (41, 0.85), (450, 0.87), (900, 0.87)).spec)

    assert all(f">{tick}<" in drawn for tick in (20, 50, 100, 200, 500))


@pytest.mark.usefixtures("renderer")
def test_an_axis_has_no_exponents():
    drawn = rendering.svg(scatter((0, 0.5), (20, 0.6), (40, 0.4)).spec)

    assert ">20<" in drawn
    assert "e+" not in drawn


@pytest.mark.usefixtures("renderer")
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb", r"a\nb"),
        ('a"b', 'a"b'),
        ("a\\", "a\\"),
        ("a\r", r"a\x0d"),
        ("constructor", "constructor"),
    ],
)
def test_any_name_can_be_the_title_of_an_axis(name: str, shown: str):
    """Vega-Lite puts titles into expressions, and escapes only quotes there.

    Vega draws no chart whose axis has the name of a member of all objects of JavaScript.
    """
    line = Line(name=name, points=[(1, 2.0), (2, 3.0)])
    dot = Dot(series="all", label="2", name="run", x=1, y=2)
    for chart in (
        line_chart("k", name, name, [line], x="call", y=name),
        scatter_chart("k", name, name, [dot], x="bytes", y=name),
    ):
        drawn = rendering.svg(chart.spec)
        assert 1 == drawn.replace(" <", "<").count(f">{shown}<")
        assert "mark-line" in drawn


@pytest.mark.usefixtures("renderer")
def test_charts_are_rendered_without_a_browser():
    drawn = rendering.svg(lens().spec)

    assert 2 <= drawn.count('class="mark-line')
    assert "here" in drawn
    assert rendering.png(staleness().spec).startswith(b"\x89PNG")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)

    with pytest.raises(
        ConfigError, match=r"vl-convert-python.*pip install 'varsim-distribute\[rep"
    ):
        rendering.require_renderer()
