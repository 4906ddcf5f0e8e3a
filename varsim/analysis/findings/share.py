"""What a single device's value is of the replicas' values: the arithmetic of being wrong by a rule.

Two numbers are taken for the same within rounding: sums are formed in another order there. What is
nearly so but not quite has another cause, of which nothing is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

import numpy as np

from varsim.analysis.arithmetic import Flat
from varsim.analysis.rounding import close, rounding, wide
from varsim.tracing.history import Event

_ABOUT: Final = 1.5
"""How far the factor of a sum of unequal parts may be from the number of replicas."""

_TELLING_ELEMENTS: Final = 4
"""So many different numbers are not related by chance; nor is one that is no whole number."""

_NEARLY: Final = 0.05

_LARGE: Final = 100

_MOST_ELEMENTS: Final = 256
"""Of a share that is kept."""

_SIMPLE: Final = 100
"""The largest denominator of a simple fraction."""

_SIMPLE_WITHIN: Final = 1e-6


class Relation(Enum):
    """Of the value that the replicas' values led to, to the one on a single device."""

    RIGHT = auto()
    TIMES_N = auto()  # as many times too large as there are replicas
    OVER_N = auto()  # as many times too small
    TIMES_N_TWICE = auto()  # by the square of their number
    ABOUT_TIMES_N = auto()  # a sum, where a single device has something like the mean
    FIRST_OF_SUM = auto()  # the first replica's alone, where a single device has the sum
    FIRST_OF_MEAN = auto()  # likewise, the mean
    ONLY_MINE = auto()  # a single device did what the first replica did; the others did more
    OTHER = auto()

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class Share:
    """What one write or read made of the replicas' values, and what a single device had."""

    event: Event  # the last of those that show it
    others: tuple[int, ...]  # the other events, by number
    parts: tuple[Flat | None, ...]  # of each replica; none where the program wrote
    got: Flat
    wanted: Flat  # by the oracle
    before: Flat | None = None  # what both runs had before, if this is an assign
    is_change: bool = False  # the numbers are by how much the variable changed
    step: int = 1  # of all elements, these are every so many

    def change(self) -> Share | None:
        """By how much the variable changed; None if it is not known what it was before."""
        before = self.before
        if before is None or not before.any() or len(before) != len(self.wanted):
            return None
        parts = None if self.known is None else tuple(part - before for part in self.known)
        return replace(
            self,
            parts=parts or (None,) * len(self.parts),
            got=self.got - before,
            wanted=self.wanted - before,
            is_change=True,
        )

    def thinned(self) -> Share:
        """This one, with few enough elements to be kept."""
        step = -(-len(self.wanted) // _MOST_ELEMENTS)
        if step <= 1:
            return self
        parts = tuple(None if part is None else part[::step].copy() for part in self.parts)
        got, wanted = self.got[::step].copy(), self.wanted[::step].copy()
        before = None if self.before is None else self.before[::step].copy()
        return replace(self, parts=parts, got=got, wanted=wanted, before=before, step=step)

    @property
    def known(self) -> list[Flat] | None:
        """What all replicas had; None if that of some is not known."""
        parts = [part for part in self.parts if part is not None and len(part) == len(self.wanted)]
        return parts if parts and len(parts) == len(self.parts) else None

    @property
    def alike(self) -> bool:
        """Whether all replicas had the same."""
        parts = self.known
        return parts is not None and all(close(part, parts[0]) for part in parts)

    @property
    def telling(self) -> bool:
        """Whether a relation of its numbers can be no chance."""
        numbers = self.wanted[self.wanted != 0]
        whole = numbers.dtype.kind not in "fc" or bool((numbers == np.round(numbers)).all())
        return not whole or len(np.unique(numbers)) >= _TELLING_ELEMENTS

    @property
    def large(self) -> bool:
        """Whether even whole numbers are so large that a relation can hardly be chance."""
        return bool(np.abs(wide(self.wanted)).max(initial=0) >= _LARGE)

    @property
    def odd(self) -> bool:
        """Whether a number is not even a simple fraction, as the accuracy of a batch is."""
        if self.wanted.dtype.kind not in "fc":
            return False
        multiples = np.outer(wide(self.wanted), np.arange(1, _SIMPLE + 1))
        off = np.abs(multiples - np.round(multiples)) / np.maximum(np.abs(multiples), 1)
        return bool((off.min(axis=1) > _SIMPLE_WITHIN).any())

    @property
    def sums_fractions(self) -> bool:
        """Whether fractions of something, an accuracy for example, add up to more than 1."""
        parts = self.known
        if parts is None or self.wanted.dtype.kind != "f":
            return False
        every = np.stack([*parts, self.wanted])
        return bool((every >= 0).all() and (every <= 1).all() and (self.got > 1).all())

    @property
    def comparable(self) -> bool:
        """Whether the numbers are some that a factor could be told of."""
        if len(self.got) != len(self.wanted) or self.wanted.dtype.kind not in "iufc":
            return False
        finite = np.isfinite(self.got).all() and np.isfinite(self.wanted).all()
        some = self.got.any() or is_truncated(self, [self.got])
        return bool(finite and some and self.wanted.any())


def relation_of(share: Share, aggregation: str) -> Relation:
    """How a share's value is related to the oracle's.

    Args:
        aggregation: Of the variable; "" if none has made the value.
    """
    count = len(share.parts)
    if close(share.got, share.wanted):
        return Relation.RIGHT
    if aggregation == "ONLY_FIRST_REPLICA" and (first := _of_first(share)) is not None:
        return first
    wanted = wide(share.wanted)
    for relation, factor in (
        (Relation.TIMES_N, count),
        (Relation.OVER_N, 1 / count),
        (Relation.TIMES_N_TWICE, count**2),
    ):
        if close(_as(share, wanted * factor), share.got):
            return relation
    if share.known is None and _is_about(share, count):
        return Relation.ABOUT_TIMES_N
    if _is_only_mine(share):
        return Relation.ONLY_MINE
    if aggregation == "SUM" and _is_about_a_mean(share):
        return Relation.ABOUT_TIMES_N
    return Relation.OTHER


def _as(share: Share, value: Flat) -> Flat:
    """With the precision in which the share's numbers were computed."""
    return value.astype(share.got.dtype) if share.got.dtype.kind in "fc" else value


def _of_first(share: Share) -> Relation | None:
    parts = share.known
    if parts is None or share.alike:
        return None
    together = _total(parts)
    if close(_as(share, together), share.wanted):
        return Relation.FIRST_OF_SUM
    if close(_as(share, together / len(parts)), share.wanted):
        return Relation.FIRST_OF_MEAN
    return None


def _is_about(share: Share, factor: float) -> bool:
    """Of a value that the program computed: whether each element is nearly so many times as much.

    Sums of means of shards that are almost equal are.
    """
    expected = wide(share.wanted) * factor
    return bool((np.abs(wide(share.got) - expected) <= _NEARLY * np.abs(expected)).all())


def _is_only_mine(share: Share) -> bool:
    parts = share.known
    if parts is None or share.alike:
        return False
    return any(part.any() for part in parts[1:]) and close(parts[0], share.wanted)


def _is_about_a_mean(share: Share) -> bool:
    parts = share.known
    if parts is None:
        return False
    every, wanted = np.stack([wide(part) for part in parts]), wide(share.wanted)
    if wanted.dtype.kind == "c":
        return False
    slack = rounding(share.got.dtype) * np.abs(wanted).max()
    between = (every.min(axis=0) - slack <= wanted) & (wanted <= every.max(axis=0) + slack)
    factor = np.abs(wide(share.got)).max() / np.abs(wanted).max() / len(parts)
    return bool(between.all()) and 1 / _ABOUT <= factor <= _ABOUT


def _total(parts: Sequence[Flat]) -> Flat:
    total: Flat = np.sum([wide(part) for part in parts], axis=0)
    return total


def is_truncated(share: Share, parts: Sequence[Flat]) -> bool:
    """Whether parts are a whole number, split among all replicas, that has lost its remainder."""
    if share.wanted.dtype.kind not in "iu":
        return False
    count = len(share.parts)
    whole = [int(one) for one in share.wanted]
    split = [abs(one) // count * (1 if one > 0 else -1) for one in whole]
    lossy = any(one % count for one in whole)
    return lossy and all(split == [int(one) for one in part] for part in parts)
