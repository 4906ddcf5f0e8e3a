"""The examination of a run: whether varsim kept its promises, and what the program suffers from."""

from __future__ import annotations

from dataclasses import dataclass

from varsim.analysis.finding import Finding, find
from varsim.analysis.outcome import Outcome, Verdict, overall
from varsim.analysis.verdict import is_whole, judge, sound
from varsim.tracing.history import History
from varsim.tracing.progress import Tell


@dataclass(frozen=True, slots=True)
class Examination:
    """All that a history says of a run."""

    verdicts: tuple[Verdict, ...]
    findings: tuple[Finding, ...]  # none if the record is not whole
    compared: bool
    """Whether there was an oracle whose record is whole, to compare with."""

    @property
    def outcome(self) -> Outcome:
        """Of all verdicts."""
        return overall(self.verdicts)

    @property
    def is_whole(self) -> bool:
        """Whether the record is as it should be, so that findings were looked for."""
        return is_whole(self.verdicts)


def examine(
    history: History, oracle: History | None = None, *, tell: Tell | None = None
) -> Examination:
    """Judges a history, and looks for findings if its record is whole.

    Args:
        oracle: The history of the same program on one replica with the whole batch, to compare.
        tell: Is told how much of the history has been seen.
    """
    compared = sound(oracle)
    verdicts = judge(history, tell=tell)
    findings = find(history, compared) if is_whole(verdicts) else ()
    return Examination(verdicts, findings, compared is not None)
