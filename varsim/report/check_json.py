"""The JSON document of `varsim check --json`. `varsim schema check` prints its JSON Schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from varsim.analysis.examination import Examination
from varsim.analysis.findings.compared import Compared, ValueDifference
from varsim.analysis.findings.model import Cause, Finding
from varsim.analysis.outcome import Note, Verdict
from varsim.analysis.served import ServedAccount, ServedExamination
from varsim.report.comparison_text import scaled_text
from varsim.report.difference_text import meaning_of, remedy_of
from varsim.report.json_values import plain
from varsim.report.summary import Plain
from varsim.report.verdict_text import verdict_of


class _Described(BaseModel):
    """A part of the document. The docstring below each field is its description in the schema."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class LocationJson(_Described):
    """A line of the program."""

    file: str
    """The path of the file, as the program's working directory or `sys.path` show it."""
    line: int
    """The number of the line; the first line is 1."""
    count: int
    """How many occurrences of the problem this line has."""


class CauseJson(_Described):
    """The finding from which another one follows."""

    word: str
    """The kind of that finding as one word."""
    variable_id: int | None
    """The number of its variable; null if it is not about one variable."""
    variable: str
    """The name of its variable; empty if it is not about one variable."""


class FindingJson(_Described):
    """One kind of problem with one variable, and all its occurrences."""

    kind: str
    """The kind of the finding, in words: "stale read"."""
    word: str
    """The kind as one word, as `--fail-on` and SARIF name it: "stale-read"."""
    variable_id: int | None
    """The number of the variable; null if the finding is not about one variable."""
    variable: str
    """The variable's name; empty if the finding is not about one variable."""
    locations: list[LocationJson]
    """The lines at which the problem occurs. The first line is the one to look at first."""
    count: int
    """How often the problem occurs."""
    what: str
    """What happened, with numbers, and why it is wrong."""
    remedy: str
    """What to do."""
    paste: list[str]
    """Lines of a program that do what the remedy says. Empty if there are none, and if they select
    settings that were not tried in a replay."""
    tried: str
    """The result of a replay with the proposed settings; or which settings were not tried, why, and
    what tries them. Empty if the finding proposes no settings."""
    certainty: str
    """How sure the finding is: "recorded", "compared" or "pattern"."""
    about_values: bool
    """Whether the value lens can show the problem."""
    costs_only: bool
    """Whether the problem costs messages or time, and makes no value wrong."""
    cause: CauseJson | None
    """The finding from which this one follows; null if it follows from no other one."""
    events: list[int]
    """Numbers of the first events that show the problem, for `varsim check --event`."""
    histogram: list[tuple[int, int]]
    """For stale reads: pairs of a staleness and the number of reads with it."""


class VerdictJson(_Described):
    """Whether varsim kept one of its promises."""

    checker: str
    """The name of the promise: "agreement"; for parameter servers, the name of the variable."""
    outcome: str
    """VALID, INVALID or UNKNOWN."""
    reason: str
    """A sentence about the outcome."""
    compared: int
    """How many values the promise compares with recomputed values."""
    sampled: int
    """Of how many of these only a sample of the elements was compared: see docs/history.md."""
    left: int
    """How many of these were not compared, because only a sample or a checksum was recorded."""
    variable: int | None
    """The number of the variable; null if the events are not all about one variable."""
    events: list[int]
    """The numbers of the fewest events that prove the outcome."""


class ServedVariableJson(_Described):
    """What happened to one variable on a parameter server."""

    variable_id: int
    """The number of the variable."""
    variable: str
    """The name of the variable."""
    server: int
    """The server that has the variable."""
    reads: int
    """How often the variable was read."""
    writes: int
    """How often the variable was written."""
    behind: list[tuple[int, int]]
    """For writes after a read in the same closure: pairs of the number of versions that others have
    made in between, and the number of writes with it."""
    lost: int
    """The number of lost updates."""

    repeated: int
    """The number of writes that happened twice, because a worker was lost."""


class NoteJson(_Described):
    """Something that was not examined."""

    text: str
    """What was not examined, and why."""
    option: str
    """The option that examines it; empty if there is no such option."""


