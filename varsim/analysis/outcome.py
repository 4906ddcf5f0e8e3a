"""The results of judging a history: outcomes, verdicts, and notes on what was not looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from varsim.tracing.history import Event


class Outcome(Enum):
    """Whether a run kept a promise, or all promises."""

    VALID = "VALID"  # it did, in everything that was recorded
    INVALID = "INVALID"  # it did not; some events prove it
    UNKNOWN = "UNKNOWN"  # the record does not show it


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one checker."""

    checker: str
    outcome: Outcome
    reason: str  # one sentence
    events: tuple[Event, ...] = ()  # the fewest that prove it, in causal order
    variable: int | None = None  # which they are about, if it is one


def overall(verdicts: Iterable[Verdict]) -> Outcome:
    """Return INVALID if any verdict is; else UNKNOWN if any is; else VALID."""
    found = {verdict.outcome for verdict in verdicts}
    for outcome in (Outcome.INVALID, Outcome.UNKNOWN):
        if outcome in found:
            return outcome
    return Outcome.VALID


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that was not looked at."""

    text: str  # what was not looked at, and why
    option: str = ""  # the option that would look at it; "" if there is none

    def __str__(self) -> str:
        return f"{self.text}; use {self.option}" if self.option else self.text
