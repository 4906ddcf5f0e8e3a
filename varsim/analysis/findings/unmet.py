"""Writes that the components of a variable have not met over yet, and the reads that lack them."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final

from varsim.analysis.findings.staleness import Age
from varsim.tracing.history import Event

_KEPT: Final = 256
"""Writes of a replica whose times are kept; a reader that knows none of them is not judged."""


@dataclass(slots=True)
class Writes:
    """One replica's local writes of one variable."""

    forgotten: int = 0  # those before the kept ones
    numbers: list[int] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)

    def add(self, event: Event) -> None:
        """Takes the next one."""
        self.numbers.append(event.event)
        self.times_s.append(event.time_s)
        if len(self.numbers) >= 2 * _KEPT:
            del self.numbers[:_KEPT], self.times_s[:_KEPT]
            self.forgotten += _KEPT

    @property
    def count(self) -> int:
        """How many there were."""
        return self.forgotten + len(self.numbers)

    def known(self, clock: int) -> int:
        """How many of them somebody knows of who knows the replica's events up to `clock`."""
        if not self.numbers or clock < self.numbers[0]:
            return 0
        return self.forgotten + bisect_right(self.numbers, clock)

    def time_of(self, index: int) -> float:
        """When the write with an index was, or the oldest that is kept."""
        return self.times_s[max(index - self.forgotten, 0)]


class Unmet:
    """A variable that replicas write apart: their writes, and reads that lack some of them."""

    def __init__(self, num_replicas: int) -> None:
        self.in_call = Age()  # of reads, unless their replica wrote in the same call
        self.until_met = Age()  # of reads, unless their replica wrote before the next meeting
        self.meetings = 0  # of components that had been written
        self.met_with = 0  # how many writes there were at the last of them
        self.writes = [Writes() for _ in range(num_replicas)]
        self.met: list[list[int]] = [[0] * num_replicas for _ in range(num_replicas)]
        self.pending: dict[int, Age] = {}  # reads by a replica, until it writes or its call ends
        self.later: dict[int, Age] = {}  # the same of earlier calls, until it writes or they meet

    def meet(self) -> None:
        """All components have become the same: nobody lacks anything."""
        self.end_of_meeting()
        count = sum(one.count for one in self.writes)
        self.meetings += count > self.met_with
        self.met_with = count
        self.met = [[one.count for one in self.writes]] * len(self.writes)

    def wait(self, read: Event, lacks: int, age_s: float) -> None:
        """A replica has read what lacks some writes: what it does next says what that means."""
        pending = self.pending.get(read.process)
        if pending is None:
            pending = self.pending[read.process] = Age()
        pending.add(read, lacks, age_s)

    def go_on(self, replica_id: int) -> None:
        """A replica writes: what it read before was what it goes on from."""
        fresh = 0
        if pending := self.pending.pop(replica_id, None):
            fresh = sum(pending.reads.values())
            self.in_call.reads[0] += fresh
        if later := self.later.pop(replica_id, None):
            fresh += sum(later.reads.values())
        if fresh:
            self.until_met.reads[0] += fresh

    def end_call(self, replica_id: int) -> None:
        """A replica's call ends: what it read, it did not go on from in this call."""
        if pending := self.pending.pop(replica_id, None):
            self.in_call.merge(pending)
            self.later.setdefault(replica_id, Age()).merge(pending)

    def end_of_meeting(self) -> None:
        """What replicas read, they did not go on from before the components met."""
        for later in self.later.values():
            self.until_met.merge(later)
        self.later.clear()

    def age(self, *, summed: bool) -> Age:
        """What counts, after the last event."""
        return self.until_met if self.meetings and not summed else self.in_call
