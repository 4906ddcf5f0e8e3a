"""Join the calls of a long run into bins, so that a chart has few marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

MOST: Final = 120
"""Largest number of bins: a bar has four pixels or more on a laptop's screen."""


class Bin(NamedTuple):
    """Consecutive calls, and the sum of a number over them for each series."""

    first: int
    last: int
    sums: Mapping[str, float]


def binned(by_call: Mapping[int, Mapping[str, float]], span: tuple[int, int]) -> list[Bin]:
    """Return bins of equally many consecutive calls, in order; the last one can have fewer.

    Args:
        by_call: The number of a call → the name of a series → a number.
        span: The first and the last call.
    """
    first, last = span
    width = -(-(last - first + 1) // MOST)
    found = []
    for begin in range(first, last + 1, width):
        sums: dict[str, float] = {}
        for call in range(begin, min(begin + width, last + 1)):
            for name, value in by_call.get(call, {}).items():
                sums[name] = sums.get(name, 0.0) + value
        found.append(Bin(begin, min(begin + width - 1, last), sums))
    return found


def largest_first(totals: Mapping[str, float], most: int) -> tuple[list[str], list[str]]:
    """Return the series with the largest totals, and the others; series without any are left out.

    Args:
        most: The number of series to show, if all cannot be shown.
    """
    names = sorted((name for name in totals if totals[name]), key=lambda one: -totals[one])
    return (names, []) if len(names) <= most else (names[: most - 1], names[most - 1 :])


def chosen(count: int, most: int, *wanted: int | None) -> Sequence[int]:
    """Return at most about `most` indices out of `count`, evenly spaced, and the wanted ones."""
    if count <= most:
        return range(count)
    spaced = {round(index * (count - 1) / (most - 1)) for index in range(most)}
    return sorted(spaced | {one for one in wanted if one is not None})
