"""The sections about the judgement: findings, staleness, advice, verdict, and open questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from varsim.analysis.examination import Examination
from varsim.analysis.failure_remedies import DETAILS
from varsim.analysis.failures import FAILED_CALL, FAILED_RUN
from varsim.analysis.outcome import Note
from varsim.analysis.served import ServedExamination
from varsim.charts.series_chart import histogram
from varsim.report.comparison_text import compared_text
from varsim.report.findings_text import ToldFinding, staleness_ranges, told_findings
from varsim.report.summary import Summary
from varsim.report.variable_tables import bounded_text, one_sided_text
from varsim.report.verdict_text import NOTHING_RECORDED, nothing_found, reasons_of, verdict_text
from varsim.texts.facts import times
from varsim.webpage.reported import ReportedRecord
from varsim.webpage.section import Section

_WIDTH: Final = 10_000  # columns: the browser breaks lines
_MOST_HISTOGRAMS: Final = 6
_DETAILS_ON_PAGE: Final = "The section Result has the error and its traceback."
_JUDGED_BEFORE: Final = (
    "As judged when the run ended. The record is long, so it was not judged again: `varsim check "
    "{path}` does this, and shows each promise."
)


def findings_section(record: ReportedRecord) -> Section:
    """Return the section with the findings, their proof, place and remedy."""
    found, verdict = record.found, None if record.summary is None else record.summary.verdict
    shown: tuple[ToldFinding, ...] = ()
    said = ""
    compared: list[tuple[str, str]] = []
    if found is not None:
        option = f"varsim check {record.path} --all"
        told = told_findings(found.findings, option=option)
        shown, said = tuple(map(_on_page, told.shown)), told.summary
        if not shown and isinstance(found, Examination):
            said = _sentence(nothing_found(found))
        elif not shown:
            said = "No finding about the parameter servers."
        if isinstance(found, Examination) and found.compared is not None:
            caused = any(one.kind.about_values for one in found.findings)
            compared = _lines(compared_text(found.compared, _WIDTH, caused=caused))
    elif verdict is not None:
        said = "No finding." if not verdict.findings else "; ".join(verdict.findings)
        said = f"{said} {_JUDGED_BEFORE.format(path=record.path)}"
        compared = _lines([verdict.compared] if verdict.compared else [])
    else:
        said = record.problem or NOTHING_RECORDED
    sorts = [_sort(one) for one in shown]
    content = {
        "findings": list(zip(shown, sorts, strict=True)),
        "sorts": [(one, _SORTS[one], sorts.count(one)) for one in _SORTS if one in sorts],
        "said": said,
        "compared": compared,
        "path": record.path,
    }
    return Section(key="findings", title="Findings", template="findings.html", content=content)


_SORTS: Final = {"failure": "failures", "wrong": "about values", "cost": "of cost only"}
"""The sorts of findings, and the words for them."""


def _sort(one: ToldFinding) -> str:
    """Return the sort of a finding, which has a tag and a filter."""
    if one.title.startswith((FAILED_RUN.name, FAILED_CALL.name)):
        return "failure"
    return "cost" if one.effect else "wrong"


def _on_page(one: ToldFinding) -> ToldFinding:
    """Return a finding that does not send the reader to a file for what the page shows."""
    return replace(one, remedy=one.remedy.replace(DETAILS, _DETAILS_ON_PAGE))


def _lines(lines: Sequence[str]) -> list[tuple[str, str]]:
    """Return lines of a text without their indentation, each with its class."""
    stripped = [line.strip() for line in lines]
    return [("item" if one.startswith("- ") else "", one.removeprefix("- ")) for one in stripped]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def advice_section(record: ReportedRecord) -> Section | None:
    """Return the section with the advice, and the lines to paste."""
    advice = record.advice
    if advice is None:
        return None
    return Section(key="advice", title="Advice", template="advice.html", content={"advice": advice})


def staleness_section(record: ReportedRecord) -> Section | None:
    """Return the section with histograms of staleness, and sentences where only sums are known."""
    found = record.found
    sentences = _uses(record.summary)
    bars: list[tuple[str, str, Sequence[tuple[int, int]]]] = []
    if isinstance(found, Examination):
        told = told_findings(found.findings).shown
        bars = [(one.title, "reads", one.staleness) for one in told if one.staleness]
        if not bars and found.num_kinds:
            sentences.append("No stale read was found.")
        elif not bars:
            sentences.append(f"Stale reads were not looked for: {nothing_found(found)}.")
    elif found is not None:
        bars = [
            (f"{one.variable}: writes after a read in the same closure", "writes", one.behind)
            for one in found.accounts
            if one.behind
        ]
    if not bars and not sentences:
        return None
    charts = tuple(
        histogram(
            f"staleness-{number}",
            title,
            f"{title}: how many {what} were behind by how many versions",
            staleness_ranges(pairs),
            x="versions behind",
            y=what,
        )
        for number, (title, what, pairs) in enumerate(bars[:_MOST_HISTOGRAMS])
    )
    return Section(
        key="staleness",
        title="Staleness",
        template="staleness.html",
        content={"sentences": sentences, "left_out": len(bars) - len(charts)},
        charts=charts,
    )


def _uses(summary: Summary | None) -> list[str]:
    """Return a sentence on each variable with bounded staleness or one-sided operations."""
    found = []
    for one in () if summary is None else summary.variables:
        if one.bounded is not None:
            found.append(f"{one.name}: {bounded_text(one.bounded)}.")
        if one.one_sided is not None:
            found.append(f"{one.name}: {one_sided_text(one.one_sided)}.")
    return found


def verdict_section(record: ReportedRecord) -> Section:
    """Return the section with the verdict, and each promise if the record was judged now."""
    found, verdict = record.found, None if record.summary is None else record.summary.verdict
    rows: Sequence[tuple[str, str, str]] = ()
    if found is not None:
        said = verdict_text(found.outcome.value, reasons_of(found.verdicts))
        rows = [(one.outcome.value, one.checker, one.reason) for one in found.verdicts]
    elif verdict is not None:
        said = verdict_text(verdict.outcome, verdict.reasons)
        said = f"{said} {_JUDGED_BEFORE.format(path=record.path)}"
    else:
        said = record.problem or NOTHING_RECORDED
    return Section(
        key="verdict",
        title="Verdict",
        template="verdict.html",
        content={"said": said, "rows": rows},
    )


def not_looked_at_section(record: ReportedRecord) -> Section:
    """Return the section with what was not examined, each with the option that examines it."""
    found, verdict = record.found, None if record.summary is None else record.summary.verdict
    judged: Sequence[Note] = ()
    if found is not None:
        judged = found.not_looked_at
    elif verdict is not None:
        judged = verdict.not_looked_at
    if record.traffic is None and not isinstance(found, ServedExamination):
        unseen = "traffic, waits, single events, and values by call"
        if found is None and verdict is None:
            unseen = f"findings, promises, advice, {unseen}"
        judged = [*judged, Note(text=f"{unseen}: {record.problem or NOTHING_RECORDED}".rstrip("."))]
    notes = [*judged, *record.notes]
    return Section(
        key="not-looked-at",
        title="What was not looked at",
        template="not_looked_at.html",
        content={"notes": notes, "count": times(len(notes), "note")},
    )
