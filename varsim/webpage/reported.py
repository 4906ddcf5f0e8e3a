"""What a report shows of a run: its summary, its examination, and series over its calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from varsim.analysis.examination import Examination
from varsim.analysis.lens import Moment
from varsim.analysis.outcome import Note
from varsim.analysis.served import ServedExamination
from varsim.analysis.step_times import StepTime
from varsim.analysis.step_traffic import StepTraffic
from varsim.report.summary import Summary
from varsim.tracing.history import VariableRow
from varsim.webpage.space_time_events import SpaceTime


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricPoint:
    """The metrics that a workload logged at one step."""

    step: float
    values: Mapping[str, float]


def steady_value(points: Sequence[MetricPoint], name: str) -> float | None:
    """Return the value that a metric has at every one of several steps; None if it changes."""
    values = [one.values[name] for one in points if name in one.values]
    return values[0] if len(values) > 1 and set(values) == {values[0]} else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownVariable:
    """A variable of the value lens, at its creation and at the end of each call."""

    row: VariableRow
    moments: Sequence[Moment]
    has_parts: bool  # whether each component is a part of a sum or of a mean
    flaw: str  # why the record is not whole; "" if it is whole
    unknown: str  # why the promise of the variable's policy is not known; "" if it is known


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviceItem:
    """The advice for similar variables."""

    name: str
    title: str  # the settings before and after
    keeps: bool  # whether the settings do not change
    entries: Sequence[tuple[str, str]]  # headings, such as why and saves, and their texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The advice of `varsim advise`, in its words, and the lines to paste."""

    items: Sequence[AdviceItem]
    sentences: Sequence[str]
    experiment: str  # YAML; "" if nothing is to change
    program: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedRecord:
    """One record of a run."""

    part: str  # which incarnation or strategy it is of; "" if the run has one record
    path: str  # as a command takes it
    summary: Summary | None  # None if the run was killed
    found: Examination | ServedExamination | None  # None if there is no record, or it was judged
    problem: str = ""  # why there is no examination, in a sentence
    damage: Sequence[str] = ()  # which of its files cannot be read, and why
    names: Mapping[int, str] = field(default_factory=dict)  # the number of a variable → its name
    traffic: StepTraffic | None = None
    times: Sequence[StepTime] | None = None  # None if times are not known
    variables: Sequence[ShownVariable] = ()
    advice: Advice | None = None
    space_time: SpaceTime | None = None
    notes: Sequence[Note] = ()  # what the report left out


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedRun:
    """A run, as a report shows it."""

    name: str  # the name of its folder
    records: Sequence[ReportedRecord]
    metrics: Sequence[MetricPoint] = ()
    problems: Sequence[str] = ()  # what could not be read of the metrics
    experiment_yaml: str = ""

    @property
    def damage(self) -> list[str]:
        """Return what could not be read of the run's files."""
        return [*(text for one in self.records for text in one.damage), *self.problems]
