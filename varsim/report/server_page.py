"""The page of `varsim check` about parameter servers: promises, lost updates, and an account."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from varsim.analysis.served import ServedAccount, ServedExamination
from varsim.report.check_page import how_to_see, print_judged
from varsim.report.findings_text import findings_text, told_findings
from varsim.report.formatting import count, wrapped
from varsim.report.tables import Column, show_table
from varsim.report.verdict_text import end_of


def print_servers(
    console: Console, found: ServedExamination, *, everything: bool = False, record: str = ""
) -> None:
    """Print the page about the records of all servers of a strategy.

    Args:
        everything: Whether to print similar findings one by one.
        record: The folder of the record, if it is not the run's first record.
    """
    width = console.width
    others = print_judged(console, found)
    console.print()
    _print_accounts(console, found.accounts)
    told = told_findings(others, everything=everything)
    lines = findings_text(told, width) or wrapped(nothing_lost(found), width)
    hint = how_to_see(found, told, record, width)
    for line in [*lines, *hint, "", *end_of(found, width)]:
        console.print(Text(line), soft_wrap=True)


def nothing_lost(found: ServedExamination) -> str:
    """Return the sentence for an examination without findings."""
    if not found.is_whole:
        return (
            "your program was not searched for lost updates and repeated writes: a record is not "
            "whole"
        )
    looked_at = f"{count(found.num_operations)} operations"
    return f"no lost update and no repeated write in {looked_at}"


def _print_accounts(console: Console, accounts: Sequence[ServedAccount]) -> None:
    """Print what happened to each variable."""
    if not accounts:
        return
    stale = [sum(often for behind, often in one.behind if behind) for one in accounts]
    most = [max((behind for behind, _ in one.behind), default=0) for one in accounts]
    columns = [
        Column("server", [count(one.server) for one in accounts]),
        Column("reads", [count(one.reads) for one in accounts]),
        Column("writes", [count(one.writes) for one in accounts]),
        Column("on an older\nversion", [count(one) for one in stale]),
        Column("most versions\nbehind", [count(one) for one in most]),
        Column("lost\nupdates", [count(one.lost) for one in accounts]),
        Column("repeated\nwrites", [count(one.repeated) for one in accounts]),
    ]
    labels = [one.variable for one in accounts]
    show_table(console, "variables on parameter servers", labels, columns, corner="variable")
