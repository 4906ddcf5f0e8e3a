"""The value lens of one variable: its components at the end of each call, and what they show."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

import numpy as np
from rich.console import Console
from rich.text import Text

from varsim.analysis.arithmetic import Flat
from varsim.analysis.bounded_reads import PacedMoment
from varsim.analysis.component_distance import TellingElements
from varsim.analysis.lens import Moment
from varsim.analysis.sampled import MESSAGES, element_of, is_part
from varsim.analysis.shared_reads import SharedMoment
from varsim.report.formatting import NOTHING, count, dimensions, names, number
from varsim.report.replica_columns import replica_columns
from varsim.report.summary import Plain
from varsim.report.tables import GAP, new_table, print_table
from varsim.texts.facts import element_text, index_of, name_replicas, times

_ENDS: Final = 5  # calls at the beginning and at the end that are always shown
_AROUND: Final = 2  # calls before and after the first difference
DIFFERS: Final = "≠"
UNKNOWN: Final = (
    "The values of a cross-replica read are not known, and were not checked: {}. The components "
    "have the recorded writes."
)
"""The sentence on a variable whose policy is not installed, with the reason."""


def print_calls(
    console: Console,
    title: str,
    moments: Sequence[Moment],
    element: int | None,
    *,
    aggregation: str = "",
    parts: bool = False,
    flaw: str = "",
    everything: bool = False,
) -> None:
    """Print a variable's values at the end of each call.

    Args:
        aggregation: The variable's aggregation, for the sentences on calls without some replicas.
        element: The index of the element in the flattened value; None prints the mean.
        parts: Whether each component is only a part of the value, so that differences are normal.
            Then rows have no mark for them.
        flaw: Why the record is not whole; "" if it is whole.
        everything: Whether to print all calls. If not, print the first and the last calls, and the
            calls around the first difference.
    """
    diverged = next((index for index, one in enumerate(moments) if one.diverged), None)
    unlike = next((index for index, one in enumerate(moments) if one.unlike), None)
    indices = list(chosen_rows(len(moments), diverged, unlike, everything=everything))
    components = [[step_cell(one, element) for one in moments[p].shown] for p in indices]
    beside = {"value": [step_cell(moments[index].value, element) for index in indices]}
    oracle = [step_cell(moments[index].oracle, element) for index in indices]
    if any(cell != NOTHING for cell in oracle):
        unlikes = (f"{DIFFERS} " if moments[index].unlike else "" for index in indices)
        beside["oracle"] = [f"{mark}{cell}" for mark, cell in zip(unlikes, oracle, strict=True)]
    beside |= _shared_cells([moments[index].shared for index in indices], element)
    if any(one.lacks is not None for one in moments):
        lacks = (moments[index].lacks for index in indices)
        beside["lacks"] = [NOTHING if one is None else f"{one:.2%}" for one in lacks]
    beside |= _paced_cells([moments[index].paced for index in indices])
    calls = [str(moments[index].step) for index in indices]
    marks = [DIFFERS if moments[index].diverged and not parts else "" for index in indices]
    apart = None if parts else diverged
    firsts = [_first(diverged=index == apart, unlike=index == unlike) for index in indices]
    marked = [f"{one}{first}" for one, first in zip(marks, firsts, strict=True)]
    options = []
    for mark in (marked, marks):  # shorter marks may leave room for replicas or longer headings
        used = [max(map(len, column)) for column in (["call", *calls], mark)]
        used += [max(len(heading), *map(len, cells)) for heading, cells in beside.items()]
        room = console.width - sum(used) - GAP * (len(used) - 1)
        options.append((mark, replica_columns(components, room)))
    best = [one for one in options if one[1].is_long] or [one for one in options if one[1].is_whole]
    mark, columns = (best or options[-1:])[0]
    table = new_table()
    for heading in ("call", *columns.headings, *beside):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    before = -1
    for row, index in enumerate(indices):
        if index != before + 1:
            table.add_row("…")
        cells = [cells[row] for cells in beside.values()]
        table.add_row(calls[row], *columns.cells(components[row]), *cells, mark[row])
        before = index
    print_table(console, title, table)
    shown = columns.sentence(len(components[0]))
    said = about_calls(
        moments, aggregation=aggregation, parts=parts, flaw=flaw, shown=shown, beside=beside
    )
    console.print(Text(said))
    if "oracle" in beside:
        console.print(Text(about_oracle(moments)))


def about_calls(
    moments: Sequence[Moment],
    *,
    aggregation: str = "",
    parts: bool = False,
    flaw: str = "",
    shown: str = "",
    beside: Collection[str] = (),
) -> str:
    """Return the sentences on a variable's values at the end of each call.

    Args:
        aggregation: As for `print_calls`, like `parts` and `flaw`.
        shown: A sentence on the replicas that are shown.
        beside: The headings of further columns.
    """
    diverged = next((index for index, one in enumerate(moments) if one.diverged), None)
    said = [_PARTS.format(aggregation) if parts else "", _sentence(moments, diverged, flaw)]
    said += [*_joined(moments, aggregation)]
    said += [shown, _missing(moments), *_lost(moments)]
    said += _unexchanged(moments)
    said += [text for heading, text in _ABOUT_COLUMNS if heading in beside]
    said += [_INTERRUPTED.format(call=one.step) for one in moments if one.interrupted]
    return " ".join(filter(None, said))


_PARTS: Final = "Each replica has a part of the value, which is the {} of all parts."


def _shared_cells(
    shared: Sequence[SharedMoment | None], element: int | None
) -> dict[str, list[str]]:
    """Return the columns about one-sided operations; none if there were no such operations."""
    known = [one for one in shared if one is not None]
    if len(known) < len(shared):
        return {}
    return {
        "copy": [step_cell(one.copy, element) for one in known],
        "behind": [count(one.behind) if one.reads else "" for one in known],
        "old ms": [f"{one.age_s * 1e3:,.3g}" if one.reads else "" for one in known],
    }


_SHARED: Final = (
    "copy: the authoritative copy. behind, old: by how many versions the fetches and pulls of the "
    "call were behind, and how old their values were, at most."
)

_LACKS: Final = (
    "lacks: what the residuals of compressed changes hold back, as a norm relative to the value's."
)


def _paced_cells(paced: Sequence[PacedMoment | None]) -> dict[str, list[str]]:
    """Return the columns about bounded staleness; none for a variable without it."""
    known = [one for one in paced if one is not None]
    if len(known) < len(paced):
        return {}
    return {
        "behind": [count(one.behind) if one.reads else "" for one in known],
        "waited ms": [f"{one.waited_s * 1e3:,.3g}" if one.waited_s else "" for one in known],
        "for": ["" if one.waited_for is None else f"replica {one.waited_for}" for one in known],
    }


_PACED: Final = (
    "behind: how many writes of others a read of the call lacked, at most. waited: how long the "
    "replicas of the call waited for slower ones, in all, and the replica for which they waited "
    "longest."
)

_ABOUT_COLUMNS: Final = (("copy", _SHARED), ("lacks", _LACKS), ("waited ms", _PACED))
"""Headings of columns that not every variable has, and the sentence about each."""

_INTERRUPTED: Final = (
    "Call {call} was interrupted: what its replicas had already written is in its values."
)

_UNEXCHANGED: Final = (
    f"{NOTHING} in the column of the value means that the replicas had writes that were not "
    "exchanged yet: a read would exchange them first, and each replica shows its own writes only."
)


def _unexchanged(moments: Sequence[Moment]) -> Iterator[str]:
    """Yield sentences on writes that were not exchanged, and on those that never will be."""
    waiting = [one for one in moments if one.unexchanged]
    if any(not one.lost for one in waiting):
        yield _UNEXCHANGED
    lost = next((one for one in waiting if one.lost), None)
    if lost is not None:
        yield (
            f"From call {lost.step} on, no read can exchange these writes, because they are lost "
            f"with the worker of {name_replicas(lost.lost)}."
        )


def _first(*, diverged: bool, unlike: bool) -> str:
    if diverged and unlike:
        return "  first difference of both"
    return "  first difference" if diverged else "  oracle: first difference" if unlike else ""


def chosen_rows(count: int, *firsts: int | None, everything: bool) -> Iterator[int]:
    """Yield the rows of a table that are shown: all, or both ends and the rows around `firsts`."""
    for index in range(count):
        around = any(first is not None and abs(index - first) <= _AROUND for first in firsts)
        if everything or index < _ENDS or index >= count - _ENDS or around:
            yield index


def step_cell(value: Flat | None, element: int | None) -> str:
    """Return an element of a flat value as text, or the mean of all if `element` is None."""
    found = step_value(value, element)
    if found is None:
        return NOTHING
    return number(found) if isinstance(found, int | float) else str(found)


def step_value(value: Flat | None, element: int | None) -> Plain:
    """Return an element of a flat value, or the mean of all elements if `element` is None.

    Return None if it is not known, or if there is no such element.
    """
    if value is None or not len(value) or (element is not None and element >= len(value)):
        return None
    if element is None and len(value) == 1:
        element = 0
    one = value.mean() if element is None else element_of(value, element)
    return None if one is None else one.item()


_RECORD_ALL: Final = f"`{MESSAGES}` records all values."
_SAMPLED: Final = f"Only a sample of the elements was recorded and compared. {_RECORD_ALL}"


def _sentence(moments: Sequence[Moment], diverged: int | None, flaw: str) -> str:
    said = _difference(moments, diverged, flaw)
    return f"{said} The record is not whole: {flaw}." if flaw else said


def _difference(moments: Sequence[Moment], diverged: int | None, flaw: str) -> str:
    if diverged is None and moments[0].one_copy:
        return "The variable has one copy, which all replicas read."
    if diverged is None:
        known = sum(one.is_known for one in moments)
        if known == len(moments) and flaw:
            return "The replicas do not differ at the end of the recorded calls."
        if known == len(moments):
            return "The replicas never differ at the end of a call."
        if not known:
            return f"Whether the replicas differ is unknown: no value was recorded. {_RECORD_ALL}"
        hint = "" if all(one.is_recorded for one in moments) else f" {_RECORD_ALL}"
        return (
            f"The replicas do not differ in the {known} of {len(moments)} calls whose values are "
            f"all known. Whether they differ in the other calls is unknown.{hint}"
        )
    first, share = _first_and_share(moments, [one.diverged for one in moments])
    return f"The replicas {first}; they differ at the end of {share}."


def _first_and_share(moments: Sequence[Moment], differ: Sequence[bool]) -> tuple[str, str]:
    """Return the first moment with a difference, and the share of calls with one, as texts."""
    first, start = moments[differ.index(True)], int(moments[0].is_creation)
    when = f"first differ at the end of call {first.step}"
    if first.is_creation:
        when = "already differ when the variable is created"
        if first.step:
            when = f"already differ at the start of this record, after call {first.step}"
    return when, f"{sum(differ[start:])} of {times(len(moments) - start, 'call')}"


def _joined(moments: Sequence[Moment], aggregation: str) -> Iterator[str]:
    """Yield sentences on the calls in which some replicas had joined."""
    steps: dict[tuple[int, bool], list[str]] = {}
    for one in moments:
        if one.present is not None:
            combines = one.merged and aggregation in {"SUM", "MEAN"}
            steps.setdefault((one.present, combines), []).append(str(one.step))
    for (present, combines), numbers in steps.items():
        of_all = f"{present} of {times(len(moments[0].components), 'replica')}"
        what = f"{aggregation} over {of_all}" if combines else f"{of_all} took part"
        yield f"{what} in call{'s' * (len(numbers) > 1)} {names(numbers)}; the others had joined."


def _missing(moments: Sequence[Moment]) -> str:
    missing = not all(one.is_recorded for one in moments)
    if any(is_part(part) for one in moments for part in (*one.components, one.value)):
        return f"{NOTHING} means not recorded. {_SAMPLED}"
    return f"{NOTHING} means not recorded." if missing else ""


def _lost(moments: Sequence[Moment]) -> Iterator[str]:
    """Yield sentences for each call in which components, or workers, were lost."""
    before: set[int] = set()
    for one in moments:
        if ended := sorted(set(one.ended) - set(one.lost) - before):
            before.update(ended)
            each = "the component" if len(ended) == 1 else "each component"
            yield (
                f"From call {one.step} on, {each} of {name_replicas(ended)} is the program's: "
                f"{'its worker was' if len(ended) == 1 else 'the workers were'} lost."
            )
        new = sorted(set(one.lost) - before)
        if new:
            before.update(new)
            what = "component is" if len(new) == 1 else "components are"
            yield (
                f"From call {one.step} on, {NOTHING} means that the {what} lost with the worker of "
                f"{name_replicas(new)}."
            )


def about_oracle(moments: Sequence[Moment]) -> str:
    """Return a sentence on the comparison of a variable's values with a single device's."""
    unlike = next((index for index, one in enumerate(moments) if one.unlike), None)
    if unlike is None:
        compared = sum(one.is_compared for one in moments)
        if compared == len(moments):
            return "The value equals a single device's within rounding."
        return (
            f"The value was compared with a single device's in {compared} of {len(moments)} calls, "
            "and no difference was found."
        )
    if moments[unlike].is_creation:
        first = "already differs from a single device's when the variable is created"
    else:
        call = moments[unlike].step
        first = f"first differs from a single device's at the end of call {call}"
    _, share = _first_and_share(moments, [one.unlike for one in moments])
    return f"The value {first}; it differs at the end of {share}."


def title_of(name: str, settings: str, shape: Sequence[int | None], element: int | None) -> str:
    """Return the title of a table of calls."""
    if not list(shape):
        return f"{name} {settings}: value at the end of each call"
    if element is None:
        return f"{name} {settings}: mean of its elements at the end of each call"
    which = element_text(index_of(element, shape))
    return f"{name} {settings}: {which} of {dimensions(shape)}"


_NOT_FINITE: Final = "it has NaN or infinity on a replica, or after a call"


def _amount(value: float) -> str:
    return "NaN or infinity" if np.isinf(value) else number(value)


def _indices(shape: Sequence[int | None]) -> str:
    """Return a letter for each dimension, as for an index: "I,J"."""
    return ",".join(chr(ord("I") + place) for place in range(len(shape)))


def why_element(told: TellingElements, shape: Sequence[int | None], command: str = "") -> str:
    """Return why this element is shown, and which other elements are informative.

    Args:
        command: The command that shows others, if it is not the one that prints this.
    """
    first, *others = zip(told.indices, told.amounts, strict=True)
    which = element_text(index_of(first[0], shape)).capitalize()
    by = f"{told.reason.value} {number(first[1])}"
    if np.isinf(first[1]):
        by = _NOT_FINITE
    said = f"{which} is shown: {by}."
    if others:
        each = [f"{list(index_of(element, shape))} ({_amount(by)})" for element, by in others]
        listed = names(each)
        said += (
            f" The next elements are {listed}. `{command}--at {_indices(shape)}` shows "
            "another element, and `--at mean` shows the mean of all elements."
        )
    return said
