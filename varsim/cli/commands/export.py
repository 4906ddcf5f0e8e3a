"""`varsim export`: write a run into one file that can be sent to others."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from varsim.cli import completion
from varsim.cli.exit_codes import NotWritten, WrongUse
from varsim.cli.output import in_lines, say
from varsim.report.terminal import width_of

_MAX_LINES = 5  # lines of the program that the warning lists


@click.command(short_help="Write a run into one file that you can send.")
@click.argument("run", shell_complete=completion.runs)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--no-source", is_flag=True, help="Leave out the program.")
@click.option(
    "--no-values",
    is_flag=True,
    help="Leave out values of variables, results, findings, logs and error texts.",
)
def export(run: str, file: Path | None, *, no_source: bool, no_values: bool) -> None:
    """Write RUN into FILE, a .tar.gz or a .zip. By default, FILE is a .tar.gz with the run's name.

    FILE does not identify this machine: paths are relative, and the names of the host and of the
    user are replaced, except in the program itself. After unpacking, the receiver can inspect the
    run (`varsim check FOLDER`) and run it again (`varsim run FOLDER --trust`).

    \b
    varsim export latest
    varsim export 20260101 mine.zip --no-source --no-values
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.cli.progress import PHASE_TITLES, telling
    from varsim.errors import ConfigError
    from varsim.experiments.export import DEFAULT_FORMAT, export_run
    from varsim.experiments.run_lookup import find_run
    from varsim.interrupts import Interrupts
    from varsim.report.summary import Phase

    try:
        found = find_run(run)
        folder = found if found.is_dir() else found.parent
        if file is None:
            file = Path(f"{folder.resolve().name}{DEFAULT_FORMAT}")
        with Interrupts(), telling(PHASE_TITLES[Phase.MERGING]) as tell:
            exported = export_run(
                folder, file, source=not no_source, values=not no_values, tell=tell
            )
    except ConfigError as error:
        raise WrongUse(str(error)) from error
    except OSError as error:
        raise NotWritten(f"{file} cannot be written: {error.strerror}") from error
    say(f"{file}: {file.stat().st_size:,} bytes")
    lines = [f"included: {', '.join(exported.names)}"]
    lines += [f"left out: {what}" for what in exported.left_out]
    lines += [f"not whole: {what}" for what in exported.not_whole]
    for line in lines:
        say(in_lines(line, width_of(sys.stdout)))
    _name_lines(exported.look_at)


def _name_lines(lines: list[str]) -> None:
    if lines:
        more = len(lines) - _MAX_LINES
        which = ", ".join(lines[:_MAX_LINES]) + (f" and {more} more" if more > 0 else "")
        say(
            "warning: the program is exported unchanged, and it names this machine or its user: "
            f"{which}",
            err=True,
        )
