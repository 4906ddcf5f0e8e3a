"""The table of variables: what was asked of each, and what its synchronisation cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from varsim.report.summary import VariableSummary
from varsim.report.words import count, dimensions, middle, seconds, size

GAP: Final = 2  # columns between the cells of a table
MAX_ROWS: Final = 40  # two screens; the rest is in summary.json
_SHORTEST_NAME: Final = 8  # cut in its middle to no less
_LONG_NAME: Final = "n" * 20  # if names of this length fit, everything is put into one table

_SETTINGS: Final = ["asked", "in force", "aggregation", "shape", "dtype"]
_COSTS: Final = ["writes", "reads", "merges", "messages", "bytes", "waited s"]


def print_variables(console: Console, variables: Sequence[VariableSummary]) -> None:
    """One table if the console is wide, else one of settings and one of costs."""
    shown = variables[:MAX_ROWS]
    settings = [_SETTINGS, *map(_settings, shown)]
    costs = [_COSTS, *map(_costs, shown)]
    if len(variables) > 1:
        settings.append([""] * len(_SETTINGS))
        costs.append(_moved(variables))
    names = ["", *(variable.name for variable in shown), "together"]
    both = [[*left, *right] for left, right in zip(settings, costs, strict=True)]
    if _width([[_LONG_NAME, *row] for row in both]) <= console.width:
        _print(console, "variables", names, both)
    else:
        _print(console, "variables", names, settings[: len(shown) + 1])
        _print(console, "what synchronising them cost", names, costs)
    _print_saving(console, [v for v in variables if v.on_write is not None])
    if len(variables) > MAX_ROWS:
        console.print(f"… and {len(variables) - MAX_ROWS} more variables: see summary.json\n")


def _print_saving(console: Console, adaptive: Sequence[VariableSummary]) -> None:
    """What deferring the writes of adaptive variables has saved, in a line."""
    if adaptive:
        console.print(Text("adaptive: " + saving(adaptive)))
        console.print()


def saving(adaptive: Sequence[VariableSummary]) -> str:
    """What exchanging late has cost, and what exchanging at every write would have."""
    now = _cost([(v.merges, v.messages, v.size_bytes) for v in adaptive])
    costs = [variable.on_write for variable in adaptive if variable.on_write is not None]
    instead = _cost([(cost.merges, cost.messages, cost.size_bytes) for cost in costs])
    if now == instead:
        return f"{now}, as under ON_WRITE: every write was read before the next one"
    return f"{now}; under ON_WRITE {instead}"


def _cost(costs: Sequence[tuple[int, int, int]]) -> str:
    exchanges, messages, size_bytes = map(sum, zip(*costs, strict=True))
    return (
        f"{count(exchanges)} exchange{'s' * (exchanges != 1)}, "
        f"{count(messages)} messages, {size(size_bytes)}"
    )


def _print(
    console: Console, title: str, names: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """A table of `rows`, of which the first is the headings; `names` get what room is left."""
    table = new_table()
    table.add_column("", no_wrap=True)
    for heading in rows[0]:
        table.add_column(heading, no_wrap=True, justify="right" if heading in _COSTS else "left")
    room = max(_SHORTEST_NAME, console.width - _width([["", *row] for row in rows]))
    for name, row in zip(names[1:], rows[1:], strict=False):
        table.add_row(middle(name, room), *row)
    print_table(console, title, table)


def _width(rows: Sequence[Sequence[str]]) -> int:
    """How wide a table of these cells is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return sum(widths) + GAP * (len(widths) - 1)


def new_table() -> Table:
    """An empty table, as all tables of a report look."""
    return Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),  # with the box's own blank, GAP columns between cells
        header_style="dim",
    )


def print_table(console: Console, title: str, table: Table) -> None:
    """A table under its title, and an empty line."""
    console.print(Text(title, style="bold"))
    console.print(table)
    console.print()


def _settings(variable: VariableSummary) -> list[str]:
    return [
        variable.requested,
        variable.synchronization,
        variable.aggregation,
        dimensions(variable.shape),
        variable.dtype,
    ]


def _costs(variable: VariableSummary) -> list[str]:
    counts = variable.writes, variable.reads, variable.merges, variable.messages
    return [*map(count, counts), size(variable.size_bytes), seconds(variable.waited_s)]


def _moved(variables: Sequence[VariableSummary]) -> list[str]:
    messages = sum(variable.messages for variable in variables)
    moved = size(sum(variable.size_bytes for variable in variables))
    return ["", "", "", count(messages), moved, ""]
