"""Convert any value that a program returns to a value that JSON can hold.

JSON cannot hold infinities, NaN and complex numbers. These become the texts "Infinity",
"-Infinity", "NaN" and "1+2j". Values that are very large or very deep, or that contain themselves,
are cut. A text in the result marks the cut.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from enum import Enum
from typing import Any, Final, NamedTuple

import numpy as np

from varsim.analysis.component_distance import ElementReason, telling
from varsim.extension_dtypes import kind_of
from varsim.extent import is_writable
from varsim.report.summary import Digest, Plain

SMALL_SIZE: Final = 4
"""Largest size of an array whose digest contains all elements."""

MAX_RESULT_SIZE: Final = 10_000
"""Larger arrays in a workload's result are saved as a digest."""

MAX_VALUES: Final = 500_000
"""Largest number of values in one result.

It is enough for the log of a training, and small enough for an editor.
"""

MAX_DEPTH: Final = 50
"""Largest depth of nested containers. Programs that read JSON have such a limit."""

_MANY: Final = 16  # a container with fewer values is converted again when it occurs again
_BUILT_IN: Final = (list, tuple, dict)
_MAX_CHARACTERS: Final = 100_000  # a longer text is cut after these characters
_MAX_BYTES: Final = 40  # a longer bytes object is cut after these bytes; its length follows


def plain(value: Any, replaced: Callable[[Any], Any] | None = None) -> Plain:
    """Return the value in a form that JSON can hold, or as text if there is no such form.

    The function never raises an error.

    Args:
        replaced: A function that gets each object whose type is not from Python or NumPy. The
            function returns the value to convert instead, or the object itself.
    """
    return _Shaper(replaced).of(value, 0)


def in_standard_json(value: Any) -> Any:
    """Return a value in which texts replace the numbers that JSON does not have.

    The texts are those of `plain`. Nothing is cut.
    """
    if isinstance(value, dict):
        return {key: in_standard_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [in_standard_json(one) for one in value]
    return _number(value) if isinstance(value, float | complex) else value


class _Known(NamedTuple):
    """The plain form of a container that can occur again. Nothing was cut in it."""

    container: Any  # it exists as long as its id is used
    shaped: Plain
    size: int  # the number of values in it


class _Shaper:
    """Converts one value and all values in it."""

    def __init__(self, replaced: Callable[[Any], Any] | None) -> None:
        self._replaced = replaced
        self._around: set[int] = set()  # ids of the containers around the current value
        self._left = MAX_VALUES  # number of values that the result may still get
        self._cuts = 0
        self._known: dict[tuple[int, int], _Known] = {}  # (id, depth) → a container that occurred

    def of(self, value: Any, depth: int) -> Plain:
        """Return the plain form of a value at this depth."""
        self._left -= 1
        try:
            return self._of(value, depth)
        except KeyboardInterrupt:  # Ctrl-C, as the result can have many values
            raise
        except BaseException as error:  # a method of a user's class may raise anything
            return _text(value, error)

    def _of(self, value: Any, depth: int) -> Plain:
        match value:
            case np.generic() | Enum():  # before their base classes: np.float64 is a float
                return self._of_special(value, depth)
            case None | bool():
                return value
            case int():
                return int(value) if abs(value) <= sys.float_info.max else _large(value)
            case float() | complex():
                return _number(value)
            case str():
                return _cut(value)
            case bytes() | bytearray():
                more = f"… ({len(value):,} bytes)" if len(value) > _MAX_BYTES else ""
                return f"{bytes(value[:_MAX_BYTES])!r}{more}"
        return self._of_container(value, depth)

    def _of_special(self, value: np.generic | Enum, depth: int) -> Plain:
        if isinstance(value, Enum):
            return value.name
        if isinstance(value, np.datetime64 | np.timedelta64):
            return str(value)
        item = value.item()
        if isinstance(item, np.generic):  # a long double stays a NumPy scalar
            item = complex(item) if isinstance(item, np.complexfloating) else float(item)
        return self.of(item, depth)

    def _of_container(self, value: Any, depth: int) -> Plain:
        if id(value) in self._around:
            self._cuts += 1
            return f"… ({_kind(value)} that contains itself)"
        if depth >= MAX_DEPTH:
            self._cuts += 1
            return f"… ({_kind(value)}, more than {MAX_DEPTH} deep)"
        known = self._known.get((id(value), depth))
        if known is not None and known.size <= self._left:
            self._left -= known.size
            return known.shaped
        self._around.add(id(value))
        cuts, left = self._cuts, self._left
        try:
            shaped = self._of_members(value, depth + 1)
        finally:
            self._around.discard(id(value))
        count = left - self._left
        if type(value) in _BUILT_IN and count >= _MANY and cuts == self._cuts:
            self._known[id(value), depth] = _Known(value, shaped, count)
        return shaped

    def _of_members(self, value: Any, depth: int) -> Plain:
        match value:
            case np.ndarray():
                return self._of_array(value, depth)
            case Mapping():
                return self._named(value.items(), len(value), depth)
            case list() | tuple():
                return self._listed(value, len(value), depth)
            case set() | frozenset():
                return self._listed(_in_order(value), len(value), depth)
        if self._replaced is not None:
            other = self._replaced(value)
            if other is not value:
                return self.of(other, depth)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value)]
            return self._named(((name, getattr(value, name)) for name in names), len(names), depth)
        if not is_writable(value):  # NumPy would look into it
            return _text(value)
        array = np.asarray(value)
        return _text(value) if array.dtype.hasobject else self._of_array(array, depth)

    def _of_array(self, array: np.ndarray, depth: int) -> Plain:
        if array.size > MAX_RESULT_SIZE:
            return asdict(digest(array))
        return self.of((array.astype(str) if array.dtype.kind in "mM" else array).tolist(), depth)

    def _listed(self, values: Iterable[Any], count: int, depth: int) -> list[Plain]:
        shaped: list[Plain] = []
        for value in values:
            if self._left <= 0:
                self._cuts += 1
                shaped.append(f"… and {count - len(shaped):,} more")
                break
            shaped.append(self.of(value, depth))
        return shaped

    def _named(self, values: Iterable[tuple[Any, Any]], count: int, depth: int) -> dict[str, Plain]:
        shaped: dict[str, Plain] = {}
        for key, value in values:
            if self._left <= 0:
                self._cuts += 1
                shaped["…"] = f"and {count - len(shaped):,} more"
                break
            name = key if isinstance(key, str) else self._name(key)
            while name in shaped:  # the keys 1 and "1" have the same name
                name = f"{name} ({_kind(key)})"
            shaped[_cut(name)] = self.of(value, depth)
        return shaped

    def _name(self, key: Any) -> str:
        named = self.of(key, MAX_DEPTH - 1)
        return named if isinstance(named, str) else str(named)


