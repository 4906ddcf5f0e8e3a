"""`varsim doctor`: check what this machine offers to a cluster."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from varsim.cli import experiment_options
from varsim.cli.exit_codes import DONE, FAILED, INTERRUPTED, WRONG_USE
from varsim.cli.output import say
from varsim.launch.devices import MAX_WORKERS

if TYPE_CHECKING:
    from rich.console import Console

    from varsim.launch.host_checks import Check
    from varsim.launch.remote.host_checkup import HostChecks

_EXIT_CODES: Final = (
    f"Exit codes: {DONE} no problem; {FAILED} a problem; {WRONG_USE} wrong use; "
    f"{INTERRUPTED} interrupted."
)


@click.command(
    epilog=_EXIT_CODES, short_help="Check what this machine, or each host, offers to a cluster."
)
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
@experiment_options.launcher(
    "Check also each host on which this launcher would start workers: an agent is started there."
)
@click.option(
    "--clean",
    is_flag=True,
    help="Remove what killed programs have left on this machine, and logs of lost workers.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON, and only that.")
def doctor(
    *, workers: int | None, out: str, clean: bool, as_json: bool, **options: str | None
) -> None:
    """Check the software, the limits and the directories that a cluster needs on this machine.

    For each problem, the remedy is shown. What cannot be checked on this system is "not checked".
    With --launcher, the same is checked on each host, and also whether it is
    reached, both ports, the versions and the clock.

    \b
    varsim doctor
    varsim doctor -n 64
    varsim doctor --launcher ssh --hosts a,b
    varsim doctor --launcher ray --address 203.0.113.1:6379
    varsim doctor --clean
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.cli.exit_codes import Failed, WrongUse
    from varsim.errors import ConfigError, StartError
    from varsim.launch import host_checks
    from varsim.launch.devices import DEFAULT_WORKERS, workers_of_environment
    from varsim.report.host_page import show_checks
    from varsim.report.page import print_page

    try:
        number = workers or workers_of_environment() or DEFAULT_WORKERS
        removed = host_checks.clean() if clean else []
        checks = host_checks.check_host(host_checks.Request(number, Path(out)))
        more, hosts = _hosts(number, options)
        checks += more
    except ConfigError as error:
        raise WrongUse(str(error)) from error
    except StartError as error:
        raise Failed(f"no host was checked: {error}") from error
    if as_json:
        say(_as_json(checks, removed, hosts))
    else:

        def show(console: Console) -> None:
            show_checks(console, checks, removed, hosts)

        print_page(show, sys.stdout)
    raise SystemExit(FAILED if _has_problem([("", checks), *hosts]) else DONE)


def _hosts(number: int, options: dict[str, str | None]) -> tuple[list[Check], Sequence[HostChecks]]:
    """Return what the engine of the launcher says, and the checks of each of its hosts."""
    if all(value is None for value in options.values()):
        return [], []
    from varsim.experiments.loading import load_experiment
    from varsim.launch.backends import launcher_of
    from varsim.launch.remote.host_checkup import check_hosts
    from varsim.launch.remote.host_launcher import HostLauncher

    experiment = load_experiment(None, experiment_options.overrides_of(options))
    launcher = launcher_of(experiment.backends)
    if not isinstance(launcher, HostLauncher):
        return [], []
    return check_hosts(launcher, number)


def _has_problem(hosts: Sequence[HostChecks]) -> bool:
    from varsim.launch.host_checks import State

    return any(one.state is State.PROBLEM for _, checks in hosts for one in checks)


def _as_json(checks: list[Check], removed: list[Path], hosts: Sequence[HostChecks]) -> str:
    said = {
        "ok": not _has_problem([("", checks), *hosts]),
        "checks": _plain(checks),
        "hosts": [{"host": name, "checks": _plain(there)} for name, there in hosts],
        "removed": list(map(str, removed)),
    }
    return json.dumps(said, indent=2)


def _plain(checks: list[Check]) -> list[dict[str, str]]:
    return [
        {"subject": one.subject, "state": one.state.value, "found": one.found, "remedy": one.remedy}
        for one in checks
    ]
