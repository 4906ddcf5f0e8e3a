"""Recognise returned numbers that were computed in a narrow dtype, such as float16.

A program returns them as Python numbers, which have no dtype. If a returned number is exactly one
that the program has read or got in a narrow dtype, in both runs, this dtype's rounding applies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from varsim.analysis.arithmetic import value_of
from varsim.analysis.returned import ReturnedValue
from varsim.analysis.rounding import close
from varsim.extension_dtypes import EXTENSION_SIZES, named
from varsim.tracing.history import History

_NARROW: Final = ("float16", *EXTENSION_SIZES)
"""The dtypes that round more than the Python numbers of other dtypes."""

_KINDS: Final = ("read", "take", "result")
"""The events that show what the program, or a replica, gets."""


def rounded_alike(
    returned: Sequence[ReturnedValue], history: History, oracle: History | None
) -> tuple[ReturnedValue, ...]:
    """Return the compared values; those that differ only by the rounding of their dtype do not.

    Args:
        oracle: The history of the run on a single device; None if there is none.
    """
    if oracle is None or not any(map(_is_number, returned)):
        return tuple(returned)
    here, there = dict(_values(history)), dict(_values(oracle))
    dtypes = [one for one in here if one in there]
    return tuple(
        replace(one, differs=False, ratio=None)
        if _is_number(one) and any(_is_rounding(one, d, here[d], there[d]) for d in dtypes)
        else one
        for one in returned
    )


def _is_number(one: ReturnedValue) -> bool:
    return one.differs and isinstance(one.got, float) and isinstance(one.wanted, float)


def _is_rounding(
    one: ReturnedValue, dtype: np.dtype[Any], here: set[float], there: set[float]
) -> bool:
    known = one.got in here and one.wanted in there
    return known and close(np.array([one.got]).astype(dtype), np.array([one.wanted]).astype(dtype))


def _values(history: History) -> Iterator[tuple[np.dtype[Any], set[float]]]:
    """Yield the narrow dtypes of a history, each with the numbers that were got in it."""
    marks = ", ".join("?" * len(_KINDS))
    for name in _names(history):
        events = history.events(f"dtype = ? AND kind IN ({marks})", (name, *_KINDS))
        dtype = named(name)
        values = (value_of(event, dtype) for event in events)
        yield dtype, {float(one) for value in values if value is not None for one in value}


def _names(history: History) -> Iterable[str]:
    rows = history.connection.execute("SELECT DISTINCT dtype FROM events WHERE dtype NOT NULL")
    return [name for (name,) in rows if name in _NARROW]