class CheckJson(_Described):
    """The result of `varsim check` for one record of a run."""

    status: str | None
    """How the run ended: "done", "failed" or "interrupted"; null if this is not known."""
    outcome: str | None
    """Whether varsim kept its promises: VALID, INVALID or UNKNOWN; null without a record."""
    verdict: str = ""
    """The outcome in sentences."""
    verdicts: list[VerdictJson] = Field(default_factory=list)
    """The outcome for each promise."""
    variables: list[ServedVariableJson] = Field(default_factory=list)
    """What happened to each variable of parameter servers; empty for the record of replicas."""
    findings: list[FindingJson]
    """The failure of the run, if it failed, and what looks wrong or wasteful in the program."""
    compared: dict[str, Plain] | None = None
    """The comparison with a single device; null without an oracle."""
    not_looked_at: list[NoteJson] = Field(default_factory=list)
    """What was not examined, and the option that examines it."""
    further: list[CheckJson] = Field(default_factory=list)
    """The results for the run's other records: other strategies, and starts after lost workers."""


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the document."""
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {**draft, **CheckJson.model_json_schema(), "title": "varsim check"}


def check_json(
    found: Examination | ServedExamination,
    further: Sequence[Examination | ServedExamination] = (),
) -> CheckJson:
    """Return the document on an examination, and on those of the run's further records."""
    ending, compared = found.ending, found.compared
    accounts = found.accounts if isinstance(found, ServedExamination) else ()
    return CheckJson(
        status=ending.status if ending is not None and ending.is_known else None,
        outcome=found.outcome.value,
        verdict=verdict_of(found),
        verdicts=[_verdict(one) for one in found.verdicts],
        variables=[_served(one) for one in accounts],
        findings=[finding_json(one) for one in found.findings],
        compared=None if compared is None else _comparison(compared),
        not_looked_at=[note_json(one) for one in found.not_looked_at],
        further=[check_json(one) for one in further],
    )


def failure_json(failed: Finding) -> CheckJson:
    """Return the document on a failed run that has no record."""
    return CheckJson(status="failed", outcome=None, findings=[finding_json(failed)])


def finding_json(finding: Finding) -> FindingJson:
    """Return a finding in the form of the document."""
    cause = finding.cause
    return FindingJson(
        kind=finding.kind.name,
        word=finding.kind.word,
        variable_id=finding.variable_id,
        variable=finding.variable,
        locations=[LocationJson(**line_of(place), count=n) for place, n in finding.locations],
        count=finding.count,
        what=finding.what,
        remedy=finding.remedy,
        paste=list(finding.offered),
        tried=finding.trial,
        certainty=finding.certainty.name.lower(),
        about_values=finding.kind.about_values,
        costs_only=finding.kind.costs_only,
        cause=None if cause is None else CauseJson(word=cause.kind.word, **_variable(cause)),
        events=list(finding.events),
        histogram=list(finding.histogram),
    )


def _variable(cause: Cause) -> dict[str, Any]:
    return {"variable_id": cause.variable_id, "variable": cause.variable}


def note_json(note: Note) -> NoteJson:
    """Return a note in the form of the document."""
    return NoteJson(text=note.text, option=note.option)


def line_of(location: str) -> dict[str, Any]:
    """Return the file and the line of a location; line 1 if the location names no line."""
    file, _, line = location.rpartition(":")
    if file and line.isdecimal():
        return {"file": file, "line": int(line)}
    return {"file": location, "line": 1}


def _served(account: ServedAccount) -> ServedVariableJson:
    return ServedVariableJson(
        variable_id=account.number,
        variable=account.variable,
        server=account.server,
        reads=account.reads,
        writes=account.writes,
        behind=list(account.behind),
        lost=account.lost,
        repeated=account.repeated,
    )


def _verdict(verdict: Verdict) -> VerdictJson:
    return VerdictJson(
        checker=verdict.checker,
        outcome=verdict.outcome.value,
        reason=verdict.reason,
        **verdict.recomputed._asdict(),
        variable=verdict.variable,
        events=[event.event for event in verdict.events],
    )


def _comparison(compared: Compared) -> dict[str, Plain]:
    whole = replace(compared, differences=tuple(map(_with_origin, compared.differences)))
    told: dict[str, Any] = plain(
        {
            **asdict(whole),
            "rules_tried": compared.rules_tried,
            "scaled_results": scaled_text(compared),
        }
    )
    leading = compared.leading
    for one, difference in zip(told["differences"], compared.differences, strict=True):
        one["access"] = difference.access.value
        one["leads"] = difference in leading
        one["what"], one["remedy"] = meaning_of(difference, compared), remedy_of(difference)
        if one["origin"] is not None:
            one["origin"]["access"] = difference.began.access.value
    return told


def _with_origin(one: ValueDifference) -> ValueDifference:
    """Return a difference with only the first of the differences from which it follows."""
    return one if one.origin is None else replace(one, origin=replace(one.began, origin=None))
