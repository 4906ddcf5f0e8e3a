"""Facts about numbers of a run that a verdict does not judge: a loss that grew, NaN, infinity.

A verdict and findings say nothing about how good a training was. So beside them, a report says what
a reader must not miss. A large number alone is no such fact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final, TypeGuard

from varsim.report.formatting import flat_rows, names, number
from varsim.report.summary import Lens, Plain, Summary, VariableSummary

_LOSS: Final = "loss"  # a part of the names of metrics that a training makes smaller
_FAR: Final = 10  # the last value of such a metric is this often the first one, or more
_NOT_FINITE: Final = frozenset(("NaN", "Infinity", "-Infinity"))
_NONE: Final = "NONE"


def metric_facts(summary: Summary) -> list[str]:
    """Return a clause on the last values that are not finite, and one on each loss that grew."""
    last = {**summary.metrics, **dict(flat_rows("", summary.result))}
    return diverged(summary.first_metrics, last)


def diverged(first: Mapping[str, Plain], last: Mapping[str, Plain]) -> list[str]:
    """Return the same clauses for the first and the last value of each number."""
    strange = [name for name, value in last.items() if _is_strange(value)]
    said = [f"{names(strange)} ended as NaN or infinity"] if strange else []
    return [*said, *_grown(first, last)]


def apart_facts(summary: Summary) -> list[str]:
    """Return a clause on the variables with NONE whose components differ, if there are any."""
    found = [
        (variable.name, distance)
        for variable in summary.variables
        if (distance := _distance(variable)) is not None
    ]
    if not found:
        return []
    together = names([name for name, _ in found])
    known = [distance for _, distance in found if isinstance(distance, float)]
    if len(known) < len(found):
        return [f"the components of {together} (NONE) differ infinitely"]
    return [f"the components of {together} (NONE) differ by up to {number(max(known))}"]


def _is_strange(value: Plain) -> bool:
    """Return whether a value, or a value in a list, is NaN or infinite."""
    if isinstance(value, list):
        return any(map(_is_strange, value))
    if isinstance(value, float):
        return not math.isfinite(value)
    return isinstance(value, str) and value in _NOT_FINITE


def _grown(first: Mapping[str, Plain], last: Mapping[str, Plain]) -> Iterator[str]:
    for name, end in last.items():
        begin = first.get(name)
        if _LOSS not in name.lower() or not _is_real(begin) or not _is_real(end):
            continue
        if 0 < begin <= end / _FAR:
            yield f"{name} grew from {number(begin)} to {number(end)}"


def _is_real(value: Plain) -> TypeGuard[float]:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _distance(variable: VariableSummary) -> Plain:
    """Return how far the components are apart, if NONE lets them differ; None if they do not."""
    seen = variable.lens
    if variable.synchronization != _NONE or not isinstance(seen, Lens):
        return None
    return seen.apart or None
