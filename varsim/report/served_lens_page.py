"""The page of `varsim lens` about a variable on a parameter server: its versions, one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from rich.console import Console
from rich.text import Text

from varsim.analysis.served_lens import ServedVersion, ServedVersions
from varsim.report.formatting import NOTHING, count, dimensions, names
from varsim.report.lens_calls_page import chosen_rows
from varsim.report.tables import LEAST_LABEL, Column, fits, show_table
from varsim.texts.facts import average, element_text, index_of, times
from varsim.tracing.trace_format import PROGRAM

_MOST: Final = 40  # versions that are shown without --all


def print_versions(
    console: Console, found: ServedVersions, element: int | None, *, everything: bool = False
) -> None:
    """Print a table with a row for each version, and what follows from it.

    Args:
        found: What is shown of each version is a text.
        element: The index of the shown element in the flat value; None for the mean of all.
        everything: Whether to print every version of a long record.
    """
    versions = found.versions
    lost = next((i for i, one in enumerate(versions) if one.overwritten_by is not None), None)
    most = max(range(len(versions)), key=lambda i: versions[i].behind or 0)
    late = most if versions[most].behind else None
    whole = everything or len(versions) <= _MOST
    indices = list(chosen_rows(len(versions), lost, late, everything=whole))
    rows = [None if i < 0 else versions[i] for i in _with_gaps(indices)]
    columns = _columns(rows)
    labels = ["…" if one is None else count(one.version) for one in rows]
    for dispensable in ("line", "closure", "operation", "read by"):
        if fits(columns, ["version", *labels], console.width, LEAST_LABEL):
            break
        columns = [one for one in columns if one.heading != dispensable]
    show_table(console, _title(found, element), labels, columns, corner="version")
    for text in _sentences(found):
        console.print(Text(text))
    left_out = sum(after - before - 1 for before, after in pairwise(indices))
    if left_out:
        more = f"{times(left_out, 'version')} between the shown ones"
        console.print(Text(f"{more} are left out: --all shows every version."))


def _title(found: ServedVersions, element: int | None) -> str:
    where = f"{found.name} (on parameter server {found.server}, {found.dtype})"
    if not found.shape:
        return f"{where}: every version"
    if element is None:
        return f"{where}: mean of the elements of every version"
    which = element_text(index_of(element, found.shape))
    return f"{where}: {which} of {dimensions(found.shape)}"


def _with_gaps(indices: Sequence[int]) -> Iterator[int]:
    """Yield the indices, with -1 in place of those that are left out."""
    before = -1
    for index in indices:
        if index != before + 1:
            yield -1
        yield index
        before = index


def _columns(rows: Sequence[ServedVersion | None]) -> list[Column]:
    def cells(text: Callable[[ServedVersion], str]) -> list[str]:
        return ["" if one is None else text(one) for one in rows]

    return [
        Column("made by", cells(_who), right=False),
        Column("closure", cells(lambda one: count(one.closure_id) if one.closure_id else "")),
        Column("operation", cells(lambda one: one.operation), right=False),
        Column("based on", cells(lambda one: _or_nothing(one.based_on))),
        Column("behind", cells(lambda one: _or_nothing(one.behind))),
        Column("value", cells(lambda one: one.shown or NOTHING)),
        Column("reads", cells(lambda one: count(one.reads))),
        Column("read by", cells(_readers), right=False),
        Column("", cells(_mark), right=False),
        Column("line", cells(lambda one: one.location), right=False),
    ]


def _or_nothing(value: int | None) -> str:
    return "" if value is None else count(value)


def _who(one: ServedVersion) -> str:
    return "the program" if one.process == PROGRAM else f"worker {one.process}"


def _readers(one: ServedVersion) -> str:
    """Return who has read the version: numbers of workers, and the program."""
    readers = ["program" if who == PROGRAM else str(who) for who, _ in one.readers]
    return names(readers) if readers else ""


def _mark(one: ServedVersion) -> str:
    return "" if one.overwritten_by is None else f"lost to {count(one.overwritten_by)}"


def _sentences(found: ServedVersions) -> Iterator[str]:
    versions = found.versions
    writes = [one for one in versions if one.operation != "create"]
    based = [one.behind for one in writes if one.behind is not None]
    stale = [behind for behind in based if behind]
    reads = sum(one.reads for one in versions)
    counts = f"{times(len(writes), 'write')} and {times(reads, 'read')}"
    yield f"{counts}. A read always gets the newest version."
    if based:
        mean = sum(based) / len(based)
        yield (
            f"{times(len(based), 'write')} came after a read in the same closure; "
            f"{count(len(stale))} of them were behind: others had written in between. On average "
            f"a write was {average(mean, 'version')} behind, at most {count(max(based))}."
        )
    lost = [one for one in writes if one.overwritten_by is not None]
    if lost:
        yield "lost to N: version N has overwritten this update, and was made without it."
    if lost and not found.missing:
        yield (
            f"{times(len(lost), 'update')} are lost, the first one in version "
            f"{count(lost[0].version)}: `varsim check` says in which lines, and what to do."
        )
    if any(one.shown is None for one in versions):
        yield f"{NOTHING} means not recorded: --trace messages records all values."
    if found.missing:
        yield f"The record is not whole: {found.missing}. Later versions may exist."
