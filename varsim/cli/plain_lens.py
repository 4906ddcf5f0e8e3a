"""Show a plain variable, which was created outside the scope, for `varsim lens`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from varsim.cli.output import say_json

if TYPE_CHECKING:
    from rich.console import Console

    from varsim.analysis.plain_values import PlainName
    from varsim.tracing.history import History


def plain_to_show(history: History, variable: str | None) -> Sequence[PlainName]:
    """Return the plain variables with this name, if no distributed variable has it.

    Args:
        variable: None for the first plain variable of a record without distributed variables.
    """
    from varsim.analysis.plain_values import plain_variables

    rows = history.variables.values()
    if any(variable is None or variable in {row.name, str(row.variable)} for row in rows):
        return ()
    return [one for one in plain_variables(history) if variable is None or variable == one.name]


def lens_of_plain(
    history: History,
    oracle: History | None,
    names: Sequence[PlainName],
    index_of: Callable[[Sequence[int], str], int | None],
    *,
    everything: bool,
    as_json: bool,
) -> None:
    """Show who read and wrote plain variables.

    Args:
        index_of: Returns the index of the shown element, from the shape and the name.
    """
    from varsim.analysis.plain_lens import operations_of
    from varsim.analysis.plain_values import shape_of
    from varsim.report.lens_calls_page import step_cell
    from varsim.report.page import print_page
    from varsim.report.plain_lens_page import print_operations

    if as_json:
        told: list[dict[str, Any]] = [
            {"variable": name.name, "created_at": name.created_at, **asdict(one)}
            for name in names
            for one in operations_of(history, name, oracle, lambda value: value.tolist())
        ]
        say_json(told, 1)
        return
    pages = []
    for name in names:
        shape = shape_of(history, name)
        element = index_of(shape, name.name)
        found = operations_of(history, name, oracle, partial(step_cell, element=element))
        pages.append((name, list(found), shape, element))

    def show(console: Console) -> None:
        for page in pages:
            print_operations(console, *page, everything=everything)

    print_page(show, sys.stdout)
