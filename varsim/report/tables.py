"""Tables that fit the console: if it is narrow, each row becomes a block of lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from varsim.report.formatting import filled
from varsim.report.grouping import short_names

GAP: Final = 2  # columns between the cells of a table
LEAST_LABEL: Final = 12  # columns; longer labels are not shortened to less than this width
_PART: Final = re.compile(r"[^ _]*[ _]*")  # of a heading: up to the next place for a break
_HARD_BLANK: Final = "\u00a0"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; its heading may have several lines."""

    heading: str
    cells: Sequence[str]  # one per row
    right: bool = True  # whether cells are right-aligned

    @property
    def width(self) -> int:
        """Return the width of the widest line."""
        return max(map(cell_len, [*self.heading.splitlines(), *self.cells]), default=0)

    @property
    def longest_word(self) -> int:
        """Return the width of the longest word: the least width that breaks no word."""
        words = (word for text in (self.heading, *self.cells) for word in text.split())
        return max(map(cell_len, words), default=0)


def new_table() -> Table:
    """Return an empty table in the style of all reports."""
    return Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),  # with the blank of the box, this makes GAP columns between cells
        header_style="dim",
    )


def print_table(console: Console, title: str, table: Table) -> None:
    """Print a title, the table and an empty line."""
    console.print(Text(title, style="bold"))
    console.print(table)
    console.print()


def fits(columns: Sequence[Column], labels: Sequence[str], width: int, least: int) -> bool:
    """Return whether a table fits with labels shortened to `least` columns."""
    label = min(least, max(map(cell_len, labels), default=0))
    return label + sum(GAP + column.width for column in columns) <= width


def show_table(
    console: Console,
    title: str,
    labels: Sequence[str],
    columns: Sequence[Column],
    *,
    corner: str = "",
    whole: bool = False,
) -> None:
    """Print a title, a table and an empty line.

    Args:
        labels: One label for each row. Labels that are too wide are shortened, and stay distinct.
        corner: The heading above the labels.
        whole: Whether labels must not be shortened.
    """
    least = console.width if whole else LEAST_LABEL
    as_table = fits(columns, [corner, *labels], console.width, least)
    room = console.width
    if as_table:
        room -= sum(GAP + column.width for column in columns)
    shown = labels if whole else short_names(labels, room)
    if as_table:
        table = new_table()
        table.add_column(corner, no_wrap=True)
        for column in columns:
            justify = "right" if column.right else "left"
            table.add_column(column.heading, no_wrap=True, justify=justify)  # type: ignore[arg-type]
        for row, label in enumerate(shown):
            table.add_row(label, *(column.cells[row] for column in columns))
        print_table(console, title, table)
    else:
        _show_blocks(console, title, shown, columns)


def narrowed(heading: str, cells: Sequence[str]) -> str:
    """Return a heading that is broken after blanks and `_` if the cells are narrower.

    Words stay whole, so that a reader recognises the names of settings.
    """
    width = max(map(cell_len, [*cells, *_PART.findall(heading)]), default=0)
    lines: list[str] = []
    for part in _PART.findall(heading):
        if lines and cell_len(f"{lines[-1]}{part}".rstrip()) <= width:
            lines[-1] += part
        else:
            lines.append(part)
    return "\n".join(line.rstrip() for line in lines)


def show_texts(
    console: Console, labels: Sequence[str], columns: Sequence[Column], *, corner: str = ""
) -> None:
    """Print a table without a title. Cells and headings break between words if necessary."""
    every = [Column(corner, labels, right=False), *columns]
    least = [column.longest_word for column in every]
    room = console.width - GAP * (len(every) - 1)
    if sum(least) > room:
        _show_rows(console, labels, columns)
        return
    more = [column.width - one for column, one in zip(every, least, strict=True)]
    spare = room - sum(least)
    given = 1.0 if sum(more) <= spare else spare / sum(more)
    table = new_table()
    for column, word, rest in zip(every, least, more, strict=True):
        justify = "right" if column.right else "left"
        table.add_column(column.heading, justify=justify, width=word + int(rest * given))  # type: ignore[arg-type]
    for row, label in enumerate(labels):
        table.add_row(label, *(column.cells[row] for column in columns))
    console.print(table)


def show_tables(
    console: Console,
    title: str,
    labels: Sequence[str],
    columns: Sequence[Column],
    *,
    corner: str = "",
    every: Sequence[Column] = (),
    most_label: int | None = None,
) -> None:
    """Print a table, or several ones with the same labels if the console is too narrow for one.

    Args:
        every: Columns that each of these tables has, before its others.
        most_label: The width to which labels may be shortened; by default they need not be.
    """
    label = max(map(cell_len, [corner, *labels]))
    label = label if most_label is None else min(label, most_label)
    room = console.width - label - together(every)
    for place, part in enumerate(divided(columns, room)):
        shown = title if place == 0 else f"{title}: further columns"
        show_table(console, shown, labels, [*every, *part], corner=corner)


def divided(columns: Sequence[Column], room: int) -> list[list[Column]]:
    """Divide columns among tables, each with at most `room` characters, or with one column."""
    parts: list[list[Column]] = [[]]
    for column in columns:
        if parts[-1] and together([*parts[-1], column]) > room:
            parts.append([])
        parts[-1].append(column)
    return parts


def together(columns: Sequence[Column]) -> int:
    """Return the width of columns with the gaps before them."""
    return sum(GAP + column.width for column in columns)


def _show_blocks(
    console: Console, title: str, labels: Sequence[str], columns: Sequence[Column]
) -> None:
    console.print(Text(title, style="bold"))
    _show_rows(console, labels, columns)
    console.print()


def _show_rows(console: Console, labels: Sequence[str], columns: Sequence[Column]) -> None:
    """Print each row as its label, and below the label its cells with their headings."""
    for row, label in enumerate(labels):
        console.print(Text(label))
        pairs = [
            f"{' '.join(column.heading.split())} {column.cells[row]}"
            for column in columns
            if column.cells[row]
        ]
        for line in flowing(pairs, console.width, indent=2 * GAP):
            console.print(Text(line))


def flowing(parts: Sequence[str], width: int, indent: int = 0, separator: str = ", ") -> list[str]:
    """Join parts into lines that break between parts if possible."""
    if not parts:
        return []
    room = width - indent - 1
    text = separator.join(
        one.replace(" ", _HARD_BLANK) if cell_len(one) <= room else one for one in parts
    )
    blanks = " " * indent
    lines = filled(text, width, blanks, blanks, break_words=True)
    return [line.replace(_HARD_BLANK, " ") for line in lines]
