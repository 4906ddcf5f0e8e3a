"""`varsim doctor`: check what this machine offers to a cluster."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from varsim.cli.exit_codes import DONE, FAILED, INTERRUPTED, WRONG_USE
from varsim.cli.output import say
from varsim.launch.devices import MAX_WORKERS

if TYPE_CHECKING:
    from rich.console import Console

    from varsim.launch.host_checks import Check

_EXIT_CODES: Final = (
    f"Exit codes: {DONE} no problem; {FAILED} a problem; {WRONG_USE} wrong use; "
    f"{INTERRUPTED} interrupted."
)


@click.command(epilog=_EXIT_CODES, short_help="Check what this machine offers to a cluster.")
@click.option(
    "-n",
    "-np",
    "--workers",
    type=click.IntRange(1, MAX_WORKERS),
    metavar="N",
    help="The number of replicas to check for. [default: as in `varsim run`]",
)
@click.option(
    "--out", metavar="DIR", default="runs", help="The folder of the runs. [default: runs]"
)
@click.option(
    "--clean", is_flag=True, help="Remove what killed programs have left, and logs of lost workers."
)
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON, and only that.")
def doctor(*, workers: int | None, out: str, clean: bool, as_json: bool) -> None:
    """Check the software, the limits and the directories that a cluster needs on this machine.

    For each problem, the remedy is shown. What cannot be checked on this system is "not checked".

    \b
    varsim doctor
    varsim doctor -n 64
    varsim doctor --clean
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.cli.exit_codes import WrongUse
    from varsim.errors import ConfigError
    from varsim.launch import host_checks
    from varsim.launch.devices import DEFAULT_WORKERS, workers_of_environment
    from varsim.report.host_page import show_checks
    from varsim.report.page import print_page

    try:
        number = workers or workers_of_environment() or DEFAULT_WORKERS
    except ConfigError as error:
        raise WrongUse(str(error)) from error
    removed = host_checks.clean() if clean else []
    checks = host_checks.check_host(host_checks.Request(number, Path(out)))
    if as_json:
        say(_as_json(checks, removed))
    else:

        def show(console: Console) -> None:
            show_checks(console, checks, removed)

        print_page(show, sys.stdout)
    problems = [one for one in checks if one.state is host_checks.State.PROBLEM]
    raise SystemExit(FAILED if problems else DONE)


def _as_json(checks: list[Check], removed: list[Path]) -> str:
    from varsim.launch.host_checks import State

    listed = [
        {"subject": one.subject, "state": one.state.value, "found": one.found, "remedy": one.remedy}
        for one in checks
    ]
    ok = all(one.state is not State.PROBLEM for one in checks)
    said = {"ok": ok, "checks": listed, "removed": list(map(str, removed))}
    return json.dumps(said, indent=2)
