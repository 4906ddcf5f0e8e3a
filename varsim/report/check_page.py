"""The page of `varsim check`: promises, events that break a promise, findings, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from varsim.analysis.examination import Examination
from varsim.analysis.failures import FAILED_RUN
from varsim.analysis.findings.model import Finding
from varsim.analysis.outcome import Outcome, Verdict
from varsim.analysis.served import ServedExamination
from varsim.report.comparison_text import MOST, compared_text
from varsim.report.findings_text import (
    ToldFindings,
    finding_text,
    findings_text,
    told_findings,
)
from varsim.report.formatting import filled
from varsim.report.space_time import space_time
from varsim.report.verdict_text import end_of, nothing_found

_LEAST_REASON: Final = 24  # columns; with less room, a reason is printed below its promise
_SAME_REASON: Final = "the same"  # for a check with the same reason as the check above
_COLOR: Final = {Outcome.VALID: "green", Outcome.INVALID: "red", Outcome.UNKNOWN: "yellow"}


def print_check(
    console: Console,
    found: Examination,
    names: Mapping[int, str],
    *,
    everything: bool = False,
    record: str = "",
) -> None:
    """Print the page about a run.

    Args:
        names: The variables' names by number.
        everything: Whether to print similar findings one by one.
        record: The folder of the record, if it is not the run's first record.
    """
    width = console.width
    others = print_judged(console, found)
    for verdict in found.verdicts:
        if verdict.events:
            reason = filled(f"{verdict.checker}: {verdict.reason}", width)
            _print_lines(console, ["", *reason, *space_time(verdict.events, names, width)])
    if found.compared is not None:
        most = None if everything else MOST
        caused = any(one.kind.about_values for one in found.findings)
        _print_lines(console, ["", *compared_text(found.compared, width, most, caused=caused)])
    told = told_findings(others, everything=everything)
    lines = findings_text(told, width) or filled(nothing_found(found), width)
    hint = how_to_see(found, told, record, width)
    _print_lines(console, ["", *lines, *hint, "", *end_of(found, width)])


def how_to_see(
    found: Examination | ServedExamination, told: ToldFindings, record: str, width: int
) -> list[str]:
    """Return a hint on how to print an event; [] if the page has no number of an event.

    Args:
        told: The findings below the promises. The findings that follow from them are not shown.
    """
    events = [event for one in found.findings if one.kind is FAILED_RUN for event in one.events]
    events += [event for one in told.shown for event in one.events]
    if found.compared is not None:
        events += [one.event for one in found.compared.leading]
    if not events:
        return []
    option = f"--event {events[0]}"
    command = f"varsim check {record} {option}" if record else option
    said = f"`{command}` shows that event, and the events around it."
    return ["", *filled(said, width)]


def print_judged(console: Console, found: Examination | ServedExamination) -> list[Finding]:
    """Print how the run ended, if it failed or was interrupted, and a line for each promise.

    Returns:
        The findings that are not printed yet: all but the failure.
    """
    failed = [one for one in found.findings if one.kind is FAILED_RUN]
    for line in _ended(found, failed, console.width):
        console.print(Text(line, style="red" if failed else "yellow"), soft_wrap=True)
    _print_promises(console, found.verdicts, console.width)
    return [one for one in found.findings if one not in failed]


def _ended(
    found: Examination | ServedExamination, failed: Sequence[Finding], width: int
) -> list[str]:
    """Return the lines on how the run ended, if it failed or was interrupted."""
    if failed:
        return [*finding_text(failed[0], width), ""]
    if found.ending is not None and found.ending.early:
        said = f"{found.ending.early}: the following is about the events recorded until then."
        return [*filled(said, width), ""]
    return []


def _print_promises(console: Console, verdicts: Sequence[Verdict], width: int) -> None:
    """Print a line for each verdict; of equal reasons in a row, print only the first."""
    marks = max(len(outcome.value) for outcome in Outcome)
    widest = max((len(verdict.checker) for verdict in verdicts), default=0)
    indent = marks + widest + 4
    stacked = width - indent < _LEAST_REASON
    before = ""
    for verdict in verdicts:
        room = width - 2 if stacked else width - indent
        told = _SAME_REASON if verdict.reason == before else verdict.reason
        before = verdict.reason
        reason = filled(told, room)
        said = verdict.outcome.value
        line = Text.assemble((f"{said:{marks}}", _COLOR[verdict.outcome]), f"  {verdict.checker}")
        if not stacked:
            line.append(f"{'':{widest - len(verdict.checker)}}  {reason.pop(0)}")
        console.print(line, soft_wrap=True)
        _print_lines(console, [f"{'':{2 if stacked else indent}}{one}" for one in reason])


def _print_lines(console: Console, lines: Sequence[str]) -> None:
    """Print lines without wrapping them."""
    for line in lines:
        console.print(Text(line), soft_wrap=True)
