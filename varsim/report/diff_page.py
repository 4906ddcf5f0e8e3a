"""The page and the JSON document of `varsim diff`: where two runs first differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from varsim.analysis.two_histories import Difference, DifferenceKind, TwoHistories
from varsim.report.event_page import value_of
from varsim.report.formatting import NOTHING, count, number
from varsim.report.json_values import plain
from varsim.report.space_time import who
from varsim.report.summary import Plain
from varsim.report.tables import Column, show_table
from varsim.tracing.history import PROGRAM, Event

_MOST: Final = 20  # rows of a table
_MOST_ELEMENTS: Final = 6  # of a value whose differing element is not known
_DIGITS: Final = (6, 9, 12, 15)  # of close values; with all digits if these do not suffice
_SIDES: Final = ("first", "second")


@dataclass(frozen=True, slots=True)
class Differing:
    """A value that differs between two runs, such as a setting."""

    name: str
    one: Plain  # None if the run does not have it
    other: Plain
    step: int | None = None  # of a metric


def first_sentence(difference: Difference) -> str:
    """Return what the processes do differently, as a sentence with the place in the source."""
    ours, theirs = difference.ours, difference.theirs
    if difference.label is None:
        about = "a value outside variables"
    else:
        about = f"variable {_name(difference)}"
    said = f"The runs differ first in {about}: {_when(difference)}, {_who(difference)} "
    if ours is None or theirs is None:
        which, there = (_SIDES[1], theirs) if ours is None else (_SIDES[0], ours)
        assert there is not None
        return f"{said}{_does(there)} only in the {which} run."
    if difference.kind is DifferenceKind.OPERATION:
        return f"{said}{_does(ours)}; in the second run it {_does(theirs)}."
    if difference.kind is DifferenceKind.TIMES:
        times = [_times(number_of) for number_of in difference.times]
        return f"{said}{_does(ours)}, {times[0]}; in the second run {times[1]}."
    also = "" if _place(ours) == _place(theirs) else f" (in the second run{_at(theirs)})"
    return f"{said}{_does(ours)}{also}: the values differ."


def print_difference(console: Console, difference: Difference) -> None:
    """Print the first difference, with both values."""
    console.print(Text(first_sentence(difference)))
    if difference.kind is DifferenceKind.VALUE:
        for side, text in zip(_SIDES, _values(difference), strict=True):
            console.print(Text(f"  {side + ':':8}{text}"))
    console.print()


def print_others(console: Console, differences: Sequence[Difference]) -> None:
    """Print a row for each further variable that differs."""
    if not differences:
        return
    shown = differences[:_MOST]
    pairs = [_short_values(one) for one in shown]
    columns = [
        Column("call", [count(one.call) for one in shown]),
        Column("process", [_who(one) for one in shown], right=False),
        Column("at", [_place(one.both[0]) for one in shown], right=False),
        Column("first", [pair[0] for pair in pairs]),
        Column("second", [pair[1] for pair in pairs]),
    ]
    title = "also different, from here on" + _more(differences)
    show_table(console, title, [_name(one) for one in shown], columns, corner="variable")


def print_differing(console: Console, title: str, differing: Sequence[Differing]) -> None:
    """Print a table of values that differ; nothing if there are none."""
    if not differing:
        return
    shown = differing[:_MOST]
    pairs = [_distinct(one.one, one.other) for one in shown]
    columns = [
        Column("first", [pair[0] for pair in pairs], right=False),
        Column("second", [pair[1] for pair in pairs], right=False),
    ]
    if any(one.step is not None for one in shown):
        steps = [NOTHING if one.step is None else count(one.step) for one in shown]
        columns.insert(0, Column("first at step", steps))
    show_table(console, title + _more(differing), [one.name for one in shown], columns)


def _more(rows: Sequence[object]) -> str:
    return f" ({count(_MOST)} of {count(len(rows))})" if len(rows) > _MOST else ""


# ---------------------------------------------------------------- what was not compared


def not_compared(found: TwoHistories) -> Iterator[str]:
    """Yield what a comparison of two histories did not look at, as phrases."""
    for names, which in zip(found.only, _SIDES, strict=True):
        if names:
            yield f"{_listed(names)}: only the {which} run has it"
    if found.replicas[0] != found.replicas[1]:
        least, most = sorted(found.replicas)
        one, other = found.replicas
        yield (
            f"{_span('replica', least, most - 1)}: only one run has {_THEM[most - least > 1]}. "
            f"The runs have {one} and {other} replicas, so the parts of a batch differ"
        )
    if found.steps[0] != found.steps[1]:
        least, most = sorted(found.steps)
        which = _SIDES[found.steps[1] > found.steps[0]]
        them = _THEM[most - least > 1]
        yield f"{_span('call', least + 1, most)}: only the {which} run has {them}"
    for name, missing in found.unknown.items():
        about = f"of {name}" if name else "outside variables"
        yield f"{count(missing)} values {about}: not recorded, or left out of an export"
    if found.has_plain:
        yield "variables outside the scope: the writes of replicas to them have no fixed order"
    if not all(found.whole):
        yield "what is missing in a record that is not complete (`varsim check` says why)"


_THEM: Final = ("it", "them")


def _span(what: str, first: int, last: int) -> str:
    if first == last:
        return f"{what} {count(first)}"
    return f"{what}s {count(first)} to {count(last)}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST]) + (f" and {len(names) - _MOST} more" if names[_MOST:] else "")


# ---------------------------------------------------------------- JSON


def plain_difference(difference: Difference) -> dict[str, Any]:
    """Return a difference as an object of JSON."""
    element = difference.element
    return {
        "kind": difference.kind.value,
        "variable": None if difference.label is None else difference.label[0],
        "call": difference.call,
        "replica": None if difference.process == PROGRAM else difference.process,
        "element": None if element is None else list(element[0]),
        "first": _plain_side(difference.ours, None if element is None else element[1]),
        "second": _plain_side(difference.theirs, None if element is None else element[2]),
    }


def _plain_side(event: Event | None, value: Any) -> dict[str, Any] | None:
    if event is None:
        return None
    return {
        "event": event.event,
        "operation": event.operation or event.kind,
        "location": event.location,
        "dtype": event.dtype,
        "shape": None if event.shape is None else json.loads(event.shape),
        "digest": event.digest,
        "value": plain(value),
    }


# ---------------------------------------------------------------- words


def _name(difference: Difference) -> str:
    if difference.label is None:
        return "(no variable)"
    name, number_of_name = difference.label
    return f"{name} (number {number_of_name + 1} of this name)" if number_of_name else name


def _who(difference: Difference) -> str:
    return who(difference.process)


def _when(difference: Difference) -> str:
    if difference.process != PROGRAM:
        return f"in call {count(difference.call)} of strategy.run"
    return f"after call {count(difference.call)}" if difference.call else "before the first call"


def _does(event: Event) -> str:
    """Return what a process does, with the location: "assigns it at train.py:12"."""
    match event.kind:
        case "create":
            what = "creates it"
        case "read" | "obtain":
            what = "reads it"
        case "take":
            of = "" if event.replica is None else f" of replica {event.replica}"
            what = f"gets a value{of} from strategy.{event.operation}"
        case "give":
            what = "gives a value to a collective"
        case "raise":
            what = f"raises {event.error}"
        case _:
            what = f"calls {event.operation or event.kind}"
    return f"{what}{_at(event)}"


def _at(event: Event) -> str:
    return f" at {event.location}" if event.location else ""


def _place(event: Event) -> str:
    """Return the file's name and the line, because folders can differ between runs."""
    return (event.location or NOTHING).rpartition("/")[2]


