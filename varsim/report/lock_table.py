"""The table of locks: how long each replica waited for each of them, and held it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from varsim.report.formatting import count
from varsim.report.summary import LockUse
from varsim.report.tables import Column, show_table
from varsim.visible import visible

MAX_ROWS: Final = 20  # one screen; --all shows the rest


def print_locks(console: Console, locks: Sequence[LockUse], *, everything: bool = False) -> None:
    """Print a row for each lock and replica; the longest waits are first.

    Args:
        everything: Whether to print all rows.
    """
    if not locks:
        return
    rows = sorted(locks, key=lambda one: (-one.waited_s, one.lock, one.replica))
    shown = rows if everything else rows[:MAX_ROWS]
    columns = [
        Column("times", [count(one.requests) for one in shown]),
        Column("waits", [count(one.waits) for one in shown]),
        Column("waited\nms", [_ms(one.waited_s) for one in shown]),
        Column("longest\nms", [_ms(one.longest_s) for one in shown]),
        Column("held\nms", [_ms(one.held_s) for one in shown]),
    ]
    labels = [f"{visible(one.lock)}, replica {one.replica}" for one in shown]
    show_table(console, "locks: how long each replica waited", labels, columns)
    if len(shown) < len(rows):
        left_out = count(len(rows) - len(shown))
        console.print(Text(f"{left_out} more rows are in summary.json. --all shows every row."))
        console.print()


def _ms(time_s: float) -> str:
    return "0" if not time_s else f"{time_s * 1e3:,.3g}" if time_s < 1 else f"{time_s * 1e3:,.0f}"
