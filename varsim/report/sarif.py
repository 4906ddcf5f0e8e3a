"""Write the findings of `varsim check` as SARIF 2.1.0, which editors and code hosts read.

SARIF (Static Analysis Results Interchange Format) is a standard of OASIS:
https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html. Names of sections refer to it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from varsim.analysis.examination import Examination
from varsim.analysis.failures import FAILED_CALL, FAILED_RUN
from varsim.analysis.findings.compared import Compared, ValueDifference
from varsim.analysis.findings.model import Certainty, Finding, FindingKind
from varsim.analysis.outcome import Note, Outcome
from varsim.analysis.served import ServedExamination
from varsim.analysis.unexplained import DIFFERENCE
from varsim.report.check_json import line_of
from varsim.report.difference_text import difference_text, meaning_of, remedy_of
from varsim.report.findings_text import cause_text
from varsim.report.formatting import as_markdown_text
from varsim.report.verdict_text import verdict_of

_SCHEMA: Final = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_ROOT: Final = "SRCROOT"
"""The base of file names below the working directory."""

_PROGRAM_ROOT: Final = "PROGRAMROOT"
"""The base of the file names of a program that is not below the working directory."""


@dataclass(frozen=True, slots=True)
class SourceFolders:
    """The folders in which the files of a record's program may be."""

    folders: tuple[Path, ...]
    """The first folder that has a file counts."""

    def find(self, file: str) -> Path | None:
        """Return the path of a file that the record names, or None if no folder has it."""
        paths = (base / file for base in self.folders)  # an absolute name replaces the base
        return next((path for path in paths if path.is_file()), None)

    def bases(self) -> dict[str, Path]:
        """Return the bases of relative file names (3.14.14): the first that has a file counts."""
        here = Path.cwd()
        folders = (_absolute(one) for one in self.folders if one.is_dir())
        program = next((one for one in folders if not one.is_relative_to(here)), None)
        return {_ROOT: here} if program is None else {_ROOT: here, _PROGRAM_ROOT: program}


def sarif_of(
    found: Sequence[Examination | ServedExamination], version: str, sources: SourceFolders
) -> dict[str, Any]:
    """Return a SARIF log with one run for each examined record.

    Args:
        version: The version of varsim.
        sources: The folders of the program.
    """
    return _log([_run(one, version, sources) for one in found])


def sarif_of_failure(failed: Finding, version: str, sources: SourceFolders) -> dict[str, Any]:
    """Return a SARIF log with the failure of a run that has no record."""
    rules = _Rules([failed.kind])
    results = [_result(failed, rules, sources)]
    return _log([_of(results, rules, [], version, sources, failed=True)])


