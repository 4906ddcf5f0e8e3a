"""The value lens: per variable the components side by side, and how far they are apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.text import Text

from varsim.report.summary import Digest, Lens, Plain, VariableSummary
from varsim.report.variable_tables import GAP, MAX_ROWS, new_table, print_table
from varsim.report.words import NOTHING, dimensions, middle, names, number

MAX_REPLICAS: Final = 8  # side by side; of more, the first and the last are shown
_LABEL_WIDTH: Final = 18
_SHORT_LABEL_WIDTH: Final = 12


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
        rows = [row for variable, lens in shown for row in _rows(variable, lens, width)]
        replicas = _chosen(rows, console.width)
        if None not in replicas:  # all are shown; otherwise shorter names may make room
            break
    headings = [_heading(i, rows, replicas, console.width) for i in replicas]
    table = new_table()
    table.add_column("", no_wrap=True)
    for heading in [*headings, "value", "apart"]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        cells = [NOTHING if i is None else row.components[i] for i in replicas]
        cells = [("" if i is None else cell) for i, cell in zip(replicas, cells, strict=True)]
        table.add_row(row.label, *cells, row.value, row.apart)
    print_table(
        console, "value lens: each replica's component, and what a read outside gives", table
    )
    for reason in dict.fromkeys(lens.refused for _, lens in shown if lens.refused):
        refused = names([v.name for v, lens in shown if lens.refused == reason])
        console.print(Text(f"{refused}: {reason}", style="dim"))
        console.print()


def _rows(variable: VariableSummary, lens: Lens, label_width: int) -> list[_Row]:
    name = middle(variable.name, label_width)
    apart = number(lens.apart)
    parts, value = lens.components, lens.value
    if all(part.shape == [] for part in parts):
        cells = [number(part.elements) for part in parts]
        return [_Row(name, cells, _cell(value, "elements"), apart)]
    rows = [_Row(name, [""] * len(parts), "" if value else NOTHING, apart)]
    if lens.apart is None:
        rows.append(_Row("  shape", [dimensions(part.shape) for part in parts]))
    elif lens.samples:
        rows += [
            _Row(
                "  " + dimensions(sample.index),
                [number(one) for one in sample.components],
                "" if sample.value is None else number(sample.value),
            )
            for sample in lens.samples
        ]
    else:
        rows += _elements(parts, value)
        return rows
    for label, key in (("min", "minimum"), ("mean", "mean"), ("max", "maximum")):
        cells = [_cell(part, key) for part in parts]
        rows.append(_Row(f"  {label}", cells, "" if value is None else _cell(value, key)))
    return rows


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


# ---------------------------------------------------------------- what fits


def _chosen(rows: Sequence[_Row], width: int) -> list[int | None]:
    """The replicas to show, in order; None stands for those between."""
    count = len(rows[0].components)
    everyone: list[int | None] = list(range(count))
    if count <= MAX_REPLICAS and _fits(rows, everyone, width, long_headings=False):
        return everyone
    for most in range(min(count, MAX_REPLICAS) - 1, 1, -1):
        first = (most + 1) // 2
        some: list[int | None] = [*range(first), None, *range(count - (most - first), count)]
        if _fits(rows, some, width, long_headings=False):
            return some
    return [0, None] if count > 1 else everyone


def _fits(
    rows: Sequence[_Row], replicas: Sequence[int | None], width: int, *, long_headings: bool
) -> bool:
    least = len("replica 0") if long_headings else 1
    used = max(len(row.label) for row in rows)
    for i in replicas:
        cells = [1 if i is None else len(row.components[i]) for row in rows]
        used += GAP + max(1 if i is None else least, *cells)
    used += GAP + max(len("value"), *(len(row.value) for row in rows))
    used += GAP + max(len("apart"), *(len(row.apart) for row in rows))
    return used <= width


def _heading(
    replica: int | None, rows: Sequence[_Row], replicas: Sequence[int | None], width: int
) -> str:
    if replica is None:
        return "…"
    long = _fits(rows, replicas, width, long_headings=True)
    return f"replica {replica}" if long else str(replica)