def _in_order(values: set[Any] | frozenset[Any]) -> Iterable[Any]:
    """Return the elements of a set in a repeatable order."""
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=lambda one: (_kind(one), _text(one)))


def _kind(value: Any) -> str:
    return type(value).__name__


def _text(value: Any, error: BaseException | None = None) -> str:
    """Return str(value), or another text if str raises an error or would be too long."""
    if not is_writable(value):
        return f"<{_kind(value)}: no text, too many values>"
    try:
        return _cut(str(value))
    except KeyboardInterrupt:
        raise
    except BaseException as another:  # a user's __str__ may raise, too
        return f"<{_kind(value)}: no text, {_kind(error or another)}>"


def _cut(text: str) -> str:
    if len(text) <= _MAX_CHARACTERS:
        return str.__str__(text)
    return f"{text[:_MAX_CHARACTERS]}… ({len(text):,} characters)"


def _large(value: int) -> str:
    """Return the text for an integer beyond the largest float. Most JSON readers refuse it."""
    digits = math.log10(abs(value))
    exponent = math.floor(digits)
    return f"{'-' * (value < 0)}{10 ** (digits - exponent):.4g}e+{exponent} (an integer)"


def _number(value: complex) -> Plain:
    if isinstance(value, complex):
        return f"{value.real:g}{value.imag:+g}j"
    if math.isfinite(value):
        return float(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def digest(array: np.ndarray) -> Digest:
    """Return the digest of an array, for reports."""
    small = array.size <= SMALL_SIZE
    ordered = array.size > 0 and kind_of(array.dtype) in "biuf"
    with np.errstate(all="ignore"):
        return Digest(
            shape=list(array.shape),
            elements=plain(array.tolist()) if small else None,
            minimum=plain(array.min()) if ordered else None,
            mean=plain(array.mean(dtype=np.float64)) if ordered else None,
            maximum=plain(array.max()) if ordered else None,
        )


def furthest_apart(
    components: Iterable[np.ndarray], most: int = 1
) -> tuple[Plain, list[tuple[int, ...]]]:
    """Return the largest difference between components, and the elements that differ most.

    Args:
        components: One or more components of the same dtype.
        most: The largest number of elements to return.
    Returns:
        The largest difference between two components in any element (an upper bound for complex
        numbers), and the indices of the elements that differ most. If no element differs, the
        index of the largest element. If the shapes differ, None and no indices. NaN equals NaN;
        the difference between NaN and any other value is infinite.
    """
    arrays = list(components)
    shape = arrays[0].shape
    if any(array.shape != shape for array in arrays):
        return None, []
    if not arrays[0].size:
        return 0.0, []
    found = telling(arrays, most)
    differ = found.reason is ElementReason.DIFFERS
    flat = found.indices if differ else found.indices[:1]
    indices = [tuple(map(int, np.unravel_index(index, shape))) for index in flat]
    return plain(found.amounts[0] if differ else 0.0), indices
