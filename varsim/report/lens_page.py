"""The value lens of all variables: each component at the end, and the cross-replica values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from varsim.report.formatting import NOTHING, count, dimensions, names, number
from varsim.report.grouping import grouped, name_of, short_names
from varsim.report.replica_columns import replica_columns
from varsim.report.summary import Digest, Lens, Plain, VariableSummary
from varsim.report.tables import GAP, new_table, print_table

_APART: Final = "apart: the largest difference between two replicas, in any element"
_TITLE: Final = "value lens: each replica's component, and the value of a cross-replica read"
_TITLE_OF_VALUES: Final = "value lens: the value of each variable, which has one copy"
MOST_VARIABLES: Final = 12  # one screen; --all shows the rest
_LABEL_WIDTHS: Final = (48, 32, 24, 18, 12)  # the first width with room for all replicas
_LEAST_MEAN: Final = 1e-3  # part of the spread; a smaller mean is only rounding around zero


@dataclass(frozen=True, slots=True)
class LensRow:
    """One line: label, one cell for each replica, cross-replica value, distance of components."""

    label: str
    components: list[str]
    value: str = ""
    apart: str = ""


def print_lens(
    console: Console, variables: Sequence[VariableSummary], *, everything: bool = False
) -> None:
    """Print the variables whose values are known, and why some have no cross-replica value.

    Args:
        everything: Whether to print each variable. If false, variables with equal values share a
            row. If there are many rows, only the rows whose replicas differ most are printed.
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
        rows = of_equal_length(
            row
            for label, ((_, lens), *_) in zip(short_names(names_of, width), shown, strict=True)
            for row in lens_rows(label, lens)
        )
        columns = replica_columns([row.components for row in rows], console.width - _beside(rows))
        if len(columns.replicas) == len(rows[0].components):
            break  # all replicas fit; otherwise try shorter names
    table = new_table()
    table.add_column("", no_wrap=True)
    has_components = any(row.components for row in rows)
    for heading in [*columns.headings, "value", *(["apart"] if has_components else [])]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        apart = [row.apart] if has_components else []
        table.add_row(row.label, *columns.cells(row.components), row.value, *apart)
    print_table(console, _TITLE if has_components else _TITLE_OF_VALUES, table)
    if has_components:
        console.print(Text(_APART, style="dim"))
        console.print()
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
    reasons = [(one.name, reason) for one, lens in known for reason in (lens.refused, lens.lost)]
    for reason in dict.fromkeys(reason for _, reason in reasons if reason):
        of = names(list(dict.fromkeys(name for name, other in reasons if other == reason)))
        console.print(Text(f"{of}: {reason}", style="dim"))
        console.print()


def of_equal_length(rows: Iterable[LensRow]) -> list[LensRow]:
    """Return the rows with a cell for each replica. A variable with one copy has empty cells."""
    given = list(rows)
    most = max(len(row.components) for row in given)
    return [replace(row, components=row.components or [""] * most) for row in given]


def relative(lens: Lens) -> float:
    """Return the largest difference divided by the largest element; 0 if the shapes differ."""
    if not lens.apart:
        return 0.0
    extremes = [one for part in _known(lens) for one in (part.minimum, part.maximum)]
    scale = max((abs(float(one)) for one in extremes if isinstance(one, int | float)), default=0.0)
    return float(lens.apart) / scale if isinstance(lens.apart, int | float) and scale else math.inf


def _beside(rows: Sequence[LensRow]) -> int:
    """Return the width of the cells beside the replicas' cells."""
    label = max(cell_len(row.label) for row in rows)
    value = max(len("value"), *(cell_len(row.value) for row in rows))
    apart = max(len("apart"), *(len(row.apart) for row in rows))
    return label + GAP + value + GAP + apart


def lens_rows(name: str, lens: Lens) -> list[LensRow]:
    """Return the lines about one variable: one for a number, several for an array."""
    apart = NOTHING if lens.lost else number(lens.apart) if lens.components else ""
    parts, value, known = lens.components, lens.value, _known(lens)
    if not parts and value is not None:
        known = [value]  # the variable has one copy
    if all(part.shape == [] for part in known):
        cells = [_cell(part, "elements") for part in parts]
        return [LensRow(name, cells, _cell(value, "elements"), apart)]
    first = LensRow(name, [""] * len(parts), "" if value else NOTHING, apart)
    if any(part.shape != known[0].shape for part in known):
        shapes = LensRow(
            "  shape", [NOTHING if one is None else dimensions(one.shape) for one in parts]
        )
        return [first, shapes, *_in_short(parts, value)]
    if not lens.samples:
        return [first, *_elements(parts, value)]
    samples = [
        LensRow(
            "  " + dimensions(sample.index),
            [number(one) for one in sample.components],
            "" if sample.value is None else number(sample.value),
        )
        for sample in lens.samples
    ]
    told = {(*row.components, row.value) for row in samples}
    rest = [row for row in _in_short(parts, value) if (*row.components, row.value) not in told]
    return [first, *samples, *rest]


def _known(lens: Lens) -> list[Digest]:
    """Return the components that are not lost."""
    return [part for part in lens.components if part is not None]


def _in_short(parts: Sequence[Digest | None], value: Digest | None) -> list[LensRow]:
    """Return rows for the smallest and the largest element, and for the mean if it is useful."""
    kinds = [("min", "minimum"), ("mean", "mean"), ("max", "maximum")]
    return [
        LensRow(
            f"  {label}",
            [_cell(part, key) for part in parts],
            "" if value is None else _cell(value, key),
        )
        for label, key in kinds
        if key != "mean"
        or any(_says_something(part) for part in parts or [value] if part is not None)
    ]


def _says_something(part: Digest) -> bool:
    """Return whether the elements differ, and the mean differs clearly from zero."""
    extremes = part.minimum, part.mean, part.maximum
    if not all(isinstance(one, int | float) for one in extremes):
        return any(one is not None for one in extremes)
    spread = part.maximum - part.minimum
    return bool(abs(part.mean) > _LEAST_MEAN * spread > 0)


def _elements(parts: Sequence[Digest | None], value: Digest | None) -> list[LensRow]:
    """Return a row for each element of small arrays of the same shape."""
    columns = [None if part is None else _flat(part.elements) for part in parts]
    of_value = None if value is None else _flat(value.elements)
    known = next(part for part in (*parts, value) if part is not None)
    return [
        LensRow(
            f"  {index}" if len(known.shape) > 1 else f"  [{index}]",
            [NOTHING if column is None else number(column[index]) for column in columns],
            "" if of_value is None else number(of_value[index]),
        )
        for index in range(len(_flat(known.elements)))
    ]


def _flat(elements: Plain) -> list[Plain]:
    if not isinstance(elements, list):
        return [elements]
    return [one for part in elements for one in _flat(part)]


def _cell(digest: Digest | None, key: str) -> str:
    return NOTHING if digest is None else number(getattr(digest, key))
