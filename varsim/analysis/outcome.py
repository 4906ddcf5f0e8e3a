"""The results of judging a history: outcomes, verdicts, and notes on unexamined parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from varsim.tracing.history import Event


class Outcome(Enum):
    """Whether a run kept a promise, or all promises."""

    VALID = "VALID"  # kept, as far as it was recorded
    INVALID = "INVALID"  # broken; some events prove it
    UNKNOWN = "UNKNOWN"  # the record does not show it


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one checker."""

    checker: str
    outcome: Outcome
    reason: str  # one sentence
    events: tuple[Event, ...] = ()  # the shortest proof, in causal order
    variable: int | None = None  # the variable of the events, if it is only one


def overall(verdicts: Iterable[Verdict]) -> Outcome:
    """Return INVALID if any verdict is INVALID; else UNKNOWN if any is; else VALID."""
    found = {verdict.outcome for verdict in verdicts}
    for outcome in (Outcome.INVALID, Outcome.UNKNOWN):
        if outcome in found:
            return outcome
    return Outcome.VALID


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A note on something that was not examined."""

    text: str  # what was not examined, and why
    option: str = ""  # the option that would have it examined; "" without one

    def __str__(self) -> str:
        return f"{self.text}; use {self.option}" if self.option else self.text
