"""`varsim workloads`: describe the training programs that ship with varsim."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from varsim.cli import completion
from varsim.cli.exit_codes import WrongUse

if TYPE_CHECKING:
    from rich.console import Console


@click.command(short_help="List the built-in workloads, or describe one.")
@click.argument("name", required=False, shell_complete=completion.built_in_workloads)
def workloads(name: str | None) -> None:
    """List the built-in workloads and their parameters, or describe one completely.

    A workload of your own is a Python file, or a module, with a function `run(job, *, ...)`:
    `varsim run --workload my_file.py`.
    """
    from rich.text import Text

    from varsim.experiments.catalog import list_workloads
    from varsim.nearest import did_you_mean
    from varsim.report.formatting import reflowed, wrapped
    from varsim.report.page import print_page

    listings = {listing.name: listing for listing in list_workloads()}
    if name is not None and name not in listings:
        raise WrongUse(f"there is no workload {name!r}{did_you_mean(name, listings)}")

    def show_all(console: Console) -> None:
        for listing in listings.values():
            console.print(Text(listing.name, style="bold"))
            parameters = [f"    {parameter}" for parameter in listing.params.values()]
            for line in (f"  {listing.description}", *parameters):
                console.print(Text("\n".join(wrapped(line, console.width))))

    def show(console: Console) -> None:
        assert name is not None
        listing = listings[name]
        console.print(Text(name, style="bold"))
        console.print(Text("\n".join(["", *reflowed(listing.docstring, console.width), ""])))
        for parameter in listing.params.values():
            console.print(Text(f"params.{parameter}"))
        console.print(Text(f"\n{listing.path}"), soft_wrap=True)

    print_page(show_all if name is None else show, sys.stdout)
