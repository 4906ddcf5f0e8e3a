"""Read the fields of a raised exception. No code of its class runs, which could raise anything."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final

_ARGS: Final[Any] = vars(BaseException)["args"]
_CAUSE: Final[Any] = vars(BaseException)["__cause__"]
_CONTEXT: Final[Any] = vars(BaseException)["__context__"]
_TRACEBACK: Final[Any] = vars(BaseException)["__traceback__"]
_MEMBERS: Final[Any] = vars(BaseExceptionGroup)["exceptions"]


def traceback_of(error: BaseException) -> TracebackType | None:
    """Return the traceback of an exception."""
    found: TracebackType | None = _TRACEBACK.__get__(error)
    return found


def values_of(error: BaseException) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments and the attributes of an exception."""
    return _ARGS.__get__(error), object.__getattribute__(error, "__dict__")


def with_causes(error: BaseException) -> list[BaseException]:
    """Return an exception, its causes and contexts, and the members of groups; each one once."""
    found: dict[int, BaseException] = {}
    pending: list[BaseException | None] = [error]
    while pending:
        one = pending.pop()
        if one is None or id(one) in found:
            continue
        found[id(one)] = one
        pending += (_CAUSE.__get__(one), _CONTEXT.__get__(one))
        pending += _MEMBERS.__get__(one) if issubclass(type(one), BaseExceptionGroup) else ()
    return [*found.values()]


def without_text(error: BaseException, another: BaseException) -> str:
    """Return a text for an exception that cannot be described, because `another` was raised."""
    return f"{object.__repr__(error)}: a method of its class raised {object.__repr__(another)}"
