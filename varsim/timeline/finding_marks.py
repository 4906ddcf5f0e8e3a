"""The findings about a history as marks on the tracks: at the events that show the problem."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from varsim.analysis.findings.model import Finding
from varsim.report.findings_text import told_findings


class FindingMark(NamedTuple):
    """A mark at an event."""

    title: str  # the kind of the finding, and its variable
    args: dict[str, Any]  # what the viewer shows of a selected mark


def marks_of(findings: Sequence[Finding]) -> dict[int, list[FindingMark]]:
    """Return the marks of findings by the numbers of their events.

    A finding has a mark at each of the first events that show it.
    """
    marks: dict[int, list[FindingMark]] = {}
    for one in told_findings(findings, everything=True).shown:
        args = {
            "what": one.what,
            "times": one.count,
            "at": _places(one.locations),
            "remedy": one.remedy,
            "certainty": one.certainty,
        }
        for event in one.events:
            marks.setdefault(event, []).append(FindingMark(one.title, {"event": event, **args}))
    return marks


def _places(locations: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{location} ({count} x)" for location, count in locations)
