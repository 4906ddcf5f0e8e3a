"""`varsim workloads`: the training programs that ship with varsim."""

from __future__ import annotations

import click

from varsim.cli.lazy import WrongUse


@click.command(short_help="List the built-in workloads, or tell about one.")
@click.argument("name", required=False)
def workloads(name: str | None) -> None:
    """List the built-in workloads and their parameters, or tell all about one.

    Your own is a Python file, or a module, with a function `run(job, *, ...)`:
    `varsim run --workload my_file.py`.
    """
    from varsim.experiments.catalog import list_workloads
    from varsim.experiments.nearest import did_you_mean

    listings = {listing.name: listing for listing in list_workloads()}
    if name is None:
        for listing in listings.values():
            click.echo(f"{click.style(listing.name, bold=True)}\n  {listing.description}")
            for parameter in listing.params.values():
                click.echo(f"    {parameter}")
        return
    if name not in listings:
        raise WrongUse(f"there is no workload {name!r}{did_you_mean(name, listings)}")
    listing = listings[name]
    click.echo(f"{click.style(name, bold=True)}\n\n{listing.docstring}\n")
    for parameter in listing.params.values():
        click.echo(f"params.{parameter}")
    click.echo(f"\n{listing.path}")