def _log(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": runs}


def _run(
    found: Examination | ServedExamination, version: str, sources: SourceFolders
) -> dict[str, Any]:
    compared = found.compared
    unexplained = () if compared is None else compared.unexplained
    rules = _Rules([one.kind for one in found.findings], differs=bool(unexplained))
    results = [_result(one, rules, sources) for one in found.findings]
    if compared is not None:
        results += [_of_difference(one, compared, rules, sources) for one in unexplained]
    notes = [_notification(one) for one in found.not_looked_at]
    if found.outcome is not Outcome.VALID:
        level = "error" if found.outcome is Outcome.INVALID else "warning"
        notes.insert(0, {"level": level, "message": _message(verdict_of(found))})
    return _of(results, rules, notes, version, sources, failed=found.run_failed)


def _of(
    results: list[dict[str, Any]],
    rules: _Rules,
    notes: list[dict[str, Any]],
    version: str,
    sources: SourceFolders,
    *,
    failed: bool,
) -> dict[str, Any]:
    bases = {
        name: {"uri": f"{base.as_uri().rstrip('/')}/"} for name, base in sources.bases().items()
    }
    return {
        "tool": {"driver": {"name": "varsim", "version": version, "rules": rules.described}},
        "invocations": [
            {"executionSuccessful": not failed, "toolExecutionNotifications": notes},
        ],
        "originalUriBaseIds": bases,
        "columnKind": "unicodeCodePoints",
        "results": results,
    }


class _Rules:
    """The rules of a run's results, each with the index that a result gives (3.27.6)."""

    def __init__(self, kinds: Iterable[FindingKind], *, differs: bool = False) -> None:
        of_words = {kind.word: _rule(kind) for kind in kinds}
        if differs:
            of_words[DIFFERENCE] = _rule_of_differences()
        self.described = list(of_words.values())
        self._indices = {word: index for index, word in enumerate(of_words)}

    def reference(self, word: str) -> dict[str, Any]:
        """Return the members of a result that name its rule."""
        return {"ruleId": word, "ruleIndex": self._indices[word]}


def _rule(kind: FindingKind) -> dict[str, Any]:
    return {
        "id": kind.word,
        "shortDescription": {"text": kind.name},
        "defaultConfiguration": {"level": _level(kind, kind.certainty)},
    }


def _rule_of_differences() -> dict[str, Any]:
    return {
        "id": DIFFERENCE,
        "shortDescription": {"text": "a difference from a single device that no rule explains"},
        "defaultConfiguration": {"level": "note"},
    }


def _level(kind: FindingKind, certainty: Certainty) -> str:
    """Return the level of a kind: an error if something certainly failed or is wrong."""
    if kind in {FAILED_RUN, FAILED_CALL}:
        return "error"
    if kind.costs_only:
        return "note"
    return "warning" if certainty is Certainty.PATTERN else "error"


def _result(finding: Finding, rules: _Rules, sources: SourceFolders) -> dict[str, Any]:
    name = f"{finding.variable}: " if finding.variable else ""
    cause = "" if finding.cause is None else cause_text(finding.cause)
    places = [_location(place, sources) for place, _ in finding.locations]
    result = {
        **rules.reference(finding.kind.word),
        "level": _level(finding.kind, finding.certainty),
        "message": _message(
            f"{name}{finding.what}", finding.remedy, finding.trial, cause, paste=finding.offered
        ),
        "locations": places[:1],
        "occurrenceCount": finding.count,
        "properties": {
            "variable": finding.variable,
            "certainty": finding.certainty.value,
            "events": list(finding.events),
        },
    }
    return result | ({"relatedLocations": places[1:]} if places[1:] else {})


def _of_difference(
    difference: ValueDifference, compared: Compared, rules: _Rules, sources: SourceFolders
) -> dict[str, Any]:
    said = (difference_text(difference), meaning_of(difference, compared), remedy_of(difference))
    result = {
        **rules.reference(DIFFERENCE),
        "level": "note",
        "message": _message(*said),
        "locations": [_location(difference.began.location, sources)],
        "occurrenceCount": difference.unexplained,
        "properties": {"variable": difference.variable, "events": [difference.event]},
    }
    if difference.origin is None:
        return result
    return result | {"relatedLocations": [_location(difference.location, sources)]}


def _location(place: str, sources: SourceFolders) -> dict[str, Any]:
    line = line_of(place)
    path = sources.find(line["file"])
    return {
        "physicalLocation": {
            "artifactLocation": _artifact(path or line["file"], sources),
            "region": {"startLine": max(1, line["line"])},
        }
    }


def _artifact(path: Path | str, sources: SourceFolders) -> dict[str, str]:
    """Return where a file is: relative to the first base that it is below (3.4)."""
    whole = _absolute(path)
    for name, base in sources.bases().items():
        if whole.is_relative_to(base):
            return {"uri": quote(whole.relative_to(base).as_posix()), "uriBaseId": name}
    return {"uri": whole.as_uri()}


def _absolute(path: Path | str) -> Path:
    return Path(os.path.normpath(Path.cwd() / path))  # unlike `Path.resolve`, it keeps links


def _notification(note: Note) -> dict[str, Any]:
    return {"level": "note", "message": _message(f"not looked at: {note}")}


def _message(*paragraphs: str, paste: Sequence[str] = ()) -> dict[str, str]:
    """Return a message (3.11): as plain text, and as Markdown if it has lines to paste."""
    said = [one for one in paragraphs if one]
    if not paste:
        return {"text": _literal("\n\n".join(said))}
    code = "\n".join(paste)
    shown = [as_markdown_text(one).replace("\n", "  \n") for one in said]
    return {
        "text": _literal("\n\n".join([*said, code])),
        "markdown": _literal("\n\n".join([*shown, f"```python\n{code}\n```"])),
    }


def _literal(text: str) -> str:
    """Return text without placeholders: a brace is written twice (3.11.5)."""
    return text.replace("{", "{{").replace("}", "}}")
