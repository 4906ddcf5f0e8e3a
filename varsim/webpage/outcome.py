"""The sections about a run as a whole: its outcome, result, training curves and configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Final

from varsim.analysis.examination import Examination
from varsim.charts.chart import Chart
from varsim.charts.series_chart import Line, line_chart
from varsim.report.formatting import bounded, flat_rows, number, seconds
from varsim.report.metric_facts import apart_facts, metric_facts
from varsim.report.run_page import run_headline
from varsim.report.run_sentences import sentences_on_synchronisation
from varsim.report.summary import Plain, Summary
from varsim.texts.facts import headline, times
from varsim.webpage.bins import chosen
from varsim.webpage.reported import ReportedRecord, ReportedRun, steady_value
from varsim.webpage.section import Section

_MOST_NUMBERS: Final = 3  # numbers of the result in the sentence
_MOST_METRICS: Final = 12  # charts
_MOST_POINTS: Final = 400  # of a curve; a screen has not many more pixels
_GOOD, _BAD, _UNSURE = "good", "bad", "unsure"


def outcome_of(run: ReportedRun) -> tuple[str, str]:
    """Return the outcome of a run in a sentence, and the mood of the page's sign."""
    last = run.records[-1]
    summary = last.summary
    if summary is None:
        return f"{run.name} was killed: only what was recorded until then is known", _BAD
    clauses = [_done(summary), *_numbers(summary)]
    outcomes = {one for one in map(_outcome, run.records) if one}
    findings = sum(map(_num_findings, run.records))
    if outcomes:
        clauses.append(times(findings, "finding") if findings else "no finding")
    differs = any(map(_differs, run.records))
    if differs:
        clauses.append("values differ from a single device")
    strange = metric_facts(summary)
    clauses += [*strange, *apart_facts(summary)]
    worst = next((one for one in ("INVALID", "UNKNOWN", "VALID") if one in outcomes), "")
    clauses.append(_VERDICTS.get(worst, "nothing was checked"))
    bad = summary.failure is not None or worst == "INVALID"
    doubts = findings or differs or strange
    mood = _BAD if bad else _GOOD if worst == "VALID" and not doubts else _UNSURE
    return f"{'; '.join(clauses)}.", mood


_VERDICTS: Final = {
    "INVALID": "varsim broke a promise (INVALID)",
    "UNKNOWN": "varsim cannot tell whether it kept every promise (UNKNOWN)",
    "VALID": "varsim kept every promise (VALID)",
}


def _done(summary: Summary) -> str:
    workers = f"{run_headline(summary)} on {times(len(summary.devices), 'worker')}"
    if summary.failure is None:
        return workers
    return f"{workers}: {summary.failure.kind}: {headline(summary.failure.text)}"


def _numbers(summary: Summary) -> Iterator[str]:
    """Yield the first numbers of the result, or of the metrics: fractions before counts."""
    rows = flat_rows("", summary.result or summary.metrics)
    scalars = [(name, one) for name, one in rows if isinstance(one, int | float)]
    scalars.sort(key=lambda row: float(row[1]).is_integer())
    for name, value in scalars[:_MOST_NUMBERS]:
        yield f"{name} {number(value)}"


def _outcome(record: ReportedRecord) -> str:
    if record.found is not None:
        return record.found.outcome.value
    verdict = None if record.summary is None else record.summary.verdict
    return "" if verdict is None else verdict.outcome


def _num_findings(record: ReportedRecord) -> int:
    if record.found is not None:
        return len(record.found.findings)
    return 0 if record.summary is None else record.summary.num_findings or 0


def _differs(record: ReportedRecord) -> bool:
    """Return whether values differ from a single device, and no finding explains this."""
    found = record.found
    if not isinstance(found, Examination) or found.compared is None:
        return False
    returned = any(one.differs for one in found.compared.returned)
    return bool(found.compared.unexplained) or returned


def result_section(run: ReportedRun) -> Section | None:
    """Return the section with what the program returned, and what synchronisation did."""
    last = run.records[-1].summary
    if last is None:
        return None
    failure = last.failure
    text = "" if failure is None else bounded(failure.text, "summary.json")
    trace = "" if failure is None else bounded(failure.traceback, "summary.json")
    content = {
        "rows": [(name, _value(one)) for name, one in flat_rows("", last.result)],
        "failure": failure,
        "failure_text": text,
        "traceback": trace,
        "sentences": sentences_on_synchronisation(last),
        "warnings": last.warnings,
    }
    return Section(key="result", title="Result", template="result.html", content=content)


def _value(value: Plain) -> str:
    return bounded(value if isinstance(value, str) else number(value), "summary.json")


def training_section(run: ReportedRun) -> Section:
    """Return the section with the curves of the metrics that the workload logged."""
    logged = dict.fromkeys(name for one in run.metrics for name in one.values)
    finite = {name for one in run.metrics for name, value in one.values.items() if isfinite(value)}
    known = [name for name in logged if name in finite]
    steady = {
        name: value for name in known if (value := steady_value(run.metrics, name)) is not None
    }
    names = [name for name in known if name not in steady]
    content = {
        "steady": [f"{name} {number(value)}" for name, value in steady.items()],
        "left_out": names[_MOST_METRICS:],
        "never_finite": [name for name in logged if name not in finite],
        "problems": run.problems,
    }
    return Section(
        key="training",
        title="Training curves",
        template="training.html",
        content=content,
        charts=tuple(_curve(run, name) for name in names[:_MOST_METRICS]),
    )


def _curve(run: ReportedRun, name: str) -> Chart:
    points = [(one.step, one.values[name]) for one in run.metrics if name in one.values]
    drawn = [points[index] for index in chosen(len(points), _MOST_POINTS)]
    return line_chart(
        f"metric-{name}",
        name,
        f"{name}, as the workload logged it, by step",
        [Line(name=name, points=drawn)],
        x="step",
        y=name,
    )


_TIMES: Final = {"start_up": "start-up", "in_all": "the whole run"}
"""The words for times, if they differ from the names in the summary."""


def configuration_section(run: ReportedRun) -> Section:
    """Return the section with the experiment, the devices, the phases and the versions."""
    last = run.records[-1].summary
    rows: list[tuple[str, str]] = []
    if last is not None:
        rows = [
            ("started", last.started),
            ("varsim", last.varsim),
            *_versions(last),
            ("devices", ", ".join(dict.fromkeys(last.devices))),
            *((_TIMES.get(name, name), f"{seconds(one)} s") for name, one in last.seconds.items()),
        ]
    content = {"rows": rows, "yaml": run.experiment_yaml, "command": f"varsim run {run.name}"}
    return Section(
        key="configuration", title="Configuration", template="configuration.html", content=content
    )


def _versions(summary: Summary) -> Iterator[tuple[str, str]]:
    carried = summary.carried
    versions: Mapping[str, str] = {} if carried is None else carried.versions
    for name, version in versions.items():
        if name != "varsim":
            yield name, version
    if carried is not None:
        yield "system", carried.system
        if carried.commit:
            yield "commit", f"{carried.commit}{' (with changes)' if carried.dirty else ''}"
