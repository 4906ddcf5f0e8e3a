"""`varsim check`: judge the history of a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from varsim import __version__
from varsim.cli import completion, fail_on
from varsim.cli.examined import examined_history
from varsim.cli.exit_codes import (
    DONE,
    FAILED,
    FOUND,
    INTERRUPTED,
    INVALID,
    UNKNOWN,
    WRONG_USE,
    WrongUse,
    exit_codes,
)
from varsim.cli.output import say, say_json
from varsim.cli.record import find_records, open_record
from varsim.cli.server_records import examined_record, show_events
from varsim.cli.shown_records import say_of_others

if TYPE_CHECKING:
    from rich.console import Console

    from varsim.analysis.examination import Examination
    from varsim.analysis.findings.model import Finding
    from varsim.analysis.served import ServedExamination
    from varsim.experiments.run_records import RunRecord
    from varsim.report.sarif import SourceFolders

_EXIT_CODE: Final = {"VALID": DONE, "INVALID": INVALID, "UNKNOWN": UNKNOWN}
_SEVERITY: Final = (DONE, UNKNOWN, FOUND, FAILED, INVALID)
"""The exit codes of records, the least severe first. Of several records, the most severe counts."""

_EXIT_CODES: Final = exit_codes(DONE, FAILED, WRONG_USE, INVALID, UNKNOWN, FOUND, INTERRUPTED)


@click.command(epilog=_EXIT_CODES, short_help="Judge a run by its record.")
@click.argument("run", default="runs/latest", shell_complete=completion.runs)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the result as JSON, and only that. `varsim schema check` describes it.",
)
@click.option(
    "--sarif",
    "as_sarif",
    is_flag=True,
    help="Print the findings as SARIF 2.1.0, and only that: editors and code hosts show them at "
    "their lines.",
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Show every finding and difference; do not group similar ones.",
)
@click.option(
    "--fail-on",
    "kinds",
    metavar="KIND,…",
    multiple=True,
    shell_complete=fail_on.complete,
    help="Exit with 5 if there is a finding of one of these kinds. A part of a name is enough: "
    "`conflict` means all kinds with this word; `any` means all kinds.",
)
@click.option(
    "--event",
    "events",
    metavar="N",
    type=int,
    multiple=True,
    help="Show only event N of the record, and the events around it. RUN/strategy-2 is the second "
    "record of a run with several records.",
)
@click.pass_context
def check(
    ctx: click.Context,
    /,
    *,
    run: str,
    as_json: bool,
    as_sarif: bool,
    everything: bool,
    kinds: tuple[str, ...],
    events: tuple[int, ...],
) -> None:
    """Judge whether varsim kept its promises in a run.

    RUN is a run's directory or its history.db, `latest`, or the beginning of a run's name; by
    default the last run. The output shows, in this order: the failure, if the run failed; each
    promise; for each promise that is not VALID, the fewest events that show why (later events are
    below, and every process has a column); for a run with --oracle, the differences from a single
    device; findings, which are uses of variables that look wrong or wasteful (only if the record is
    complete); the verdict; what was not looked at. Findings change the exit code only with
    --fail-on. A run has one record for each strategy. If a strategy has lost workers and started
    new ones, it has one record for each start. All are judged. RUN can also be a directory with the
    traces of parameter servers (trace=); an event is then one of their operations.

    \b
    varsim check
    varsim check 20260101 --fail-on any
    varsim check --event 108
    varsim check --sarif > findings.sarif

    The kinds of --fail-on:

    \b
    failed-run, failed-call, stale-read, divergence,
    starts-at-n-times-its-initial-value, partial-reset, counted-twice,
    write-write-conflict, read-write-conflict, scaled-by-the-number-of-replicas,
    mean-of-means, first-replica-only, integer-truncation, nan-or-infinity,
    overflow-of-a-sum, merges-that-are-never-read, reads-with-nothing-changed,
    merges-of-the-same-values, same-data-on-all-replicas,
    manual-synchronisation-after-every-write,
    waiting-for-one-replica, collectives-in-another-order, collectives-of-different-lines,
    lock-without-contention, lock-that-protects-nothing,
    variable-outside-the-scope, object-changed-on-a-replica, discarded-result,
    lagging-read, lost-update, repeated-write, bound-not-reached

    `any` means all of these kinds. It does not include unexplained-difference, which is a
    difference from a single device that no rule explains.
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.errors import ConfigError

    asked = fail_on.asked_for(kinds)
    form = _form(as_json=as_json, as_sarif=as_sarif, of_events=bool(events))
    as_json = form is not None  # then stdout is only for the document
    try:
        records = find_records(run)
        named = records.named
        if events:
            say_of_others(records, [named], as_json=as_json)
            _show_events(named, events, as_json=as_json)
            return
        judged = [_judged(one) for one in (named, *(records.every[1:] if records.is_whole else ()))]
    except ConfigError as error:
        failed = None if events else _failed_without_record(run)
        if failed is None:
            raise WrongUse(str(error)) from error
        _show_failure(find_records(run).named.folder, failed, str(error), form)
        ctx.exit(FAILED)
    if len(judged) == 1:
        say_of_others(records, [named], as_json=as_json)
    _show(judged, form, everything=everything)
    ctx.exit(max((_exit_code(one.found, asked) for one in judged), key=_SEVERITY.index))


def _form(*, as_json: bool, as_sarif: bool, of_events: bool) -> str | None:
    """Return the form of the document to print; None for text."""
    if as_json and as_sarif:
        raise WrongUse(
            "--json and --sarif: stdout has room for one document; give only one of them"
        )
    if of_events and as_sarif:
        raise WrongUse("--event and --sarif: SARIF has no form for single events; use --json")
    return "json" if as_json else "sarif" if as_sarif else None


