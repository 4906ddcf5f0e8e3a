"""Describe the first difference of a comparison with a single device."""

from __future__ import annotations

import numpy as np

from varsim.analysis.arithmetic import Flat
from varsim.analysis.findings.compared import Access, Site, ValueDifference
from varsim.analysis.findings.comparison import Comparison
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.analysis.rounding import wide


def difference_of(
    site: Site,
    comparison: Comparison,
    facts: VariableFacts,
    step: int,
    origin: ValueDifference | None,
) -> ValueDifference:
    """Return the difference that a comparison shows, in the element that differs most.

    Args:
        step: How many calls of strategy.run have begun.
        origin: The difference from which this one follows, if one is known.
    """
    got, wanted = comparison.got, comparison.wanted
    sized = len(got) == len(wanted)
    element = most_apart(got, wanted) if sized else 0
    combined = site.access is not Access.WRITTEN
    return ValueDifference(
        variable_id=site.variable_id,
        variable=facts.name,
        access=site.access,
        location=site.location,
        count=1,
        compared=1,
        step=step,
        inside=comparison.event.call is not None,
        event=comparison.event.event,
        element=comparison.index_of(element, facts.shape),
        got=got[element].item() if sized else None,
        wanted=wanted[element].item() if sized else None,
        aggregation=facts.aggregation if combined else "",
        alike=combined and comparison.alike,
        origin=origin,
    )


def most_apart(got: Flat, wanted: Flat) -> int:
    """Return the index of the largest difference between two values."""
    one, other = wide(got), wide(wanted)
    with np.errstate(all="ignore"):
        apart = np.abs(one - other)
    unknown = np.isnan(apart) & ~(np.isnan(one) & np.isnan(other)) & (one != other)
    return int(np.where(unknown, np.inf, np.nan_to_num(apart, nan=0.0, posinf=np.inf)).argmax())
