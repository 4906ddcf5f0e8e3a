"""Follow the staleness of reads, and the waits, of one variable with bounded staleness."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from varsim.analysis.checkers.bounded import Bounded
from varsim.analysis.observer import EventObserver
from varsim.analysis.replay import Replay
from varsim.tracing.bounded import WAITS
from varsim.tracing.history import Event


@dataclass(frozen=True, slots=True)
class PacedMoment:
    """How replicas used a variable with bounded staleness until the end of one call."""

    reads: int = 0  # number of reads by replicas since the call before
    behind: int = 0  # by how many versions one of these reads was behind the copy, at most
    waited_s: float = 0.0  # the sum of the waits of all replicas
    waited_for: int | None = None  # the replica that caused most of them; None without waits


class BoundedReads(EventObserver):
    """Measures how many writes of others each read lacks, and how long replicas wait for whom.

    A read is behind by the versions of the copy at that time that the replica's cache lacks. The
    replica's own writes do not count.
    """

    def __init__(self, replay: Replay, variable: int) -> None:
        self.judge = Bounded(replay)
        """Computes the copy and the caches. It must get each event first."""
        self._variable = variable
        self._waiting: dict[int, Event] = {}  # replica → its write that waits
        self._waited_ns: Counter[int] = Counter()  # replica → nanoseconds waited for it
        self._reads = self._behind = 0

    def on_read_by_replica(self, event: Event) -> None:
        """Measure the staleness of a read."""
        self._reads += event.occurrences
        behind = self.judge.lacking(event)
        self._behind = max(self._behind, behind)

    def on_advance(self, event: Event) -> None:
        """Begin to measure a wait."""
        if event.note == WAITS:
            self._waiting[event.process] = event

    def on_renew(self, event: Event) -> None:
        """Count a wait for a slower replica."""
        write = self._waiting.pop(event.process, None)
        slowest = None if write is None else self.judge.held_for.pop(write.event, None)
        if write is not None and slowest is not None:
            self._waited_ns[slowest] += round((event.time_s - write.time_s) * 1e9)

    def take(self) -> PacedMoment:
        """Return what happened until now, and begin the next call."""
        most = self._waited_ns.most_common(1)
        moment = PacedMoment(
            self._reads,
            self._behind,
            self._waited_ns.total() / 1e9,
            most[0][0] if most else None,
        )
        self._waited_ns.clear()
        self._reads = self._behind = 0
        return moment
