"""The results of judging a history: outcomes, verdicts, and notes on what was not looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from varsim.tracing.history import Event


class Outcome(Enum):
    """Of a checker, or of all: whether the run kept a promise."""

    VALID = "VALID"  # it did, in all that happened
    INVALID = "INVALID"  # it did not, and some events prove it
    UNKNOWN = "UNKNOWN"  # something that would decide it was not recorded


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one checker says of a history."""

    checker: str
    outcome: Outcome
    reason: str  # one sentence
    events: tuple[Event, ...] = ()  # the fewest that prove it, in causal order
    variable: int | None = None  # which they are about, if it is one


def overall(verdicts: Iterable[Verdict]) -> Outcome:
    """INVALID if any is; else UNKNOWN if any is."""
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
