"""The sections about cost: the colours of their charts, and what their sentences say."""

from __future__ import annotations

from typing import Any

import pytest

from varsim.analysis.step_times import StepTime
from varsim.charts.chart import Chart
from varsim.charts.theme import COLORS
from varsim.webpage.cost_sections import times_section
from varsim.webpage.reported import ReportedRecord
from varsim.webpage.section import Section


def section(*times: StepTime) -> Section:
    found = times_section(
        ReportedRecord(part="", path="runs/x", summary=None, found=None, times=times)
    )
    assert found is not None
    return found


def place(chart: Chart, name: str) -> int:
    domain: list[str] = chart.spec["encoding"]["color"]["scale"]["domain"]
    assert list(chart.palette) == domain
    return domain.index(name)


def test_a_replica_has_its_colour_in_each_chart_also_if_others_are_not_in_it():
    critical, waits = section(StepTime(1, 0.1, {2: 0.05}, {0: 0.01, 1: 0.02})).charts

    assert 2 == place(critical, "replica 2")
    assert [0, 1] == [place(waits, f"replica {i}") for i in (0, 1)]
    assert ("replica 2",) == critical.series
    assert ["replica 2"] == critical.spec["encoding"]["color"]["legend"]["values"]
    legend: dict[str, Any] = waits.spec["encoding"]["color"]["legend"]
    assert ["replica 0", "replica 1"] == legend["values"]


def test_the_charts_of_times_say_what_they_add_up():
    critical, waits = section(
        StepTime(1, 0.1, {2: 0.05}, {0: 0.03}), StepTime(2, 0.1, {}, {})
    ).charts

    assert critical.notes[0].endswith("so all bars add up to 50.0 ms, and all calls to 200 ms.")
    assert "if a wait has 0.5 ms or more" in waits.notes[0]
    assert "no waits at the end of a call" in waits.notes[0]


@pytest.mark.parametrize("largest", [0, 8])
def test_of_many_replicas_both_charts_show_the_same_ones_in_the_same_colours(largest: int):
    work = {i: 0.01 + 0.01 * (i == largest) for i in range(9)}
    critical, waits = section(StepTime(1, 0.1, work, {8 - largest: 0.05})).charts

    assert critical.palette == waits.palette
    assert COLORS == len(critical.palette)
    assert "3 other replicas" == critical.series[-1]
    assert {f"replica {largest}", f"replica {8 - largest}"} <= {*critical.series}
