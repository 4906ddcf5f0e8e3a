"""Means of values that are no means: another mean of the parts is the single device's value.

MEAN averages what the replicas wrote. An exponential of a mean, such as a perplexity, needs the
geometric mean, a root of a mean square the quadratic mean, a rate with its own denominator the
harmonic mean, and a logarithm of a mean the mean of its powers. A variance also needs the means.

Each rule is exact, so a few comparisons exclude a chance: random numbers, or values that replicas
have trained separately, follow none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

import numpy as np

from varsim.analysis.findings.comparison import Comparison, Relation
from varsim.analysis.findings.shard_weights import Weights
from varsim.analysis.rounding import close, material, wide
from varsim.extension_dtypes import eps_of, kind_of

_SURE: Final = 3
"""Least number of comparisons with different values that follow a rule."""

_NEARLY_ALL: Final = 0.9
"""Fraction of the wrong comparisons that must follow the rule."""

_EXACT: Final = 1e-5
"""Largest relative error of a value that follows a rule, if the dtype is precise enough."""

_ROUNDINGS: Final = 16
"""Another limit, in units of the dtype's precision. The larger limit is used."""

_CLEARER: Final = 10
"""Least ratio of the error of the plain mean to the limit."""

_Follows = Callable[[Comparison, Weights | None], bool]
_Found = list[tuple[Comparison, Weights | None]]


class _Rule(NamedTuple):
    """A mean f⁻¹(Σ wᵢ f(xᵢ)) of the parts xᵢ with weights wᵢ, which add up to `total`."""

    relation: Relation
    there: Callable[[np.ndarray], np.ndarray]  # f
    back: Callable[[np.ndarray], np.ndarray]  # f⁻¹
    positive: bool = True  # whether all values must be positive
    is_sum: bool = False  # whether the weights are all 1


def _power(exponent: float) -> _Rule:
    """Return the rule of a logarithm of a mean; the exponent depends on its base and scale."""
    return _Rule(
        Relation.LOGARITHM,
        lambda value: np.exp(value * exponent),
        lambda value: np.log(value) / exponent,
        positive=False,
    )


_RULES: Final = (
    _Rule(Relation.GEOMETRIC, np.log, np.exp),
    _Rule(Relation.QUADRATIC, np.square, np.sqrt),
    _Rule(Relation.HARMONIC, np.reciprocal, np.reciprocal),
    _Rule(Relation.ROOT_OF_SUM, np.square, np.sqrt, is_sum=True),
    *(
        _power(sign * exponent)
        for exponent in (1.0, np.log(2), np.log(10), np.log(10) / 10)  # ln, log2, log10, decibels
        for sign in (1, -1)
    ),
)


def other_mean_of(
    comparisons: Sequence[Comparison], weights: Sequence[Sequence[Weights]] = ()
) -> tuple[Relation, _Found] | None:
    """Return which mean of the parts the single device's values are, and where this shows.

    Args:
        weights: Ways to weigh the parts, each with the replicas' weights for each comparison.
    """
    if any(one.known is None or kind_of(one.wanted.dtype) != "f" for one in comparisons):
        return None
    for rule in _RULES:
        for known in ([None] * len(comparisons), *([] if rule.is_sum else weights)):
            found = _following(comparisons, known, partial(_is_mean, rule))
            if found:
                return rule.relation, found
    return None


def spread_of(
    comparisons: Sequence[Comparison],
    means: Sequence[Comparison],
    weights: Sequence[Sequence[Weights]] = (),
) -> tuple[Relation, _Found] | None:
    """Return whether the single device's values are the variance, or its root, of all parts.

    Args:
        comparisons: The comparisons of the variances, or of the standard deviations.
        means: The comparisons of another variable: the means of the same parts.
        weights: As for `other_mean_of`.
    """
    numbered = {_key(index, one): one for index, one in enumerate(means)}
    pairs = {id(one): numbered.get(_key(index, one)) for index, one in enumerate(comparisons)}

    def is_spread(power: int, one: Comparison, by: Weights | None) -> bool:
        return _is_spread(one, pairs[id(one)], by, power)

    for relation, power in ((Relation.VARIANCE, 1), (Relation.DEVIATION, 2)):
        for known in ([None] * len(comparisons), *weights):
            found = _following(comparisons, known, partial(is_spread, power))
            if found:
                return relation, found
    return None


def _key(index: int, one: Comparison) -> tuple[int | None, int | None]:
    """Return the call of a write; the number of a read, which is in no call."""
    return (one.event.call, None) if one.event.call is not None else (None, index)


def _following(
    comparisons: Sequence[Comparison], weights: Sequence[Weights | None], follows: _Follows
) -> _Found:
    """Return the wrong comparisons that follow a rule, if enough of them do; otherwise []."""
    wrong = [
        (one, by)
        for one, by in zip(comparisons, weights, strict=True)
        if not close(one.got, one.wanted)
    ]
    found = [(one, by) for one, by in wrong if follows(one, by)]
    if not found or found[0][0] is not comparisons[0]:
        return []
    sure = [one for one, _ in found if _is_clear(one)]
    distinct = {element for one in sure for element in one.wanted.tolist()}
    enough = len(sure) >= _NEARLY_ALL * sum(_is_clear(one) for one, _ in wrong)
    return found if enough and len(distinct) >= _SURE else []


def _is_clear(one: Comparison) -> bool:
    """Return whether the plain mean is so wrong that another mean cannot fit by rounding."""
    scale = float(np.abs(wide(one.wanted)).max(initial=0))
    error = float(np.abs(wide(one.got) - wide(one.wanted)).max(initial=0))
    return material(one.got, one.wanted) and error >= _CLEARER * _limit(one) * scale


def _limit(one: Comparison) -> float:
    return max(_EXACT, _ROUNDINGS * eps_of(one.wanted.dtype))


def _is_mean(rule: _Rule, one: Comparison, weights: Weights | None) -> bool:
    every, wanted = np.stack([wide(part) for part in one.known or ()]), wide(one.wanted)
    if rule.positive and (every.min() <= 0 or wanted.min() <= 0):
        return False
    shares = np.ones(len(every)) if rule.is_sum else _shares(len(every), weights)
    with np.errstate(all="ignore"):
        expected = rule.back(shares @ rule.there(every))
    return _fits(expected, wanted, _limit(one) * np.abs(wanted))


def _is_spread(
    one: Comparison, means: Comparison | None, weights: Weights | None, power: int
) -> bool:
    """Return whether a variance is the mean of the variances, and the variance of the means."""
    if means is None or means.known is None or len(means.wanted) != len(one.wanted):
        return False
    every = np.stack([wide(part) for part in one.known or ()]) ** power
    centres, wanted = np.stack([wide(part) for part in means.known]), wide(one.wanted) ** power
    shares = _shares(len(every), weights)
    centre = shares @ centres
    between = shares @ np.square(centres - centre)
    if (every < 0).any() or not between.any():
        return False
    return _fits(shares @ every + between, wanted, 4 * _limit(one) * np.abs(wanted))


def _shares(count: int, weights: Weights | None) -> Weights:
    return np.full(count, 1 / count) if weights is None else weights


def _fits(expected: np.ndarray, wanted: np.ndarray, limit: np.ndarray) -> bool:
    return bool(np.isfinite(expected).all() and (np.abs(expected - wanted) <= limit).all())
