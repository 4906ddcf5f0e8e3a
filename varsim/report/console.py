"""The report of a run on a console: 80 columns are enough, and a file will do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, TextIO

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from varsim.report.alike import short
from varsim.report.lens_table import print_lens
from varsim.report.page import print_page
from varsim.report.story import story
from varsim.report.summary import Part, Plain, Status, Summary
from varsim.report.tables import GAP, flowing, new_table, print_table
from varsim.report.variable_tables import print_variables
from varsim.report.verdict_text import NOTHING_RECORDED, not_looked_at, verdict_text
from varsim.report.words import count, dimensions, is_scalar, number, seconds

_LEAST_VALUE: Final = 12  # columns beside a name; with less, a value stands below it
_MAX_LISTED: Final = 16  # elements of a list in one line
_MAX_TEXT: Final = 1_000  # characters of a text; summary.json has more
_WORTH_SAYING_S: Final = 0.005  # what took less is shown as 0.00

_IN_WORDS: Final = {
    Part.MERGING.value: "its record was being merged",
    Part.ORACLE.value: "its oracle was running",
    Part.JUDGING.value: "it was being judged",
    Part.WRITING.value: "it was being saved",
}

_LEFT_UNDONE: Final = {
    Part.MERGING.value: "What the processes recorded is kept, but was neither merged nor judged: "
    "`varsim check` does both.",
    Part.ORACLE.value: "There is no oracle to compare with, and the run was not judged: `varsim "
    "check` judges it, and --oracle would run the oracle again.",
    Part.JUDGING.value: "The run was not judged: `varsim check` does that.",
}
"""What there is instead of a verdict if Ctrl-C has cut a part short."""


def print_report(
    summary: Summary, file: TextIO, width: int | None = None, *, everything: bool = False
) -> None:
    """Shows a run: what it reached, what it cost, what its variables hold, where it is saved.

    Args:
        width: In columns; by default that of `file`, whose are the colours, too.
        everything: Each variable, and not once for all that are alike.
    """
    print_page(lambda console: _print_to(console, summary, everything=everything), file, width)


def _print_to(console: Console, summary: Summary, *, everything: bool) -> None:
    console.print(Text(_headline(summary), style="bold"))
    for line in flowing(_circumstances(summary), console.width, separator=" · "):
        console.print(Text(line, style="dim"))
    console.print()
    if summary.result:
        _print_result(console, summary.result)
    variables = summary.variables
    if summary.status is Status.DONE or any(variable.writes for variable in variables):
        print_variables(console, variables, len(summary.devices), everything=everything)
        print_lens(console, variables, everything=everything)
    for advice in summary.advice:
        console.print(Text(f"advised: {advice}"))
    if summary.advice:
        console.print()
    for sentence in story(summary):
        console.print(Text(sentence))
        console.print()
    _print_verdict(console, summary)
    console.print(Text(f"saved in {typed(summary.directory)}"), soft_wrap=True)


def _headline(summary: Summary) -> str:
    """What ran, and how far."""
    done, of_all, what = summary.step, "", "step"
    if summary.total_steps is not None:
        of_all = f" of {count(summary.total_steps)}"
    elif not done:  # the workload says nothing of its steps
        done, what = summary.calls, "call"
    name = summary.experiment["name"]
    last = done if summary.total_steps is None else summary.total_steps
    what += "s" * (last != 1)
    afterwards = [_IN_WORDS[part] for part in summary.interrupted if part in _IN_WORDS]
    if summary.status is Status.FAILED or (summary.status is Status.INTERRUPTED and not afterwards):
        return f"{name}: {summary.status.value} after {count(done)}{of_all} {what}"
    later = "".join(f", interrupted while {words}" for words in afterwards)
    return f"{name}: {count(done)} {what}{later}"


def _circumstances(summary: Summary) -> list[str]:
    """With how many workers, and for how long."""
    replicas = len(summary.devices)
    took = [
        f"{part.value.replace('_', '-')} {seconds(summary.seconds[part.value])} s"
        for part in Part
        if summary.seconds.get(part.value, 0.0) >= _WORTH_SAYING_S
    ]
    return [f"{replicas} worker{'s' * (replicas != 1)}", *took]


def _print_verdict(console: Console, summary: Summary) -> None:
    """What the record of the run says, and what was not looked at."""
    verdict = summary.verdict
    if verdict is None:
        cut_short = [one for one in summary.interrupted if one in _LEFT_UNDONE]
        said = NOTHING_RECORDED if not cut_short else _LEFT_UNDONE[cut_short[-1]]
        console.print(Text(said))
        console.print()
        return
    for finding in verdict.findings:
        console.print(Text(f"found: {finding}"))
    if verdict.compared:
        console.print(Text(f"oracle: {verdict.compared}"))
    if verdict.findings or verdict.compared:
        console.print(Text("`varsim check` explains what that means, and what to do."))
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
    title = "what the training reached"
    matrix = _matrix(console, result)
    if matrix is not None:
        print_table(console, title, matrix)
        return
    console.print(Text(title, style="bold"))
    rows = _flat("", result)
    beside = max(len(name) for name, _ in rows)
    room = console.width - beside - GAP
    if room >= _LEAST_VALUE:
        table = new_table()
        table.show_header = False
        table.add_column("", no_wrap=True)
        table.add_column("", overflow="fold")
        for name, value in rows:
            table.add_row(name, _one_line(value))
        console.print(table)
    else:
        for name, value in rows:
            console.print(Text(short(name, console.width)))
            console.print(Padding(Text(_one_line(value)), (0, 0, 0, GAP)))
    console.print()


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
            rows.append((f"{prefix}{name}".replace("\n", "\\n"), value))
    return rows


def _one_line(value: Plain) -> str:
    if isinstance(value, str):
        more = len(value) - _MAX_TEXT
        return f"{value[:_MAX_TEXT]}… and {count(more)} more characters" if more > 0 else value
    if not isinstance(value, list):
        return number(value)
    shape = _shape(value)
    flat = value
    for _ in shape[1:]:
        flat = [one for part in flat for one in part]
    if not all(map(is_scalar, flat)):
        return number(value)
    more = len(flat) - _MAX_LISTED
    shown = "  ".join(map(number, flat[:_MAX_LISTED]))
    said = f"{dimensions(shape)}  {shown}" if len(shape) > 1 else shown
    return f"{said}  and {count(more)} more" if more > 0 else said


def _shape(value: Plain) -> list[int]:
    """Of lists in lists that are all of one length, as arrays are; else of the outermost."""
    shape, level = [], [value]
    while all(isinstance(one, list) for one in level) and len(set(map(len, level))) == 1:
        shape.append(len(level[0]))
        level = [one for part in level for one in part]
        if not level:
            break
    return shape
