"""The value lens: per variable the components side by side, and how far they are apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.text import Text

from varsim.report.alike import short_names
from varsim.report.replica_columns import GAP, replica_columns
from varsim.report.summary import Digest, Lens, Plain, VariableSummary
from varsim.report.variable_tables import MAX_ROWS, new_table, print_table
from varsim.report.words import NOTHING, dimensions, names, number

_LABEL_WIDTH: Final = 18
_SHORT_LABEL_WIDTH: Final = 12
_LEAST_MEAN: Final = 1e-3  # of the spread; a smaller mean is that of values around zero


@dataclass(frozen=True, slots=True)
class _Row:
    """One line: what it is about, a cell per replica, the cross-replica value, the distance."""

    label: str
    components: list[str]
    value: str = ""
    apart: str = ""


def print_lens(console: Console, variables: Sequence[VariableSummary]) -> None:
    """A table of all variables whose values are known, and why some have no value."""
    shown = [(v, v.lens) for v in variables[:MAX_ROWS] if v.lens is not None]
    if not shown:
        return
    for width in (_LABEL_WIDTH, _SHORT_LABEL_WIDTH):
        labels = short_names([v.name for v, _ in shown], width)
        rows = [
            row
            for label, (_, lens) in zip(labels, shown, strict=True)
            for row in _rows(label, lens)
        ]
        columns = replica_columns([row.components for row in rows], console.width - _beside(rows))
        if None not in columns.replicas:  # all are shown; otherwise shorter names may make room
            break
    table = new_table()
    table.add_column("", no_wrap=True)
    for heading in [*columns.headings, "value", "apart"]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(row.label, *columns.cells(row.components), row.value, row.apart)
    print_table(
        console, "value lens: each replica's component, and what a read outside gives", table
    )
    for reason in dict.fromkeys(lens.refused for _, lens in shown if lens.refused):
        refused = names([v.name for v, lens in shown if lens.refused == reason])
        console.print(Text(f"{refused}: {reason}", style="dim"))
        console.print()


def _beside(rows: Sequence[_Row]) -> int:
    """How many columns the cells beside the replicas' take."""
    label = max(len(row.label) for row in rows)
    value = max(len("value"), *(len(row.value) for row in rows))
    apart = max(len("apart"), *(len(row.apart) for row in rows))
    return label + GAP + value + GAP + apart


def _rows(name: str, lens: Lens) -> list[_Row]:
    apart = number(lens.apart)
    parts, value = lens.components, lens.value
    if all(part.shape == [] for part in parts):
        cells = [number(part.elements) for part in parts]
        return [_Row(name, cells, _cell(value, "elements"), apart)]
    first = _Row(name, [""] * len(parts), "" if value else NOTHING, apart)
    if lens.apart is None:
        shapes = _Row("  shape", [dimensions(part.shape) for part in parts])
        return [first, shapes, *_in_short(parts, value)]
    if not lens.samples:
        return [first, *_elements(parts, value)]
    samples = [
        _Row(
            "  " + dimensions(sample.index),
            [number(one) for one in sample.components],
            "" if sample.value is None else number(sample.value),
        )
        for sample in lens.samples
    ]
    told = {(*row.components, row.value) for row in samples}
    rest = [row for row in _in_short(parts, value) if (*row.components, row.value) not in told]
    return [first, *samples, *rest]


def _in_short(parts: Sequence[Digest], value: Digest | None) -> list[_Row]:
    """The smallest and the largest element, and the mean where that says something."""
    kinds = [("min", "minimum"), ("mean", "mean"), ("max", "maximum")]
    return [
        _Row(
            f"  {label}",
            [_cell(part, key) for part in parts],
            "" if value is None else _cell(value, key),
        )
        for label, key in kinds
        if key != "mean" or any(map(_says_something, parts))
    ]


def _says_something(part: Digest) -> bool:
    """Whether the mean is more than rounding about zero, and more than the one value there is."""
    extremes = part.minimum, part.mean, part.maximum
    if not all(isinstance(one, int | float) for one in extremes):
        return any(one is not None for one in extremes)
    spread = part.maximum - part.minimum
    return bool(abs(part.mean) > _LEAST_MEAN * spread > 0)


def _elements(parts: Sequence[Digest], value: Digest | None) -> list[_Row]:
    """A row for each element of small arrays of one shape."""
    columns = [_flat(part.elements) for part in parts]
    of_value = None if value is None else _flat(value.elements)
    return [
        _Row(
            f"  {place}" if len(parts[0].shape) > 1 else f"  [{place}]",
            [number(column[place]) for column in columns],
            "" if of_value is None else number(of_value[place]),
        )
        for place in range(len(columns[0]))
    ]


def _flat(elements: Plain) -> list[Plain]:
    if not isinstance(elements, list):
        return [elements]
    return [one for part in elements for one in _flat(part)]


def _cell(digest: Digest | None, key: str) -> str:
    return NOTHING if digest is None else number(getattr(digest, key))
