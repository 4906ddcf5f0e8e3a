"""Values of which a history has only a sample: `tracing.samples` defines the elements in it.

Sums, means and writes are computed element by element, so they can be recomputed in a sample. A
`Sample` is an array of these elements, and can be used like the array of a whole value.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from varsim.analysis import sparse
from varsim.analysis.sparse import INDEX, Flat
from varsim.spec import Rows
from varsim.tracing.history import Event
from varsim.tracing.samples import Statistics, in_sample, positions

MESSAGES: Final = "--trace messages"
"""The option that records values whole."""


class Sample(np.ndarray[tuple[int], np.dtype[Any]]):
    """The elements in the sample of a large value, in one dimension."""

    count: int = 0
    """The number of elements of the whole value."""

    digest: int | None = None
    """The CRC-32 of the whole value; None if the sample was computed."""

    not_finite: int | None = None
    """The number of elements of the whole value that are NaN or infinite; None if computed."""

    def __array_finalize__(self, made_from: Any) -> None:
        self.count = getattr(made_from, "count", 0)


@dataclass(frozen=True, slots=True)
class SampledRows(Rows):
    """The part of a sparse write that changes the sample of its variable.

    `indices` are the numbers of elements in the sample, and each row of `values` has one element.
    """

    count: int  # the number of elements of the variable
    digest: int | None = None  # the CRC-32 of the whole rows; None if they were computed


def sample_of(event: Event, dtype: np.dtype[Any]) -> Sample | None:
    """Return the sample that an event recorded; None if it recorded none, or one of rows."""
    if event.elements is None or event.ordinals is not None:
        return None
    count = math.prod(json.loads(event.shape or "[]"))
    elements = np.frombuffer(event.elements, dtype)
    return recorded(elements, count, event.digest, statistics_of(event))


def recorded(
    elements: Flat, count: int, digest: int | None, statistics: Statistics | None
) -> Sample:
    """Return a recorded sample of a value with `count` elements."""
    made = _sample(elements, count)
    made.digest = digest
    made.not_finite = None if statistics is None else statistics.not_finite
    return made


def statistics_of(event: Event) -> Statistics | None:
    """Return the statistics over all elements of an event's value; None if it has none."""
    found = json.loads(event.statistics) if event.statistics is not None else []
    return Statistics(*found) if found else None


def rows_of(event: Event, dtype: np.dtype[Any], shape: Sequence[int | None]) -> SampledRows | None:
    """Return the part of the rows that an event recorded; None if it recorded none.

    Args:
        shape: The shape of the variable.
    """
    if event.elements is None or event.ordinals is None or None in shape:
        return None
    values = np.frombuffer(event.elements, dtype).reshape(-1, 1)
    ordinals = np.frombuffer(event.ordinals, INDEX)
    return SampledRows(ordinals, values, math.prod(shape), event.digest)  # type: ignore[arg-type]


def _sample(elements: Flat, count: int) -> Sample:
    made = elements.view(Sample)
    made.count = count
    return made


def element_of(value: Flat, index: int) -> Any:
    """Return an element of a value, as a NumPy scalar; None if it is not in the sample.

    Args:
        index: The index in the whole flat value.
    """
    if not isinstance(value, Sample):
        return value[index]
    where = positions(value.count)
    at = int(np.searchsorted(where, index))
    return value[at] if at < len(where) and where[at] == index else None


def thinned(value: Flat) -> Sample:
    """Return the sample of a whole value; a sample is returned unchanged."""
    if isinstance(value, Sample):
        return value
    return _sample(value[positions(len(value))], len(value))


def alike(values: Sequence[Flat]) -> Sequence[Flat] | None:
    """Return values of which all are samples, if any is one; None if whole sizes then differ."""
    if Sample not in map(type, values):
        return values
    samples = [thinned(value) for value in values]
    return samples if len({one.count for one in samples}) == 1 else None


def differ_elsewhere(one: Flat, other: Flat) -> bool:
    """Return whether the digests of two samples show that elements outside of them differ.

    NaNs can differ in bits that have no meaning, so digests of values with NaN show nothing.
    """
    if not isinstance(one, Sample) or not isinstance(other, Sample):
        return False
    if None in (one.digest, other.digest) or one.digest == other.digest:
        return False
    return one.not_finite == other.not_finite == 0


def like(value: Flat, model: Flat) -> Flat:
    """Return a value that was computed from a model, as a sample if the model is one."""
    return _sample(value.reshape(-1), model.count) if isinstance(model, Sample) else value


def is_part(operand: Flat | Rows | None) -> bool:
    """Return whether an operand is only a sample."""
    return isinstance(operand, Sample | SampledRows)


# ---------------------------------------------------------------- sparse writes


def part_of(rows: Rows, count: int) -> SampledRows | None:
    """Return the part of rows that changes the sample of a variable with `count` elements.

    Return None if the rows do not fit such a variable.
    """
    if isinstance(rows, SampledRows):
        return rows if rows.count == count else None
    width = rows.values.shape[1]
    if width and len(rows.indices):
        outside = rows.indices.min() < 0 or rows.indices.max() >= count // width
        if count % width or outside:
            return None
    elements, ordinals = in_sample(rows, count)
    return SampledRows(ordinals, elements.reshape(-1, 1), count)


def rows_alike(parts: Sequence[Rows]) -> Sequence[Rows] | None:
    """Return rows of which all are parts, if any is a part; None if they do not fit together."""
    count = next((one.count for one in parts if isinstance(one, SampledRows)), None)
    if count is None:
        return parts
    found = [part_of(one, count) for one in parts]
    known = [one for one in found if one is not None]
    return known if len(known) == len(found) else None


def changed(before: Flat, operation: str | None, rows: Rows) -> Flat | None:
    """Return a component after a sparse write; None if the write does not fit the component."""
    if not is_part(before) and not is_part(rows):
        return sparse.changed(before, operation, rows)
    held = thinned(before)
    part = part_of(rows, held.count)
    if part is None:
        return None
    after = sparse.changed(held.view(np.ndarray), operation, Rows(part.indices, part.values))
    return None if after is None else _sample(after, held.count)
