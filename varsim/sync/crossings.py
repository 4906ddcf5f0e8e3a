"""Warn of unnamed collectives that were paired although they are in different lines."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from varsim.sync import mismatch
from varsim.sync.call_state import CallState


class Crossings:
    """Warns of each pair of lines only once in the life of a cluster."""

    def __init__(self) -> None:
        self._warned: set[frozenset[str]] = set()  # pairs of lines

    def new(self, call: CallState) -> Iterator[tuple[str, str]]:
        """Yield the new warnings of a call, each with its text and its location."""
        for collectives in call.crossings():
            locations = dict.fromkeys(one.location for one in collectives.values())
            pairs = {frozenset(pair) for pair in combinations(locations, 2)}
            if not pairs <= self._warned:
                self._warned |= pairs
                yield mismatch.crossing(collectives)
