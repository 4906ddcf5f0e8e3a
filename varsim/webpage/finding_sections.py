"""The sections about the judgement: findings, staleness, advice, verdict, and open questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from varsim.analysis.examination import Examination
from varsim.analysis.failures import FAILED_RUN
from varsim.analysis.outcome import Note
from varsim.charts.series_chart import histogram
from varsim.report.comparison_text import compared_text
from varsim.report.findings_text import ToldFinding, staleness_ranges, told_findings
from varsim.report.verdict_text import NOTHING_RECORDED, nothing_found, reasons_of, verdict_text
from varsim.texts.facts import times
from varsim.webpage.reported import ReportedRecord
from varsim.webpage.section import Section

_WIDTH: Final = 10_000  # columns: the browser breaks lines
_MOST_HISTOGRAMS: Final = 6
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
        shown, said = told.shown, told.summary
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
    wrong = sum(not one.effect for one in shown)
    content = {
        "findings": shown,
        "said": said,
        "compared": compared,
        "path": record.path,
        "num_wrong": wrong,
        "num_cost": len(shown) - wrong,
        "failed": FAILED_RUN.name,
    }
    return Section(key="findings", title="Findings", template="findings.html", content=content)


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
    """Return the section with a histogram for each finding about stale reads."""
    found = record.found
    if not isinstance(found, Examination):
        return None
    told = [one for one in told_findings(found.findings).shown if one.staleness]
    charts = tuple(
        histogram(
            f"staleness-{number}",
            one.title,
            f"{one.title}: how many reads were behind by how many versions",
            [(label, reads) for label, reads in staleness_ranges(one.staleness)],
            x="versions behind",
            y="reads",
        )
        for number, one in enumerate(told[:_MOST_HISTOGRAMS])
    )
    if charts:
        said = ""
    elif found.num_kinds:
        said = "No stale read was found."
    else:
        said = f"Stale reads were not looked for: {nothing_found(found)}."
    content = {"said": said, "left_out": len(told) - len(charts)}
    return Section(
        key="staleness",
        title="Staleness",
        template="staleness.html",
        content=content,
        charts=charts,
    )


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
    notes = [*judged, *record.notes]
    return Section(
        key="not-looked-at",
        title="What was not looked at",
        template="not_looked_at.html",
        content={"notes": notes, "count": times(len(notes), "note")},
    )
