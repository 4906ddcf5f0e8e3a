"""The relation between one value of a run and the value of a single device.

Numbers are compared within rounding, because a single device adds in another order. A number that
matches a relation only approximately gets `OTHER`, because its difference has another cause. The
only exception is `ABOUT_TIMES_N`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

import numpy as np

from varsim.analysis.arithmetic import Flat
from varsim.analysis.rounding import close, rounding, wide
from varsim.analysis.sampled import is_part, thinned
from varsim.extension_dtypes import kind_of
from varsim.texts.facts import index_of
from varsim.tracing.history import Event
from varsim.tracing.samples import positions

_ABOUT: Final = 1.5
"""Tolerance for a sum of unequal values.

Such a sum counts as about N times the single device's value if it lies between N / 1.5 and N * 1.5
times that value.
"""

_TELLING_ELEMENTS: Final = 4
"""Least number of different whole numbers whose match is no coincidence.

If any number has a fractional part, one number is enough.
"""

_NEARLY: Final = 0.05
"""Largest relative error of a number that counts as about N times another number."""

_LARGE: Final = 100
"""Smallest whole number that is unlikely to match by chance."""

_MOST_ELEMENTS: Final = 256
"""Number of elements of each value that are kept with a comparison."""

_SIMPLE: Final = 100
"""The largest denominator of a simple fraction."""

_SIMPLE_WITHIN: Final = 1e-6
"""Largest relative rounding error of a simple fraction."""


class Relation(Enum):
    """How the value of a run is related to the value on a single device."""

    RIGHT = auto()
    TIMES_N = auto()  # too large by a factor of the number of replicas
    OVER_N = auto()  # too small by a factor of the number of replicas
    TIMES_N_TWICE = auto()  # too large by the square of the number of replicas
    ABOUT_TIMES_N = auto()  # about N times too large: a sum instead of a mean
    FIRST_OF_SUM = auto()  # the first replica's value; the single device has the sum
    FIRST_OF_MEAN = auto()  # the first replica's value; the single device has the mean
    FIRST_OF_WEIGHTED = auto()  # the first replica's value; the single device has a weighted mean
    ONLY_MINE = auto()  # all replicas' values are combined; the single device has replica 0's
    LARGEST = auto()  # the single device has the largest of the replicas' values
    SMALLEST = auto()  # the single device has the smallest of the replicas' values
    GEOMETRIC = auto()  # the single device has the geometric mean of the replicas' values
    QUADRATIC = auto()  # the single device has the root of their mean square
    HARMONIC = auto()  # the single device has their harmonic mean
    ROOT_OF_SUM = auto()  # the single device has the root of the sum of their squares
    LOGARITHM = auto()  # the single device has the logarithm of the mean of their powers
    VARIANCE = auto()  # the single device has their mean plus the variance of another variable
    DEVIATION = auto()  # the same for the root of a variance
    OTHER = auto()

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class Comparison:
    """One value computed from the replicas' values, and the single device's value."""

    event: Event  # the last event that shows the value
    others: tuple[int, ...]  # the numbers of the other events that show the value
    by_replica: tuple[Flat | None, ...]  # each replica's value; None for an unknown value
    got: Flat
    wanted: Flat  # the single device's value
    before: Flat | None = None  # the initial value, if the event is the variable's first assign
    is_change: bool = False  # whether the numbers are differences from the previous value
    elements: Flat | None = None  # flat indices of the compared elements; None for all elements
    times: int = 1  # number of equal comparisons in a row
    step: int = 1  # the arrays hold every step-th element

    def change(self) -> Comparison | None:
        """Return the comparison of the changes; None if the previous value is unknown."""
        before = self.before
        if before is None or not before.any() or len(before) != len(self.wanted):
            return None
        parts = None if self.known is None else tuple(part - before for part in self.known)
        return replace(
            self,
            by_replica=parts or (None,) * len(self.by_replica),
            got=self.got - before,
            wanted=self.wanted - before,
            is_change=True,
        )

    def thinned(self) -> Comparison:
        """Return the comparison with fewer elements, to limit its size."""
        step = -(-len(self.wanted) // _MOST_ELEMENTS)
        if step <= 1:
            return self
        parts = tuple(None if part is None else part[::step].copy() for part in self.by_replica)
        got, wanted = self.got[::step].copy(), self.wanted[::step].copy()
        before = None if self.before is None else self.before[::step].copy()
        elements = None if self.elements is None else self.elements[::step]
        return replace(
            self,
            by_replica=parts,
            got=got,
            wanted=wanted,
            before=before,
            elements=elements,
            step=step,
        )

    def index_of(self, element: int, shape: Sequence[int | None]) -> tuple[int, ...] | None:
        """Return the index that an element of the arrays has in the variable; None for a scalar.

        Args:
            shape: The shape of the variable.
        """
        if self.elements is not None:
            return index_of(int(self.elements[element]), shape)
        return index_of(element * self.step, shape) if len(self.wanted) > 1 else None

    @property
    def known(self) -> list[Flat] | None:
        """Return the values of all replicas; None if a value is unknown."""
        parts = [
            part for part in self.by_replica if part is not None and len(part) == len(self.wanted)
        ]
        return parts if parts and len(parts) == len(self.by_replica) else None

    @property
    def alike(self) -> bool:
        """Return whether all replicas had the same value."""
        parts = self.known
        return parts is not None and all(close(part, parts[0]) for part in parts)

    @property
    def telling(self) -> bool:
        """Return whether the numbers are so specific that a relation cannot hold by chance."""
        numbers = self.wanted[self.wanted != 0]
        whole = kind_of(numbers.dtype) not in "fc" or bool((numbers == np.round(numbers)).all())
        return not whole or len(np.unique(numbers)) >= _TELLING_ELEMENTS

    @property
    def has_fractional_parts(self) -> bool:
        """Return whether the replicas' values have fractional parts, which chance does not add."""
        parts = self.known
        if parts is None or kind_of(self.wanted.dtype) not in "fc":
            return False
        return any(bool((part != np.round(part)).any()) for part in parts)

    @property
    def large(self) -> bool:
        """Return whether the whole numbers are so large that a relation by chance is unlikely."""
        return bool(np.abs(wide(self.wanted)).max(initial=0) >= _LARGE)

    @property
    def odd(self) -> bool:
        """Return whether at least one number is not a simple fraction.

        Simple fractions, such as accuracies, are more often equal by chance.
        """
        if kind_of(self.wanted.dtype) not in "fc":
            return False
        multiples = np.outer(wide(self.wanted), np.arange(1, _SIMPLE + 1))
        off = np.abs(multiples - np.round(multiples)) / np.maximum(np.abs(multiples), 1)
        return bool((off.min(axis=1) > _SIMPLE_WITHIN).any())

    @property
    def sums_fractions(self) -> bool:
        """Return whether fractions, such as accuracies, add up to more than 1."""
        parts = self.known
        if parts is None or kind_of(self.wanted.dtype) != "f":
            return False
        every = np.stack([*parts, self.wanted])
        return bool((every >= 0).all() and (every <= 1).all() and (self.got > 1).all())

    @property
    def loses_finiteness(self) -> bool:
        """Return whether an element is NaN or infinite that is finite on the single device."""
        if len(self.got) != len(self.wanted) or kind_of(self.wanted.dtype) not in "fc":
            return False
        return bool((~np.isfinite(self.got) & np.isfinite(self.wanted)).any())

    @property
    def comparable(self) -> bool:
        """Return whether the values can be compared: they are finite numbers, and not all 0."""
        if len(self.got) != len(self.wanted) or kind_of(self.wanted.dtype) not in "iufc":
            return False
        finite = np.isfinite(self.got).all() and np.isfinite(self.wanted).all()
        some = self.got.any() or is_truncated(self, [self.got])
        return bool(finite and some and self.wanted.any())


