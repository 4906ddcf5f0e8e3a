"""The page about a run: which sections it has, in which order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from varsim.webpage import (
    cost_sections,
    finding_sections,
    hosts_section,
    lens_section,
    outcome,
    space_time_section,
)
from varsim.webpage.reported import ReportedRecord, ReportedRun
from varsim.webpage.section import Page, Part, Section

RunSection = Callable[[ReportedRun], Section | None]
RecordSection = Callable[[ReportedRecord], Section | None]

FIRST: Final[tuple[RunSection, ...]] = (outcome.result_section, outcome.training_section)
"""The sections about the run as a whole that stand first. A function returns None for nothing."""

OF_RECORD: Final[tuple[RecordSection, ...]] = (
    finding_sections.findings_section,
    finding_sections.advice_section,
    cost_sections.modes_section,
    cost_sections.traffic_section,
    hosts_section.hosts_section,
    cost_sections.times_section,
    finding_sections.staleness_section,
    lens_section.lens_section,
    space_time_section.space_time_section,
    finding_sections.verdict_section,
    finding_sections.not_looked_at_section,
)
"""The sections about each record of the run."""

LAST: Final[tuple[RunSection, ...]] = (outcome.configuration_section,)
"""The sections about the run as a whole that stand last."""


def run_page(run: ReportedRun) -> Page:
    """Return the page about a run."""
    several = len(run.records) > 1
    parts = [Part(heading="", sections=_found(FIRST, run))]
    for number, record in enumerate(run.records, start=1):
        sections = tuple(one for make in OF_RECORD if (one := make(record)) is not None)
        if several:
            sections = tuple(_numbered(one, number) for one in sections)
        heading = (record.part or f"record {number}") if several else ""
        parts.append(Part(heading=heading, sections=sections))
    parts.append(Part(heading="", sections=_found(LAST, run)))
    said, mood = outcome.outcome_of(run)
    return Page(title=run.name, outcome=said, mood=mood, parts=tuple(parts))


def _found(makers: tuple[RunSection, ...], run: ReportedRun) -> tuple[Section, ...]:
    return tuple(one for make in makers if (one := make(run)) is not None)


def _numbered(section: Section, number: int) -> Section:
    """Return a section whose keys are unique among those of several records."""
    charts = tuple(replace(one, key=f"{one.key}-{number}") for one in section.charts)
    return replace(section, key=f"{section.key}-{number}", charts=charts)
