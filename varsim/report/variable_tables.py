"""The tables of variables: their settings, their uses, and the cost of their synchronisation."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from varsim.report.formatting import count, dimensions, on_one_line, seconds, size
from varsim.report.grouping import grouped, name_of
from varsim.report.served_table import print_served
from varsim.report.summary import BoundedUse, CompressionUse, OneSidedUse, VariableSummary
from varsim.report.tables import LEAST_LABEL, Column, fits, show_table
from varsim.texts.facts import average, times

MAX_ROWS: Final = 40  # two screens; --all shows the rest
_MANY: Final = 20  # with more variables, a row may stand for variables with different names
_WHOLE_NAME: Final = 20  # columns of a name; with less room, there are more tables
_COST: Final = "cost of their synchronisation"
_USES: Final = "shapes and uses"
_ALONE: Final = "if each variable were sent alone"
IF_ALONE: Final = "if alone: as if each variable were sent alone; in fact variables share messages"
"""The meaning of a heading, for the line below a table."""

_DIGITS: Final = re.compile(r"\d+")

Group = Sequence[VariableSummary]


def print_variables(
    console: Console,
    variables: Sequence[VariableSummary],
    num_replicas: int,
    *,
    everything: bool = False,
) -> None:
    """Print the variables, in as few tables as the console has room for.

    Args:
        everything: Whether to print a row for each variable. If false, similar variables share a
            row.
    """
    print_served(console, [one for one in variables if one.served is not None])
    variables = [one for one in variables if one.served is None]
    if not variables:
        return
    groups = [[one] for one in variables] if everything else grouped(variables, likeness(variables))
    shown = groups if everything else groups[:MAX_ROWS]
    names = [name_of([one.name for one in group]) for group in shown]
    labels = [*names, "together"] if len(variables) > 1 else names
    sums = variables if len(variables) > 1 else []
    for title, columns in _laid_out(shown, labels, sums, num_replicas, console.width):
        has_sums = any(column.cells[-1] for column in columns)
        show_table(console, title, labels if has_sums else names, columns)
    _print_saving(console, [one for one in variables if one.on_write is not None])
    _print_rows(console, [one for one in variables if one.sparse_bytes])
    _print_one_sided(console, variables)
    _print_compression(console, variables)
    _print_bounded(console, variables)
    console.print(Text(IF_ALONE, style="dim"))
    console.print()
    said = []
    if any(len(group) > 1 for group in shown):
        said.append("In a row for several variables, the figures are per variable.")
    if len(shown) < len(groups):
        left_out = sum(map(len, groups[MAX_ROWS:]))
        said.append(f"{count(left_out)} more variables are in summary.json.")
    if said:
        console.print(Text(" ".join([*said, "--all shows every variable."])))
        console.print()


def likeness(variables: Sequence[VariableSummary]) -> Callable[[VariableSummary], Hashable]:
    """Return the key of variables that share a row: settings and costs.

    If there are few variables, the key has their names, too. Names that differ only in numbers
    count as the same.
    """
    many = len(variables) > _MANY

    def key(variable: VariableSummary) -> Hashable:
        cost = variable.on_write
        return (
            None if many else _DIGITS.sub("#", variable.name),
            (variable.requested, variable.synchronization, variable.aggregation),
            (tuple(variable.shape), variable.dtype, variable.writes, variable.reads),
            (variable.merges, variable.messages, variable.size_bytes, variable.sparse_bytes),
            None if cost is None else (cost.merges, cost.messages, cost.size_bytes),
        )

    return key


def _print_saving(console: Console, adaptive: Sequence[VariableSummary]) -> None:
    """Print the cost that adaptive variables have saved."""
    if adaptive:
        console.print(Text("adaptive: " + saving(adaptive)))
        console.print()


def _print_rows(console: Console, sparse: Sequence[VariableSummary]) -> None:
    """Print the bytes of sparse writes, and the bytes of dense writes in their place."""
    if sparse:
        moved, dense = (
            sum(one.sparse_bytes for one in sparse),
            sum(one.dense_bytes for one in sparse),
        )
        rows = f"sparse writes: {size(moved)} of rows; as dense writes {size(dense)} ({_ALONE})"
        console.print(Text(rows))
        console.print()


def _print_uses(console: Console, said: Sequence[tuple[str, str]]) -> None:
    """Print a text about each of several variables, after its name."""
    for name, text in said[:MAX_ROWS]:
        console.print(Text(f"{on_one_line(name)}: {text}"))
    if len(said) > MAX_ROWS:
        console.print(Text(f"{count(len(said) - MAX_ROWS)} more variables are in summary.json."))
    if said:
        console.print()


def _print_one_sided(console: Console, variables: Sequence[VariableSummary]) -> None:
    """Print the one-sided operations, and how old the values were that they read."""
    said = [
        (one.name, one_sided_text(one.one_sided)) for one in variables if one.one_sided is not None
    ]
    _print_uses(console, said)


def _print_compression(console: Console, variables: Sequence[VariableSummary]) -> None:
    """Print what compression has saved, and the error that it leaves."""
    said = [
        (one.name, compression_text(one.compression))
        for one in variables
        if one.compression is not None
    ]
    _print_uses(console, said)


def compression_text(use: CompressionUse) -> str:
    """Return the bytes of compressed contributions, and the size of the residuals."""
    text = (
        f"{times(use.contributions, 'compressed contribution')}: {size(use.size_bytes)} instead of "
        f"{size(use.whole_bytes)}"
    )
    if use.error is None:
        return f"{text}; the size of the residuals is not known"
    return f"{text}; a residual was {use.error:.3g} times as large as a change (root mean square)"


def one_sided_text(use: OneSidedUse) -> str:
    """Return the one-sided operations on a variable, and the staleness of its reads."""
    counts = (
        times(use.publishes, "publication"),
        f"{use.pushes:,} {'push' if use.pushes == 1 else 'pushes'}",
        f"{use.fetches:,} {'fetch' if use.fetches == 1 else 'fetches'}",
        times(use.pulls, "pull"),
    )
    text = ", ".join(one for one in counts if not one.startswith("0 "))
    if not use.fetches + use.pulls:
        return text
    return (
        f"{text}; a read was {average(use.behind, 'version')} behind on average and "
        f"{use.most_behind:,} at most, and its value was {_ms(use.age_s)} old on average and "
        f"{_ms(use.longest_age_s)} at most"
    )


def _print_bounded(console: Console, variables: Sequence[VariableSummary]) -> None:
    """Print how far replicas were apart under bounded staleness, and who waited for whom."""
    said = [(one.name, bounded_text(one.bounded)) for one in variables if one.bounded is not None]
    _print_uses(console, said)


def bounded_text(use: BoundedUse) -> str:
    """Return how far replicas were apart, how old their caches were, and the longest waits."""
    text = (
        f"a replica was {times(use.most_ahead, 'write')} ahead of the slowest at most, of "
        f"{use.bound:,} allowed"
    )
    if use.renewals:
        text += (
            f"; {times(use.renewals, 'renewal')} of caches, which were "
            f"{average(use.behind, 'version')} behind on average and {use.most_behind:,} at most"
        )
    longest = sorted(use.waits, key=lambda one: -one.waited_s)
    said = [
        f"replica {one.replica} waited {_ms(one.waited_s)} for replica {one.waited_for} "
        f"({times(one.waits, 'time')}, up to {_ms(one.longest_s)})"
        for one in longest[:_MOST_WAITS]
    ]
    if len(longest) > len(said):
        said.append("the other waits are in summary.json")
    return "; ".join([text, *said] if said else [text, "no replica had to wait"])


_MOST_WAITS: Final = 4
"""Number of pairs of replicas whose waits are shown."""


def _ms(time_s: float) -> str:
    value_ms = time_s * 1e3
    return f"{value_ms:,.0f} ms" if value_ms >= 10 else f"{value_ms:.2g} ms"


def saving(adaptive: Sequence[VariableSummary]) -> str:
    """Return the cost of adaptive variables, and what ON_WRITE would have cost."""
    now = _cost([(v.merges, v.messages, v.size_bytes) for v in adaptive])
    costs = [variable.on_write for variable in adaptive if variable.on_write is not None]
    instead = _cost([(cost.merges, cost.messages, cost.size_bytes) for cost in costs])
    if now == instead:
        return f"{now} {_ALONE}, as under ON_WRITE, because a read followed every write"
    return f"{now}; under ON_WRITE {instead} ({_ALONE})"


def _cost(costs: Sequence[tuple[int, int, int]]) -> str:
    exchanges, messages, size_bytes = map(sum, zip(*costs, strict=True))
    return f"{times(exchanges, 'exchange')}, {times(messages, 'message')}, {size(size_bytes)}"


def alone(messages: int, size_bytes: int) -> str:
    """Return the messages and bytes of variables, as if each were sent alone."""
    return f"{times(messages, 'message')} and {size(size_bytes)} {_ALONE}"


# ---------------------------------------------------------------- columns


def variable_columns(variables: Sequence[VariableSummary], num_replicas: int) -> list[Column]:
    """Return all columns about variables, with a row for each of them."""
    groups = [[one] for one in variables]
    return [*_settings(groups), *_shapes(groups), *_uses(groups), *_costs(groups, num_replicas)]


def _laid_out(
    groups: Sequence[Group], labels: Sequence[str], sums: Group, num_replicas: int, width: int
) -> list[tuple[str, list[Column]]]:
    """Return the titles and columns of as few tables as fit, or of one table if none fit."""
    settings, shapes, uses = _settings(groups), _shapes(groups), _uses(groups)
    short, costs = _short_settings(groups), _costs(groups, num_replicas)
    if sums:
        settings, short, shapes, uses = map(_with_nothing, (settings, short, shapes, uses))
        costs = _with_sums(costs, sums)
    everything = [("variables", [*settings, *shapes, *uses, *costs])]
    few = [
        everything,
        [("variables", [*settings, *shapes]), (_COST, [*uses, *costs])],
        [("variables", [*short, *shapes]), (_COST, [*uses, *costs])],
    ]
    many = [
        [("variables", one), (_USES, [*shapes, *uses]), (_COST, costs)] for one in (settings, short)
    ]
    for tables in (*few, *many):
        least = LEAST_LABEL if tables in many else _WHOLE_NAME
        if all(fits(columns, labels, width, least) for _, columns in tables):
            return tables
    return everything


def _settings(groups: Sequence[Group]) -> list[Column]:
    firsts = [group[0] for group in groups]
    return [
        Column("asked", [one.requested for one in firsts], right=False),
        Column("in force", [one.synchronization for one in firsts], right=False),
        Column("aggregation", [one.aggregation for one in firsts], right=False),
    ]


def _short_settings(groups: Sequence[Group]) -> list[Column]:
    """Return the settings in fewer columns, for long names such as those of policies."""
    asked, in_force, aggregation = _settings(groups)
    both = [
        after if before == after else f"{before} → {after}"
        for before, after in zip(asked.cells, in_force.cells, strict=True)
    ]
    return [Column("synchronization", both, right=False), aggregation]


def _shapes(groups: Sequence[Group]) -> list[Column]:
    firsts = [group[0] for group in groups]
    return [
        Column("shape", [dimensions(one.shape) for one in firsts], right=False),
        Column("dtype", [one.dtype for one in firsts], right=False),
    ]


def _uses(groups: Sequence[Group]) -> list[Column]:
    firsts = [group[0] for group in groups]
    return [
        Column("writes", [count(one.writes) for one in firsts]),
        Column("reads", [count(one.reads) for one in firsts]),
    ]


def _costs(groups: Sequence[Group], num_replicas: int) -> list[Column]:
    firsts = [group[0] for group in groups]
    waited = [sum(one.waited_s for one in group) / len(group) / num_replicas for group in groups]
    return [
        Column("merges", [count(one.merges) for one in firsts]),
        Column("messages\nif alone", [count(one.messages) for one in firsts]),
        Column("bytes\nif alone", [size(one.size_bytes) for one in firsts]),
        Column("waited s\nper replica", list(map(seconds, waited))),
    ]


def _with_nothing(columns: Sequence[Column]) -> list[Column]:
    """Return the columns with an empty last cell, because these columns have no sum."""
    return [Column(one.heading, [*one.cells, ""], one.right) for one in columns]


def _with_sums(costs: Sequence[Column], variables: Group) -> list[Column]:
    """Return the columns with a last cell for the sum over all variables."""
    messages = count(sum(one.messages for one in variables))
    moved = size(sum(one.size_bytes for one in variables))
    sums = ("", messages, moved, "")
    return [
        Column(one.heading, [*one.cells, total], one.right)
        for one, total in zip(costs, sums, strict=True)
    ]
