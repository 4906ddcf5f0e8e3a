"""Print a comparison of runs: as tables that fit the console, as Markdown, as CSV or as JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from rich.console import Console
from rich.text import Text

from varsim.report.formatting import (
    NOTHING,
    as_markdown_text,
    csv_text,
    number,
    on_one_line,
    seconds,
    size,
    visible,
    wrapped,
)
from varsim.report.run_rows import (
    VERSION,
    Comparison,
    RunRow,
    column_of_metric,
    columns_of,
    value_of,
)
from varsim.report.summary import Plain
from varsim.report.tables import LEAST_LABEL, Column, divided, narrowed, show_tables, together

_SECONDS: Final = " [s]"
_HEADINGS: Final = {
    "status": "status",
    "divergence": "divergence",
    "messages": "messages",
    "size_bytes": "bytes",
    "waited_s": f"waits{_SECONDS}",
    "training_s": f"time{_SECONDS}",
    "verdict": "verdict",
    "findings": "findings",
}
"""The measures that tables for people have, and their headings."""

_USUAL: Final = {"status": "done", "verdict": "VALID"}
"""Measures without a column if all runs have the usual value."""

_CORNER: Final = "run"  # the heading of the labels
_LEAST_S: Final = 0.005  # a shorter time would be shown as 0.00, beside a 0 for no time
_SHORT_TIME: Final = "<0.01"
_MAX_LABEL: Final = 22  # a longer label is shortened; the usual name of a run has this length


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print the rows, the values that are the same in all rows, and the notes.

    If the console is too narrow for all columns, there are several tables, and each of them begins
    with the same settings, the first ones.
    """
    settings, others, same = _columns(comparison, narrow=True)
    labels = [row.name for row in comparison.rows]
    title = f"{len(labels)} run{'s' * (len(labels) != 1)}"
    settings, *further = divided(settings, console.width // 2 - LEAST_LABEL)
    more = [column for part in further for column in part]
    if together(settings) > console.width // 2:
        settings, more = [], [*settings, *more]
    show_tables(
        console,
        title,
        labels,
        [*more, *others],
        corner=_CORNER,
        every=settings,
        most_label=_MAX_LABEL,
    )
    for text in _below(comparison, same):
        for line in wrapped(visible(text), console.width, indent="  "):
            console.print(Text(line))


def as_markdown(comparison: Comparison) -> str:
    """Return the rows as a table of Markdown, and the notes below it."""
    columns, below = comparison_columns(comparison)
    headings = ["run", *(column.heading for column in columns)]
    right = [False, *(column.right for column in columns)]
    lines = [_line(headings), _line(["---:" if one else "---" for one in right])]
    for position, row in enumerate(comparison.rows):
        lines.append(_line([row.name, *(column.cells[position] for column in columns)]))
    notes = [f"- {visible(text)}" for text in below]
    return "\n".join([*lines, *([""] if notes else []), *notes])


def comparison_columns(comparison: Comparison) -> tuple[list[Column], list[str]]:
    """Return the columns of a table for people, and the texts below it."""
    settings, others, same = _columns(comparison, narrow=False)
    return [*settings, *others], _below(comparison, same)


def as_csv(comparison: Comparison) -> str:
    """Return the rows as CSV (RFC 4180) with all columns and exact values; notes are left out.

    A text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    columns = columns_of(comparison)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(map(csv_text, ["run", "name", *columns, "error"]))
    for row in comparison.rows:
        values = (value_of(row, column) for column in columns)
        cells = [row.run, row.name, *map(_exact, values), row.error]
        writer.writerow(map(csv_text, cells))
    return text.getvalue()


def as_plain(comparison: Comparison) -> dict[str, Plain]:
    """Return the comparison for JSON; `run_rows.schema` describes it."""
    return {"version": VERSION, **asdict(comparison)}


# ---------------------------------------------------------------- columns


def _columns(
    comparison: Comparison, *, narrow: bool
) -> tuple[list[Column], list[Column], list[str]]:
    """Return the columns of the settings, and the others.

    The last result has a text for each metric and measure without a column, because all rows have
    the same value, or because another metric has the same values.

    Args:
        narrow: Whether headings are broken into lines that are hardly wider than the cells.
    """
    rows = comparison.rows

    def column(name: str, heading: str) -> Column:
        values, cells = [value_of(row, name) for row in rows], _cells_of(rows, name)
        right = all(value is None or isinstance(value, int | float) for value in values)
        return Column(narrowed(heading, cells) if narrow else heading, cells, right=right)

    settings = [column(key, key.rpartition(".")[2]) for key in comparison.keys]
    others, same = [], []
    told: dict[tuple[Plain, ...], str] = {}  # the values of each metric that has a column
    for name in comparison.metrics:
        known = [row.metrics.get(name) for row in rows if row.metrics]
        values = tuple(row.metrics.get(name) for row in rows)
        if len(known) > 1 and len({_cell(name, value) for value in known}) == 1:
            same.append(f"{on_one_line(name)} {_cell(name, known[0])}")
        elif len(known) > 1 and values in told:
            same.append(f"{on_one_line(name)} is {on_one_line(told[values])}")
        else:
            told[values] = name
            others.append(column(column_of_metric(name, comparison.keys), name.replace("_", " ")))
    for name, heading in _HEADINGS.items():
        known = [value for row in rows if (value := value_of(row, name)) is not None]
        if name in _USUAL:
            if any(value != _USUAL[name] for value in known):
                others.append(column(name, heading))
        elif len(known) == len(rows) > 1 and len({_cell(name, value) for value in known}) == 1:
            words = heading.removesuffix(_SECONDS)
            unit = " s" if words != heading else ""
            same.append(f"{words} {_cell(name, known[0])}{unit}")
        else:
            others.append(column(name, heading))
    return settings, others, same


def _cells_of(rows: Sequence[RunRow], name: str) -> list[str]:
    return [visible(_cell(name, value_of(row, name))) for row in rows]


def _cell(name: str, value: Plain) -> str:
    if value is None:
        return NOTHING
    match name:
        case "size_bytes":
            return size(value)
        case "waited_s" | "training_s" | "total_s":
            return _SHORT_TIME if 0 < value < _LEAST_S else seconds(value)
        case "messages" | "steps" | "findings":
            return f"{value:,}"
        case "divergence" if isinstance(value, float):
            return f"{value:.2g}"
    if isinstance(value, dict):
        return "{…}"
    return number(value)


def _below(comparison: Comparison, same: Sequence[str]) -> list[str]:
    """Return the texts below the table."""
    equal = [f"The same in all runs: {', '.join(same)}."] if same else []
    return [*equal, *comparison.notes]


def _line(cells: Sequence[str]) -> str:
    """Return a row of a table in Markdown."""
    return f"| {' | '.join(as_markdown_text(on_one_line(cell)) for cell in cells)} |"


def _exact(value: Plain) -> str:
    """Return a value for CSV; "" for a missing value."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
