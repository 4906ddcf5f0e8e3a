"""`varsim check`: judge the history of a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from varsim.cli import completion, fail_on
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
from varsim.cli.record import further_records, open_record, part_of, say_of_others

if TYPE_CHECKING:
    from varsim.analysis.examination import Examination
    from varsim.analysis.findings.compared import Compared
    from varsim.analysis.findings.model import Finding
    from varsim.tracing.history import History

_EXIT_CODE: Final = {"VALID": DONE, "INVALID": INVALID, "UNKNOWN": UNKNOWN}
_SEVERITY: Final = (DONE, UNKNOWN, FOUND, FAILED, INVALID)
"""The exit codes of records, the least severe first. Of several records, the most severe counts."""

_EXIT_CODES: Final = exit_codes(DONE, FAILED, WRONG_USE, INVALID, UNKNOWN, FOUND, INTERRUPTED)


@click.command(epilog=_EXIT_CODES, short_help="Judge a run by its record.")
@click.argument("run", default="runs/latest", shell_complete=completion.runs)
@click.option("--json", "as_json", is_flag=True, help="Print the verdicts as JSON, and only that.")
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
    help="Exit with 5 if there is a finding of one of these kinds; `any` means all kinds.",
)
@click.option(
    "--event",
    "events",
    metavar="N",
    type=int,
    multiple=True,
    help="Show only event N of the record, and the events around it.",
)
@click.pass_context
def check(
    ctx: click.Context,
    /,
    *,
    run: str,
    as_json: bool,
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
    new ones, it has one record for each start. All records are judged.

    \b
    varsim check
    varsim check 20260101 --fail-on any
    varsim check --event 108

    The kinds of --fail-on:

    \b
    failed-run, failed-call, stale-read, divergence, write-write-conflict,
    read-write-conflict, scaled-by-the-number-of-replicas, mean-of-means,
    first-replica-only, integer-truncation, nan-or-infinity,
    overflow-of-a-sum, merges-that-are-never-read, reads-with-nothing-changed,
    merges-of-the-same-values, manual-synchronisation-after-every-write,
    waiting-for-one-replica, collectives-of-different-lines

    `any` means all of these kinds. It does not include unexplained-difference, which is a
    difference from a single device that no rule explains.
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.errors import ConfigError

    asked = fail_on.asked_for(kinds)
    try:
        if events:
            with open_record(run) as (path, history, _):
                say_of_others(path, as_json=as_json)
                _show_events(history, events, as_json=as_json)
            return
        records = [_judged(run)]
        records += [_judged(str(folder)) for folder in further_records(records[0].path)]
    except ConfigError as error:
        failed = None if events else _failed_without_record(run)
        if failed is None:
            raise WrongUse(str(error)) from error
        _show_failure(failed, str(error), as_json=as_json)
        ctx.exit(FAILED)
    first, *others = (one.found for one in records)
    if not others:
        say_of_others(records[0].path, as_json=as_json)
    if as_json:
        told = _plain(first)
        say_json({**told, "further": [_plain(one) for one in others]} if others else told, 2)
    else:
        _print(records, everything=everything)
        _say_how_to_continue(records[0].path)
    ctx.exit(max((_exit_code(one.found, asked) for one in records), key=_SEVERITY.index))


@dataclass(frozen=True, slots=True)
class _Record:
    """One record of a run, and what was found in it."""

    path: Path
    part: str  # the name of the incarnation, if its strategy has several
    found: Examination
    names: dict[int, str]  # a variable's number → its name


def _judged(run: str) -> _Record:
    with open_record(run) as (path, history, oracle):
        found = _examined(history, oracle, path)
        names = {number: str(row.name) for number, row in history.variables.items()}
    return _Record(path, part_of(path), found, names)


def _print(records: Sequence[_Record], *, everything: bool) -> None:
    """Print the page of each record, below the record's folder if there are several."""
    from varsim.report.check_page import print_check
    from varsim.report.page import print_page

    for number, one in enumerate(records):
        if len(records) > 1:
            part = f" ({one.part})" if one.part else ""
            say("\n" * bool(number) + f"{one.path}{part}:\n")
        page = partial(
            print_check,
            found=one.found,
            names=one.names,
            everything=everything,
            record=str(one.path) if number else "",
        )
        print_page(page, sys.stdout)


