"""The texts about means of values that are no means, and the lines with the right values."""

from __future__ import annotations

from typing import Final

from varsim.analysis.findings.comparison import Relation
from varsim.analysis.findings.shard_weights import Weights
from varsim.texts.faces import Face, reduced_lines, reduction_in_words, weighted_mean_in_words

_BY_MOMENTS: Final = (
    "Merge the count, the sum of the values and the sum of their squares by SUM, and compute the "
    "{} from what you read."
)

_OTHER_MEANS: Final[dict[Relation, tuple[str, str, tuple[str, str, str] | None]]] = {
    Relation.GEOMETRIC: (
        "A single device has exactly the geometric mean of the replicas' values: the value is an "
        "exponential of a mean, such as a perplexity.",
        "Merge the mean first, and take the exponential afterwards.",
        ("MEAN", "np.log({})", "np.exp({})"),
    ),
    Relation.QUADRATIC: (
        "A single device has exactly the root of the mean of their squares: the value is the root "
        "of a mean, such as an RMSE.",
        "Merge the mean of the squares first, and take the root afterwards.",
        ("MEAN", "np.square({})", "np.sqrt({})"),
    ),
    Relation.HARMONIC: (
        "A single device has exactly their harmonic mean: the value is a ratio whose denominators "
        "differ between the replicas, such as a rate.",
        "Merge numerator and denominator by SUM, and divide afterwards.",
        ("MEAN", "1 / {}", "1 / {}"),
    ),
    Relation.ROOT_OF_SUM: (
        "A single device has exactly the root of the sum of their squares: the value is a norm, of "
        "which each replica has a part.",
        "Merge the squares by SUM first, and take the root afterwards.",
        ("SUM", "np.square({})", "np.sqrt({})"),
    ),
    Relation.LOGARITHM: (
        "A single device has exactly the logarithm of the mean of the values whose logarithms the "
        "replicas wrote, such as decibels.",
        "Merge the mean first, and take the logarithm of what you read.",
        None,
    ),
    Relation.VARIANCE: (
        "A single device has exactly their mean plus the variance of the replicas' means, which "
        "MEAN leaves out.",
        _BY_MOMENTS.format("variance"),
        None,
    ),
    Relation.DEVIATION: (
        "The square on a single device is exactly the mean of their squares plus the variance of "
        "the replicas' means, which MEAN leaves out.",
        _BY_MOMENTS.format("standard deviation"),
        None,
    ),
}
"""Relation → what a single device has, what to do, and the reduction, with expressions of its
argument and of its result, which gives the right value."""

_EXTREMES: Final = {Relation.LARGEST: ("largest", "MAX"), Relation.SMALLEST: ("smallest", "MIN")}


def mean_of_means(
    name: str, relation: Relation, weights: Weights | None, face: Face
) -> tuple[str, str]:
    """Return what is wrong with a mean of the replicas' values, and what to do.

    Args:
        name: The name of the variable.
        relation: How the single device's value is related to the replicas' values.
        weights: The shares of unequal shards, if they are constant.
        face: The face of varsim that the program uses.
    """
    if relation in _EXTREMES:
        which, op = _EXTREMES[relation]
        only = " (varsim only)" if face is Face.CONTEXT else ""
        return (
            f"Each replica contributes the {which} value of its own examples, and MEAN averages "
            f"these. A single device has the {which} value of all examples, which is exactly the "
            f"{which} of the replicas' values.",
            f"Let every replica write the {which} value of all: {reduction_in_words(face, op)} "
            f"before the write{only}, or gather the values and take the {which}.",
        )
    if relation in _OTHER_MEANS:
        exact, instead, _ = _OTHER_MEANS[relation]
        return (
            f"MEAN averages the replicas' values of {name}, but a mean of the parts is not the "
            f"value of the whole batch{_shards(weights)}. {exact}",
            instead,
        )
    return (
        "Each replica contributes a mean of its own examples, and MEAN gives all replicas the same "
        f"weight, but their shards are not equal{_shards(weights)}.",
        f"Write a weighted mean: {weighted_mean_in_words(face)}. Or use two variables with SUM, "
        "one for the sum and one for the number of examples, and divide the values that you read; "
        "or weigh each contribution by the replica's share of the examples, with SUM.",
    )


def lines_of_right(
    relation: Relation, weights: Weights | None, dtype: str, face: Face
) -> tuple[str, ...]:
    """Return the lines that compute the right value of a variable; () if no lines can.

    Args:
        dtype: The dtype of the variable.
    """
    if relation in _EXTREMES:
        return reduced_lines(face, _EXTREMES[relation][1], dtype)
    if relation not in _OTHER_MEANS:
        return reduced_lines(face, "MEAN", dtype, weighted=True)
    reduction = _OTHER_MEANS[relation][2]
    if reduction is None:
        return ()
    op, before, after = reduction
    weighted = weights is not None and op == "MEAN"
    return reduced_lines(face, op, dtype, before=before, after=after, weighted=weighted)


def _shards(weights: Weights | None) -> str:
    if weights is None or len(weights) > 8:
        return ""
    return f": {', '.join(f'{100 * one:.0f} %' for one in weights)} of the examples"
