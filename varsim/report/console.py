"""The report of a run on a console: 80 columns are enough, and a file will do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from varsim.report.lens_table import print_lens
from varsim.report.page import print_page
from varsim.report.story import story
from varsim.report.summary import Judgement, Plain, Status, Summary
from varsim.report.variable_tables import GAP, new_table, print_table, print_variables
from varsim.report.verdict_text import NOTHING_RECORDED, not_looked_at, verdict_text
from varsim.report.words import count, is_scalar, number, seconds

_MAX_LISTED: Final = 16  # elements of a list in one line


def print_report(summary: Summary, file: TextIO, width: int | None = None) -> None:
    """Shows a run: what it reached, what it cost, what its variables hold, where it is saved.

    Colours and the width are the terminal's, if `file` is one; otherwise there are no colours.
    """
    print_page(lambda console: _print_to(console, summary), file, width)


def _print_to(console: Console, summary: Summary) -> None:
    console.print(Text(_headline(summary), style="bold"))
    console.print(Text(_circumstances(summary), style="dim"))
    console.print()
    if summary.result:
        _print_result(console, summary.result)
    if summary.status is Status.DONE or any(variable.writes for variable in summary.variables):
        print_variables(console, summary.variables)
        print_lens(console, summary.variables)
    for advice in summary.advice:
        console.print(Text(f"advised: {advice}"))
    if summary.advice:
        console.print()
    for sentence in story(summary):
        console.print(Text(sentence))
        console.print()
    _print_verdict(console, summary.verdict)
    console.print(Text(f"saved in {typed(summary.directory)}"), soft_wrap=True)


def _headline(summary: Summary) -> str:
    """What ran, and how far."""
    steps = f"{count(summary.step)} step{'s' * (summary.step != 1)}"
    if summary.status is not Status.DONE:
        of_all = "" if summary.total_steps is None else f" of {count(summary.total_steps)}"
        steps = f"{summary.status.value} after {count(summary.step)}{of_all} steps"
    return f"{summary.experiment['name']}: {steps}"


def _circumstances(summary: Summary) -> str:
    """With how many workers, and for how long."""
    replicas = len(summary.devices)
    took = [
        f"{name} {seconds(summary.seconds[key])} s"
        for name, key in (("start-up", "start_up"), ("training", "training"))
        if key in summary.seconds
    ]
    return " · ".join([f"{replicas} worker{'s' * (replicas != 1)}", *took])


def _print_verdict(console: Console, verdict: Judgement | None) -> None:
    """What the record of the run says, and what was not looked at."""
    if verdict is None:
        console.print(Text(NOTHING_RECORDED))
        console.print()
        return
    for finding in verdict.findings:
        console.print(Text(f"found: {finding}"))
    if verdict.compared:
        console.print(Text(f"compared: {verdict.compared}"))
    if verdict.findings:
        console.print(Text("`varsim check` tells what that means, and what to do."))
    if verdict.findings or verdict.compared:
        console.print()
    console.print(Text(verdict_text(verdict.outcome, verdict.reasons)))
    console.print()
    if verdict.not_looked_at:
        for line in not_looked_at(verdict.not_looked_at, console.width):
            console.print(Text(line))
        console.print()


def typed(directory: str) -> str:
    """The path as one would type it here."""
    path = Path(directory)
    try:
        return f"{path.absolute().relative_to(Path.cwd())}/"
    except ValueError:
        return f"{path}/"


# ---------------------------------------------------------------- what the training reached


def _print_result(console: Console, result: Mapping[str, Plain]) -> None:
    table = _matrix(console, result) or _list(result)
    print_table(console, "what the training reached", table)


def _list(result: Mapping[str, Plain]) -> Table:
    table = new_table()
    table.show_header = False
    table.add_column("", no_wrap=True)
    table.add_column("", overflow="fold")
    for name, value in _flat("", result):
        table.add_row(name, _one_line(value))
    return table


def _matrix(console: Console, result: Mapping[str, Plain]) -> Table | None:
    """A table with two headings, for a dict of dicts with the same keys, if it fits."""
    rows = list(result.values())
    if len(rows) < 2 or not all(isinstance(row, dict) and row for row in rows):
        return None
    keys = list(rows[0])
    if not all(list(row) == keys and all(map(is_scalar, row.values())) for row in rows):
        return None
    upright = [["", *keys], *([name, *map(number, result[name].values())] for name in result)]
    for cells in (upright, [list(column) for column in zip(*upright, strict=True)]):
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        if sum(widths) + GAP * (len(widths) - 1) <= console.width:
            table = new_table()
            table.add_column("")
            for heading in cells[0][1:]:
                table.add_column(heading, justify="right")
            for row in cells[1:]:
                table.add_row(*row)
            return table
    return None


def _flat(prefix: str, values: Mapping[str, Plain]) -> list[tuple[str, Plain]]:
    rows: list[tuple[str, Plain]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += _flat(f"{prefix}{name}.", value)
        else:
            rows.append((f"{prefix}{name}", value))
    return rows


def _one_line(value: Plain) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(map(is_scalar, value)):
        more = len(value) - _MAX_LISTED
        shown = "  ".join(map(number, value[:_MAX_LISTED]))
        return f"{shown}  and {more} more" if more > 0 else shown
    return number(value)
