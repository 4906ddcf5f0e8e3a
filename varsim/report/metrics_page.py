"""The page of `varsim metrics`: a row for each metric that a program logged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, TextIO

from rich.console import Console

from varsim.report.formatting import NOTHING, count, number
from varsim.report.page import print_page
from varsim.report.tables import LEAST_LABEL, Column, show_tables


class MetricValues(Protocol):
    """The values of one metric, in order of their steps."""

    @property
    def name(self) -> str:
        """Return the name of the metric."""

    @property
    def steps(self) -> Sequence[int]:
        """Return the steps at which it was logged."""

    @property
    def values(self) -> Sequence[float]:
        """Return a value for each of these steps."""


def print_metrics(
    metrics: Sequence[MetricValues], title: str, file: TextIO, corner: str = "metric"
) -> None:
    """Print a table with a row for each metric.

    Args:
        corner: What the names of the metrics are.
    """
    columns = metric_columns(metrics)

    def show(console: Console) -> None:
        labels = [one.name for one in metrics]
        show_tables(console, title, labels, columns, corner=corner, most_label=LEAST_LABEL)

    print_page(show, file)


def metric_columns(metrics: Sequence[MetricValues]) -> list[Column]:
    """Return the columns of a table with a row for each metric."""
    wrong = [sum(not math.isfinite(value) for value in one.values) for one in metrics]
    not_finite = [Column("not\nfinite", [*map(count, wrong)])] if any(wrong) else []
    return [
        Column("values", [count(len(one.values)) for one in metrics]),
        *not_finite,
        Column("first (step)", [_at(one.values[0], one.steps[0]) for one in metrics]),
        Column("last (step)", [_at(one.values[-1], one.steps[-1]) for one in metrics]),
        Column("least (step)", [_extreme(one, least=True) for one in metrics]),
        Column("most (step)", [_extreme(one, least=False) for one in metrics]),
    ]


def _extreme(metric: MetricValues, *, least: bool) -> str:
    """Return the least or the largest finite value, with its step."""
    finite = [
        pair for pair in zip(metric.values, metric.steps, strict=True) if math.isfinite(pair[0])
    ]
    if not finite:
        return NOTHING
    value, step = (min if least else max)(finite, key=lambda pair: pair[0])
    return _at(value, step)


def _at(value: float, step: int) -> str:
    return f"{number(value)} ({count(step)})"
