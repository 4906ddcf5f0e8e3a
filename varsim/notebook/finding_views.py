"""Findings as HTML: the problem, its place in the program, and what to do."""

from __future__ import annotations

from typing import Final

from varsim.analysis.findings.model import Finding, Findings
from varsim.notebook.fragments import (
    beside_line,
    coded,
    folded,
    heading,
    lines,
    listing,
    paragraph,
    view,
)
from varsim.report.findings_text import ToldFinding, told_findings
from varsim.report.formatting import count

_MOST: Final = 12  # findings in one output
_ALL: Final = "`varsim check --all`"


def finding_html(finding: Finding) -> str:
    """Return one finding."""
    return view(*map(_told, told_findings([finding]).shown))


def findings_html(findings: Findings) -> str:
    """Return all findings, similar ones once."""
    if not findings:
        return view(paragraph("no finding"))
    told = told_findings(findings, option=_ALL)
    left_out = len(told.shown) - _MOST
    more = [paragraph(f"{left_out} more: {_ALL} shows them.", faint=True)] if left_out > 0 else []
    return view(paragraph(told.summary), *map(_told, told.shown[:_MOST]), *more)


def _told(told: ToldFinding) -> str:
    named = f"{told.named}: " if told.named else ""
    parts = [heading(told.title, f"{count(told.count)}×"), paragraph(f"{named}{told.what}")]
    if told.locations:
        places = [
            f"`{place}`" + (f" {count(often)}×" if len(told.locations) > 1 else "")
            for place, often in told.locations
        ]
        parts.append(paragraph(f"where: {', '.join(places)}"))
    parts.append(paragraph(f"what to do: {told.remedy}"))
    if told.paste:
        parts.append(lines(told.paste))
    rest = [
        f"{label}: {said}"
        for label, said in (
            ("tried", told.tried),
            ("effect", told.effect),
            ("how sure", told.certainty),
            ("cause", told.cause),
            ("events", ", ".join(map(str, told.events))),
            *(("leads to", one) for one in told.leads_to),
        )
        if said
    ]
    mood = "unsure" if told.effect else "bad"
    return beside_line(mood, *parts, folded("How sure, and proof", listing(rest)))


def in_short(findings: list[str]) -> str:
    """Return a line for each group of similar findings."""
    return beside_line("unsure", *(f"<div>{coded(one)}</div>" for one in findings))
