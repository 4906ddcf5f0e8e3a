"""The section with the space-time diagram: what its script draws, and what its text says."""

from __future__ import annotations

from typing import Any, Final

from varsim.analysis.examination import Examination
from varsim.charts.theme import COLORS
from varsim.report.findings_text import told_findings
from varsim.report.grouping import short_names
from varsim.report.space_time import who
from varsim.texts.facts import times
from varsim.webpage.reported import ReportedRecord
from varsim.webpage.section import Section
from varsim.webpage.space_time_events import SpaceTime, families

_NAME_WIDTH: Final = 32
_LABELS: Final = (
    ("kind", "kind"),
    ("call", "call"),
    ("operation", "operation"),
    ("version", "version"),
    ("collective", "collective"),
    ("group", "group"),
    ("component", "replica"),
    ("value", "value"),
    ("form", "dtype and shape"),
    ("times", "equal reads"),
    ("present", "replicas that take part"),
    ("error", "error"),
    ("note", "note"),
    ("location", "location"),
)
"""The columns that the record of an event shows as they are, and their names for readers."""


def space_time_section(record: ReportedRecord) -> Section | None:
    """Return the section with the space-time diagram; None if nothing was recorded."""
    diagram = record.space_time
    if diagram is None or not diagram.events:
        return None
    findings = _findings(record, diagram)
    content = {
        "drawn": _drawn(diagram),
        "left_out": _left_out(diagram, record.path),
        "simulated": diagram.simulated,
        "findings": findings,
        "elsewhere": [one["title"] for one in findings if not one["events"]],
        "data": {**_data(diagram), "findings": findings, "path": record.path},
        "processes": _names(diagram),
        "families": _families(diagram)[0],
    }
    return Section(
        key="space-time",
        title="Space-time diagram",
        template="space_time.html",
        content=content,
        scripts=("space_time_scene.js", "space_time_drawing.js", "space_time.js"),
        styles=("space_time.css",),
    )


def _names(diagram: SpaceTime) -> list[str]:
    """Return the name of each process, with its host if that is not the program's."""
    hosts = zip(diagram.processes, diagram.hosts, strict=True)
    return [f"{who(process)} on {host}" if host else who(process) for process, host in hosts]


def _data(diagram: SpaceTime) -> dict[str, Any]:
    """Return what the script reads; its numbers of variables and processes are places in lists."""
    places = {number: place for place, number in enumerate(diagram.variables)}
    processes = {process: place for place, process in enumerate(diagram.processes)}
    columns = dict(diagram.columns)
    columns["variable"] = [places.get(number, -1) for number in columns["variable"]]
    columns["process"] = [processes[process] for process in columns["process"]]
    shown, of_variable = _families(diagram)
    return {
        "processes": _names(diagram),
        "variables": [*diagram.variables.values()],
        "families": shown,
        "familyOf": of_variable,
        "columns": columns,
        "texts": {name: {"texts": it.texts, "of": it.of} for name, it in diagram.texts.items()},
        "labels": _LABELS,
        "messages": [
            [one.sent, one.received, [places[number] for number in one.variables]]
            for one in diagram.messages
        ],
        "merges": [
            [
                sorted(places[number] for number in one.variables),
                [
                    [processes[process], began, one.ended.get(process, began)]
                    for process, began in sorted(one.began.items())
                ],
            ]
            for one in diagram.merges
        ],
        "simulated": diagram.simulated,
    }


def _families(diagram: SpaceTime) -> tuple[list[str], list[int]]:
    """Return the families that share a colour, and the place of each variable's family."""
    found = families(list(diagram.variables.values()), COLORS)
    shown = list(dict.fromkeys(found))
    return short_names(shown, _NAME_WIDTH), [shown.index(one) for one in found]


def _findings(record: ReportedRecord, diagram: SpaceTime) -> list[dict[str, Any]]:
    """Return the findings, each with the places of those events that show it."""
    if not isinstance(record.found, Examination):
        return []
    places = {number: place for place, number in enumerate(diagram.events)}
    return [
        {"title": one.title, "events": [places[it] for it in one.events if it in places]}
        for one in told_findings(record.found.findings).shown
        if one.events
    ]


def _drawn(diagram: SpaceTime) -> str:
    """Return in a sentence what the diagram shows."""
    parts = (
        times(len(diagram.events), "event"),
        f"{len(diagram.processes)} process{'es' if len(diagram.processes) > 1 else ''}",
        times(len(diagram.messages), "message"),
        times(len(diagram.merges), "reduction"),
    )
    events, processes, messages, merges = parts
    return f"{events} of {processes}, with {messages} and {merges}"


def _left_out(diagram: SpaceTime, path: str) -> str:
    """Return in a sentence which calls are not in the diagram; "" if all are."""
    if not diagram.before and not diagram.after:
        return ""
    total = len(diagram.events) + diagram.before + diagram.after
    where = f"events {diagram.events[0]:,} to {diagram.events[-1]:,} of {total:,} are drawn"
    if diagram.calls is None:
        return f"Not the whole record: {where}. `varsim report {path} --calls A:B` draws calls."
    first, last = diagram.calls
    which = f"call {first:,}" if first == last else f"calls {first:,} to {last:,}"
    span = last - first + 1
    other = last + 1 if last < diagram.last_call else max(1, first - span)
    after = min(other + span, diagram.last_call + 1)
    return (
        f"Not the whole record: {which} of {diagram.last_call:,} ({where}). "
        f"`varsim report {path} --calls {other}:{after}` draws others."
    )
