"""Vector clocks over the events of a history: what a process knew of the others, and when.

A clock holds, for each process, the number of the last event of it that is known. So no event needs
a clock of its own: `a` happened before `b` if `b`'s process knew of `a`, or of a later event of
`a`'s process, when it did `b`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import Final

from varsim.analysis.observer import EventObserver, Take
from varsim.tracing.history import PROGRAM, Event

_KEPT: Final = 256
"""Clocks of one process that are kept for those who hear of it late.

Who hears of something older is taken to know a little more than it did: that can hide that two
events are unordered, and never makes ordered ones look so.
"""

_NOBODY: Final = -2  # in place of a process, for numbers that no event has

_ARRIVALS: Final = frozenset({"write", "arrive"})
_RELEASES: Final = frozenset({"commit", "answer"})
_ENDS: Final = frozenset({"finish", "abort"})


class Clocks(EventObserver):
    """The clock of every process, as far as events have been taken.

    Ordered are the events of one process; what has a `cause` and that cause; the contributions to
    a meeting and its commit or answer.
    """

    def __init__(self, num_replicas: int) -> None:
        size = num_replicas + 1  # the program is process -1, so its entry is the last one
        self._now: list[list[int]] = [[0] * size for _ in range(size)]
        self._kept: list[tuple[list[int], list[tuple[int, ...]]]] = [
            ([0], [(0,) * size]) for _ in range(size)
        ]
        self._joined: list[list[object]] = [[None] * size for _ in range(size)]
        """By process and other: what it learned of the other last, of all processes."""
        self._processes = array("h")  # by event; two bytes each, so that millions fit
        self._arrived: dict[tuple[int | None, int], list[tuple[int, int]]] = {}

    def taker(self, kind: str, *, by_program: bool) -> Take:
        """Every event; some do more than to move a clock on."""
        if kind in (_RELEASES if by_program else _ARRIVALS):
            return self._release if by_program else self._arrive
        return self._end if kind in _ENDS else self._take

    def _arrive(self, event: Event) -> None:
        """A replica comes to a meeting."""
        self._take(event)
        if event.position is not None:
            arrived = self._arrived.setdefault((event.call, event.position), [])
            arrived.append((event.process, event.event))

    def _release(self, event: Event) -> None:
        """A meeting is over."""
        self._follow(event)
        if event.position is not None:
            for replica_id, number in self._arrived.pop((event.call, event.position), ()):
                self._join(PROGRAM, event.event, replica_id, number)
        self._take(event)

    def _end(self, event: Event) -> None:
        """A call is over."""
        if event.position is None and self._arrived:
            self._arrived = {k: v for k, v in self._arrived.items() if k[0] != event.call}
        self._take(event)

    def _take(self, event: Event) -> None:
        """Moves the clock of the event's process on."""
        number, process, cause = event[0], event[1], event[16]  # by index: it takes half the time
        processes, now = self._processes, self._now[process]
        if cause is not None and 0 <= cause < len(processes):
            other = processes[cause]
            if now[other] < cause and other not in (_NOBODY, process):
                self._join(process, number, other, cause)
        now[process] = number
        if number == len(processes):  # as it is, if the numbers have no gaps
            processes.append(process)
        elif number > len(processes):
            processes.extend([_NOBODY] * (number - len(processes)))
            processes.append(process)

    def known(self, by: int, of: int) -> int:
        """The number of the last event of process `of` that process `by` knows of; 0 for none."""
        return self._now[by][of]

    def clock(self, process: int) -> list[int]:
        """All that `known` says of a process, by process. Not to be changed."""
        return self._now[process]

    def _follow(self, event: Event) -> None:
        """Its process knows what caused it. Again, this changes nothing."""
        cause = event.cause
        if cause is not None and 0 <= cause < len(self._processes):
            other = self._processes[cause]
            if other not in (_NOBODY, event.process):
                self._join(event.process, event.event, other, cause)

    def _join(self, process: int, number: int, other: int, cause: int) -> None:
        now = self._now[process]
        if now[other] >= cause:
            return
        numbers, clocks = self._kept[other]
        if cause >= numbers[-1]:  # as a rule
            known = clocks[-1]
        else:
            known = clocks[max(bisect_right(numbers, cause) - 1, 0)]
        if known is not self._joined[process][other]:
            self._joined[process][other] = known
            now[:] = map(max, now, known)
        now[other] = cause
        own_numbers, own_clocks = self._kept[process]
        own_numbers.append(number)
        own_clocks.append(tuple(now))
        if len(own_numbers) >= 2 * _KEPT:
            del own_numbers[:_KEPT], own_clocks[:_KEPT]
