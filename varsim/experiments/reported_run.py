"""Read what a report shows of a run: summaries, records, series over calls, and advice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from varsim.analysis.completeness import incompleteness
from varsim.analysis.examination import Examination
from varsim.analysis.findings.context import context_of
from varsim.analysis.lens import moments
from varsim.analysis.observer import Audience
from varsim.analysis.outcome import Note
from varsim.analysis.promises import promise_of
from varsim.analysis.served import ServedExamination
from varsim.analysis.step_times import StepTimes
from varsim.analysis.step_traffic import StepTraffic
from varsim.analysis.unknown_policies import why_unknown
from varsim.errors import ConfigError, FileError
from varsim.experiments import yaml_lines
from varsim.experiments.metric_series import Series, read_series
from varsim.experiments.run_ending import unreadable_summary
from varsim.experiments.run_records import RunRecord, RunRecords
from varsim.experiments.store import EXPERIMENT, RunFiles
from varsim.experiments.text_files import read_text
from varsim.report.lens_page import relative
from varsim.report.run_page import typed
from varsim.report.summary import Summary
from varsim.texts.facts import times
from varsim.tracing.call_window import NO_CALLS_OF_SERVERS, outside
from varsim.tracing.history import History, VariableRow
from varsim.webpage.reported import (
    Advice,
    MetricPoint,
    ReportedRecord,
    ReportedRun,
    ShownVariable,
)
from varsim.webpage.space_time_events import MOST_EVENTS, space_time_of
from varsim.whatif.remedies import MOST_EVENTS as MOST_REPLAYED

LONG: Final = 50_000
"""Number of events of a long record: it is judged again only if its run had findings."""

_MOST_VARIABLES: Final = 6  # variables of the value lens; each needs a pass over its events
_MOST_OF_LONG: Final = 2

Opened = Callable[[Path], AbstractContextManager[tuple[History, History | None]]]
"""Opens the history of a record, and that of its oracle; it raises a ConfigError without one."""


@dataclass(frozen=True, slots=True)
class Readers:
    """How a command opens and judges a record: it merges traces and shows progress."""

    opened: Opened
    examined: Callable[[History, History | None, RunRecord], Examination]
    examined_servers: Callable[[RunRecord], ServedExamination]
    advised: Callable[[History, History | None, RunRecord], Advice] | None
    """None if the user wants no advice. It raises a ConfigError if a record cannot be replayed."""
    calls: tuple[int, int] | None = None
    """The first call in the space-time diagram, and the first one after it; None for a choice."""
    most_events: int = MOST_EVENTS
    """Largest number of events in the diagram of a record."""


def reported_run(records: RunRecords, readers: Readers) -> ReportedRun:
    """Return what a report shows of a run.

    Args:
        records: The records of the run. A record that the user has named is shown alone.
    Raises:
        ConfigError: A record is damaged.
    """
    folder = RunFiles(records.named.folder).of_run().path
    series = read_series(folder)
    shown = records.every if records.is_whole else (records.named,)
    readers = replace(readers, most_events=MOST_EVENTS // len(shown))
    told = [_record(one, readers) for one in shown]
    diagrams = [one.space_time for one in told if one.space_time is not None]
    if readers.calls is not None and not any(one.events for one in diagrams):
        raise ConfigError(outside(readers.calls, max((it.last_call for it in diagrams), default=0)))
    return ReportedRun(
        name=folder.resolve().name,
        records=told,
        metrics=metric_points(series),
        problems=series.problems,
        experiment_yaml=_experiment(folder),
    )


def metric_points(series: Series) -> list[MetricPoint]:
    """Return the metrics that a run has logged, in order of steps."""
    return [MetricPoint(step=one.step, values=one.values) for one in series.lines]


def _experiment(folder: Path) -> str:
    try:
        return read_text(folder / EXPERIMENT, yaml_lines.MAX_BYTES).strip()
    except (ConfigError, FileNotFoundError):
        return ""


def _record(record: RunRecord, readers: Readers) -> ReportedRecord:
    """Return a record, and why its summary cannot be read, if this is so."""
    found = _judged_record(record, readers)
    if why := unreadable_summary(record.path):
        return replace(found, damage=(*found.damage, why), notes=(*found.notes, Note(text=why)))
    return found


def _judged_record(record: RunRecord, readers: Readers) -> ReportedRecord:
    path = typed(str(record.path)).rstrip("/")
    if record.of_servers:
        if readers.calls is not None:
            raise ConfigError(NO_CALLS_OF_SERVERS)
        notes = (
            Note(text="traffic, waits and values by call", option=f"`varsim lens {path}`"),
            Note(text="a space-time diagram", option=f"`varsim trace {path}`"),
        )
        return ReportedRecord(
            part=record.part,
            path=path,
            summary=record.summary,
            found=readers.examined_servers(record),
            notes=notes,
        )
    try:
        with readers.opened(record.path) as (history, oracle):
            return _of_history(history, oracle, record, path, readers)
    except ConfigError as error:
        if record.summary is None:
            raise
        return ReportedRecord(
            part=record.part,
            path=path,
            summary=record.summary,
            found=None,
            problem=f"{error}.",
            damage=(str(error),) if isinstance(error, FileError) else (),
        )


def to_judge(history: History, record: RunRecord) -> bool:
    """Return whether to judge a record: not a long one whose run was judged without a finding."""
    verdict = None if record.summary is None else record.summary.verdict
    return history.last_event <= LONG or verdict is None or bool(verdict.findings)


def _of_history(
    history: History, oracle: History | None, record: RunRecord, path: str, readers: Readers
) -> ReportedRecord:
    is_long = history.last_event > LONG
    found = readers.examined(history, oracle, record) if to_judge(history, record) else None
    context = context_of(history)
    step_times = StepTimes(context, history.calls_before)
    traffic = StepTraffic(history)
    Audience((*step_times.observers, traffic)).show(history.events())
    advice, notes = _advice(history, oracle, record, path, readers)
    if step_times.simulated:
        notes.append(Note(text="times of calls: in a simulated cluster, they show nothing"))
    most = _MOST_OF_LONG if is_long else _MOST_VARIABLES
    rows = _telling(history, record.summary, found)[:most]
    return ReportedRecord(
        part=record.part,
        path=path,
        summary=record.summary,
        found=found,
        names={number: str(row.name) for number, row in history.variables.items()},
        traffic=traffic,
        times=None if step_times.simulated else step_times.steps,
        variables=[one for row in rows for one in _shown(history, oracle, row)],
        advice=advice,
        space_time=space_time_of(
            history,
            [] if found is None else [one for it in found.findings for one in it.events],
            calls=readers.calls,
            most=readers.most_events,
        ),
        notes=notes,
    )


def _advice(
    history: History, oracle: History | None, record: RunRecord, path: str, readers: Readers
) -> tuple[Advice | None, list[Note]]:
    """Return the advice about a record; or None and a note that says why there is none."""
    what, option = "whether other settings are cheaper", f"`varsim advise {path}`"
    if readers.advised is None:
        return None, [Note(text=f"{what} (--no-advice)", option=option)]
    if record.ending is not None and record.ending.failed:
        why = "the run failed, so its record shows only a part of what the settings do"
        return None, [Note(text=f"{what}: {why}", option=option)]
    if history.last_event > MOST_REPLAYED:
        why = f"a record with more than {times(MOST_REPLAYED, 'event')} is not replayed for it"
        return None, [Note(text=f"{what}: {why}", option=option)]
    try:
        return readers.advised(history, oracle, record), []
    except ConfigError as error:
        return None, [Note(text=f"{what}: {error}")]


def _telling(
    history: History, summary: Summary | None, found: Examination | None
) -> list[VariableRow]:
    """Return the variables, the most informative first.

    These are the ones with a finding about values or a difference from a single device, then those
    whose replicas differ most at the end.
    """
    first: list[int] = []
    if found is not None:
        first = [
            one.variable_id
            for one in found.findings
            if one.variable_id is not None and one.kind.about_values
        ]
        if found.compared is not None:
            first += [one.variable_id for one in found.compared.leading]
            first += [one.variable_id for one in found.compared.unexplained]
    apart: dict[str, float] = {}
    for variable in () if summary is None else summary.variables:
        if variable.lens is not None:
            apart[variable.name] = relative(variable.lens)
    places = {number: place for place, number in reversed(list(enumerate(first)))}
    return sorted(
        history.variables.values(),
        key=lambda row: (places.get(row.variable, len(first)), -apart.get(row.name, 0.0)),
    )


def _shown(history: History, oracle: History | None, row: VariableRow) -> Iterator[ShownVariable]:
    promise = promise_of(row)
    found = list(moments(history, row, oracle))
    if found:
        yield ShownVariable(
            row=row,
            moments=found,
            has_parts=promise.has_parts,
            flaw=incompleteness(history),
            unknown="" if promise.is_known else why_unknown(row, history.run),
        )
