"""The verdict on a run in words, with what was looked for and what was not looked at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from varsim.analysis.examination import NUM_KINDS, Examination
from varsim.analysis.findings.found import times
from varsim.analysis.notes import Note
from varsim.report.words import visible, wrapped

WIDTH: Final = 80

_OF_VARSIM: Final = "This does not say that your program is right."

NOTHING_RECORDED: Final = (
    "There is no record of this run: whether varsim kept its promises was not judged, and nothing "
    "was looked for in your program. `--trace ops` makes a record."
)


def verdict_text(outcome: str, reasons: Iterable[str] = ()) -> str:
    """What a verdict means, and what it does not mean.

    Args:
        outcome: VALID, INVALID or UNKNOWN.
        reasons: A clause for each check that is not VALID.
    """
    why = "; ".join(dict.fromkeys(reasons))
    return {
        "VALID": f"varsim kept every promise of these settings (VALID). {_OF_VARSIM}",
        "INVALID": f"varsim broke a promise of these settings (INVALID): {why}. This is a fault of "
        "varsim, not of your program: please report it, with the run's directory.",
        "UNKNOWN": "It is not known whether varsim kept every promise of these settings "
        f"(UNKNOWN): {why}. Nothing that was recorded breaks one. {_OF_VARSIM}",
    }[outcome]


def verdict_of(examination: Examination) -> str:
    """The verdict on a run, in a sentence."""
    reasons = (one.reason for one in examination.verdicts if one.outcome.value != "VALID")
    return verdict_text(examination.outcome.value, reasons)


def nothing_found(examination: Examination) -> str:
    """What it means that there are no findings."""
    num_kinds = examination.num_kinds
    if not num_kinds:
        alone = examination.num_replicas == 1
        return f"no findings were looked for{': one replica has nothing to synchronise' * alone}"
    which = " that need no oracle" if examination.compared is None else " that could be looked for"
    which = "" if num_kinds == NUM_KINDS else which
    return (
        f"none of the {num_kinds} kinds of finding{which} was found in "
        f"{times(examination.num_events, 'event')}"
    )


def not_looked_at(notes: Sequence[Note], width: int = WIDTH) -> list[str]:
    """The lines about what was not looked at, and the options that would; none without notes."""
    if not notes:
        return []
    lines = ["not looked at"]
    for note in notes:
        lines += wrapped(f"  - {visible(str(note))}", width, "  ")
    return lines


def end_of(examination: Examination, width: int = WIDTH) -> list[str]:
    """The last lines about a run: the verdict in a sentence, and what it leaves out."""
    said = wrapped(visible(verdict_of(examination)), width)
    notes = not_looked_at(examination.not_looked_at, width)
    return [*said, "", *notes] if notes else said