def sampled_alike(comparison: Comparison) -> Comparison:
    """Return the comparison of samples, if any of its values is a sample."""
    own, before = comparison.by_replica, comparison.before
    every = [one for one in (comparison.got, comparison.wanted, before, *own) if one is not None]
    if not any(map(is_part, every)):
        return comparison
    got, wanted = thinned(comparison.got), thinned(comparison.wanted)
    return replace(
        comparison,
        by_replica=tuple(None if part is None else thinned(part) for part in own),
        got=got,
        wanted=wanted,
        before=None if before is None else thinned(before),
        elements=positions(got.count).reshape(-1),
    )


def relation_of(comparison: Comparison, aggregation: str) -> Relation:
    """Return how the value of the run is related to the value of the single device.

    Args:
        aggregation: The variable's aggregation; "" if the value is not aggregated.
    """
    count = len(comparison.by_replica)
    if close(comparison.got, comparison.wanted):
        return Relation.RIGHT
    if aggregation == "ONLY_FIRST_REPLICA" and (first := _of_first(comparison)) is not None:
        return first
    wanted = wide(comparison.wanted)
    for relation, factor in (
        (Relation.TIMES_N, count),
        (Relation.OVER_N, 1 / count),
        (Relation.TIMES_N_TWICE, count**2),
    ):
        if close(_as(comparison, wanted * factor), comparison.got):
            return relation
    if comparison.known is None and _is_about(comparison, count):
        return Relation.ABOUT_TIMES_N
    if _is_only_mine(comparison):
        return Relation.ONLY_MINE
    if aggregation == "SUM" and _is_about_a_mean(comparison):
        return Relation.ABOUT_TIMES_N
    return Relation.OTHER


