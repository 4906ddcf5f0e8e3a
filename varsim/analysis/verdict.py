"""Judge a history in one pass over its events. Every checker gets every event.

The judge shares no code with `varsim.sync`. The judge replays the recorded events, and compares the
result with the documented promises. A history may be damaged in any way. If a promise cannot be
judged, its verdict is UNKNOWN, with the reason.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Final

from varsim.analysis.checker import Checker, Conclusion
from varsim.analysis.checkers.agreement import Agreement
from varsim.analysis.checkers.atomic import Atomic
from varsim.analysis.checkers.collectives import Collectives
from varsim.analysis.checkers.coordination import Coordination
from varsim.analysis.checkers.gathered_reads import GatheredReads
from varsim.analysis.checkers.local_only import LocalOnly
from varsim.analysis.checkers.lost_update import LostUpdate
from varsim.analysis.checkers.monotonic_reads import MonotonicReads
from varsim.analysis.checkers.one_sided import OneSided
from varsim.analysis.checkers.read_your_writes import ReadYourWrites
from varsim.analysis.checkers.record import WellFormedRecord
from varsim.analysis.checkers.reduction import Reduction
from varsim.analysis.checkers.synced import Synced
from varsim.analysis.checkers.versions import Versions
from varsim.analysis.completeness import cut_short, missing
from varsim.analysis.integrity import RowIntegrity
from varsim.analysis.observer import Audience, EventObserver
from varsim.analysis.outcome import Outcome, Verdict, overall
from varsim.analysis.promises import promise_of, synchronization_promise_of
from varsim.analysis.replay import MovesOn, Replay
from varsim.analysis.unknown_policies import KnownPolicies, unknown_policies
from varsim.tracing.history import Event, History, VariableRow
from varsim.tracing.progress import Tell, reported
from varsim.tracing.uncollected import uncollected

__all__ = ["CHECKERS", "Judges", "Outcome", "Verdict", "is_whole", "judge", "overall", "sound"]

CHECKERS: Final[tuple[type[Checker], ...]] = (
    Agreement,
    Versions,
    Reduction,
    GatheredReads,
    Collectives,
    LocalOnly,
    LostUpdate,
    ReadYourWrites,
    MonotonicReads,
    Atomic,
    Coordination,
    Synced,
    OneSided,
)
"""The checkers of promises, in the order of reports; `WellFormedRecord` comes before them."""


def judge(history: History, *, tell: Tell | None = None) -> tuple[Verdict, ...]:
    """Return the verdict of every checker.

    Args:
        tell: A function that gets the fraction of the history that was read, from 0 to 1.
    Returns:
        One verdict for the record itself and one for each promise, in the order of `CHECKERS`.
        INVALID needs a proof from events before the first gap. VALID needs all events.
    """
    judges = Judges(history)
    judges.see(judges.observers, tell=tell)
    return judges.conclude()


def is_whole(verdicts: Sequence[Verdict]) -> bool:
    """Return whether the record is whole and valid."""
    return all(
        one.outcome is Outcome.VALID for one in verdicts if one.checker == WellFormedRecord.name
    )


def sound(oracle: History | None) -> History | None:
    """Return the oracle if it is a whole record of one replica; else None."""
    if oracle is None:
        return None
    judges = Judges(oracle, checkers=())
    judges.see(())
    return oracle if is_whole(judges.conclude()) and oracle.num_replicas == 1 else None


class Judges:
    """The checkers of one history: of the record itself, and of each promise."""

    def __init__(self, history: History, checkers: Sequence[type[Checker]] = CHECKERS) -> None:
        self._history = history
        self._types = checkers
        self._checkers: list[Checker] = []
        self.observers: Sequence[EventObserver] = ()
        """The observers that need the events, in the required order."""
        self.unknown: Mapping[str, list[VariableRow]] = {}
        """Why promises are not known, each with its variables, which are not judged."""
        self._record: WellFormedRecord | None = None
        self.replay: Replay | None = None
        """The replay of the events; None if the history does not describe the run."""
        self._last: int | None = None  # the last event before the first possible gap
        self._reason = ""  # the reason why the history cannot be judged to its end
        try:
            self._prepare(history.num_replicas)
        except (sqlite3.Error, LookupError, ValueError, TypeError) as error:
            self._reason = f"the history does not describe the run: {error}"

    def _prepare(self, num_replicas: int) -> None:
        history = self._history
        rows = history.variables
        promises = {number: promise_of(row) for number, row in rows.items()}
        self.unknown = unknown_policies(history)
        replay = Replay(
            num_replicas,
            promises,
            from_start=not history.run.get("window"),
            is_summarised=history.is_summarised,
            cut_short=cut_short(history),
        )
        self.replay = replay
        self._last, self._reason = missing(history)
        promised = [synchronization_promise_of(row) for row in rows.values()]
        self._types = (
            *self._types,
            *dict.fromkeys(one for every in promised if every for one in every.checkers),
        )
        self._record = WellFormedRecord(replay, RowIntegrity(num_replicas, promises))
        self._checkers = [checker(replay) for checker in self._types]
        if self.unknown and self._types:
            self._checkers.append(KnownPolicies(replay, self.unknown))
        self.observers = (replay, *self._checkers, MovesOn(replay))

    @property
    def expect_a_whole_record(self) -> bool:
        """Return whether the record seems whole, before the events are read."""
        return not self._reason and not self._history.run.get("window")

    def see(self, observers: Sequence[EventObserver], *, tell: Tell | None = None) -> None:
        """Show the events to observers, as far as the history can be judged."""
        if self._record is None:
            return
        history = self._history
        events = history.events(*(() if self._last is None else ("event <= ?", (self._last,))))
        try:
            audience = Audience(observers)
            with uncollected():
                for batch in reported(events, history.last_event, tell):
                    if not audience.show(batch, self._record.accepts):
                        flaw = "the record is inconsistent from some event on"
                        self._reason = self._reason or flaw
                        break
        except sqlite3.Error as error:
            self._reason = f"the record cannot be read to its end: {error}"

    def conclude(self) -> tuple[Verdict, ...]:
        """Return the verdict of each checker, after the last event."""
        if self._record is None:
            names = (WellFormedRecord.name, *(checker.name for checker in self._types))
            return tuple(Verdict(name, Outcome.UNKNOWN, self._reason) for name in names)
        if not self._reason:
            for checker in self._checkers:
                checker.end()
        if not self._reason and self._history.run.get("window"):
            self._reason = "nothing recorded is wrong, but only a window of steps was recorded"
        return tuple(
            _with_events(self._history, one, one.conclude(self._reason))
            for one in (self._record, *self._checkers)
        )


_AT_ONCE: Final = 500
"""Number of events to look up in one statement; SQLite always allows 999 parameters."""


def _with_events(history: History, checker: Checker, conclusion: Conclusion) -> Verdict:
    numbers = conclusion.events
    parts = [numbers[i : i + _AT_ONCE] for i in range(0, len(numbers), _AT_ONCE)]
    try:
        found = tuple(chain.from_iterable(_events(history, part) for part in parts))
    except sqlite3.Error:
        found = ()  # the verdict shows only the reason
    return Verdict(
        checker.name,
        conclusion.outcome,
        conclusion.reason,
        found,
        conclusion.variable,
        conclusion.recomputed,
    )


def _events(history: History, numbers: Sequence[int]) -> Iterator[Event]:
    marks = ", ".join("?" * len(numbers))
    return history.events(f"event IN ({marks})", numbers)
