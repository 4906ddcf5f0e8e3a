"""Compare the return value of a program with the return value on a single device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from varsim.analysis.rounding import close, most_apart
from varsim.texts.facts import index_of

Plain = Any
"""A JSON value; numbers that JSON does not have, such as NaN, are texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnedValue:
    """One value that a program returned."""

    name: str  # "accuracy", "layers.bias"
    got: Plain
    wanted: Plain  # the single device's value of this name; None if there is no such value
    element: tuple[int, ...] | None = None  # index of the largest difference in a list
    replica: int | None = None  # in a list with one value per replica: the most different replica
    differs: bool = False  # whether the values differ beyond rounding
    why: str = ""  # why the value was not compared; "" if it was compared
    ratio: float | None = None
    """The number by which each element is times the single device's; None if there is none."""
    follows: str = ""
    """The variable with a finding that explains the difference; "" if none is known."""

    @property
    def unexplained(self) -> bool:
        """Return whether the value differs, and no finding explains this."""
        return self.differs and not self.follows

    def factor(self, num_replicas: int) -> str:
        """Return "N" or "1/N" if each element is so many times the single device's, or ""."""
        if self.ratio is None or num_replicas < 2:
            return ""
        ratio = np.array([self.ratio])
        for text, by in (
            (f"{num_replicas}", num_replicas),
            (f"1/{num_replicas}", 1 / num_replicas),
        ):
            if close(ratio, np.array([float(by)])):
                return text
        return ""


def compare_returned(
    got: Mapping[str, Plain], wanted: Mapping[str, Plain]
) -> tuple[ReturnedValue, ...]:
    """Compare all returned values, name by name."""
    return tuple(_all(got, wanted, ""))


def _all(
    got: Mapping[str, Plain], wanted: Mapping[str, Plain], prefix: str
) -> Iterator[ReturnedValue]:
    for key, value in got.items():
        name = f"{prefix}{key}"
        other = wanted.get(key)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            yield from _all(value, other, f"{name}.")
        else:
            yield _one(name, value, other)


def _one(name: str, got: Plain, wanted: Plain) -> ReturnedValue:
    one, other = numbers_of(got), numbers_of(wanted)
    if one is None or other is None:
        return ReturnedValue(name=name, got=got, wanted=wanted, differs=got != wanted)
    each = one.ndim > 0 and other.shape == (1, *one.shape[1:]) and len(one) > 1
    if each:  # a value per replica; a single device has only one value
        other = np.broadcast_to(other, one.shape)
    if one.shape != other.shape:
        why = f"it has {_size(one)}, and on a single device {_size(other)}"
        return ReturnedValue(name=name, got=None, wanted=None, why=why)
    if not one.size or close(one.ravel(), other.ravel()):
        return ReturnedValue(name=name, got=got, wanted=wanted)
    element = most_apart(one.ravel(), other.ravel())
    return ReturnedValue(
        name=name,
        got=one.ravel()[element].item(),
        wanted=other.ravel()[element].item(),
        element=None if each or not one.ndim else index_of(element, one.shape),
        replica=element // (one.size // len(one)) if each else None,
        differs=True,
        ratio=_ratio(one.ravel(), other.ravel()),
    )


def _ratio(one: np.ndarray, other: np.ndarray) -> float | None:
    largest = int(np.abs(other).argmax())
    if not (np.isfinite(one).all() and np.isfinite(other).all() and other[largest]):
        return None
    ratio = float(one[largest] / other[largest])
    return ratio if close(one, other * ratio) else None


def numbers_of(value: Plain) -> np.ndarray | None:
    """Return a number, or nested lists of numbers, as an array; None for any other value."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        array = np.asarray(value)
        return array.astype(np.float64) if array.dtype.kind in "iuf" else _texts(array)
    except ValueError:  # lists of different lengths
        return None


def _texts(array: np.ndarray) -> np.ndarray | None:
    """Return an array of texts as numbers (NaN is a text in JSON), or None if that fails."""
    try:
        return array.astype(np.float64) if array.dtype.kind == "U" else None
    except ValueError:
        return None


def _size(array: np.ndarray) -> str:
    return f"the shape {list(array.shape)}" if array.ndim else "one number"
