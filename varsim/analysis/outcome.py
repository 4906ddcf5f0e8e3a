"""The results of judging a history: outcomes, verdicts, and notes on unexamined parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from varsim.analysis.sampled import MESSAGES
from varsim.texts.facts import share
from varsim.tracing.history import Event


class Outcome(Enum):
    """Whether varsim kept a promise, or all promises, in a run."""

    VALID = "VALID"  # the promise was kept, as far as the run was recorded
    INVALID = "INVALID"  # the promise was broken; some events prove this
    UNKNOWN = "UNKNOWN"  # the record does not show whether the promise was kept


class Recomputed(NamedTuple):
    """Numbers of values that a checker compares with recomputed values."""

    compared: int = 0  # all of them
    sampled: int = 0  # those of which only a sample of the elements was compared
    left: int = 0  # those that were not compared: only a sample or a checksum was recorded

    @classmethod
    def of(cls, parts: Iterable[Recomputed]) -> Recomputed:
        """Return the sums of several checkers' numbers."""
        every = list(parts)
        return cls(*map(sum, zip(*every, strict=True))) if every else cls()

    def limit(self, noun: str) -> str:
        """Return which values were not recomputed, as a clause; "" if all were.

        Args:
            noun: What was compared, in the singular.
        """
        count = self.sampled + self.left
        if not count:
            return ""
        said = f"{share(count, self.compared, noun, ('was', 'were'))} not recomputed"
        if self.sampled:
            left = f", and {self.left:,} not at all" if self.left else ""
            said += f" as a whole, but in a sample of the elements{left}"
        return f"{said} ({MESSAGES})"


NOTHING_RECOMPUTED: Final = Recomputed()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one checker."""

    checker: str
    outcome: Outcome
    reason: str  # one sentence
    events: tuple[Event, ...] = ()  # the shortest proof, in causal order
    variable: int | None = None  # the variable, if all events have the same variable
    recomputed: Recomputed = NOTHING_RECOMPUTED


def overall(verdicts: Iterable[Verdict]) -> Outcome:
    """Return INVALID if any verdict is INVALID; else UNKNOWN if any is UNKNOWN; else VALID."""
    found = {verdict.outcome for verdict in verdicts}
    for outcome in (Outcome.INVALID, Outcome.UNKNOWN):
        if outcome in found:
            return outcome
    return Outcome.VALID


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A note on something that was not examined."""

    text: str  # what was not examined, and why
    option: str = ""  # the option that examines it; "" if there is no such option

    def __str__(self) -> str:
        return f"{self.text}; use {self.option}" if self.option else self.text