def _say_how_to_continue(record: Path) -> None:
    """Print the command that continues a run, if it is not done and has a checkpoint."""
    from varsim.experiments.run_checkpoints import how_to_continue

    said = how_to_continue(record if record.is_dir() else record.parent)
    if said:
        say(f"\n{said}")


def _examined(history: History, oracle: History | None, path: Path) -> Examination:
    from varsim.cli.progress import PHASE_TITLES, telling
    from varsim.experiments.run_ending import examined, summary_beside
    from varsim.report.summary import Phase

    with telling(PHASE_TITLES[Phase.JUDGING]) as tell:
        return examined(history, oracle, summary_beside(path), tell=tell)


def _failed_without_record(run: str) -> Finding | None:
    """Return the failure of a run that has no record; None if there is a record or no failure."""
    from varsim.analysis.failures import failed_run
    from varsim.errors import ConfigError
    from varsim.experiments.run_ending import ending_of, summary_beside
    from varsim.experiments.run_lookup import find_run
    from varsim.tracing.history import HISTORY

    try:
        path = find_run(run)
    except ConfigError:
        return None
    summary = summary_beside(path)
    if summary is None or summary.failure is None or (path / HISTORY).exists():
        return None
    return failed_run(ending_of(summary))


def _show_failure(failed: Finding, without_record: str, *, as_json: bool) -> None:
    """Print the known facts about a failed run without a record."""
    from varsim.report.findings_text import finding_text

    if as_json:
        told = {"status": "failed", "outcome": None, "findings": [_plain_finding(failed)]}
        say_json(told, 2)
    else:
        say("\n".join([*finding_text(failed), "", without_record]))


def _exit_code(found: Examination, asked: frozenset[str]) -> int:
    """Return the exit code for a fault of varsim, a failed run, --fail-on or the verdict."""
    verdict = _EXIT_CODE[found.outcome.value]
    if verdict == INVALID or found.run_failed:
        return verdict if verdict == INVALID else FAILED
    seen = fail_on.seen(found, asked)
    if seen:
        say(f"--fail-on: found {', '.join(seen)}", err=True)
        return FOUND
    unseen = fail_on.not_looked_for(found, asked)
    if unseen:
        why = "without an oracle" if found.compared is None else "because no rule could be tried"
        say(f"--fail-on: not looked for, {why}: {', '.join(unseen)}", err=True)
        return UNKNOWN
    return verdict


def _show_events(history: History, events: Sequence[int], *, as_json: bool) -> None:
    from varsim.report.event_page import event_plain, print_events
    from varsim.report.page import print_page

    if as_json:
        say_json([event_plain(history, one) for one in events], 2)
    else:
        print_page(lambda it: print_events(it, history, events), sys.stdout)


def _plain(found: Examination) -> dict[str, Any]:
    from varsim.report.verdict_text import verdict_of

    return {
        "status": None if found.ending is None else found.ending.status,
        "outcome": found.outcome.value,
        "verdict": verdict_of(found),
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
        "findings": [_plain_finding(one) for one in found.findings],
        "compared": None if found.compared is None else _plain_comparison(found.compared),
        "not_looked_at": [asdict(one) for one in found.not_looked_at],
    }


def _plain_finding(finding: Finding) -> dict[str, Any]:
    return {**asdict(finding), "kind": finding.kind.name}


def _plain_comparison(compared: Compared) -> dict[str, Any]:
    from varsim.report.json_values import plain

    told: dict[str, Any] = plain(asdict(compared))
    for one, difference in zip(told["differences"], compared.differences, strict=True):
        one["access"] = difference.access.value
    return told
