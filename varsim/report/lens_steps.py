"""The value lens over a run's steps: a line for each, and where the replicas first differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from rich.console import Console
from rich.text import Text

from varsim.analysis.apart import Telling
from varsim.analysis.arithmetic import Flat
from varsim.analysis.lens import Moment
from varsim.report.replica_columns import replica_columns
from varsim.report.summary import Plain
from varsim.report.tables import GAP, new_table, print_table
from varsim.report.words import NOTHING, dimensions, names, number

_ENDS: Final = 5  # lines at the beginning and at the end that are always shown
_AROUND: Final = 2  # lines before and after the first difference
PARTED: Final = "≠"


def print_steps(
    console: Console,
    title: str,
    moments: Sequence[Moment],
    element: int | None,
    *,
    everything: bool = False,
) -> None:
    """A table of what a variable held.

    Args:
        element: Which element of its flat value is shown; None: the mean of all.
        everything: All steps, and not only the ends and the first difference.
    """
    parted = next((place for place, one in enumerate(moments) if one.parted), None)
    unlike = next((place for place, one in enumerate(moments) if one.unlike), None)
    places = list(range(len(moments)) if everything else _chosen(len(moments), parted, unlike))
    components = [[_cell(one, element) for one in moments[p].components] for p in places]
    beside = {"value": [_cell(moments[place].value, element) for place in places]}
    oracle = [_cell(moments[place].oracle, element) for place in places]
    if any(cell != NOTHING for cell in oracle):
        unlikes = (f"{PARTED} " if moments[place].unlike else "" for place in places)
        beside["oracle"] = [f"{mark}{cell}" for mark, cell in zip(unlikes, oracle, strict=True)]
    steps = [str(moments[place].step) for place in places]
    marks = [PARTED if moments[place].parted else "" for place in places]
    firsts = [_first(parted=place == parted, unlike=place == unlike) for place in places]
    marked = [f"{one}{first}" for one, first in zip(marks, firsts, strict=True)]
    options = []
    for mark in (marked, marks):  # fewer words may make room for replicas, or longer headings
        used = [max(map(len, column)) for column in (["step", *steps], mark)]
        used += [max(len(heading), *map(len, cells)) for heading, cells in beside.items()]
        room = console.width - sum(used) - GAP * (len(used) - 1)
        options.append((mark, replica_columns(components, room)))
    best = [one for one in options if one[1].is_long] or [one for one in options if one[1].is_whole]
    mark, columns = (best or options[-1:])[0]
    table = new_table()
    for heading in ("step", *columns.headings, *beside):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    before = -1
    for row, place in enumerate(places):
        if place != before + 1:
            table.add_row("…")
        cells = [cells[row] for cells in beside.values()]
        table.add_row(steps[row], *columns.cells(components[row]), *cells, mark[row])
        before = place
    print_table(console, title, table)
    said = [_sentence(moments, parted), columns.sentence(len(components[0])), _missing(moments)]
    console.print(Text(" ".join(filter(None, said))))
    if "oracle" in beside:
        console.print(Text(_about_oracle(moments, unlike)))


def _first(*, parted: bool, unlike: bool) -> str:
    if parted and unlike:
        return "  here both differ"
    return "  here they part" if parted else "  here it differs" if unlike else ""


def _chosen(count: int, *firsts: int | None) -> Iterator[int]:
    for place in range(count):
        around = any(first is not None and abs(place - first) <= _AROUND for first in firsts)
        if place < _ENDS or place >= count - _ENDS or around:
            yield place


def _cell(value: Flat | None, element: int | None) -> str:
    if value is None or not len(value):
        return NOTHING
    if element is None and len(value) == 1:
        element = 0
    found: Plain = value.mean().item() if element is None else value[element].item()
    return number(found if isinstance(found, int | float) else str(found))


def _sentence(moments: Sequence[Moment], parted: int | None) -> str:
    if parted is None:
        return "The replicas never differ."
    differing = sum(one.parted for one in moments)
    steps = len(moments) - (not moments[0].step)
    return (
        f"The replicas first differ at the end of step {moments[parted].step}, and at the end of "
        f"{differing} of {steps} steps."
    )


def _missing(moments: Sequence[Moment]) -> str:
    missing = any(part is None for one in moments for part in one.components)
    return f"{NOTHING}: it was not recorded." if missing else ""


def _about_oracle(moments: Sequence[Moment], unlike: int | None) -> str:
    if unlike is None:
        return "Within rounding, it is what a single device has."
    differing = sum(one.unlike for one in moments)
    steps = len(moments) - (not moments[0].step)
    return (
        f"A single device first has something else at the end of step {moments[unlike].step}, and "
        f"at the end of {differing} of {steps} steps."
    )


def title_of(name: str, settings: str, shape: Sequence[int | None], element: int | None) -> str:
    """What a table of steps shows, in a line."""
    if not list(shape):
        return f"{name} {settings}: value at the end of each step"
    if element is None:
        return f"{name} {settings}: mean of its elements at the end of each step"
    place = index_text(element, shape)
    return f"{name} {settings}: element [{place}] of {dimensions(shape)}"


def why_element(told: Telling, shape: Sequence[int | None]) -> str:
    """Why an element is shown, and which others say most, in a sentence or two."""
    first, *others = zip(told.places, told.by, strict=True)
    place = index_text(first[0], shape)
    said = f"Element [{place}] is shown: {told.reason.value} {number(first[1])}."
    if others:
        listed = names([f"{index_text(place, shape)} ({number(by)})" for place, by in others])
        said += f" Next are {listed}; --at I,J shows another element, --at mean the mean of all."
    return said


def index_text(element: int, shape: Sequence[int | None]) -> str:
    """The index of a place in the flat value, as --at takes it; a place where it has none."""
    sizes = [size for size in shape if size is not None]
    if len(sizes) < len(shape):
        return str(element)
    return ",".join(str(int(one)) for one in np.unravel_index(element, sizes))
