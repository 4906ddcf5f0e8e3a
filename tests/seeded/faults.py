"""The faults of a simulated program: in which turns it is interrupted, or a replica dies."""

from __future__ import annotations

import random
from collections import Counter

MOST_TURNS = 20_000
"""Far more than any program needs."""


class Interrupted(Exception):
    """Ctrl-C has ended the program's wait."""


class Faults:
    """Counts the turns of all incarnations of a program, and draws the faults."""

    def __init__(self, rng: random.Random, counts: Counter[str]) -> None:
        self._counts = counts
        self._turns = 0
        self._interrupts = {rng.randrange(1, 300) for _ in range(rng.choice((0, 0, 0, 1, 2)))}
        self._deaths = {rng.randrange(1, 250) for _ in range(rng.choice((0, 0, 1, 1, 2, 3)))}
        # Workers on one machine end together.
        self._deaths |= {turn + rng.randrange(1, 30) for turn in self._deaths if rng.random() < 0.3}

    def turn(self) -> bool:
        """Count a turn, and return whether a replica dies in it.

        Raises:
            Interrupted: The program is interrupted in this turn.
        """
        self._turns += 1
        assert self._turns < MOST_TURNS, "the program does not end"
        if self._turns in self._interrupts:
            self._counts["interrupt"] += 1
            raise Interrupted
        return self._turns in self._deaths

    def stop(self) -> None:
        """Let no further fault happen."""
        self._interrupts.clear()
        self._deaths.clear()
