"""Compose HTML for notebooks: escaped, small, and without colours for text or background.

Notebooks are light or dark. So a fragment inherits all colours; only lines beside a text have one,
which can be seen on both. Styles are attributes of elements: they need no `<style>`, which would
apply to the whole notebook.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from varsim.report.tables import Column
from varsim.visible import visible

MOST_ROWS: Final = 60  # of a table or a list; a notebook keeps every output in its file

_LINES: Final = {"good": "#0f9d6f", "bad": "#d9483b", "unsure": "#c08a00"}
"""Mood → the colour of the line beside a text."""

_SIGNS: Final = {"good": "✓", "bad": "✗", "unsure": "!"}
_VIEW: Final = "max-width:100%;overflow-x:auto;line-height:1.45"
_CELL: Final = "padding:.1em .9em .1em 0;white-space:nowrap;text-align:"
_FAINT: Final = "opacity:.75"
_PRE: Final = (
    "margin:.3em 0;padding:.4em .7em;border:1px solid #8886;border-radius:4px;overflow-x:auto;"
    "background:none;color:inherit;font-size:.92em;line-height:1.4"
)


def text(said: str) -> str:
    """Return a text of the program as HTML: no part of it is an element."""
    return escape(visible(said))


def coded(said: str) -> str:
    """Return a text of which the parts in `backquotes` are code."""
    parts = re.split(r"`([^`\n]+)`", said)
    return "".join(
        f"<code>{text(one)}</code>" if place % 2 else text(one) for place, one in enumerate(parts)
    )


def view(*parts: str) -> str:
    """Return the parts as the output of one cell."""
    return f'<div style="{_VIEW}">{"".join(parts)}</div>'


def paragraph(said: str, *, faint: bool = False) -> str:
    """Return a paragraph; parts of the text in `backquotes` are code."""
    return f'<p style="margin:.3em 0{f";{_FAINT}" if faint else ""}">{coded(said)}</p>'


def heading(said: str, beside: str = "") -> str:
    """Return a line with a bold text, and a faint text beside it."""
    more = f' <span style="{_FAINT}">{text(beside)}</span>' if beside else ""
    return f'<p style="margin:.3em 0"><strong>{text(said)}</strong>{more}</p>'


def outcome(said: str, mood: str) -> str:
    """Return a sentence with a sign: good, bad or unsure."""
    return (
        f'<p style="margin:.3em 0;padding:.3em .7em;border-left:4px solid {_LINES[mood]}">'
        f'<span aria-hidden="true">{_SIGNS[mood]}</span> {coded(said)}</p>'
    )


def beside_line(mood: str, *parts: str) -> str:
    """Return parts beside a line in the colour of a mood."""
    style = f"margin:.6em 0;padding-left:.7em;border-left:4px solid {_LINES[mood]}"
    return f'<div style="{style}">{"".join(parts)}</div>'


def listing(items: Iterable[str]) -> str:
    """Return a list of the first `MOST_ROWS` items; parts of texts in `backquotes` are code."""
    every = list(items)
    shown = every[:MOST_ROWS]
    if len(every) > MOST_ROWS:
        shown.append(f"and {len(every) - MOST_ROWS:,} more")
    rows = "".join(f"<li>{coded(one)}</li>" for one in shown)
    return f'<ul style="margin:.2em 0;padding-left:1.4em">{rows}</ul>'


def lines(said: Sequence[str]) -> str:
    """Return lines of a program, to copy."""
    return f'<pre style="{_PRE}">{text(chr(10).join(said))}</pre>'


def folded(title: str, *parts: str) -> str:
    """Return parts that the reader opens."""
    return f"<details><summary>{text(title)}</summary>{''.join(parts)}</details>"


def pairs(rows: Sequence[tuple[str, str]], title: str = "") -> str:
    """Return a table of names and values, without headings."""
    return table(title, [name for name, _ in rows], [Column("", [one for _, one in rows], False)])


def table(title: str, labels: Sequence[str], columns: Sequence[Column], corner: str = "") -> str:
    """Return a table.

    Args:
        title: Above the table; "" for none.
        labels: One label for each row.
        corner: The heading above the labels.
    """
    sides = ["left", *("right" if one.right else "left" for one in columns)]
    headings = [corner, *(" ".join(one.heading.split()) for one in columns)]
    head = "".join(
        f'<th scope="col" style="{_CELL}{side};font-weight:normal;{_FAINT}">{text(one)}</th>'
        for one, side in zip(headings, sides, strict=True)
    )
    rows = [
        _row(label, [one.cells[place] for one in columns], sides)
        for place, label in enumerate(labels[:MOST_ROWS])
    ]
    more = len(labels) - MOST_ROWS
    below = paragraph(f"{more:,} more rows are not shown.", faint=True) if more > 0 else ""
    caption = (
        f'<caption style="text-align:left;font-weight:bold;color:inherit">{text(title)}</caption>'
        if title
        else ""
    )
    thead = f"<thead><tr>{head}</tr></thead>" if any(headings) else ""
    return (
        f'<table style="border-collapse:collapse;margin:.4em 0;border:0">{caption}{thead}'
        f"<tbody>{''.join(rows)}</tbody></table>{below}"
    )


def _row(label: str, cells: Sequence[str], sides: Sequence[str]) -> str:
    first, *others = sides
    said = "".join(
        f'<td style="{_CELL}{side}">{text(cell)}</td>'
        for cell, side in zip(cells, others, strict=True)
    )
    return f'<tr><th scope="row" style="{_CELL}{first}">{text(label)}</th>{said}</tr>'
