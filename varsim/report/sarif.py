"""Write the findings of `varsim check` as SARIF 2.1.0, which editors and code hosts read.

SARIF (Static Analysis Results Interchange Format) is a standard of OASIS:
https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html. Names of sections refer to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from varsim.analysis.examination import Examination
from varsim.analysis.failures import FAILED_CALL, FAILED_RUN
from varsim.analysis.findings.compared import ValueDifference
from varsim.analysis.findings.model import Certainty, Finding, FindingKind
from varsim.analysis.outcome import Note, Outcome
from varsim.analysis.served import ServedExamination
from varsim.report.check_json import line_of
from varsim.report.difference_text import difference_text, meaning_of, remedy_of
from varsim.report.findings_text import cause_text
from varsim.report.verdict_text import verdict_of

DIFFERENCE: Final = "unexplained-difference"
"""The rule of a difference from a single device that no finding explains."""

_SCHEMA: Final = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_ROOT: Final = "SRCROOT"
"""The base of relative file names: the working directory."""

Resolve = Callable[[str], Path | None]
"""Returns the path of a file that a record names, or None if the file is not found."""


def sarif_of(
    found: Sequence[Examination | ServedExamination], version: str, resolve: Resolve
) -> dict[str, Any]:
    """Return a SARIF log with one run for each examined record.

    Args:
        version: The version of varsim.
        resolve: A function that finds the files that a record names.
    """
    return _log([_run(one, version, resolve) for one in found])


def sarif_of_failure(failed: Finding, version: str, resolve: Resolve) -> dict[str, Any]:
    """Return a SARIF log with the failure of a run that has no record."""
    return _log([_of([_result(failed, resolve)], [failed.kind], [], version, failed=True)])


def files_in(folders: Iterable[Path]) -> Resolve:
    """Return a function that looks for files in folders: the first folder that has it counts."""
    bases = list(dict.fromkeys(folders))

    def resolve(file: str) -> Path | None:
        paths = (base / file for base in bases)  # an absolute name replaces the base
        return next((path for path in paths if path.is_file()), None)

    return resolve


def _log(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": runs}


def _run(found: Examination | ServedExamination, version: str, resolve: Resolve) -> dict[str, Any]:
    results = [_result(one, resolve) for one in found.findings]
    kinds = list(dict.fromkeys(one.kind for one in found.findings))
    if found.compared is not None:
        results += [_of_difference(one, resolve) for one in found.compared.unexplained]
    notes = [_notification(one) for one in found.not_looked_at]
    if found.outcome is not Outcome.VALID:
        level = "error" if found.outcome is Outcome.INVALID else "warning"
        notes.insert(0, {"level": level, "message": {"text": verdict_of(found)}})
    return _of(results, kinds, notes, version, failed=found.run_failed)


def _of(
    results: list[dict[str, Any]],
    kinds: Sequence[FindingKind],
    notes: list[dict[str, Any]],
    version: str,
    *,
    failed: bool,
) -> dict[str, Any]:
    rules = [_rule(one) for one in kinds]
    if any(one["ruleId"] == DIFFERENCE for one in results):
        rules.append(_rule_of_differences())
    names = [one["id"] for one in rules]
    for one in results:
        one["ruleIndex"] = names.index(one["ruleId"])
    base = f"{Path.cwd().as_uri().rstrip('/')}/"
    return {
        "tool": {"driver": {"name": "varsim", "version": version, "rules": rules}},
        "invocations": [
            {"executionSuccessful": not failed, "toolExecutionNotifications": notes},
        ],
        "originalUriBaseIds": {_ROOT: {"uri": base}},
        "columnKind": "unicodeCodePoints",
        "results": results,
    }


def _rule(kind: FindingKind) -> dict[str, Any]:
    return {
        "id": kind.word,
        "shortDescription": {"text": kind.name},
        "defaultConfiguration": {"level": _level(kind, costs_only=kind.costs_only)},
    }


def _rule_of_differences() -> dict[str, Any]:
    return {
        "id": DIFFERENCE,
        "shortDescription": {"text": "a difference from a single device that no rule explains"},
        "defaultConfiguration": {"level": "note"},
    }


def _level(kind: FindingKind, *, costs_only: bool) -> str:
    """Return the level of a kind: an error if something certainly failed or is wrong."""
    if kind in {FAILED_RUN, FAILED_CALL}:
        return "error"
    if costs_only:
        return "note"
    return "warning" if kind.certainty is Certainty.PATTERN else "error"


def _result(finding: Finding, resolve: Resolve) -> dict[str, Any]:
    name = f"{finding.variable}: " if finding.variable else ""
    paste = "\n\n" + "\n".join(finding.paste) if finding.paste else ""
    cause = "" if finding.cause is None else f"\n\n{cause_text(finding.cause)}"
    places = [_location(place, resolve) for place, _ in finding.locations]
    result = {
        "ruleId": finding.kind.word,
        "level": _level(finding.kind, costs_only=finding.costs_only),
        "message": {"text": f"{name}{finding.what}\n\n{finding.remedy}{paste}{cause}"},
        "locations": places[:1],
        "occurrenceCount": finding.count,
        "properties": {
            "variable": finding.variable,
            "certainty": finding.kind.certainty.value,
            "events": list(finding.events),
        },
    }
    return result | ({"relatedLocations": places[1:]} if places[1:] else {})


def _of_difference(difference: ValueDifference, resolve: Resolve) -> dict[str, Any]:
    said = [difference_text(difference), meaning_of(difference), remedy_of(difference)]
    result = {
        "ruleId": DIFFERENCE,
        "level": "note",
        "message": {"text": "\n\n".join(filter(None, said))},
        "locations": [_location(difference.began.location, resolve)],
        "occurrenceCount": difference.unexplained,
        "properties": {"variable": difference.variable, "events": [difference.event]},
    }
    if difference.origin is None:
        return result
    return result | {"relatedLocations": [_location(difference.location, resolve)]}


def _location(place: str, resolve: Resolve) -> dict[str, Any]:
    line = line_of(place)
    path = resolve(line["file"])
    return {
        "physicalLocation": {
            "artifactLocation": _artifact(line["file"] if path is None else path),
            "region": {"startLine": max(1, line["line"])},
        }
    }


def _artifact(path: Path | str) -> dict[str, str]:
    """Return where a file is: relative to the working directory if it is below it (3.4)."""
    whole = Path.cwd() / path
    if whole.is_relative_to(Path.cwd()):
        return {"uri": quote(whole.relative_to(Path.cwd()).as_posix()), "uriBaseId": _ROOT}
    return {"uri": whole.as_uri()}


def _notification(note: Note) -> dict[str, Any]:
    return {"level": "note", "message": {"text": f"not looked at: {note}"}}
