"""The texts of a run's verdict, of a search without findings, and of what was not looked at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from varsim.analysis.examination import Examination
from varsim.analysis.outcome import Note, Outcome, Recomputed, Verdict
from varsim.analysis.search import SEARCHED_KINDS
from varsim.analysis.served import ServedExamination
from varsim.report.formatting import visible, wrapped
from varsim.report.terminal import WIDTH
from varsim.texts.facts import times

_OF_VARSIM: Final = "This does not say that your program is right."

NOT_STARTED: Final = "The workers did not start, so nothing was recorded, and nothing was checked."
"""Printed instead of a verdict if the start of the workers failed."""

NOT_JUDGED: Final = (
    "The record was not judged, because it could not be written or read: the error says why, and "
    "what to do."
)
"""Printed instead of a verdict if the merge or the judging failed."""

NOT_COMPILED: Final = (
    "Python could not compile the program, so no workers started, nothing was recorded, and "
    "nothing was checked."
)
"""Printed instead of a verdict if the program has a syntax error."""

NOTHING_RECORDED: Final = (
    "Nothing was recorded in this run, so varsim's promises were not checked, and your program was "
    "not searched for findings. With `--trace ops` (the default), a run is recorded from its first "
    "strategy on."
)


def verdict_text(outcome: str, reasons: Iterable[str] = ()) -> str:
    """Return the meaning of a verdict in sentences.

    Args:
        outcome: VALID, INVALID or UNKNOWN.
        reasons: What `reasons_of` returns.
    """
    why = "; ".join(dict.fromkeys(reasons))
    partly = f"; {why}" if why else ""
    return {
        "VALID": f"varsim kept every promise of these settings (VALID{partly}). {_OF_VARSIM}",
        "INVALID": f"varsim broke a promise of these settings (INVALID): {why}. This is a fault of "
        "varsim, not of your program: please report it, with the run's directory.",
        "UNKNOWN": "varsim cannot tell whether it kept every promise of these settings "
        f"(UNKNOWN): {why}. The checks that could be made found no "
        f"broken promise. {_OF_VARSIM}",
    }[outcome]


def verdict_of(examination: Examination | ServedExamination) -> str:
    """Return the sentences on the verdict of an examination."""
    return verdict_text(examination.outcome.value, reasons_of(examination.verdicts))


def reasons_of(verdicts: Sequence[Verdict]) -> list[str]:
    """Return one clause for each check that is not VALID.

    If all are VALID, return a clause on the values that were not recomputed, if there are any.
    """
    found = [one.reason for one in verdicts if one.outcome is not Outcome.VALID]
    limit = Recomputed.of(one.recomputed for one in verdicts).limit("value")
    return list(dict.fromkeys(found)) or ([limit] if limit else [])


def nothing_found(examination: Examination) -> str:
    """Return the sentence for a search that found nothing.

    The failure of the run is a finding of the examination, but not of the search.
    """
    num_kinds = examination.num_kinds
    if not num_kinds:
        alone = examination.num_replicas == 1
        why = ": with one replica there is nothing to synchronise" if alone else ""
        return f"your program was not searched for findings{why}"
    which = (
        " that need no oracle"
        if examination.compared is None
        else " that need no oracle with the whole batch"
    )
    which = "" if num_kinds == len(SEARCHED_KINDS) else which
    events = times(examination.num_events, "event")
    were = "was" if examination.num_events == 1 else "were"
    further = "further " if examination.findings else ""
    searched = f"{events} {were} searched for {num_kinds} kinds of findings{which}"
    return f"no {further}finding: {searched}"


def not_looked_at(notes: Sequence[Note], width: int = WIDTH) -> list[str]:
    """Return the lines on what was not looked at, each with its option; [] without notes."""
    if not notes:
        return []
    lines = ["not looked at"]
    for note in notes:
        lines += wrapped(f"  - {visible(str(note))}", width, "  ")
    return lines


def end_of(examination: Examination | ServedExamination, width: int = WIDTH) -> list[str]:
    """Return the last lines on a run: its verdict, and what was not looked at."""
    said = wrapped(visible(verdict_of(examination)), width)
    notes = not_looked_at(examination.not_looked_at, width)
    return [*said, "", *notes] if notes else said
