"""The table of variables on parameter servers: their uses, their cost, and stale writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from varsim.report.formatting import count, dimensions, size
from varsim.report.summary import VariableSummary
from varsim.report.tables import Column, show_table

_MOST_ROWS: Final = 40  # two screens
_BEHIND: Final = (
    "behind: how many versions others have made between the read and the write of a closure"
)


def print_served(console: Console, variables: Sequence[VariableSummary]) -> None:
    """Print variables on parameter servers, which other variables do not resemble."""
    if not variables:
        return
    shown = variables[:_MOST_ROWS]
    served = [one.served for one in shown if one.served is not None]
    columns = [
        Column("server", [count(one.server) for one in served]),
        Column("shape", [dimensions(one.shape) for one in shown], right=False),
        Column("reads", [count(one.reads) for one in shown]),
        Column("writes", [count(one.writes) for one in shown]),
        Column("messages", [count(one.messages) for one in shown]),
        Column("bytes", [size(one.size_bytes) for one in shown]),
        Column("mean\nbehind", [f"{one.behind:,.3g}" for one in served]),
        Column("most\nbehind", [count(one.most_behind) for one in served]),
    ]
    title = "variables on parameter servers"
    show_table(console, title, [one.name for one in shown], columns, corner="variable")
    console.print(Text(_BEHIND, style="dim"))
    console.print()
    if len(shown) < len(variables):
        more = count(len(variables) - len(shown))
        console.print(Text(f"{more} more variables are in summary.json."))
        console.print()
