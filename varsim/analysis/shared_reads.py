"""Follow the authoritative copy of one variable, and the staleness of its one-sided reads."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from varsim.analysis.arithmetic import Flat
from varsim.analysis.checkers.one_sided import OneSided
from varsim.analysis.observer import EventObserver
from varsim.analysis.replay import Replay
from varsim.tracing.history import PROGRAM, Event, History


@dataclass(frozen=True, slots=True)
class SharedMoment:
    """What was shared of a variable until the end of one call."""

    copy: Flat | None  # the authoritative copy; None if it is unknown
    reads: int = 0  # number of fetches and pulls since the call before
    behind: int = 0  # by how many versions one of these reads was behind, at most
    age_s: float = 0.0  # how old a value was that one of them read, at most


class SharedReads(EventObserver):
    """Measures one-sided reads as docs/manual.md defines their staleness."""

    def __init__(self, replay: Replay, variable: int) -> None:
        self.judge = OneSided(replay)
        """Computes the authoritative copy. It must get each event, too."""
        self._variable = variable
        self._seen: Counter[tuple[int, int]] = Counter()  # (reader, owner) → version
        self._moment = SharedMoment(None)

    def on_push(self, event: Event) -> None:
        """Count a push, which its writer knows."""
        self._seen[event.process, PROGRAM] += 1

    def on_obtain(self, event: Event) -> None:
        """Measure the staleness of a read."""
        owner = PROGRAM if event.replica is None else event.replica
        version, seen = event.version or 0, self._seen[event.process, owner]
        self._seen[event.process, owner] = version
        now = self._moment
        age_s = _number(event.note)
        self._moment = SharedMoment(
            None, now.reads + 1, max(now.behind, version - seen), max(now.age_s, age_s)
        )

    def take(self) -> SharedMoment:
        """Return what was shared until now, and begin the next call."""
        now, self._moment = self._moment, SharedMoment(None)
        copy = self.judge.copy_of(self._variable)
        return SharedMoment(copy, now.reads, now.behind, now.age_s)


def is_shared(history: History, variable: int) -> bool:
    """Return whether there was a one-sided operation on a variable."""
    found = history.connection.execute(
        "SELECT 1 FROM events WHERE variable = ? AND kind IN ('push', 'publish', 'obtain') LIMIT 1",
        (variable,),
    )
    return found.fetchone() is not None


def _number(note: str | None) -> float:
    """Return the age in a note of the record; 0 if it is damaged."""
    try:
        return max(0.0, float(note or ""))
    except ValueError:
        return 0.0
