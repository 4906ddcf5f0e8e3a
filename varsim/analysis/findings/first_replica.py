"""The texts about a value that is the first replica's alone, and the aggregation that mends it.

An aggregation is proposed only if it makes the recorded values of the replicas equal to the single
device's value. If none does, the values themselves are wrong: what each replica computes them from
is its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from varsim.analysis.findings.comparison import Comparison, Relation
from varsim.analysis.findings.fitting_aggregations import gives
from varsim.analysis.rounding import wide
from varsim.spec import VariableAggregation
from varsim.texts.faces import Face, reduced_lines, weighted_mean_in_words

_CANDIDATES: Final = (VariableAggregation.SUM, VariableAggregation.MEAN)

_MEANT: Final = {
    Relation.FIRST_OF_SUM: "the sum of all replicas' values",
    Relation.OVER_N: "the sum of all replicas' values",
    Relation.FIRST_OF_MEAN: "a mean over all replicas",
    Relation.FIRST_OF_WEIGHTED: "a weighted mean over all replicas",
}
"""Relation → what a single device has."""


def aggregation_of_all(wrong: Sequence[Comparison]) -> VariableAggregation | None:
    """Return the aggregation that gives the single device's value in each of these comparisons."""
    return next(
        (one for one in _CANDIDATES if all(gives(one, comparison) for comparison in wrong)), None
    )


def what_is_first(relation: Relation) -> str:
    """Return what is wrong, as a sentence."""
    meant = _MEANT.get(relation, "a different value, computed from the whole batch")
    return f"The value is the first replica's alone, while a single device has {meant}."


def what_no_aggregation_gives(comparison: Comparison) -> str:
    """Return a sentence on the aggregates of the replicas' values, none of which is right.

    Args:
        comparison: The first comparison that shows it.
    """
    parts = comparison.known
    if parts is None:
        return (
            " The record does not have all replicas' values, so varsim cannot tell whether an "
            "aggregation gives the single device's value."
        )
    index = int(np.abs(comparison.wanted).argmax())
    numbers = [wide(part)[index].item() for part in parts]
    total, count = sum(numbers), len(numbers)
    return (
        f" The replicas' values have the sum {total:.4g} and the mean {total / count:.4g}: no "
        "aggregation of them gives the single device's value."
    )


def remedy_of_first(relation: Relation, aggregation: VariableAggregation | None, face: Face) -> str:
    """Return what to do.

    Args:
        aggregation: The one that gives the single device's value.
        face: The face of varsim that the program uses.
    """
    if aggregation is not None:
        return (
            f"Aggregate with {aggregation.name}; ONLY_FIRST_REPLICA is for values that are the "
            "same on all replicas."
        )
    if relation is Relation.FIRST_OF_WEIGHTED:
        return (
            f"Write a weighted mean: {weighted_mean_in_words(face)}. Then all replicas write the "
            "same value, as ONLY_FIRST_REPLICA needs."
        )
    return (
        "Reduce what the value is computed from before each replica computes and writes it, so "
        "that all replicas write the same value, as ONLY_FIRST_REPLICA needs."
    )


def lines_instead(relation: Relation, dtype: str, face: Face) -> tuple[str, ...]:
    """Return the lines that reduce a value, if no aggregation of the variable gives it.

    Args:
        dtype: The dtype of the variable.
        face: The face of varsim that the program uses.
    """
    op = "SUM" if relation in {Relation.FIRST_OF_SUM, Relation.OVER_N} else "MEAN"
    return reduced_lines(face, op, dtype, weighted=relation is Relation.FIRST_OF_WEIGHTED)
