"""Which aggregations of the values that replicas write give the single device's value."""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from varsim.analysis.arithmetic import combined
from varsim.analysis.findings.comparison import Comparison
from varsim.analysis.findings.comparisons import Comparisons
from varsim.analysis.rounding import close
from varsim.spec import VariableAggregation
from varsim.tracing.history import Event

AGGREGATIONS: Final = (
    VariableAggregation.SUM,
    VariableAggregation.MEAN,
    VariableAggregation.ONLY_FIRST_REPLICA,
)


def gives(aggregation: VariableAggregation, comparison: Comparison) -> bool:
    """Return whether an aggregation of the replicas' values gives the single device's value."""
    parts = comparison.known
    if comparison.is_change or parts is None:  # the replicas wrote more than the change
        return False
    is_first = aggregation is VariableAggregation.ONLY_FIRST_REPLICA
    value = parts[0] if is_first else combined(parts, aggregation.name)
    return value is not None and close(value, comparison.wanted)


class FittingAggregations:
    """Finds the aggregations for variables whose components the replicas write each for itself.

    The first writes with different values decide. Afterwards the components differ, so what is
    computed from them may be wrong, too: later writes only decide between several aggregations.
    """

    def __init__(self, comparisons: Comparisons | None, variables: Container[int]) -> None:
        self._variables = variables
        self._found: dict[int, list[VariableAggregation]] = {}
        if comparisons is not None:
            comparisons.pass_writes_to(self._compare)

    def of(self, variable: int) -> tuple[VariableAggregation, ...] | None:
        """Return the aggregations that fit; None if no writes were compared."""
        found = self._found.get(variable)
        return None if found is None else tuple(found)

    def _compare(self, event: Event, comparison: Comparison | None) -> None:
        variable = event.variable
        if variable is None or variable not in self._variables:
            return
        if comparison is None or comparison.known is None or comparison.alike:
            return
        before = self._found.get(variable, AGGREGATIONS)
        fitting = [one for one in before if gives(one, comparison)]
        if fitting or variable not in self._found:
            self._found[variable] = fitting
