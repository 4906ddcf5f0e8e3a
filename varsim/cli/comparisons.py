"""Sort and print the rows of a comparison, for the commands that show one."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from varsim.cli.output import say, say_json

if TYPE_CHECKING:
    from varsim.report.run_rows import Comparison


def in_order(found: Comparison, column: str) -> Comparison:
    """Return a comparison with sorted rows.

    Raises:
        ConfigError: There is no such column.
    """
    from varsim.errors import ConfigError
    from varsim.nearest import did_you_mean, listed
    from varsim.report.run_rows import ordered, sortable_columns

    known = sortable_columns(found)
    said = column.removeprefix("-")
    if said not in known:
        near, every = did_you_mean(said, known), dict.fromkeys(known.values())
        raise ConfigError(f"--sort {column}: there is no column {said!r}{near}\n  {listed(every)}")
    rows = ordered(found.rows, known[said], descending=column.startswith("-"))
    return replace(found, rows=rows)


def show(found: Comparison, form: str | None = None) -> None:
    """Print a comparison as a table for people, or in another form."""
    from varsim.report.comparison_page import as_csv, as_markdown, as_plain, print_comparison
    from varsim.report.page import print_page

    match form:
        case "json":
            say_json(as_plain(found), 1)
        case "csv":
            say(as_csv(found), nl=False)
        case "markdown":
            say(as_markdown(found))
        case _:
            print_page(partial(print_comparison, comparison=found), sys.stdout)
