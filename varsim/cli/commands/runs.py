"""`varsim runs`: list the stored runs and their sizes; tag runs, or remove the oldest."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from varsim.cli import completion
from varsim.cli.exit_codes import Failed, WrongUse
from varsim.cli.output import say, say_json

if TYPE_CHECKING:
    from rich.console import Console

    from varsim.experiments.room import StoredRun


@click.command(short_help="List stored runs and their sizes; tag or remove runs.")
@click.argument("run", required=False, shell_complete=completion.runs)
@click.option(
    "--tag", metavar="TEXT", help="Give RUN a tag. A tagged run is not removed by --limit."
)
@click.option("--untag", is_flag=True, help="Remove the tag of RUN.")
@click.option(
    "--limit",
    metavar="SIZE",
    help="Remove the oldest runs without a tag, until all runs together have at most this size, "
    "as in 2GiB.",
)
@click.option(
    "--out", metavar="DIR", default="runs", help="The folder of the runs. [default: runs]"
)
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON, and only that.")
def runs(
    *, run: str | None, tag: str | None, untag: bool, limit: str | None, out: str, as_json: bool
) -> None:
    """List the runs in a folder, the newest first, with status, size and tag.

    VARSIM_RUNS_LIMIT=2GiB in the environment applies --limit after every run. By default, no run
    is removed.

    \b
    varsim runs
    varsim runs latest --tag baseline
    varsim runs --limit 2GiB
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.errors import ConfigError
    from varsim.experiments import room
    from varsim.experiments.run_lookup import find_run_or_sweep

    folder = Path(out)
    if (run is not None) != (tag is not None or untag):
        raise WrongUse("--tag and --untag need a RUN, and a RUN needs one of these options")
    try:
        if run is not None:
            room.set_tag(find_run_or_sweep(run, folder), tag or "")
        if limit is not None:
            most_bytes = room.parsed_limit(limit, f"--limit {limit}")
            for gone in room.make_room(folder, most_bytes).removed:
                say(f"removed {gone.path.name}", err=as_json)
    except ConfigError as error:
        raise WrongUse(str(error)) from error
    except OSError as error:
        raise Failed(f"{error.filename} cannot be removed: {error.strerror}") from error
    _show(room.stored_runs(folder), folder, as_json=as_json)


def _show(stored: list[StoredRun], folder: Path, *, as_json: bool) -> None:
    from rich.text import Text

    from varsim.experiments.run_checkpoints import how_to_continue
    from varsim.report.formatting import size
    from varsim.report.page import print_page
    from varsim.report.tables import Column, show_table

    statuses = [_status(one.path) for one in stored]
    continued = [how_to_continue(one.path) for one in stored]
    if as_json:
        listed = [
            {
                "run": str(one.path),
                "status": status,
                "size_bytes": one.size_bytes,
                "tag": one.tag,
                "continue": said,
            }
            for one, status, said in zip(stored, statuses, continued, strict=True)
        ]
        say_json(listed, 1)
        return
    total = size(sum(one.size_bytes for one in stored))
    title = f"{folder}/: {len(stored)} run{'s' * (len(stored) != 1)}, {total}"

    def show(console: Console) -> None:
        columns = [
            Column("status", statuses, right=False),
            Column("size", [size(one.size_bytes) for one in stored]),
            Column("tag", [one.tag for one in stored], right=False),
        ]
        show_table(console, title, [one.path.name for one in stored], columns, corner="run")
        for said in filter(None, continued):
            console.print(Text(said), soft_wrap=True)

    if stored:
        print_page(show, sys.stdout)
    else:
        say(title)


def _status(run: Path) -> str:
    from varsim.errors import ConfigError
    from varsim.experiments.store import SUMMARY, SWEEP, load_summary
    from varsim.experiments.sweep_folder import read_sweep

    if (run / SWEEP).is_file():
        try:
            return read_sweep(run).sweep.state
        except ConfigError:
            return "unreadable sweep"
    if not (run / SUMMARY).is_file():
        return "no summary"
    try:
        return load_summary(run).status.value
    except ConfigError:
        return "unreadable summary"
