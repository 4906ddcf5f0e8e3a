"""The section with the value lens as charts: components, value, oracle and first difference."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import numpy as np

from varsim.analysis.component_distance import telling_of
from varsim.analysis.lens import Moment
from varsim.charts.chart import Chart
from varsim.charts.series_chart import Line, Mark, line_chart
from varsim.charts.theme import COLORS, ORACLE, VALUE
from varsim.report.hosts_table import places_text
from varsim.report.lens_calls_page import (
    UNKNOWN,
    about_calls,
    about_oracle,
    step_value,
    title_of,
    why_element,
)
from varsim.webpage.bins import chosen
from varsim.webpage.reported import ReportedRecord, ShownVariable
from varsim.webpage.section import Section

_MOST_MOMENTS: Final = 300  # points of a line
_ELEMENTS: Final = 3  # elements that the text names; the chart shows the first of them
_CALL: Final = "call of strategy.run"


def lens_section(record: ReportedRecord) -> Section | None:
    """Return the section with a chart for each of the most informative variables."""
    if not record.variables:
        return None
    command = f"varsim lens {record.path}"
    shown = [_Lens(one, number, command) for number, one in enumerate(record.variables)]
    names = {one.row.name for one in record.variables}
    summary = record.summary
    left_out = [name for name in record.names.values() if name not in names]
    return Section(
        key="lens",
        title="Value lens",
        template="lens.html",
        content={
            "lenses": shown,
            "left_out": left_out,
            "command": f"{command} NAME",
            "places": places_text(summary.hosts, summary.devices) if summary else "",
        },
        charts=tuple(one.chart for one in shown),
    )


class _Lens:
    """The chart of one variable, and the sentences about it."""

    def __init__(self, variable: ShownVariable, number: int, command: str) -> None:
        row, moments = variable.row, variable.moments
        shape: list[int | None] = list(json.loads(row.shape))
        told = telling_of(moments, _ELEMENTS) if shape else None
        self.element = None if told is None else told.indices[0]
        self.name = row.name
        settings = f"({row.synchronization}, {row.aggregation})"
        title = title_of(row.name, settings, shape, self.element)
        about = about_calls(
            moments, aggregation=row.aggregation, parts=variable.has_parts, flaw=variable.flaw
        )
        why = [] if told is None else [why_element(told, shape, f"{command} {row.name} ")]
        has_oracle = any(one.oracle is not None for one in moments)
        oracle = [about_oracle(moments)] if has_oracle else []
        unknown = [UNKNOWN.format(variable.unknown)] if variable.unknown else []
        self.sentences = [about, *oracle, *unknown, *why]
        self.chart = self._chart(variable, title, number)

    def _chart(self, variable: ShownVariable, title: str, number: int) -> Chart:
        moments = variable.moments
        diverged = None if variable.has_parts else _first([one.diverged for one in moments])
        unlike = _first([one.unlike for one in moments])
        drawn = [moments[i] for i in chosen(len(moments), _MOST_MOMENTS, diverged, unlike)]
        lines = [*self._components(drawn)]
        for name, style, values in (
            ("value", VALUE, [one.value for one in drawn]),
            ("single device (oracle)", ORACLE, [one.oracle for one in drawn]),
        ):
            points = [(m.step, self._number(one)) for m, one in zip(drawn, values, strict=True)]
            if any(value is not None for _, value in points):
                lines.append(Line(name=name, points=points, style=style))
        marks = []
        if diverged is not None:
            marks.append(Mark(at=moments[diverged].step, text="replicas differ from here"))
        if unlike is not None and unlike != diverged:
            marks.append(Mark(at=moments[unlike].step, text="differs from a single device"))
        elif unlike is not None:
            marks = [Mark(at=moments[unlike].step, text="replicas, and the single device, differ")]
        return line_chart(
            f"lens-{number}-{self.name}",
            title,
            f"{title}: a line for each replica's component, the value of a cross-replica read, and "
            "the single device's value, if they are known",
            lines,
            x=_CALL,
            y=self.name,
            marks=marks,
        )

    def _components(self, drawn: Sequence[Moment]) -> list[Line]:
        """Return a line for each replica, or for the lowest and the highest if there are many."""
        count = max(len(one.shown) for one in drawn)
        every = [
            [(m.step, self._number(m.shown[i] if i < len(m.shown) else None)) for m in drawn]
            for i in range(count)
        ]
        if count <= COLORS:
            return [Line(name=f"replica {i}", points=one) for i, one in enumerate(every)]
        lowest, highest = [], []
        for places in zip(*every, strict=True):
            known = [value for _, value in places if value is not None]
            lowest.append((places[0][0], min(known, default=None)))
            highest.append((places[0][0], max(known, default=None)))
        return [
            Line(name=f"lowest of {count} replicas", points=lowest),
            Line(name=f"highest of {count} replicas", points=highest),
        ]

    def _number(self, value: np.ndarray | None) -> float | None:
        """Return the shown element as a float; None if it is not known or not real."""
        found = step_value(value, self.element)
        return float(found) if isinstance(found, int | float) else None


def _first(flags: Sequence[bool]) -> int | None:
    return flags.index(True) if True in flags else None
