"""Judge the record of a program that has run with a trace."""

from __future__ import annotations

from pathlib import Path

from varsim.analysis.outcome import Outcome, Verdict
from varsim.analysis.verdict import judge
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge


def judged(folder: Path) -> tuple[Verdict, ...]:
    """Merge the traces in a folder, and return the verdicts on the history."""
    merge(folder, folder)
    with open_history(folder) as history:
        return tuple(judge(history))


def not_valid(folder: Path) -> list[Verdict]:
    """Return the verdicts that are not VALID."""
    return [one for one in judged(folder) if one.outcome is not Outcome.VALID]
