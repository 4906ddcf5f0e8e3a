"""Where a wrong value can come from: the variables that a process read before it wrote."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from varsim.tracing.history import PROGRAM, Event


class Flows:
    """Follows values that differ from a single device, from variable to variable.

    What a process writes can depend on what it has read: a replica in the same call, the program at
    any time before.
    """

    def __init__(self) -> None:
        self._parted: list[int] = []  # the variables that differ, in the order of their differences
        self._wrong: defaultdict[int, set[int]] = defaultdict(set)
        """Process → the variables that it read when they differed."""
        self._wrote: defaultdict[int, set[int]] = defaultdict(set)
        self._fresh: defaultdict[int, set[int]] = defaultdict(set)
        """Replica → the variables that it wrote in this call, and those of them that it read
        afterwards: the write may be the first one that differs, when all replicas have written."""

        self._read_before: dict[int, set[int]] = {}
        """Number of a write's event → the variables that differed, or may have differed, which its
        process had read; until the write is compared."""

    def on_call(self) -> None:
        """Forget what replicas have read: a new call begins."""
        for known in (self._wrong, self._wrote, self._fresh):
            for process in [one for one in known if one != PROGRAM]:
                del known[process]

    def on_read(self, process: int, variable: int) -> None:
        """Record that a process reads a variable."""
        if variable in self._parted:
            self._wrong[process].add(variable)
        elif variable in self._wrote[process]:
            self._fresh[process].add(variable)

    def on_write(self, event: Event) -> None:
        """Keep what the process has read before it writes a variable."""
        process, variable = event.process, event.variable or 0
        known = self._wrong[process] | self._fresh[process]
        if known and variable not in self._parted:
            self._read_before[event.event] = known
        if process != PROGRAM:
            self._wrote[process].add(variable)

    def part(self, variable: int) -> None:
        """Record that a variable differs from a single device from now on."""
        if variable not in self._parted:
            self._parted.append(variable)

    def sources_of(self, variable: int, writes: Iterable[int]) -> tuple[int, ...]:
        """Return the variables that differ and on which a written value can depend.

        Args:
            variable: The written variable.
            writes: The numbers of the events that wrote the value.

        Returns:
            Their numbers, in the order in which they began to differ.
        """
        read: set[int] = set()
        for event in writes:
            read |= self._read_before.pop(event, set())
        return tuple(one for one in self._parted if one in read and one != variable)
