"""Measure nested containers before they are sent, saved or written as a text."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from types import WrapperDescriptorType
from typing import Any, Final, NamedTuple

from varsim.raised import values_of


class Extent(NamedTuple):
    """The size of nested containers."""

    levels: int
    values: int
    """The number of values in a text of the structure: each value counts as often as it occurs."""
    contains_itself: bool


def extent_of(structure: Any) -> Extent:
    """Return the extent of nested lists, tuples and dicts.

    An occurrence of a container in itself is one value. The function does not recurse, so it works
    at any depth. It examines each container once.
    """
    return _extent(structure, _SENT, _items)


def is_writable(value: Any) -> bool:
    """Return whether the containers and exceptions in a value can be written as a text.

    A list of 40 levels, whose items are twice the same list, would have a text of 2^40 values. No
    code of the value's class runs.
    """
    extent = _extent(value, _WRITTEN, _parts)
    return extent.values <= (_MAX_CIRCULAR if extent.contains_itself else _MAX_WRITTEN)


NO_TEXT: Final = "(no text: the exception has too many values)"
"""The text of an exception that is not writable."""

_MAX_WRITTEN: Final = 1_000_000
_MAX_CIRCULAR: Final = 1_000  # the text of containers that contain each other can be much longer


def _extent(
    structure: Any, kinds: tuple[type, ...], inside: Callable[[Any], Collection[Any]]
) -> Extent:
    """Return the extent of a structure of containers of these types.

    Args:
        inside: Returns the values in a container.
    """

    def containers(values: Iterable[Any]) -> list[Any]:  # `isinstance` would run code of a class
        return [one for one in values if issubclass(type(one), kinds)]

    found: dict[int, Extent | None] = {}  # id of a container → its extent; None while it is open
    contains_itself = False
    pending = containers([structure])
    while pending:
        container = pending[-1]
        if id(container) not in found:
            found[id(container)] = None
            for one in containers(inside(container)):
                if id(one) not in found:
                    pending.append(one)
                elif found[id(one)] is None:
                    contains_itself = True
            continue
        pending.pop()
        if found[id(container)] is None:
            values = inside(container)
            found[id(container)] = _sum(len(values), containers(values), found)
    whole = found.get(id(structure)) or _VALUE
    return whole._replace(contains_itself=contains_itself)


def _sum(count: int, inner: list[Any], found: Mapping[int, Extent | None]) -> Extent:
    """Return the extent of a container with `count` values, from those of its containers."""
    each = [found.get(id(one)) or _VALUE for one in inner]
    values = 1 + count - len(each) + sum(one.values for one in each)
    levels = 1 + max((one.levels for one in each), default=0)
    return Extent(levels, min(values, _MANY_VALUES), contains_itself=False)


def _items(container: Any) -> Collection[Any]:
    kind = type(container)
    if issubclass(kind, dict):
        return [*dict.__iter__(container), *dict.values(container)]
    if kind in _SENT:
        return container  # type: ignore[no-any-return]
    base: Any = next(one for one in _COLLECTIONS if issubclass(kind, one))
    return [*base.__iter__(container)]  # not the method of a user's class


def _parts(container: Any) -> Collection[Any]:
    if issubclass(type(container), BaseException):
        args, attributes = values_of(container)
        shown = attributes if _writes_itself(type(container)) else {}
        return [*args, *shown.values(), attributes.get("__notes__")]
    return _items(container)


def _writes_itself(cls: Any) -> bool:
    """Return whether Python code writes the texts of an exception, so attributes can be in them."""
    return {type(cls.__str__), type(cls.__repr__)} != {WrapperDescriptorType}


_SENT: Final = (list, tuple, dict)
_COLLECTIONS: Final = (*_SENT, set, frozenset, deque)
_WRITTEN: Final = (*_COLLECTIONS, BaseException)
_MANY_VALUES: Final = 2**62  # larger numbers of values are not distinguished
_VALUE: Final = Extent(0, 1, contains_itself=False)
