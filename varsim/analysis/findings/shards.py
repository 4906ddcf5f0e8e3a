"""Unequal shards: whether a single device's value is a weighted mean of the replicas' values.

A mean of means weighs every replica alike. If one set of weights, the same at every step or known
from a count of examples, turns what the replicas had into what a single device has, these are the
sizes of the shards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from varsim.analysis.arithmetic import Flat
from varsim.analysis.findings.share import Share
from varsim.analysis.rounding import close, rounding

_LEAST_UNEQUAL: Final = 1.25
"""The largest weight by the smallest; a batch that is split as evenly as can be has less."""

_SMALL: Final = 4
"""Examples in a shard: one more is as unequal as `_LEAST_UNEQUAL` says."""

_CLEARER: Final = 20
"""How many times worse the plain mean must fit than the weighted one."""

Weights = np.ndarray[tuple[int], np.dtype[np.float64]]
"""A positive one for each replica; they add up to 1."""


def fitted(shares: Sequence[Share]) -> Weights | None:
    """The weights that explain all shares; None if there are none, or too few shares."""
    rows, wanted = _equations(shares)
    if not len(wanted):
        return None
    scale, least = np.abs(wanted).max(), rounding(shares[0].wanted.dtype)
    error_of_mean = np.abs(rows.mean(axis=1) - wanted).max() / scale
    for weights in _candidates(rows, wanted):
        if weights.min() > 0:
            error = np.abs(rows @ weights - wanted).max() / scale
            if error <= least and error_of_mean >= _CLEARER * max(error, least / 2):
                return weights
    return None


def _candidates(rows: np.ndarray, wanted: np.ndarray) -> Iterator[Weights]:
    """Weights that may explain the equations: those of small batches, and the best fits."""
    count = rows.shape[1]
    for larger in range(1, count):
        for size in range(1, _SMALL + 1):  # as np.array_split does it
            examples = np.full(count, float(size))
            examples[:larger] += 1
            yield examples / examples.sum()
    for groups in _groupings(count):
        solved = _solved(rows, wanted, groups / groups.sum(axis=0))
        if solved is not None:
            yield solved


def _groupings(count: int) -> Iterator[np.ndarray]:
    """Which replicas have a weight in common, a column for each.

    Every replica has its own; or the first few have one, and the others another, as it is where
    what is left over goes to some of them.
    """
    yield np.eye(count)
    for first in range(1, count if count > 2 else 1):
        ours = np.arange(count) < first
        yield np.stack([ours, ~ours], axis=1).astype(np.float64)


def _solved(rows: np.ndarray, wanted: np.ndarray, columns: np.ndarray) -> Weights | None:
    """The best weights of that form; None if there are too few rows to tell that they fit."""
    grouped = rows @ columns
    if _different(grouped) <= grouped.shape[1]:  # two more than are unknown
        return None
    base = grouped[:, 0]
    solved, _, rank, _ = np.linalg.lstsq(grouped[:, 1:] - base[:, None], wanted - base, rcond=1e-9)
    if rank < grouped.shape[1] - 1:
        return None
    weights: Weights = columns @ np.array([1 - solved.sum(), *solved])
    return weights


def uneven(weights: Weights) -> bool:
    """Whether shards are more unequal than those of a batch that is split as evenly as can be."""
    return bool(weights.max() >= _LEAST_UNEQUAL * weights.min())


def explains(weights: Weights, share: Share) -> bool:
    """Whether a single device has the mean with these weights."""
    parts = share.known
    if parts is None:
        return False
    weighted: Flat = weights @ np.stack(parts).astype(np.float64)
    return close(weighted.astype(share.wanted.dtype), share.wanted)


def sizes(shares: Sequence[Share]) -> Iterator[list[Weights]]:
    """What a counter of examples may tell of shards' sizes.

    That is of all examples, as it counted them at last, or if each of its shares is a count of its
    own; or at each share.
    """
    counts: list[Weights] = []
    for share in shares:
        parts = share.known
        if parts is None or len(share.wanted) != 1:
            return
        counts.append(np.array([float(part[0]) for part in parts]))
        if counts[-1].min() <= 0 or (counts[-1] != np.round(counts[-1])).any():
            return
    for everything in (counts[-1], np.sum(counts, axis=0)):
        yield [everything / everything.sum()]
    yield [one / one.sum() for one in counts]


def _different(rows: np.ndarray) -> int:
    """How many rows differ by more than rounding."""
    scale = np.abs(rows).max()
    return len(np.unique(np.round(rows / scale, 4), axis=0)) if scale else 0


def _equations(shares: Sequence[Share]) -> tuple[np.ndarray, np.ndarray]:
    """A row for each element: the replicas' values, and the oracle's."""
    rows, wanted = [], []
    for share in shares:
        parts = share.known
        if parts is None or share.wanted.dtype.kind != "f":
            return np.empty((0, 0)), np.empty(0)
        rows.append(np.stack(parts, axis=1).astype(np.float64))
        wanted.append(share.wanted.astype(np.float64))
    return np.concatenate(rows), np.concatenate(wanted)
