"""The value lens: the values of all variables at the end, or of one variable call by call."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rich.console import Console
from rich.text import Text

from varsim.analysis.arithmetic import Flat
from varsim.analysis.bounded_reads import PacedMoment
from varsim.analysis.component_distance import TellingElements
from varsim.analysis.lens import Moment
from varsim.analysis.sampled import MESSAGES, element_of, is_part
from varsim.analysis.shared_reads import SharedMoment
from varsim.report.formatting import NOTHING, count, dimensions, names, number
from varsim.report.grouping import grouped, name_of, short_names
from varsim.report.replica_columns import replica_columns
from varsim.report.summary import Digest, Lens, Plain, VariableSummary
from varsim.report.tables import GAP, new_table, print_table
from varsim.texts.facts import element_text, index_of, name_replicas, times

_APART: Final = "apart: the largest difference between two replicas, in any element"
_TITLE: Final = "value lens: each replica's component, and the value of a cross-replica read"
_TITLE_OF_VALUES: Final = "value lens: the value of each variable, which has one copy"
MOST_VARIABLES: Final = 12  # one screen; --all shows the rest
_LABEL_WIDTHS: Final = (48, 32, 24, 18, 12)  # the first width with room for all replicas
_LEAST_MEAN: Final = 1e-3  # part of the spread; a smaller mean is only rounding around zero


@dataclass(frozen=True, slots=True)
class _Row:
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
        rows = _of_equal_length(
            row
            for label, ((_, lens), *_) in zip(short_names(names_of, width), shown, strict=True)
            for row in _rows(label, lens)
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


def _of_equal_length(rows: Iterable[_Row]) -> list[_Row]:
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


def _beside(rows: Sequence[_Row]) -> int:
    """Return the width of the cells beside the replicas' cells."""
    label = max(len(row.label) for row in rows)
    value = max(len("value"), *(len(row.value) for row in rows))
    apart = max(len("apart"), *(len(row.apart) for row in rows))
    return label + GAP + value + GAP + apart


def _rows(name: str, lens: Lens) -> list[_Row]:
    apart = NOTHING if lens.lost else number(lens.apart) if lens.components else ""
    parts, value, known = lens.components, lens.value, _known(lens)
    if not parts and value is not None:
        known = [value]  # the variable has one copy
    if all(part.shape == [] for part in known):
        cells = [_cell(part, "elements") for part in parts]
        return [_Row(name, cells, _cell(value, "elements"), apart)]
    first = _Row(name, [""] * len(parts), "" if value else NOTHING, apart)
    if any(part.shape != known[0].shape for part in known):
        shapes = _Row(
            "  shape", [NOTHING if one is None else dimensions(one.shape) for one in parts]
        )
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


def _known(lens: Lens) -> list[Digest]:
    """Return the components that are not lost."""
    return [part for part in lens.components if part is not None]


def _in_short(parts: Sequence[Digest | None], value: Digest | None) -> list[_Row]:
    """Return rows for the smallest and the largest element, and for the mean if it is useful."""
    kinds = [("min", "minimum"), ("mean", "mean"), ("max", "maximum")]
    return [
        _Row(
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


def _elements(parts: Sequence[Digest | None], value: Digest | None) -> list[_Row]:
    """Return a row for each element of small arrays of the same shape."""
    columns = [None if part is None else _flat(part.elements) for part in parts]
    of_value = None if value is None else _flat(value.elements)
    known = next(part for part in (*parts, value) if part is not None)
    return [
        _Row(
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


# ---------------------------------------------------------------- one variable, call by call

_ENDS: Final = 5  # calls at the beginning and at the end that are always shown
_AROUND: Final = 2  # calls before and after the first difference
DIFFERS: Final = "≠"


def print_calls(
    console: Console,
    title: str,
    moments: Sequence[Moment],
    element: int | None,
    *,
    aggregation: str = "",
    flaw: str = "",
    everything: bool = False,
) -> None:
    """Print a variable's values at the end of each call.

    Args:
        aggregation: The variable's aggregation, for the sentences on calls without some replicas.
        element: The index of the element in the flattened value; None prints the mean.
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
    marks = [DIFFERS if moments[index].diverged else "" for index in indices]
    firsts = [_first(diverged=index == diverged, unlike=index == unlike) for index in indices]
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
    said = [_sentence(moments, diverged, flaw), *_joined(moments, aggregation)]
    said += [columns.sentence(len(components[0])), _missing(moments), *_lost(moments)]
    said += _unexchanged(moments)
    if "copy" in beside:
        said.append(_SHARED)
    if "lacks" in beside:
        said.append(_LACKS)
    if "waited ms" in beside:
        said.append(_PACED)
    said += [_INTERRUPTED.format(call=one.step) for one in moments if one.interrupted]
    console.print(Text(" ".join(filter(None, said))))
    if "oracle" in beside:
        console.print(Text(_about_oracle(moments, unlike)))


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
    if value is None or not len(value) or (element is not None and element >= len(value)):
        return NOTHING
    if element is None and len(value) == 1:
        element = 0
    one = value.mean() if element is None else element_of(value, element)
    found: Plain = NOTHING if one is None else one.item()
    return number(found) if isinstance(found, int | float) else str(found)


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
            each = "the copy" if len(ended) == 1 else "each copy"
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


def _about_oracle(moments: Sequence[Moment], unlike: int | None) -> str:
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


def why_element(told: TellingElements, shape: Sequence[int | None]) -> str:
    """Return why this element is shown, and which other elements are informative."""
    first, *others = zip(told.indices, told.amounts, strict=True)
    which = element_text(index_of(first[0], shape)).capitalize()
    said = f"{which} is shown: {told.reason.value} {number(first[1])}."
    if others:
        each = [f"{list(index_of(element, shape))} ({number(by)})" for element, by in others]
        listed = names(each)
        said += (
            f" The next elements are {listed}. --at I,J shows another element, and --at mean "
            "shows the mean of all elements."
        )
    return said
