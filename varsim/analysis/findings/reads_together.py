"""Which variables the program reads together, as it reads a sum and a count to divide them."""

from __future__ import annotations

from collections import Counter
from typing import Final

from varsim.analysis.observer import EventObserver
from varsim.tracing.history import Event

_MOST_LINES: Final = 3
"""Largest distance of two lines in which variables are read together."""

_MOST_READS: Final = 16
"""Largest number of reads in a row that count as together."""

_NEARLY_ALL: Final = 0.9
"""Fraction of the reads of each variable that must be together with those of the other."""


class ReadsTogether(EventObserver):
    """Follows the program's reads of whole variables that follow each other closely."""

    def __init__(self) -> None:
        self._row: list[tuple[int, str]] = []  # the last reads in a row: variable, location
        self._reads: Counter[int] = Counter()
        self._pairs: Counter[tuple[int, int]] = Counter()

    def on_read_by_program(self, event: Event) -> None:
        """Count the variables that were read just before."""
        variable, location = event.variable, event.location
        if variable is None or location is None or event.replica is not None:
            return
        if self._row and not _are_near(self._row[-1][1], location):
            self._row.clear()
        self._reads[variable] += 1
        for other in {one for one, _ in self._row} - {variable}:
            self._pairs[variable, other] += 1
            self._pairs[other, variable] += 1
        self._row = [*self._row[1 - _MOST_READS :], (variable, location)]

    def on_call(self, event: Event) -> None:  # noqa: ARG002
        """End the row of reads."""
        self._row.clear()

    on_write_by_program = on_call

    def together(self, variable: int, other: int) -> bool:
        """Return whether nearly all reads of each variable are close to a read of the other."""
        pairs = self._pairs[variable, other]
        return pairs > 0 and pairs >= _NEARLY_ALL * max(self._reads[variable], self._reads[other])


def _are_near(one: str, other: str) -> bool:
    file, _, line = one.rpartition(":")
    other_file, _, other_line = other.rpartition(":")
    if file != other_file or not (line.isdecimal() and other_line.isdecimal()):
        return False
    return abs(int(line) - int(other_line)) <= _MOST_LINES
