"""The value lens: per variable the components side by side, and how far they are apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.text import Text

from varsim.report.alike import grouped, name_of, short_names
from varsim.report.replica_columns import replica_columns
from varsim.report.summary import Digest, Lens, Plain, VariableSummary
from varsim.report.tables import GAP, new_table, print_table
from varsim.report.words import NOTHING, count, dimensions, names, number

_TITLE: Final = "value lens: each replica's component, and what a read outside gives"
MOST_VARIABLES: Final = 12  # a screen; --all shows the rest
_LABEL_WIDTHS: Final = (48, 32, 24, 18, 12)  # the widest that leaves room for all replicas
_LEAST_MEAN: Final = 1e-3  # of the spread; a smaller mean is that of values around zero


@dataclass(frozen=True, slots=True)
class _Row:
    """One line: what it is about, a cell per replica, the cross-replica value, the distance."""

    label: str
    components: list[str]
    value: str = ""
    apart: str = ""


def print_lens(
    console: Console, variables: Sequence[VariableSummary], *, everything: bool = False
) -> None:
    """A table of the variables whose values are known, and why some have no value.

    Args:
        everything: Each variable; otherwise those that hold the same are told together, and of
            many the ones whose replicas differ most are shown.
    """
    known = [(one, one.lens) for one in variables if one.lens is not None]
    if not known:
        return
    groups = [[one] for one in known] if everything else grouped(known, lambda one: repr(one[1]))
    if len(known) <= MOST_VARIABLES:
        groups = [[one] for one in known]
    shown = groups
    if len(groups) > MOST_VARIABLES and not everything:
        shown = sorted(groups, key=lambda group: -relative(group[0][1]))[:MOST_VARIABLES]
    names_of = [name_of([variable.name for variable, _ in group]) for group in shown]
    for width in _LABEL_WIDTHS:
        rows = [
            row
            for label, ((_, lens), *_) in zip(short_names(names_of, width), shown, strict=True)
            for row in _rows(label, lens)
        ]
        columns = replica_columns([row.components for row in rows], console.width - _beside(rows))
        if len(columns.replicas) == len(rows[0].components):
            break  # all are shown; otherwise shorter names may make room
    table = new_table()
    table.add_column("", no_wrap=True)
    for heading in [*columns.headings, "value", "apart"]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(row.label, *columns.cells(row.components), row.value, row.apart)
    print_table(console, _TITLE, table)
    said = [columns.sentence(len(rows[0].components))]
    if len(shown) < len(groups):
        left_out = sum(map(len, groups)) - sum(map(len, shown))
        said.append(
            "The variables shown are those whose replicas differ most, relative to the size of "
            f"their values. --all shows the other {count(left_out)} variables, and `varsim lens "
            "latest NAME` shows one variable."
        )
    if any(said):
        console.print(Text(" ".join(filter(None, said))))
        console.print()
    for reason in dict.fromkeys(lens.refused for _, lens in known if lens.refused):
        refused = names([v.name for v, lens in known if lens.refused == reason])
        console.print(Text(f"{refused}: {reason}", style="dim"))
        console.print()


def relative(lens: Lens) -> float:
    """How far components are apart at the end, by their largest element; 0 if shapes differ."""
    if not lens.apart:
        return 0.0
    extremes = [one for part in lens.components for one in (part.minimum, part.maximum)]
    scale = max((abs(float(one)) for one in extremes if isinstance(one, int | float)), default=0.0)
    return float(lens.apart) / scale if isinstance(lens.apart, int | float) and scale else math.inf


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
