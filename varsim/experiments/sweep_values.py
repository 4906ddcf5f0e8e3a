"""Read the values that a sweep gives to a key: lists, ranges, and texts of the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from varsim.errors import ConfigError
from varsim.experiments import yaml_lines
from varsim.experiments.key_locations import KeyPath

MAX_POINTS: Final = 1000
"""Largest number of points of a sweep, and of values of one of its keys."""

_DIGITS: Final = 9  # of a number of a range
_RANGE: Final = re.compile(
    rf"(-?\d{{1,{_DIGITS}}})\.\.(-?\d{{1,{_DIGITS}}})(?:\.\.(\d{{1,{_DIGITS}}}))?"
)
_LARGE_RANGE: Final = re.compile(r"-?\d+\.\.-?\d+(?:\.\.\d+)?")
_LIKE_RANGE: Final = re.compile(r"(?=.*\d)[-.\d]*\.\.[-.\d]*")
_OPENING: Final = {"[": "]", "{": "}", "(": ")"}
_QUOTES: Final = ("'", '"')
_MODE: Final = ("mode",)


@dataclass(frozen=True, slots=True)
class Axis:
    """A key of the experiment, and the values that a sweep gives to it."""

    keys: KeyPath
    values: tuple[Any, ...]
    location: str  # "file:line", or the word of the command line, for errors

    @property
    def name(self) -> str:
        """Return the key as it is written: "params.learning_rate"."""
        return ".".join(self.keys)


def values_of_text(text: str, keys: KeyPath) -> list[Any]:
    """Return the values in a text: separated by commas, each a value of YAML or a range.

    Commas in quotes or brackets do not separate. `1..4` is 1, 2, 3, 4; `1..9..4` is 1, 5, 9.

    Args:
        keys: The key that gets the values. A mode is a text, also without quotes.
    Raises:
        ConfigError: A value is missing, a range is empty, or modes with names are not in quotes.
    """
    items = _split(text)
    if len(items) > 1 and not all(items):
        raise ConfigError(f"a value is missing between the commas of {text!r}")
    unquoted = [item for item in items if not item.startswith(_QUOTES)]
    if keys == _MODE and len(items) > 1 and any("=" in item for item in unquoted):
        raise ConfigError(
            f"{text!r} can be one mode or several: write each mode in quotes, as in "
            "mode=\"'weights=on_read,bias=none',auto\""
        )
    return [value for item in items for value in _values_of_item(item, keys)]


def values_of_yaml(value: Any, keys: KeyPath) -> list[Any]:
    """Return the values that a file's `sweep:` has for a key.

    Args:
        value: A list, whose texts may be ranges; a text as on the command line; or one value.
    Raises:
        ConfigError: As for `values_of_text`; or the list or the mapping is empty.
    """
    if isinstance(value, str):
        return values_of_text(value, keys)
    if value in ([], {}):
        raise ConfigError("expected at least one value")
    if not isinstance(value, list):
        return [value]
    return [inner for one in value for inner in _expanded(one)]


def _values_of_item(item: str, keys: KeyPath) -> Iterator[Any]:
    if item.startswith(_QUOTES):
        yield yaml_lines.value_of(item)
    elif keys == _MODE:
        yield item
    else:
        yield from _expanded(item if _RANGE.fullmatch(item) else yaml_lines.value_of(item))


def _expanded(value: Any) -> Sequence[Any]:
    """Return the numbers of a range, or the value alone.

    Raises:
        ConfigError: The range is empty or too long.
    """
    found = _RANGE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        if isinstance(value, str) and _LARGE_RANGE.fullmatch(value):
            raise ConfigError(
                f"the range {value} has a number of more than {_DIGITS} digits: list such values, "
                "separated by commas"
            )
        if isinstance(value, str) and _LIKE_RANGE.fullmatch(value):
            raise ConfigError(
                f"{value} is not a range: write FIRST..LAST or FIRST..LAST..STEP with whole "
                "numbers and a positive step, as in 1..4; a text is in quotes"
            )
        return [value]
    first, last, step = int(found[1]), int(found[2]), int(found[3] or 1)
    if last < first or step < 1:
        raise ConfigError(
            f"the range {value} has no values: write FIRST..LAST or FIRST..LAST..STEP, as in 1..4"
        )
    numbers = range(first, last + 1, step)
    if len(numbers) > MAX_POINTS:
        raise ConfigError(f"the range {value} has {len(numbers):,} values; at most {MAX_POINTS:,}")
    return numbers


def _split(text: str) -> list[str]:
    """Split a text at the commas that are not in quotes or brackets.

    Raises:
        ConfigError: A quote or a bracket is not closed.
    """
    items, begin, closing = [], 0, ""
    for position, letter in enumerate(text):
        if closing and closing[-1] in _QUOTES:
            closing = closing.removesuffix(letter)
        elif letter in _QUOTES:
            closing += letter
        elif letter in _OPENING:
            closing += _OPENING[letter]
        elif closing:
            closing = closing.removesuffix(letter)
        elif letter == ",":
            items.append(text[begin:position].strip())
            begin = position + 1
    if closing:
        raise ConfigError(f"{text!r} lacks a closing {closing[-1]}")
    return [*items, text[begin:].strip()]
