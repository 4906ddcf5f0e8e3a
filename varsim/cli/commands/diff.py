"""`varsim diff`: name the first operation at which two runs differ, and what else differs."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from varsim.cli import completion
from varsim.cli.exit_codes import DONE, FAILED, INTERRUPTED, UNKNOWN, WRONG_USE, WrongUse
from varsim.cli.exit_codes import exit_meanings as meanings
from varsim.cli.output import say_json
from varsim.cli.record import find_records, open_record

if TYPE_CHECKING:
    from rich.console import Console

    from varsim.analysis.two_histories import Difference
    from varsim.experiments.run_difference import Surroundings
    from varsim.experiments.run_records import RunRecord, RunRecords

_SAME: Final = "No difference was found: every compared value is the same in both runs."
_CODES: Final = {
    DONE: "the runs have the same values",
    FAILED: "they differ",
    UNKNOWN: "no difference was found, but not everything could be compared",
}


@click.command(
    short_help="Name the first value at which two runs differ.",
    epilog=meanings(_CODES, WRONG_USE, INTERRUPTED),
)
@click.argument("run", shell_complete=completion.runs)
@click.argument("other", shell_complete=completion.runs)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, and only that.")
@click.pass_context
def diff(ctx: click.Context, run: str, other: str, *, as_json: bool) -> None:
    """Name the first variable, call and replica at which RUN and OTHER differ, with both values.

    Then the command lists the other variables that differ, and what differs in the configuration,
    the program, the metrics and the result. Values are compared bit for bit, by their digests, so
    large values are compared, too. What both runs have is compared: the same variables, replicas
    and calls. The page says what was not compared. Settings may differ: only values set the exit
    code.

    \b
    varsim diff latest 20260101
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.errors import ConfigError
    from varsim.experiments.run_difference import compare_surroundings
    from varsim.report.page import print_page

    try:
        records = find_records(run), find_records(other)
        names = tuple(str(one.every[0].folder) for one in records)
        differences, missing, compared = _compare(*records)
        around = compare_surroundings(Path(names[0]), Path(names[1]))
    except ConfigError as error:
        raise WrongUse(str(error)) from error
    missing += around.not_compared
    differs = bool(differences) or around.has_other_results
    code = FAILED if differs else UNKNOWN if missing else DONE
    if as_json:
        say_json(_plain(names, differences, around, missing), 1)
    else:
        print_page(
            lambda console: _show(console, names, differences, around, missing, compared),
            sys.stdout,
        )
    ctx.exit(code)


def _compare(one: RunRecords, other: RunRecords) -> tuple[list[Difference], list[str], int]:
    """Compare the records of the same strategies and incarnations.

    Returns:
        The first difference of each variable, record after record; what was not compared; and the
        number of values that were compared.
    """
    differences: list[Difference] = []
    missing: list[str] = []
    compared = 0
    theirs = {record.place: record for record in other.every}
    for ours in one.every:
        found = theirs.pop(ours.place, None)
        if found is None:
            missing.append(f"the record in {ours.folder}: the second run has no such record")
            continue
        try:
            compared += _compare_records(ours, found, differences, missing)
        except _NotComparedError as error:
            missing.append(str(error))
    missing += [f"the record in {one.folder}: the first run has none" for one in theirs.values()]
    return differences, missing, compared


class _NotComparedError(Exception):
    """Two records cannot be compared; the text says why."""


def _compare_records(
    ours: RunRecord, theirs: RunRecord, differences: list[Difference], missing: list[str]
) -> int:
    """Add what two records show to the lists, and return the number of compared values."""
    from varsim.analysis.two_histories import compare_histories
    from varsim.errors import ConfigError, FileError
    from varsim.report.diff_page import not_compared

    if ours.of_servers or theirs.of_servers:
        raise _NotComparedError(
            f"the record of parameter servers in {ours.folder}: requests have no fixed order"
        )
    try:
        with open_record(ours.path) as (one, _), open_record(theirs.path) as (two, _):
            found = compare_histories(one, two)
    except FileError:
        raise
    except ConfigError as error:  # there is no record
        raise _NotComparedError(f"the values of variables: {error}") from error
    known = {one.label for one in differences}
    differences += [one for one in found.differences if one.label not in known]
    missing += not_compared(found)
    return found.compared


def _show(
    console: Console,
    names: tuple[str, ...],
    differences: list[Difference],
    around: Surroundings,
    missing: list[str],
    compared: int,
) -> None:
    from rich.text import Text

    from varsim.report.diff_page import print_difference, print_differing, print_others

    console.print(Text(f"first:  {names[0]}\nsecond: {names[1]}\n"), soft_wrap=True)
    if differences:
        print_difference(console, differences[0])
        print_others(console, differences[1:])
    elif not compared:
        console.print(Text("No value of the records could be compared.\n"))
    elif not around.has_other_results:
        console.print(Text(f"{_SAME}\n"))
    else:
        console.print(Text("Every compared operation has the same value in both runs.\n"))
    print_differing(console, "metrics", around.metrics)
    print_differing(console, "result", around.result)
    print_differing(console, "configuration", around.settings)
    if around.program:
        console.print(Text(f"files of the program that differ: {', '.join(around.program)}\n"))
    if missing:
        console.print(Text("not compared", style="bold"))
        for one in missing:
            console.print(Text(f"  - {one}"))


def _plain(
    names: tuple[str, ...],
    differences: list[Difference],
    around: Surroundings,
    missing: list[str],
) -> dict[str, Any]:
    from varsim.report.diff_page import plain_difference

    tables = {
        name: [asdict(one) for one in getattr(around, name)]
        for name in ("metrics", "result", "settings")
    }
    return {
        "first": names[0],
        "second": names[1],
        "differs": bool(differences) or around.has_other_results,
        "differences": [plain_difference(one) for one in differences],
        **tables,
        "program": around.program,
        "not_compared": missing,
    }
