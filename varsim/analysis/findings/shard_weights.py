"""Unequal shards: whether a single device's value is a weighted mean of the replicas' values.

A mean of means gives every replica the same weight, even if the shards are unequal. Other weights
are tried: weights that are the same at every step, and weights from a count of examples. If the
mean with such weights is the single device's value, the weights are the sizes of the shards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from varsim.analysis.arithmetic import Flat
from varsim.analysis.findings.comparison import Comparison
from varsim.analysis.rounding import close, rounding
from varsim.extension_dtypes import kind_of

_LEAST_UNEQUAL: Final = 1.25
"""Least ratio of the largest weight to the smallest. Evenly split batches have a lower ratio."""

_SMALL: Final = 4
"""Largest shard to try, in examples. Larger shards that differ by one example count as equal."""

_CLEARER: Final = 20
"""Least ratio of the error of the plain mean to the error of the weighted mean."""

Weights = np.ndarray[tuple[int], np.dtype[np.float64]]
"""A positive weight for each replica; they add up to 1."""


def fitted(comparisons: Sequence[Comparison]) -> Weights | None:
    """Return the weights that explain all comparisons.

    Return None if no weights explain them, or if there are too few data.
    """
    rows, wanted = _equations(comparisons)
    if not len(wanted):
        return None
    scale, least = np.abs(wanted).max(), rounding(comparisons[0].wanted.dtype)
    error_of_mean = np.abs(rows.mean(axis=1) - wanted).max() / scale
    for weights in _candidates(rows, wanted):
        if weights.min() > 0:
            error = np.abs(rows @ weights - wanted).max() / scale
            if error <= least and error_of_mean >= _CLEARER * max(error, least / 2):
                return weights
    return None


def _candidates(rows: np.ndarray, wanted: np.ndarray) -> Iterator[Weights]:
    """Yield weights that may solve the equations: weights of small batches, and best fits."""
    count = rows.shape[1]
    for larger in range(1, count):
        for size in range(1, _SMALL + 1):  # split as by np.array_split
            examples = np.full(count, float(size))
            examples[:larger] += 1
            yield examples / examples.sum()
    for groups in _groupings(count):
        solved = _solved(rows, wanted, groups / groups.sum(axis=0))
        if solved is not None:
            yield solved


def _groupings(count: int) -> Iterator[np.ndarray]:
    """Yield groupings of replicas that share a weight, as matrices with a column for each weight.

    In one grouping every replica has its own weight. In the other groupings the first few replicas
    have one weight, and all other replicas have another weight. Such weights occur if the first
    replicas get one more example, from the remainder of a batch.
    """
    yield np.eye(count)
    for first in range(1, count if count > 2 else 1):
        ours = np.arange(count) < first
        yield np.stack([ours, ~ours], axis=1).astype(np.float64)


def _solved(rows: np.ndarray, wanted: np.ndarray, columns: np.ndarray) -> Weights | None:
    """Return the best weights of a grouping; None if too few rows are different."""
    grouped = rows @ columns
    if _different(grouped) <= grouped.shape[1]:  # the fit needs two rows more than unknowns
        return None
    base = grouped[:, 0]
    solved, _, rank, _ = np.linalg.lstsq(grouped[:, 1:] - base[:, None], wanted - base, rcond=1e-9)
    if rank < grouped.shape[1] - 1:
        return None
    weights: Weights = columns @ np.array([1 - solved.sum(), *solved])
    return weights


def uneven(weights: Weights) -> bool:
    """Return whether the weights are less equal than those of an evenly split batch."""
    return bool(weights.max() >= _LEAST_UNEQUAL * weights.min())


def explains(weights: Weights, comparison: Comparison) -> bool:
    """Return whether the single device's value is the mean with these weights."""
    parts = comparison.known
    if parts is None:
        return False
    weighted: Flat = weights @ np.stack(parts).astype(np.float64)
    return close(weighted.astype(comparison.wanted.dtype), comparison.wanted)


def sizes(comparisons: Sequence[Comparison]) -> Iterator[list[Weights]]:
    """Yield the weights that a counter of examples implies.

    There are three ways to get weights: for all comparisons from the last count, for all
    comparisons from the sum of all counts, or for each comparison from its own count.
    """
    counts: list[Weights] = []
    for comparison in comparisons:
        parts = comparison.known
        if parts is None or len(comparison.wanted) != 1:
            return
        counts.append(np.array([float(part[0]) for part in parts]))
        if counts[-1].min() <= 0 or (counts[-1] != np.round(counts[-1])).any():
            return
    for everything in (counts[-1], np.sum(counts, axis=0)):
        yield [everything / everything.sum()]
    yield [one / one.sum() for one in counts]


def _different(rows: np.ndarray) -> int:
    """Return the number of different rows. Rows that are equal within rounding count once."""
    scale = np.abs(rows).max()
    return len(np.unique(np.round(rows / scale, 4), axis=0)) if scale else 0


def _equations(comparisons: Sequence[Comparison]) -> tuple[np.ndarray, np.ndarray]:
    """Return an equation for each element: the replicas' values, and the single device's value."""
    rows, wanted = [], []
    for comparison in comparisons:
        parts = comparison.known
        if parts is None or kind_of(comparison.wanted.dtype) != "f":
            return np.empty((0, 0)), np.empty(0)
        rows.append(np.stack(parts, axis=1).astype(np.float64))
        wanted.append(comparison.wanted.astype(np.float64))
    return np.concatenate(rows), np.concatenate(wanted)
