"""Raise errors for TensorFlow's names that varsim lacks. An error says what to use instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

from varsim.errors import MissingName
from varsim.nearest import misspelt
from varsim.texts.missing_names import names_missing_from

C = TypeVar("C", bound=type[Any])

_NAMES: dict[str, Sequence[str]] = {}
"""TensorFlow's module → the public names of varsim's module."""


def module_attributes(
    owner: str, names: Sequence[str]
) -> tuple[Callable[[str], NoReturn], Callable[[], list[str]]]:
    """Return the functions `__getattr__` and `__dir__` for a module.

    Args:
        owner: TensorFlow's module, such as "tf.distribute".
        names: The public names of varsim's module.
    """

    def explain(name: str) -> NoReturn:
        homes = [one for one, theirs in _NAMES.items() if name in theirs]
        near = f" (did you mean {homes[0]}.{name}?)" if homes else ""
        raise MissingName(owner, name, near or misspelt(name, names, f"{owner}."))

    _NAMES[owner] = names
    return explain, lambda: [*names]


class _Missing:
    """An attribute of a class of TensorFlow that varsim's class does not have."""

    def __init__(self, owner: str, name: str) -> None:
        self._owner = owner
        self._name = name

    def __get__(self, instance: object, cls: type | None = None) -> NoReturn:
        raise MissingName(self._owner, self._name)


def explains_missing(owner: str) -> Callable[[C], C]:
    """Decorate a class so that its missing names raise `MissingName`.

    `hasattr` is False for these names.

    Args:
        owner: TensorFlow's class, such as "tf.IndexedSlices".
    """

    def decorate(cls: C) -> C:
        for name in names_missing_from(owner):
            setattr(cls, name, _Missing(owner, name))
        return cls

    return decorate
