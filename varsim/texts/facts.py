"""Define facts: structured values in errors, whose text `str` returns.

The states make facts, and only this package contains the texts. A fact is a value class with
plain values, so a fact can be compared, and can be sent to another process in an error.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # varsim.errors imports this module, and --help must not import NumPy
    from varsim.spec import Array

_SHOWN_ELEMENTS = 6
"""Number of elements shown: enough to tell two values apart, and few enough for one line."""


class Fact(ABC):
    """A fact as fields. `str` returns the fact's text: a sentence or a part of a sentence."""

    __slots__ = ()

    @abstractmethod
    def __str__(self) -> str: ...


def shown(value: Array) -> str:
    """Return a value as part of a line: all elements if it is small, else dtype and shape."""
    if value.size > _SHOWN_ELEMENTS:
        return f"{value.dtype}{shape_text(value.shape)}"
    return _elements(value)


def _elements(value: Array) -> str:
    """Return all elements, each with the digits of its dtype."""
    if value.ndim == 0:
        return str(value[()])
    return f"[{', '.join(map(_elements, value))}]"


def shape_text(shape: Iterable[int | None]) -> str:
    """Return the text of a shape, such as [3, ?]."""
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"


def index_of(element: int, shape: Sequence[int | None]) -> tuple[int, ...]:
    """Return the index of an element in each dimension, or its flat index for an unknown shape."""
    if None in shape:
        return (element,)
    index: list[int] = []
    for size in reversed(shape):
        assert size, "an array with an element has no empty dimension"
        element, one = divmod(element, size)
        index.append(one)
    return tuple(reversed(index))


def element_text(index: Sequence[int]) -> str:
    """Return the text for an element with this index: "element [3, 0]"."""
    return f"element {list(index)}"


def headline(text: str) -> str:
    """Return the first line of an error's text, without the colon before the lines of details."""
    first, newline, _ = text.partition("\n")
    return first.removesuffix(":") if newline else first


def times(count: int, thing: str) -> str:
    """Return a count with its noun: "1 read", "1,200 reads"."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def share(count: int, total: int, thing: str, verbs: tuple[str, str]) -> str:
    """Return a part of a total with its verb: "1 of 1 read has", "0 of 41 reads have".

    Args:
        verbs: The verb for one thing, and for several: ("has", "have").
    """
    verb = verbs[0] if 1 in (count, total) else verbs[1]
    return f"{count:,} of {times(total, thing)} {verb}"


def average(number: float, thing: str) -> str:
    """Return a number that can have a fraction, with its noun: "1 version", "2.36 versions"."""
    text = f"{number:,.3g}"
    return f"{text} {thing}{'' if text == '1' else 's'}"


def rows_text(num_rows: int) -> str:
    """Return the numbers of the existing rows, as text."""
    return f"rows 0 to {num_rows - 1}" if num_rows else "no rows"


def name_replicas(replica_ids: Sequence[int]) -> str:
    """Return "replica 0" or "replicas 1–4, 6". Three or more ids in a row become a range."""
    runs: list[list[int]] = []
    for replica_id in sorted(replica_ids):
        if runs and runs[-1][-1] == replica_id - 1:
            runs[-1].append(replica_id)
        else:
            runs.append([replica_id])
    parts = [f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return f"replica{'' if len(replica_ids) == 1 else 's'} {', '.join(parts)}"