@dataclass(frozen=True, slots=True)
class _Judged:
    """One record of a run, and what was found in it."""

    record: RunRecord
    found: Examination | ServedExamination
    names: dict[int, str]  # a variable's number → its name


def _judged(record: RunRecord) -> _Judged:
    if record.of_servers:
        return _Judged(record, examined_record(record), {})
    with open_record(record.path, warns=False) as (history, oracle):
        found = examined_history(history, oracle, record)
        names = {number: str(row.name) for number, row in history.variables.items()}
    return _Judged(record, found, names)


def _show(judged: Sequence[_Judged], form: str | None, *, everything: bool) -> None:
    """Print the result as a JSON document, as a SARIF log or as text."""
    found, record = [one.found for one in judged], judged[0].record
    if form == "json":
        from varsim.report.check_json import check_json

        say_json(check_json(found[0], found[1:]).model_dump(), 2)
    elif form == "sarif":
        from varsim.report.sarif import sarif_of

        say_json(sarif_of(found, __version__, _files_of(record.folder)), 2)
    else:
        _print(judged, everything=everything)
        _say_how_to_continue(record)


def _print(judged: Sequence[_Judged], *, everything: bool) -> None:
    """Print the page of each record, below the record's folder if there are several."""
    from varsim.report.page import print_page

    for number, one in enumerate(judged):
        path, part = one.record.path, one.record.part
        if len(judged) > 1:
            say("\n" * bool(number) + f"{path}{f' ({part})' if part else ''}:\n")
        page = partial(_print_one, judged=one, everything=everything, of_further=bool(number))
        print_page(page, sys.stdout)


def _print_one(console: Console, judged: _Judged, *, everything: bool, of_further: bool) -> None:
    from varsim.analysis.served import ServedExamination
    from varsim.report.check_page import print_check
    from varsim.report.server_page import print_servers

    found = judged.found
    record = str(judged.record.path) if of_further else ""
    if isinstance(found, ServedExamination):
        print_servers(console, found, everything=everything, record=record)
    else:
        print_check(console, found, judged.names, everything=everything, record=record)


def _say_how_to_continue(record: RunRecord) -> None:
    """Print the command that continues a run, if it is not done and has a checkpoint."""
    from varsim.experiments.run_checkpoints import how_to_continue

    said = how_to_continue(record.folder)
    if said:
        say(f"\n{said}")


def _failed_without_record(run: str) -> Finding | None:
    """Return the failure of a run that has no record; None if there is a record or no failure."""
    from varsim.analysis.failures import FAILED as RUN_FAILED
    from varsim.analysis.failures import failed_run
    from varsim.errors import ConfigError
    from varsim.tracing.history import HISTORY

    try:
        named = find_records(run).named
    except ConfigError:
        return None
    ending = named.ending
    if ending is None or ending.status != RUN_FAILED or (named.folder / HISTORY).exists():
        return None
    return failed_run(ending)


def _show_failure(run: Path, failed: Finding, without_record: str, form: str | None) -> None:
    """Print the known facts about a failed run without a record."""
    from varsim.report.findings_text import finding_text

    if form == "json":
        from varsim.report.check_json import failure_json

        say_json(failure_json(failed).model_dump(), 2)
    elif form == "sarif":
        from varsim.report.sarif import sarif_of_failure

        say_json(sarif_of_failure(failed, __version__, _files_of(run)), 2)
    else:
        say("\n".join([*finding_text(failed), "", without_record]))


def _files_of(run: Path) -> SourceFolders:
    """Return the folders of a run's program.

    Its files are those that the program was run from, if they are on this machine, or else the
    copy in the run's directory.
    """
    from varsim.experiments.carried_program import PROGRAM, origin_of
    from varsim.experiments.store import RunFiles
    from varsim.report.sarif import SourceFolders

    folder = RunFiles(run).of_run().path
    origin = origin_of(folder)
    known = [origin.get(key) for key in ("program", "working_directory")]
    folders = (*(Path(one) for one in known if one), Path.cwd(), folder / PROGRAM)
    return SourceFolders(tuple(dict.fromkeys(folders)))


def _exit_code(found: Examination | ServedExamination, asked: frozenset[str]) -> int:
    """Return the exit code for a fault of varsim, a failed run, --fail-on or the verdict."""
    verdict = _EXIT_CODE[found.outcome.value]
    if verdict == INVALID or found.run_failed:
        return verdict if verdict == INVALID else FAILED
    seen = fail_on.seen(found, asked)
    if seen:
        told = ", ".join(fail_on.named(found, one) for one in seen)
        say(f"--fail-on: found {told}", err=True)
        return FOUND
    unseen, why = fail_on.not_looked_for(found, asked)
    if unseen:
        say(f"--fail-on: not looked for, {why}: {', '.join(unseen)}", err=True)
        return UNKNOWN
    return verdict


def _show_events(record: RunRecord, events: Sequence[int], *, as_json: bool) -> None:
    if record.of_servers:
        show_events(record, events, as_json=as_json)
        return
    from varsim.report.event_page import event_plain, print_events
    from varsim.report.page import print_page

    with open_record(record.path) as (history, _):
        if as_json:
            number = {"incarnation": record.incarnation}
            say_json([number | event_plain(history, one) for one in events], 2)
        else:
            print_page(lambda it: print_events(it, history, events, record.part), sys.stdout)