def _times(number_of: int) -> str:
    return f"{count(number_of)} time{'s' * (number_of != 1)} in a row"


def _values(difference: Difference) -> tuple[str, str]:
    """Return the two values, or the element in which they differ most."""
    element = difference.element
    if element is None:
        first, second = (value_of(one, _MOST_ELEMENTS) for one in difference.both)
        return first, second
    index, *values = element
    where = f"element {list(index)} is " if index else ""
    forms = [f"{one.dtype} {one.shape}, " if index else "" for one in difference.both]
    first, second = (
        f"{form}{where}{_exact(value)}" for form, value in zip(forms, values, strict=True)
    )
    return first, second


def _short_values(difference: Difference) -> tuple[str, str]:
    if difference.kind is not DifferenceKind.VALUE:
        first, second = (
            NOTHING if one is None else (one.operation or one.kind)
            for one in (difference.ours, difference.theirs)
        )
        return first, second
    element = difference.element
    if element is None:
        first, second = (f"{one.dtype} {one.shape}" for one in difference.both)
        if first == second:
            first, second = (f"#{one.digest or 0:08x}" for one in difference.both)
        return first, second
    index, *values = element
    where = f"{list(index)} " if index else ""
    first, second = _distinct(*map(plain, values))
    return f"{where}{first}", f"{where}{second}"


def _distinct(one: Plain, other: Plain) -> tuple[str, str]:
    """Return two different values in short form, with as many digits as tell them apart."""
    short = number(one), number(other)
    if short[0] != short[1] and all(short):
        return short
    if isinstance(one, float) and isinstance(other, float):
        for digits in _DIGITS:
            first, second = f"{one:.{digits}g}", f"{other:.{digits}g}"
            if first != second:
                return first, second
    return repr(one), repr(other)


def _exact(value: Any) -> str:
    """Return a number with all its digits, because close values would look equal."""
    return str(plain(value))
