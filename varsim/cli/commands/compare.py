"""`varsim compare`: compare runs and the points of sweeps in a table."""

from __future__ import annotations

from pathlib import Path

import click

from varsim.cli import completion
from varsim.cli.comparisons import in_order, show
from varsim.cli.exit_codes import WrongUse, only_one


@click.command(short_help="Compare runs or sweeps in a table.")
@click.argument(
    "words",
    nargs=-1,
    metavar="[RUN|SWEEP]...",
    shell_complete=completion.runs_and_sweeps,
)
@click.option(
    "--sort",
    "column",
    metavar="KEY",
    help="Sort by a column: run, a setting, a metric, or another one, such as loss or bytes; -KEY "
    "is the descending order.",
)
@click.option(
    "--out", metavar="DIR", default="runs", help="The folder of the runs. [default: runs]"
)
@click.option("--markdown", is_flag=True, help="Print a table of Markdown.")
@click.option("--csv", is_flag=True, help="Print all columns as CSV, with exact values.")
@click.option("--json", is_flag=True, help="Print JSON (see `varsim schema`).")
def compare(*, words: tuple[str, ...], column: str | None, out: str, **forms: bool) -> None:
    """Compare runs: outcome, messages, bytes, times, findings, and the settings that differ.

    A SWEEP stands for all its points; `latest-sweep` is the last one, which is the default if no
    run is newer. A dash stands for a number that a run does not have; sentences below the table say
    why, and what is not comparable.

    \b
    varsim compare
    varsim compare latest-sweep --sort bytes
    varsim compare 20260102-030405 latest
    varsim compare latest-sweep --csv > sweep.csv
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.errors import ConfigError
    from varsim.experiments import comparison
    from varsim.experiments.run_lookup import newest_sweep

    form = only_one(**forms)
    try:
        if words:
            found = comparison.compare(words, Path(out))
        else:
            found = comparison.compare_folders([newest_sweep(Path(out))])
        if column is not None:
            found = in_order(found, column)
    except ConfigError as error:
        raise WrongUse(str(error)) from error
    show(found, form)
