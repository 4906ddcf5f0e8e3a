"""Decide whether a single device had the whole batch, so that it can be an oracle.

There are two signs of a single device that had not: it did only the first replica's part of the
work, or none of its values is an aggregate of the replicas' values.
"""

from __future__ import annotations

from collections.abc import Container

from varsim.analysis.findings.comparison import Comparison, Relation
from varsim.analysis.findings.comparison_statistics import AGAIN, INEXACT, ComparisonStatistics
from varsim.analysis.findings.example_counts import ExampleCounts
from varsim.analysis.findings.extremes import extreme_of
from varsim.analysis.findings.other_means import other_mean_of
from varsim.analysis.findings.shard_weights import Weights, explains, fitted
from varsim.analysis.findings.variable_facts import VariableFacts


def had_the_whole_batch(
    aggregated: list[tuple[VariableFacts, ComparisonStatistics]],
    counted: ExampleCounts,
    inexact: Container[int] = (),
) -> bool:
    """Return whether some value of the single device is an aggregate of all replicas' values.

    If no comparison has numbers that exclude a relation by chance, return True.

    Args:
        counted: The shard weights that counters of examples imply.
        inexact: Variables with an approximate mode, whose differences show nothing.
    """
    if any(_is_whole(one, statistics) for one, statistics in aggregated):
        return True
    aggregated = [one for one in aggregated if one[0].variable_id not in inexact]
    if any(statistics.only_mine for _, statistics in aggregated):
        return False
    if any(
        one.aggregation == "SUM" and statistics.first is Relation.RIGHT
        for one, statistics in aggregated
    ):
        return True
    telling = [(one, statistics) for one, statistics in aggregated if statistics.telling]
    if any(statistics.first not in INEXACT for _, statistics in telling):
        return True
    others = [statistics for one, statistics in telling if not one.first]
    return not others or any(
        weighed(statistics, counted)
        or extreme_of(statistics.kept, whole_batch=False)
        or other_mean_of(statistics.kept)
        or all(comparison.sums_fractions for comparison in statistics.kept)
        for statistics in others
    )


def is_proved(aggregated: list[tuple[VariableFacts, ComparisonStatistics]]) -> bool:
    """Return whether values prove that the single device had the whole batch.

    Replicas with different values prove it, if the single device's first value is related to all of
    them exactly, and not by chance.
    """
    return any(_proves(statistics) for _, statistics in aggregated)


def _proves(statistics: ComparisonStatistics) -> bool:
    first = statistics.first
    if first is None or first in {*INEXACT, Relation.ONLY_MINE} or statistics.shown[first].alike:
        return False
    fractional = statistics.shown[first].has_fractional_parts
    return statistics.telling or fractional or statistics.related[first] >= AGAIN


def _is_whole(facts: VariableFacts, statistics: ComparisonStatistics) -> bool:
    """Return whether a value is right in all comparisons, and is an aggregate of all replicas."""
    right = statistics.related[Relation.RIGHT] == statistics.count
    return right and not facts.first and _proves(statistics)


def weighed(
    statistics: ComparisonStatistics, counted: ExampleCounts
) -> list[tuple[Comparison, Weights]]:
    """Return comparisons with the shard weights that explain the single device's values.

    The result is empty if no weights explain the values.
    """
    kept = statistics.kept
    for known in counted.weights_for(kept):
        pairs = list(zip(kept, known, strict=True))
        if all(explains(weights, comparison) for comparison, weights in pairs):
            return pairs
    for some in (
        kept,
        kept[:1] if statistics.telling and not statistics.related[Relation.RIGHT] else [],
    ):
        if some and (weights := fitted(some)) is not None:
            return [(comparison, weights) for comparison in some]
    return []
