"""The value lens over a run's steps: a line for each, and where the replicas first differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from varsim.analysis.arithmetic import Flat
from varsim.analysis.lens import Moment
from varsim.report.summary import Plain
from varsim.report.variable_tables import GAP, new_table, print_table
from varsim.report.words import NOTHING, dimensions, number

_ENDS: Final = 5  # lines at the beginning and at the end that are always shown
_AROUND: Final = 2  # lines before and after the first difference
MAX_REPLICAS: Final = 8  # side by side; of more, the first are shown
PARTED: Final = "≠"
_BESIDE: Final = 33  # columns for the step, the value and the mark


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
    rows = {place: _cells(moments[place], element) for place in places}
    oracle = [_of_oracle(moments[place], element) for place in places]
    beside = [cell for cell in oracle if cell != NOTHING]
    table = new_table()
    table.add_column("step", justify="right", no_wrap=True)
    room = console.width - _BESIDE - (GAP + max(map(len, oracle)) if beside else 0)
    count = _replicas_that_fit(list(rows.values()), room)
    for replica in range(count):
        table.add_column(f"replica {replica}" if count <= 4 else str(replica), justify="right")
    for heading in ("value", "oracle")[: 2 if beside else 1]:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    before = -1
    for place, single in zip(places, oracle, strict=True):
        if place != before + 1:
            table.add_row("…")
        mark = PARTED if moments[place].parted else ""
        *components, value = rows[place]
        cells = [*components[:count], value, *([single] if beside else [])]
        first = _first(parted=place == parted, unlike=place == unlike)
        table.add_row(str(moments[place].step), *cells, mark + first)
        before = place
    print_table(console, title, table)
    console.print(Text(_sentence(moments, parted, count)))
    if beside:
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


def _of_oracle(moment: Moment, element: int | None) -> str:
    return (f"{PARTED} " if moment.unlike else "") + _cell(moment.oracle, element)


def _cells(moment: Moment, element: int | None) -> list[str]:
    return [_cell(one, element) for one in (*moment.components, moment.value)]


def _cell(value: Flat | None, element: int | None) -> str:
    if value is None or not len(value):
        return NOTHING
    if element is None and len(value) == 1:
        element = 0
    found: Plain = value.mean().item() if element is None else value[element].item()
    return number(found if isinstance(found, int | float) else str(found))


def _replicas_that_fit(rows: Sequence[Sequence[str]], width: int) -> int:
    count = min(len(rows[0]) - 1, MAX_REPLICAS)
    while count > 1:
        headings = [f"replica {i}" if count <= 4 else str(i) for i in range(count)]
        widths = [max(len(headings[i]), *(len(row[i]) for row in rows)) for i in range(count)]
        if sum(widths) + GAP * (count + 2) <= width:
            break
        count -= 1
    return count


def _sentence(moments: Sequence[Moment], parted: int | None, shown: int) -> str:
    everyone = len(moments[0].components)
    left_out = "" if shown == everyone else f" Of {everyone} replicas the first {shown} are shown."
    if any(part is None for one in moments for part in one.components):
        left_out += f" {NOTHING}: it was not recorded."
    if parted is None:
        return f"The replicas never differ.{left_out}"
    differing = sum(one.parted for one in moments)
    steps = len(moments) - (not moments[0].step)
    return (
        f"The replicas first differ at the end of step {moments[parted].step}, and at the end of "
        f"{differing} of {steps} steps.{left_out}"
    )


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
    if element is not None:
        return f"{name} {settings}: element {element} of {dimensions(shape)}"
    what = "mean of its elements" if list(shape) else "value"
    return f"{name} {settings}: {what} at the end of each step"
