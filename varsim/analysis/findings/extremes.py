"""Means of extremes: the single device's value is the largest or smallest of the replicas' values.

An aggregation MAX does not exist, so programs take MEAN for a maximum over all examples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from varsim.analysis.findings.comparison import Comparison, Relation
from varsim.analysis.rounding import material

_SURE: Final = 3
"""Number of comparisons that exclude a chance, if a value has no fractional part."""

_EXTREMES: Final[tuple[tuple[Relation, Callable[..., Any], Callable[..., Any]], ...]] = (
    (Relation.LARGEST, np.max, np.greater_equal),
    (Relation.SMALLEST, np.min, np.less_equal),
)
"""The extreme, and how the single device's value is related to each replica's value."""


def extreme_of(
    comparisons: Sequence[Comparison], *, whole_batch: bool
) -> tuple[Relation, list[Comparison]] | None:
    """Return which extreme the single device's values are, and the comparisons that show it.

    The first comparison must show it. A later one may differ, because a running extreme depends on
    earlier values, but the single device's value is never less extreme than a replica's.

    Args:
        whole_batch: Whether another value proves that the single device had the whole batch. If
            not, the extreme must belong to several replicas, or it may be the only part that the
            single device had.
    """
    for relation, extreme, beyond in _EXTREMES:
        exact, owners = [], set()
        for comparison in comparisons:
            parts = comparison.known
            if parts is None or comparison.wanted.dtype.kind not in "iuf":
                return None
            every, wanted = np.stack(parts), comparison.wanted
            if not beyond(wanted, every).all():
                break
            if (extreme(every, axis=0) == wanted).all() and material(comparison.got, wanted):
                exact.append(comparison)
                owners.add(tuple(np.abs(every - wanted).argmin(axis=0).tolist()))
            elif comparison is comparisons[0]:
                break
        else:
            sure = comparisons[0].telling or len(exact) >= _SURE
            several = whole_batch or len(owners) > 1 or any(any(one) for one in owners)
            if exact and sure and several:
                return relation, exact
    return None
