"""The texts of one difference from a single device: what it is, and what to do about it."""

from __future__ import annotations

from typing import Any, Final

from varsim.analysis.findings.compared import (
    Access,
    CollectiveDifference,
    Compared,
    ValueDifference,
)
from varsim.report.formatting import number, precise
from varsim.report.json_values import plain
from varsim.texts.facts import element_text

_HONEST: Final = "or it was drawn at random, or comes from training or state of each replica alone"

_NOT_COMBINED: Final = {
    "MEAN": "the value of the whole batch is not the mean of the replicas' values",
    "SUM": (
        "the value of the whole batch is not the sum of the replicas' values. It is for example a "
        "mean, a ratio, a maximum, a norm or a logarithm; or some examples are in the parts of "
        f"several replicas, such as padding, or of none; {_HONEST}"
    ),
    "ONLY_FIRST_REPLICA": (
        "the value of the first replica is not that of the whole batch. It was computed from this "
        f"replica's part; {_HONEST}"
    ),
}
"""Aggregation → why the value can differ although everything before was equal."""

LIKELIEST_FIRST: Final = "What to do, the likeliest cause first:"

_GRADIENT: Final = (
    "Gradients that each replica clips by their norm, or squares for a second moment: merge them "
    "first, and clip or square afterwards; each replica then does this with the same gradient."
)
_MEAN: Final = "A mean of different numbers of examples: merge the sum and the count by SUM."
_RATIO: Final = (
    "A ratio or a perplexity: merge numerator and denominator by SUM, and divide or exponentiate "
    "afterwards."
)
_MOMENT: Final = "A variance or a norm: merge the count and the sums of values and squares by SUM."
_RANK: Final = (
    "A median, a maximum or a rank: merge the values themselves (all_gather, or all_reduce with "
    "MAX or MIN)."
)
_RANDOM: Final = (
    "A random draw: draw for the whole batch from one seed, and give each replica its part."
)
_OWN: Final = "A value of a replica's own training: it is comparable only after a merge."

_OF_UPDATES: Final = (_GRADIENT, _MEAN, _RANDOM, _OWN)
"""What an array can be that replicas add to a variable or subtract from it."""

_OF_ARRAYS: Final = (_GRADIENT, _MEAN, _MOMENT, _RANK, _RANDOM, _OWN)
_OF_NUMBERS: Final = (_MEAN, _RATIO, _MOMENT, _RANK, _RANDOM, _OWN)


def difference_text(one: ValueDifference) -> str:
    """Return the variable, the step, the location and both values, and where these began."""
    began = one.began
    if began is one and one.follows and one.follows != one.variable:
        return f"{_one(one)}; its writers had read {one.follows}"
    if began is one:
        return _one(one)
    if began.variable_id == one.variable_id:
        values = "" if _values(one) == _values(began) else f": {_values(one)}"
        return f"{_one(began)}; {_place(one)}{values}"
    return f"{_one(one)}; computed from {_one(began)}"


def source_of(one: ValueDifference) -> str:
    """Return the variable from which a difference follows; "" if none is known."""
    began = one.began
    return one.follows or (began.variable if began.variable_id != one.variable_id else "")


def meaning_of(one: ValueDifference, compared: Compared) -> str:
    """Return in a sentence what a difference shows; "" if its first write is not known.

    Args:
        compared: The comparison with this difference.
    """
    began = one.began
    name = began.variable
    if one.explained or one.follows or compared.is_count(one):
        return ""  # a finding, or the text about the sum, says more
    if began.access is Access.WRITTEN:
        return (
            f"No value that was compared earlier, and on which this write of {name} depends, "
            "differs: the program computed it from the number of replicas, from values outside "
            "variables, or at random."
        )
    why = _NOT_COMBINED.get(began.aggregation)
    if began.access is Access.READ or why is None:
        return ""
    before = "No value that was compared earlier, and that the replicas read before, differs."
    if began.alike:
        return (
            f"{before} All replicas wrote the same value to {name}: it depends on the number of "
            "replicas, on the result of a collective, or on other data."
        )
    if (counted := compared.count_of(one)) is not None:
        return (
            f"{before} The program reads {name} together with {counted.variable}, which is "
            f"{compared.num_replicas} times the single device's, because each replica counts. "
            f"{name} divided by {counted.variable} is the mean of the replicas' values, and the "
            "value of the whole batch is not this mean. It is for example a ratio, a maximum, a "
            f"norm, a variance or a logarithm; {_HONEST}."
        )
    return f"{before} {began.aggregation} combined the replicas' values of {name}: {why}."


def remedy_of(one: ValueDifference) -> str:
    """Return what to do about a difference, in a paragraph; "" if its cause cannot be limited."""
    found = remedies_of(one)
    return " ".join((LIKELIEST_FIRST, *found)) if found else ""


def remedies_of(one: ValueDifference) -> tuple[str, ...]:
    """Return what to do about a difference: a sentence for each cause, the likeliest cause first.

    An array that is added to a variable is usually a gradient, and a number is usually a metric.
    """
    began = one.began
    combined = began.access is Access.MERGED and began.aggregation in _NOT_COMBINED
    if not combined or began.alike or one.explained or one.follows:
        return ()
    if began.element is None:
        return _OF_NUMBERS
    return _OF_UPDATES if began.operation in {"assign_add", "assign_sub"} else _OF_ARRAYS


def remedies_of_collective(one: CollectiveDifference) -> tuple[str, ...]:
    """Return what to do about a mean of a collective that is not the single device's value."""
    if one.reduction != "MEAN" or one.scaled >= one.count:
        return ()
    return _OF_NUMBERS if one.element is None else _OF_ARRAYS


def number_text(value: Any) -> str:
    """Return a number with enough digits to show a difference that is more than rounding."""
    return precise(value) if isinstance(value, float) else number(plain(value))


def _one(one: ValueDifference) -> str:
    element = "" if one.element is None else f" ({element_text(one.element)})"
    return f"{one.variable}{element}, {_place(one)}: {_values(one)}"


def _place(one: ValueDifference) -> str:
    when = f"{'in' if one.inside else 'after'} step {one.step}"
    return f"{one.access.value} {when} at {one.location}"


def _values(one: ValueDifference) -> str:
    if one.got is None:
        return "the number of elements is not the single device's"
    return f"{number_text(one.got)} instead of {number_text(one.wanted)}"
