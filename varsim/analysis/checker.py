"""The base of all checkers: each checker gets every event once, and keeps the shortest proof."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar, Final

from varsim.analysis import arithmetic
from varsim.analysis.arithmetic import FlatOperand
from varsim.analysis.components import ComponentState, ReplayedVariable
from varsim.analysis.observer import EventObserver
from varsim.analysis.outcome import NOTHING_RECOMPUTED, Outcome, Recomputed
from varsim.analysis.promises import Promise
from varsim.analysis.replay import Replay
from varsim.analysis.sampled import is_part
from varsim.tracing.history import Event
from varsim.tracing.trace_format import name_process

_ENOUGH: Final = 100
"""Number of violations among which the shortest proof is chosen. A run may have millions."""

_LONGEST_PROOF: Final = 1000
"""Largest number of events in a proof; the earliest events of a longer proof are dropped."""


@dataclass(frozen=True, slots=True)
class Conclusion:
    """A verdict that has the numbers of its events instead of the events."""

    outcome: Outcome
    reason: str
    events: tuple[int, ...] = ()
    variable: int | None = None
    recomputed: Recomputed = NOTHING_RECOMPUTED


class Checker(EventObserver):
    """Checks one promise on a history.

    A checker gets each event after the replay has handled it. The methods of a checker raise no
    exception, even if the event is damaged.
    """

    name: ClassVar[str]
    promise: str
    """The promise in a few words; the verdict VALID shows this text."""

    compares: ClassVar[str] = "value"
    """What the checker compares with a recomputed value, in the singular."""

    def __init__(self, replay: Replay) -> None:
        self.replay = replay
        self.variables = replay.variables
        self._wrong: Conclusion | None = None
        self._unknown: Conclusion | None = None
        self._count = 0
        self._undecided = 0
        self._compared = 0  # comparisons with a recomputed value
        self._sampled = 0  # those in which only a sample was compared
        self._left = 0  # those that need values of which only a sample or a checksum is known

    def concerns(self, variable: int | None) -> bool:
        """Return whether the checker judges a variable.

        By default, it judges all variables except those with bounded staleness, and those whose
        promise is not known. With bounded staleness, components are caches that no commit changes,
        and a checker of their own compares every value.
        """
        promise = self.promise_about(variable)
        return promise is None or (promise.is_known and promise.bound is None)

    def end(self) -> None:
        """Handle the end of a history that has no missing events."""

    def conclude(self, missing: str) -> Conclusion:
        """Return the verdict.

        Args:
            missing: The reason why the history could not be judged to its end; "" if it could be
                judged.
        """
        if self._wrong is not None:
            return self._wrong
        if missing:
            return Conclusion(Outcome.UNKNOWN, missing)
        if self._unknown is not None:
            more = f" (and {self._undecided - 1:,} more)" if self._undecided > 1 else ""
            first = self._unknown
            return Conclusion(
                Outcome.UNKNOWN, f"{first.reason}{more}", first.events, first.variable
            )
        recomputed = Recomputed(self._compared, self._sampled, self._left)
        limit = recomputed.limit(self.compares)
        reason = f"{self.promise}; {limit}" if limit else self.promise
        return Conclusion(Outcome.VALID, reason, recomputed=recomputed)

    def wrong(self, variable: ReplayedVariable | None, reason: str, events: Iterable[int]) -> None:
        """Report that some events break the promise."""
        self._count += 1
        if self._count > _ENOUGH:
            return
        proof = tuple(sorted({one for one in islice(events, _LONGEST_PROOF) if one > 0}))
        if self._wrong is None or len(proof) < len(self._wrong.events):
            self._wrong = self._conclusion(Outcome.INVALID, variable, reason, proof)

    def undecided(self, variable: ReplayedVariable | None, reason: str, *events: int) -> None:
        """Report that the record does not show whether some events break the promise."""
        self._undecided += 1
        if self._unknown is None:
            self._unknown = self._conclusion(Outcome.UNKNOWN, variable, reason, events)

    def matches(self, expected: FlatOperand | None, event: Event) -> bool | None:
        """Return what `arithmetic.matches` returns, and count the comparison.

        Args:
            expected: The recomputed value or rows; None if they are not known.
        """
        if expected is None:
            return None
        found = arithmetic.matches(expected, event)
        self._compared += found is not None
        if found and is_part(expected) and not arithmetic.is_exact(expected, event):
            self._sampled += 1
        return found

    def unrecorded(self, variable: ReplayedVariable | None, reason: str, *events: int) -> None:
        """Report that a comparison needs a value that was not recorded.

        If a sample or a checksum of every value was recorded, this is no reason for UNKNOWN.
        """
        number = None if variable is None else variable.number
        if self.replay.from_start and self.replay.is_summarised(number):
            self._left += 1
            self._compared += 1
        else:
            self.undecided(variable, reason, *events)

    def _conclusion(
        self,
        outcome: Outcome,
        variable: ReplayedVariable | None,
        reason: str,
        events: tuple[int, ...],
    ) -> Conclusion:
        if variable is None:
            return Conclusion(outcome, reason, events)
        return Conclusion(outcome, f"{variable.promise.name}: {reason}", events, variable.number)

    # ------------------------------------------------------------ shared by several checkers

    def promise_about(self, variable: int | None) -> Promise | None:
        """Return the promise of a variable; None if there is no variable."""
        return None if variable is None else self.replay.promises[variable]

    def variable_of(self, event: Event) -> ReplayedVariable:
        """Return the variable of an event."""
        return self.variables[event.variable]

    def own(self, event: Event) -> ComponentState:
        """Return the component that the replica of an event holds."""
        return self.variables[event.variable].at_replica[event.process]


def seen_by(event: Event) -> str:
    """Return the process of an event, as text."""
    return name_process(event.process)
