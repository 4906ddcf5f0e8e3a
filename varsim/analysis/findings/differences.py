"""Describe the first difference of a comparison with a single device."""

from __future__ import annotations

from varsim.analysis.findings.compared import Access, Site, ValueDifference
from varsim.analysis.findings.comparison import Comparison
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.analysis.rounding import most_apart


def difference_of(
    site: Site, comparison: Comparison, facts: VariableFacts, step: int
) -> ValueDifference:
    """Return the difference that a comparison shows, in the element that differs most.

    Args:
        step: How many calls of strategy.run have begun.
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
        operation="" if site.access is Access.READ else comparison.event.operation or "",
        alike=combined and comparison.alike,
    )