def _as(comparison: Comparison, value: Flat) -> Flat:
    """Return a value in the dtype of the run's value, if this dtype is not an integer dtype."""
    return value.astype(comparison.got.dtype) if kind_of(comparison.got.dtype) in "fc" else value


def _of_first(comparison: Comparison) -> Relation | None:
    parts = comparison.known
    if parts is None or comparison.alike:
        return None
    together = _total(parts)
    if close(_as(comparison, together), comparison.wanted):
        return Relation.FIRST_OF_SUM
    if close(_as(comparison, together / len(parts)), comparison.wanted):
        return Relation.FIRST_OF_MEAN
    return None


def _is_about(comparison: Comparison, factor: float) -> bool:
    """Return whether each element is approximately the single device's element times the factor.

    Sums of means have this relation, if the shards are almost equal.
    """
    expected = wide(comparison.wanted) * factor
    return bool((np.abs(wide(comparison.got) - expected) <= _NEARLY * np.abs(expected)).all())


def _is_only_mine(comparison: Comparison) -> bool:
    parts = comparison.known
    if parts is None or comparison.alike:
        return False
    return any(part.any() for part in parts[1:]) and close(parts[0], comparison.wanted)


def _is_about_a_mean(comparison: Comparison) -> bool:
    parts = comparison.known
    if parts is None:
        return False
    every, wanted = np.stack([wide(part) for part in parts]), wide(comparison.wanted)
    if wanted.dtype.kind == "c":
        return False
    slack = rounding(comparison.got.dtype) * np.abs(wanted).max()
    between = (every.min(axis=0) - slack <= wanted) & (wanted <= every.max(axis=0) + slack)
    factor = np.abs(wide(comparison.got)).max() / np.abs(wanted).max() / len(parts)
    return bool(between.all()) and 1 / _ABOUT <= factor <= _ABOUT


def _total(parts: Sequence[Flat]) -> Flat:
    total: Flat = np.sum([wide(part) for part in parts], axis=0)
    return total


def is_truncated(comparison: Comparison, parts: Sequence[Flat]) -> bool:
    """Return whether whole numbers were divided among all replicas and the remainder was lost."""
    if comparison.wanted.dtype.kind not in "iu":
        return False
    count = len(comparison.by_replica)
    whole = [int(one) for one in comparison.wanted]
    split = [abs(one) // count * (1 if one > 0 else -1) for one in whole]
    lossy = any(one % count for one in whole)
    return lossy and all(split == [int(one) for one in part] for part in parts)
