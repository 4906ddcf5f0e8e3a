"""Recognise classes across processes: by an id if the class was sent by value, else by its name.

A name does not identify a class. A function can define many classes with one name, and a notebook
defines a class again each time its cell runs. So a class that is sent by value gets an id, which
both processes remember. Every other class is found by its name in its module.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakValueDictionary

Identity = str | bool
"""The id of a class. For a class without an id: whether it is found in its module by its name."""

_IDS: Final[WeakKeyDictionary[type, str]] = WeakKeyDictionary()
_CLASSES: Final[WeakValueDictionary[str, type]] = WeakValueDictionary()


def id_of(cls: type) -> str:
    """Return the id of a class that is sent by value; a class without an id gets a new one."""
    found = _IDS.get(cls)
    if found is None:
        found = os.urandom(16).hex()
        _remember(cls, found)
    return found


def received(class_id: str, make: Callable[..., type], *args: Any) -> type:
    """Return this process's class with this id; if there is none, make it."""
    found = _CLASSES.get(class_id)
    if found is None:
        found = make(*args)
        _remember(found, class_id)
    return found


def _remember(cls: type, class_id: str) -> None:
    _IDS[cls] = class_id
    _CLASSES[class_id] = cls


def identity_of(cls: type) -> Identity:
    """Return the identity of a class, for `exception_class` in another process."""
    return _IDS.get(cls) or _at_name(cls.__module__, cls.__qualname__) is cls


def exception_class(module: str, name: str, identity: Identity) -> type[BaseException]:
    """Return this process's exception class for an identity; import its module if necessary.

    Raises:
        LookupError: The process does not have this class, or has several classes of this name.
    """
    found = _found(module, name, identity)
    if found is None and type(identity) is bool and module not in sys.modules:
        with suppress(Exception, SystemExit):  # running a user's module can raise any exception
            importlib.import_module(module)
        found = _found(module, name, identity)
    if found is None or not issubclass(found, BaseException):
        raise LookupError(f"this process has no exception {module}.{name}")
    return found


def _found(module: str, name: str, identity: Identity) -> type | None:
    if isinstance(identity, str):
        return _CLASSES.get(identity)
    found = _at_name(module, name) if identity else None
    if found is not None:
        return found
    several = [cls for cls in _exceptions() if (cls.__module__, cls.__qualname__) == (module, name)]
    if len(several) > 1:
        raise LookupError(f"this process has {len(several)} exceptions {module}.{name}")
    return several[0] if several else None


def _at_name(module: str, name: str) -> type | None:
    """Return the class that was defined in a module under this name; None if there is none."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, "__dict__", {}).get(part)
    if not isinstance(found, type) or (found.__module__, found.__qualname__) != (module, name):
        return None
    return found


def _exceptions() -> Iterator[type[BaseException]]:
    """Yield each exception class of this process once."""
    seen = set()
    waiting: list[type[BaseException]] = [BaseException]
    while waiting:
        cls = waiting.pop()
        if cls not in seen:
            seen.add(cls)
            waiting += type.__subclasses__(cls)
            yield cls
