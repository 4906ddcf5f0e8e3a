"""Stretch the times of links between hosts, for networks with long round trips."""

from __future__ import annotations

from typing import Final

USUAL_START_S: Final = 60.0
"""The time limit of a start for which the times of links are made, as they stand in the code. They
suit round trips of up to 0.5 s."""


def stretch_of(start_timeout_s: float) -> float:
    """Return the factor of all times of links, given the time limit of the start.

    The limit is what a user sets for a slow network. A start needs many round trips, so a limit
    that allows them says how long a round trip can be: 1/120 of it. Shorter limits change nothing.
    """
    return max(1.0, start_timeout_s / USUAL_START_S)
