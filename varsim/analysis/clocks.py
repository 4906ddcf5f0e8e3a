"""Vector clocks over the events of a history: which events of other processes each process knew.

Each process has one clock; events have none. For each process, the clock holds the number of the
last known event of that process. Let p be the process of an event x. Then x happened before an
event y if the process of y knew x, or a later event of p, when y happened.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import Final

from varsim.analysis.meeting_order import MeetingOrder
from varsim.analysis.observer import EventObserver, Take
from varsim.tracing.history import PROGRAM, Event

_KEPT: Final = 256
"""Number of old clocks kept for each process, because other processes may learn of an event late.

If an event is older than all kept clocks, the oldest kept clock is used in place of the event's
clock. This clock may know later events, too. So two unordered events may look ordered. Two ordered
events never look unordered.
"""

_NO_PROCESS: Final = -2  # stands for the process of an unused event number

_ARRIVALS: Final = frozenset({"write", "arrive"})
_RELEASES: Final = frozenset({"commit", "answer"})
_ENDS: Final = frozenset({"finish", "abort"})


class Clocks(EventObserver):
    """The clocks of all processes after the events so far.

    Four rules order events: the events of one process are in order; the cause of an event happened
    before the event; the arrivals at a collective happened before its commit or answer; what
    `MeetingOrder` says about locks, barriers and sends, in place of the program's whole clock.
    """

    def __init__(self, num_replicas: int) -> None:
        size = num_replicas + 1  # the program is process -1, so its entry is the last one
        self._now: list[list[int]] = [[0] * size for _ in range(size)]
        self._kept: list[tuple[list[int], list[tuple[int, ...]]]] = [
            ([0], [(0,) * size]) for _ in range(size)
        ]
        self._joined: list[list[object]] = [[None] * size for _ in range(size)]
        """[process][other]: the clock of `other` that `process` merged last."""
        # The process of each event number: two bytes per event, because there may be millions.
        self._processes = array("h")
        # A collective is identified by its call, its group and its position.
        self._arrived: dict[tuple[int | None, str | None, int], list[tuple[int, int]]] = {}
        self._meetings = MeetingOrder()
        self._before = self._meetings.before
        self._of_replicas: dict[str, tuple[Take, ...]] = {
            "request": (self._take, self._meetings.request),
            "release": (self._take, self._meetings.release),
            "return": (self._take, self._meetings.end_function),
            "raise": (self._take, self._meetings.end_function),
        }

    def taker(self, kind: str, *, by_program: bool) -> Take:
        """Return the method for events of a kind; every event advances a clock."""
        if not by_program and kind in self._of_replicas:
            return self._in_turn(*self._of_replicas[kind])
        if kind in (_RELEASES if by_program else _ARRIVALS):
            return self._release if by_program else self._arrive
        return self._end if kind in _ENDS else self._take

    @staticmethod
    def _in_turn(*takes: Take) -> Take:
        def both(event: Event) -> None:
            for take in takes:
                take(event)

        return both

    def _arrive(self, event: Event) -> None:
        """Record a replica's arrival at a collective."""
        self._take(event)
        if event.position is not None:
            key = event.call, event.members, event.position
            arrived = self._arrived.setdefault(key, [])
            arrived.append((event.process, event.event))

    def _release(self, event: Event) -> None:
        """End a collective. The program now knows all arrivals at this collective."""
        self._follow(event)
        if event.position is not None:
            key = event.call, event.members, event.position
            for replica_id, number in self._arrived.pop(key, ()):
                self._join(PROGRAM, event.event, replica_id, number)
        else:
            self._meetings.answer(event)
        self._take(event)

    def _end(self, event: Event) -> None:
        """End a call."""
        if event.position is None and self._arrived:
            self._arrived = {k: v for k, v in self._arrived.items() if k[0] != event.call}
        self._meetings.end_call(event.call)
        self._take(event)

    def _take(self, event: Event) -> None:
        """Advance the clock of the event's process."""
        number, process, cause = event[0], event[1], event[17]  # by index: twice as fast as by name
        processes, now = self._processes, self._now[process]
        if cause is not None and 0 <= cause < len(processes):
            other = processes[cause]
            if self._before and (before := self._before.pop(cause, None)) is not None:
                for replica_id, earlier in before:
                    self._join(process, number, replica_id, earlier)
            elif now[other] < cause and other not in (_NO_PROCESS, process):
                self._join(process, number, other, cause)
        now[process] = number
        if number == len(processes):  # always true if the numbers have no gaps
            processes.append(process)
        elif number > len(processes):
            processes.extend([_NO_PROCESS] * (number - len(processes)))
            processes.append(process)

    def known(self, knower: int, other: int) -> int:
        """Return the last event of the process `other` that `knower` knows; 0 for no event."""
        return self._now[knower][other]

    def clock(self, process: int) -> list[int]:
        """For each process, return its last event that `process` knows. Do not change the list."""
        return self._now[process]

    def _follow(self, event: Event) -> None:
        """Merge the clock of the cause into the process's clock. Repeating this changes nothing."""
        cause = event.cause
        if cause is not None and 0 <= cause < len(self._processes):
            other = self._processes[cause]
            if other not in (_NO_PROCESS, event.process):
                self._join(event.process, event.event, other, cause)

    def _join(self, process: int, number: int, other: int, cause: int) -> None:
        now = self._now[process]
        if now[other] >= cause:
            return
        numbers, clocks = self._kept[other]
        if cause >= numbers[-1]:  # the usual case
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
