"""Measure how long messages between the program and a replica are under way.

A round trip is a message to a replica, and the next message that the replica sends. Both messages
were under way from the sending of the first one until the receipt of the second one, without the
time between them on the replica. The two outer times are those of the program's clock, and the time
on the replica is that of its own clock, so the difference of the clocks has no part in the result.
Half of it is the delay of a message.

A message that arrives while its receiver is busy waits for it. For example, the program sends a
commit to one replica after the other, and meanwhile the first ones already answer. So only messages
count that end a wait of their receiver.
"""

from __future__ import annotations

from array import array
from collections import defaultdict, deque
from collections.abc import Sequence
from statistics import median
from typing import Final

from varsim.tracing.host_traffic import Delay
from varsim.tracing.records import TraceRecord
from varsim.tracing.trace_format import PROGRAM, RecordKind

MAX_KEPT: Final = 2**16
"""Largest number of round trips that are kept of one replica: of more, only every second one, every
fourth one and so on are kept."""


_SENT, _RECEIVED = int(RecordKind.SENT), int(RecordKind.RECEIVED)


IDLE_NS: Final = 200_000
"""A process without a record for so long before a receipt has waited for the message. It begins to
wait some tens of microseconds after a record."""


class RoundTrips:
    """The round trips of each replica, from the records of all processes in causal order."""

    def __init__(self) -> None:
        self._under_way: defaultdict[tuple[int, int], deque[tuple[int, int] | None]]
        self._under_way = defaultdict(deque)
        """(sender, receiver) → for each envelope, when its round trip began, and how long the
        replica then had it; None: it ends no round trip."""
        self._begun: dict[int, tuple[int, int]] = {}
        """Replica → the last envelope that it has received and not answered: when it was sent, and
        when it was received."""
        self._last_ns: dict[int, int] = {}  # process → the time of its last record
        self._kept: defaultdict[int, _Kept] = defaultdict(_Kept)

    def take(self, process: int, record: TraceRecord) -> None:
        """Take note of a record of a process."""
        kind, at_ns = record[:2]
        if kind == _SENT:
            self._sent(process, record[2], at_ns)
        elif kind == _RECEIVED:
            was_idle = at_ns - self._last_ns.get(process, at_ns) >= IDLE_NS
            self._received(process, record[2], at_ns, was_idle=was_idle)
        self._last_ns[process] = at_ns

    def _sent(self, process: int, peer: int, at_ns: int) -> None:
        one: tuple[int, int] | None = (at_ns, 0)
        if process != PROGRAM:
            begun = self._begun.pop(process, None)
            one = None if begun is None else (begun[0], at_ns - begun[1])
        self._under_way[process, peer].append(one)

    def _received(self, process: int, peer: int, at_ns: int, *, was_idle: bool) -> None:
        envelopes = self._under_way[peer, process]
        one = envelopes.popleft() if envelopes else None  # the sender's record can end too early
        if one is None:
            return
        if process != PROGRAM:
            self._begun.pop(process, None)  # an envelope before this one has had no answer
            if was_idle:
                self._begun[process] = one[0], at_ns
            return
        if not was_idle:
            return
        began_ns, held_ns = one
        self._kept[peer].add(max(0, at_ns - began_ns - held_ns))

    def delay(self, replica_ids: Sequence[int]) -> Delay | None:
        """Return the delay of the messages of some replicas; None without round trips."""
        every = sorted(t for i in replica_ids if i in self._kept for t in self._kept[i].times_ns)
        return Delay(median(every) / 2e9, every[len(every) // 4] / 2e9) if every else None


class _Kept:
    """Times of round trips, evenly spread over the record."""

    def __init__(self) -> None:
        self.times_ns = array("q")
        self._step = 1  # every so many round trips are kept
        self._skipped = 0

    def add(self, time_ns: int) -> None:
        self._skipped += 1
        if self._skipped < self._step:
            return
        self._skipped = 0
        self.times_ns.append(time_ns)
        if len(self.times_ns) >= MAX_KEPT:
            self.times_ns = self.times_ns[::2]
            self._step *= 2
