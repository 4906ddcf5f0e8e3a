"""The page of `varsim lens` about a plain variable: who read and wrote it, in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from varsim.analysis.plain_lens import PlainOperation
from varsim.analysis.plain_values import PlainName
from varsim.report.formatting import NOTHING, count, dimensions
from varsim.report.lens_calls_page import chosen_rows
from varsim.report.tables import Column, show_table
from varsim.texts.facts import element_text, index_of, times

_MOST: Final = 40  # operations that are shown without --all
_MEANING: Final = (
    "It is not distributed: it has one value, in the program's process, which is shown after each "
    "operation of a replica. What the program itself reads and writes is not recorded."
)


def print_operations(
    console: Console,
    name: PlainName,
    operations: Sequence[PlainOperation],
    shape: Sequence[int],
    element: int | None,
    *,
    everything: bool = False,
) -> None:
    """Print a table with a row for each operation, and how often each replica read and wrote.

    Args:
        operations: What is shown of each value is a text.
        element: The index of the shown element in the flat value; None for the mean of all.
        everything: Whether to print every operation of a long record.
    """
    whole = everything or len(operations) <= _MOST
    indices = list(chosen_rows(len(operations), everything=whole))
    rows = [operations[index] for index in indices]
    title = f"{name.name}, created outside the scope at {name.created_at}: {_what(shape, element)}"
    show_table(console, title, [count(one.event) for one in rows], _columns(rows), corner="event")
    console.print(Text(" ".join(_by_replica(operations))))
    console.print(Text(_MEANING))
    if any(one.oracle is not None for one in operations):
        console.print(Text("oracle: the single device's value after the same call."))
    left_out = len(operations) - len(rows)
    if left_out:
        more = f"{times(left_out, 'operation')} between the shown ones"
        console.print(Text(f"{more} are left out: --all shows every operation."))


def _what(shape: Sequence[int], element: int | None) -> str:
    if not shape:
        return "value after each operation"
    if element is None:
        return "mean of its elements after each operation"
    return f"{element_text(index_of(element, shape))} of {dimensions(shape)}"


def _columns(rows: Sequence[PlainOperation]) -> list[Column]:
    def cells(text: Callable[[PlainOperation], str]) -> list[str]:
        return [text(one) for one in rows]

    columns = [
        Column("call", cells(lambda one: "" if one.call is None else count(one.call))),
        Column("replica", cells(lambda one: str(one.replica))),
        Column("operation", cells(lambda one: one.operation), right=False),
        Column("value", cells(lambda one: one.value or NOTHING)),
    ]
    if any(one.oracle is not None for one in rows):
        columns.append(Column("oracle", cells(lambda one: one.oracle or "")))
    return [*columns, Column("line", cells(lambda one: one.location), right=False)]


def _by_replica(operations: Sequence[PlainOperation]) -> Iterator[str]:
    """Yield a sentence for each replica: how often it wrote and read."""
    reads = Counter(one.replica for one in operations if one.is_read)
    writes = Counter(one.replica for one in operations if not one.is_read)
    for replica in sorted({*reads, *writes}, key=str):
        made = f"{times(writes[replica], 'write')} and {times(reads[replica], 'read')}"
        yield f"Replica {replica}: {made}."
