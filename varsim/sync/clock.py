"""Count one replica's writes to a variable with bounded staleness."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Clock:
    """One replica's writes to one variable in one call, and what it knows of the others."""

    writes: int = 0
    slowest: int = 0  # every other running replica has made so many writes, or more
