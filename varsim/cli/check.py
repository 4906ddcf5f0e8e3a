"""`varsim check`: judges the history of a run."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from varsim.cli import completion
from varsim.cli.lazy import DONE, FAILED, WrongUse

if TYPE_CHECKING:
    from varsim.analysis.examination import Examination
    from varsim.analysis.finding import Compared

INVALID: Final = 3
UNKNOWN: Final = 4

_EXIT_CODE: Final = {"VALID": DONE, "INVALID": INVALID, "UNKNOWN": UNKNOWN}
_EXIT_CODES: Final = (
    "Exit codes: 0 valid; 3 invalid; 4 unknown; 2 there is no history to judge; 130 interrupted."
)


@click.command(epilog=_EXIT_CODES, short_help="Judge what a run did.")
@click.argument("run", default="runs/latest", shell_complete=completion.runs)
@click.option("--json", "as_json", is_flag=True, help="Print the verdicts as JSON, and only that.")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Each finding and difference, also those that are alike.",
)
@click.pass_context
def check(ctx: click.Context, /, *, run: str, as_json: bool, everything: bool) -> None:
    """Judge whether a run kept what varsim promises.

    RUN is a run's directory or its history.db, `latest`, or the beginning of its name; the last
    run if none is given. Whatever is not VALID is shown with the fewest events that prove it: time
    runs downwards, and every process has a column. Then come findings: what in the program looks
    wrong or wasteful, if the record is whole; that changes no exit code. Of a run with --oracle it
    says, too, what differs from a single device. It ends with the verdict, and with what
    was not looked at.

    \b
    varsim check
    varsim check 20260101
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.analysis.examination import examine
    from varsim.errors import ConfigError
    from varsim.experiments.ending import ending_of, summary_beside
    from varsim.experiments.found_runs import find_record
    from varsim.report.check_page import print_check
    from varsim.report.page import print_page
    from varsim.tracing.history import open_history, open_oracle

    try:
        path = find_record(run)
        with open_history(path) as history, open_oracle(path) as oracle:
            summary = summary_beside(path)
            ending = None if summary is None else ending_of(summary)
            no_oracle = "" if summary is None else summary.no_oracle
            found = examine(history, oracle, ending=ending, no_oracle=no_oracle)
            names = {number: str(row.name) for number, row in history.variables.items()}
    except ConfigError as error:
        raise WrongUse(str(error)) from error
    if as_json:
        click.echo(json.dumps(_plain(found), indent=2, default=lambda kind: kind.value))
    else:
        print_page(lambda it: print_check(it, found, names, everything=everything), sys.stdout)
    ctx.exit(_exit_code(found))


def _exit_code(found: Examination) -> int:
    """A fault of varsim weighs most, then that the run failed."""
    if found.run_failed and found.outcome.value != "INVALID":
        return FAILED
    return _EXIT_CODE[found.outcome.value]


def _plain(found: Examination) -> dict[str, Any]:
    return {
        "status": None if found.ending is None else found.ending.status,
        "outcome": found.outcome.value,
        "verdicts": [
            {
                "checker": verdict.checker,
                "outcome": verdict.outcome.value,
                "reason": verdict.reason,
                "variable": verdict.variable,
                "events": [event.event for event in verdict.events],
            }
            for verdict in found.verdicts
        ],
        "findings": [asdict(one) for one in found.findings],
        "compared": None if found.compared is None else _plain_comparison(found.compared),
        "not_looked_at": [asdict(one) for one in found.not_looked_at],
    }


def _plain_comparison(compared: Compared) -> dict[str, Any]:
    from varsim.report.plain import plain

    told: dict[str, Any] = plain(asdict(compared))
    for one, difference in zip(told["differences"], compared.differences, strict=True):
        one["deed"] = difference.deed.value
    return told
