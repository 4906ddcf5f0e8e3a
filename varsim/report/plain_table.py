"""The table of plain variables, which were created outside the scope and are not distributed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from varsim.report.formatting import count, dimensions
from varsim.report.summary import PlainVariable
from varsim.report.tables import Column, show_table
from varsim.visible import visible

_MOST_ROWS: Final = 20  # one screen
_MEANING: Final = "not distributed: one value in the program's process, which replicas use in turn"


def print_plain(console: Console, variables: Sequence[PlainVariable]) -> None:
    """Print the plain variables that replicas used."""
    if not variables:
        return
    shown = variables[:_MOST_ROWS]
    columns = [
        Column("created at", [visible(one.created_at) for one in shown], right=False),
        Column("shape", [dimensions(one.shape) for one in shown], right=False),
        Column("dtype", [one.dtype for one in shown], right=False),
        Column("writes", [count(one.writes) for one in shown]),
        Column("reads", [count(one.reads) for one in shown]),
    ]
    title = "variables outside the scope, as replicas used them"
    show_table(console, title, [visible(one.name) for one in shown], columns)
    console.print(Text(_MEANING, style="dim"))
    console.print()
    if len(shown) < len(variables):
        more = count(len(variables) - len(shown))
        console.print(Text(f"{more} more variables are in summary.json."))
        console.print()
