"""Define value classes: dataclasses with slots whose definition takes little time.

A frozen dataclass compiles six methods for each class. A process of varsim defines some 350 such
classes when it starts, which took a quarter of the time of this start. A value class compiles only
`__init__`, and shares the other methods with all value classes.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, TypeVar, dataclass_transform, overload

_Class = TypeVar("_Class")


@overload
def value_class(cls: type[_Class], /) -> type[_Class]: ...


@overload
def value_class(
    *, kw_only: bool = False, eq: bool = True
) -> Callable[[type[_Class]], type[_Class]]: ...


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value_class(cls: Any = None, /, *, kw_only: bool = False, eq: bool = True) -> Any:
    """Define a dataclass with slots, whose fields are not assigned after its creation.

    It has the behaviour of `dataclass(frozen=True, slots=True)`, except that only type checkers
    refuse an assignment to a field. So an object is created in half the time of a frozen one.

    Args:
        kw_only: Whether all fields are keyword-only parameters.
        eq: Whether objects with equal fields are equal, and have equal hashes. Without it, an
            object equals only itself.
    """
    if cls is None:
        return partial(_define, kw_only=kw_only, eq=eq)
    return _define(cls, kw_only=kw_only, eq=eq)


def _define(cls: type, *, kw_only: bool, eq: bool) -> type:
    shared: dict[str, Any] = {"__repr__": _repr}
    if eq:
        shared |= {"__eq__": _eq, "__hash__": _hash}
    for name, method in shared.items():
        if cls.__dict__.get(name) is None:  # Python sets `__hash__` to None beside an own `__eq__`
            setattr(cls, name, method)
    return dataclass(slots=True, kw_only=kw_only, eq=False, repr=False)(cls)


def _compared(value: Any) -> tuple[Any, ...]:
    return tuple([getattr(value, one.name) for one in fields(value) if one.compare])


def _eq(self: Any, other: object) -> Any:
    same_class = other.__class__ is self.__class__
    return _compared(self) == _compared(other) if same_class else NotImplemented


def _hash(self: Any) -> int:
    return hash(_compared(self))


@reprlib.recursive_repr()
def _repr(self: Any) -> str:
    shown = [f"{one.name}={getattr(self, one.name)!r}" for one in fields(self) if one.repr]
    return f"{type(self).__qualname__}({', '.join(shown)})"
