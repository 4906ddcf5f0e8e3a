"""Detect changes that a replica's function makes to its own copies of the program's objects.

A `Watch` checks the globals, captured variables and arguments of the function, and the globals and
captured variables of user functions that it calls. Checked objects are lists, dicts, sets, small
arrays, and attributes of objects of user classes, one level deep. Objects that are created while
the function runs are not checked.
"""

from __future__ import annotations

import dis
import inspect
import os
import re
import sys
import sysconfig
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final

import numpy as np

from varsim.distribute.functions import Function, bare
from varsim.distribute.lease import VARIABLES_END
from varsim.distribute.source_use import may_be_used_outside
from varsim.distribute.variable import Variable
from varsim.location import location_in_code
from varsim.value_class import value_class

MAX_OBJECTS: Final = 1_000
"""Largest number of checked objects. The limit keeps the first call of a function short."""

_FIRST_RUNS: Final = 8
"""Number of runs of a function in which its changes are looked for. Then each power of two follows,
because functions change some objects only now and then."""

MAX_DEPTH: Final = 2  # of an object within others: `callback.history["loss"]` has depth 2
MAX_ITEMS: Final = 1_000  # only the length of a longer container is compared
MAX_BYTES: Final = 2**16  # only the shape of a larger array is compared

_MEANT_TO_STAY: Final = ("cache", "memo")
"""Words in names of objects that the program lets differ between processes on purpose."""

_PACKAGE: Final = f"{Path(__file__).parents[1]}{os.sep}"
_INSTALLED: Final = tuple(
    f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
_ABSENT: Final = object()
_COMPARED: Final = (bool, int, float, str, bytes)  # values of these types are compared by equality

Fingerprint = tuple[Any, ...]
Change = tuple[str, Fingerprint]
"""The name of a changed object, such as `a.losses`, and its new fingerprint."""


@value_class
class _Object:
    """An object of the program that a function can change."""

    kind: str  # the word for the object in the warning: "list", "attribute", …
    code: CodeType  # the code that contains the object's name
    changed: Callable[[], Iterable[Change]]
    value: object = None  # the object itself; None for a name that can be bound to another object


@value_class
class ChangedObject:
    """A change that a function made to its copy of an object of the program."""

    kind: str  # the word for the object, such as list
    name: str
    location: str
    named_at: str  # file:line where the function, or one that it calls, names the object
    warning: str
    code: CodeType  # the code that contains the name
    value: object  # the object; None for an attribute, or a name that is bound to another object


def watch_of(function: Any, args: Iterable[Any], kwargs: Mapping[str, Any]) -> Watch:
    """Return a watch that never fails: objects that cannot be examined are skipped."""
    watch = Watch()
    with suppress(Exception):  # methods of user objects are called, and can raise any exception
        watch.look_at(function, args, kwargs)
    return watch


def is_watched(runs: int) -> bool:
    """Return whether changes are looked for in a run of a function.

    Args:
        runs: The number of the run, from 1.
    """
    return runs <= _FIRST_RUNS or runs & (runs - 1) == 0


class Watch:
    """Records the objects that a function could change, and finds its changes afterwards."""

    def __init__(self) -> None:
        self._objects: list[_Object] = []
        self._seen: dict[int, object] = {}  # id → object, kept so that no id is reused
        self._codes: set[CodeType] = set()
        self._holders: dict[str, type] = {}  # name of an object with attributes → its class

    def look_at(self, function: Any, args: Iterable[Any], kwargs: Mapping[str, Any]) -> None:
        """Record all objects that a function with these arguments could change."""
        inner = bare(function)
        if not inspect.isfunction(inner) or not _is_the_users(inner.__code__.co_filename):
            return
        code = inner.__code__
        owner = _owner(function)
        every = args if owner is None else (owner, *args)
        passed = [*zip(code.co_varnames[: code.co_argcount], every, strict=False), *kwargs.items()]
        for name, value in passed:
            if not isinstance(value, np.ndarray):  # a replica can legally change its own array
                self._look(name, value, code)
        self._look_into(inner)

    def changes(self) -> Iterator[ChangedObject]:
        """Yield each change."""
        for one in self._objects:
            for name, now in one.changed():
                location = location_of_change(one.code, name, self._holder_of(name))
                remedy = VARIABLES_END if any(isinstance(i, Variable) for i in now) else _REMEDY
                text = _TEXT.format(kind=one.kind, name=name, location=location)
                warning = f"{text}\n  {remedy}"
                named_at = location_of_change(one.code, name)
                told = one.kind, name, location, named_at, warning
                yield ChangedObject(*told, one.code, one.value)

    def found_for_program(self) -> list[ChangedObject]:
        """Return the changes of objects that the program may use, too."""
        return [one for one in self.found() if may_be_used_outside(one.name, one.code, self._codes)]

    def _holder_of(self, name: str) -> type | None:
        """Return the class of the object whose attribute has the name, as `a` for `a.losses`."""
        while "." in name:
            name = name.rpartition(".")[0]
            if name in self._holders:
                return self._holders[name]
        return None

    def found(self) -> list[ChangedObject]:
        """Return the changes. Stop at the first object that cannot be examined."""
        found: list[ChangedObject] = []
        with suppress(Exception):  # methods of user objects are called, and can raise any exception
            found.extend(self.changes())
        return found

    # ------------------------------------------------------------ recording

    def _look_into(self, function: FunctionType) -> None:
        """Record all globals and captured variables of a function."""
        code = function.__code__
        if code in self._codes or not _is_the_users(code.co_filename):
            return
        self._codes.add(code)
        rebound = rebound_names(code)
        cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
        for name, cell in cells.items():
            if name in rebound:
                self._note("variable", code, name, partial(_content, cell))
            self._look(name, *_content(cell), code)
        scope = function.__globals__
        for name in global_names(code):
            if name in rebound:
                self._note("global", code, name, partial(_global, scope, name))
            self._look(name, scope.get(name, _ABSENT), code)

    def _look(self, name: str, value: Any, code: CodeType, depth: int = 0) -> None:
        full = len(self._objects) >= MAX_OBJECTS or depth > MAX_DEPTH
        if full or id(value) in self._seen or any(word in name for word in _MEANT_TO_STAY):
            return
        match value:
            case Variable() | type():
                return
            case FunctionType() | MethodType() | Function() | partial():
                self._look_at_function(name, value, code, depth)
            case list() | deque() | set() | dict() | bytearray() | np.ndarray():
                self._seen[id(value)] = value
                kind = "array" if isinstance(value, np.ndarray) else type(value).__name__
                self._note(kind, code, name, lambda: _items(value), value)
                for key, item in _parts(value):
                    self._look(f"{name}[{_shown(key)}]", item, code, depth + 1)
            case _:
                self._look_at_attributes(name, value, code, depth)

    def _look_at_function(self, name: str, function: Any, code: CodeType, depth: int) -> None:
        owner, inner = _owner(function), bare(function)
        if owner is not None:
            self._look(name, owner, code, depth)
        if inspect.isfunction(inner):
            self._look_into(inner)

    def _look_at_attributes(self, name: str, value: Any, code: CodeType, depth: int) -> None:
        attributes = _attributes(value)
        if attributes is None:
            return
        self._seen[id(value)] = value
        if not isinstance(value, ModuleType):
            self._holders[name] = type(value)
        before = dict(attributes)

        def changed() -> Iterator[Change]:
            for attribute in {**before, **attributes}:
                now = (attributes.get(attribute, _ABSENT),)
                if not _are_same((before.get(attribute, _ABSENT),), now):
                    yield f"{name}.{attribute}", now

        self._objects.append(_Object("attribute", code, changed))
        for attribute, held in before.items():
            self._look(f"{name}.{attribute}", held, code, depth + 1)

    def _note(
        self,
        kind: str,
        code: CodeType,
        name: str,
        now: Callable[[], Fingerprint],
        value: object = None,
    ) -> None:
        before = now()

        def changed() -> Iterator[Change]:
            after = now()
            if not _are_same(before, after):
                yield name, after

        self._objects.append(_Object(kind, code, changed, value))


_TEXT: Final = (
    "{kind} {name!r} of the program: a replica changed its own copy at {location}; the program's "
    "{kind} did not change"
)

_REMEDY: Final = (
    "A replica is another process. Return the new value from its function, or write it to a "
    "variable."
)


# ---------------------------------------------------------------- fingerprints


def _items(value: Any) -> Fingerprint:
    """Return the compared property of a container: its items, its length, or a checksum."""
    if isinstance(value, np.ndarray):
        if value.nbytes > MAX_BYTES or value.dtype.hasobject:
            return tuple(value.shape)
        return *value.shape, zlib.crc32(value.tobytes())
    if isinstance(value, bytearray):
        return len(value), zlib.crc32(value)
    if len(value) > MAX_ITEMS:
        return (len(value),)
    return (*value, _ABSENT, *value.values()) if isinstance(value, dict) else tuple(value)


def _are_same(before: Fingerprint, now: Fingerprint) -> bool:
    return len(before) == len(now) and all(
        one is other or (type(one) in _COMPARED and type(one) is type(other) and one == other)
        for one, other in zip(before, now, strict=True)
    )


def _content(cell: CellType) -> tuple[object]:
    try:
        return (cell.cell_contents,)
    except ValueError:  # the variable is not bound
        return (_ABSENT,)


def _global(scope: Mapping[str, object], name: str) -> tuple[object]:
    return (scope.get(name, _ABSENT),)


def _shown(key: object) -> str:
    """Return the text of a key. That of a variable would read the variable."""
    return repr(key) if type(key) in _COMPARED else f"<{type(key).__name__}>"


def _parts(value: Any) -> list[tuple[Any, Any]]:
    if not isinstance(value, dict | list) or len(value) > MAX_ITEMS:
        return []
    return list(value.items() if isinstance(value, dict) else enumerate(value))


# ---------------------------------------------------------------- objects of the user


def _is_the_users(filename: str) -> bool:
    return not filename.startswith((_PACKAGE, *_INSTALLED))


def _attributes(value: Any) -> dict[str, Any] | None:
    """Return the attributes of a user module or of an instance of a user class; else None."""
    module = value if isinstance(value, ModuleType) else sys.modules.get(type(value).__module__)
    if module is not None and module.__name__ != "__main__":
        file = getattr(module, "__file__", None)
        if file is None or not _is_the_users(file):  # None: a module of the interpreter
            return None
    attributes = getattr(value, "__dict__", None)
    return attributes if type(attributes) is dict else None


def _owner(function: Any) -> Any:
    """Return the object to which a method belongs, or a callable object; None for a function."""
    while isinstance(function, partial | Function):
        function = function.func if isinstance(function, partial) else function.python_function
    if inspect.ismethod(function):
        return function.__self__
    return None if inspect.isfunction(function) else function


# ---------------------------------------------------------------- names in code

_SETS: Final = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL", "STORE_DEREF", "DELETE_DEREF"})
_CHANGES: Final = frozenset(
    {"STORE_SUBSCR", "STORE_ATTR", "STORE_SLICE", "DELETE_SUBSCR", "DELETE_ATTR"}
)
_MUTATORS: Final = frozenset(
    "add append appendleft clear discard extend extendleft fill insert pop popitem popleft put "
    "remove resize reverse setdefault sort update".split()
)


_MOST_CODES: Final = 1_000
"""Largest number of code objects in a cache: a simulated cluster looks at each many times."""


def _inside(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of a function, and the code of the functions that are defined in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _inside(constant)


def _instructions(code: CodeType) -> Iterator[dis.Instruction]:
    for one in _inside(code):
        yield from dis.get_instructions(one)


@lru_cache(_MOST_CODES)
def global_names(code: CodeType) -> tuple[str, ...]:
    """Return the names of globals in a function's code, in order."""
    found = (i.argval for i in _instructions(code) if i.opname.endswith(("_GLOBAL", "_NAME")))
    return tuple(dict.fromkeys(found))


@lru_cache(_MOST_CODES)
def rebound_names(code: CodeType) -> frozenset[str]:
    """Return the names that a function sets in the globals and in enclosing functions."""
    return frozenset(i.argval for i in _instructions(code) if i.opname in _SETS)


def location_of_change(code: CodeType, name: str, holder: type | None = None) -> str:
    """Return the file:line of the line that most likely changes an object.

    This is a line that contains the object's name and changes something, or such a line in a method
    of the object that has the changed attribute. If there is no such line, because a called
    function makes the change, it is the first line that contains the name.

    Args:
        name: The name in the program, such as `history['loss']` or `trainer.steps`.
        holder: The class of the object that has the attribute.
    """
    root, *inner = re.findall(r"\w+", name)
    line, fits = _line_of_change(code, root, tuple(inner))
    if fits < _ALL_FITS and holder is not None:
        attribute = re.findall(r"\w+", name.rpartition(".")[2])
        for names in (attribute, attribute[:1]):  # a method can compute the key of an item
            for method in _methods_of(holder):
                found, fits = _line_of_change(method, method.co_varnames[0], tuple(names))
                if fits == _ALL_FITS:
                    return location_in_code(method, found)
    return location_in_code(code, line)


_ALL_FITS: Final = 4  # a line has the whole name, and changes something


@lru_cache(_MOST_CODES)
def _line_of_change(code: CodeType, root: str, inner: tuple[str, ...]) -> tuple[int, int]:
    """Return the line that most likely changes an object, and how well it fits."""
    by_line: dict[int, list[dis.Instruction]] = {}
    for instruction in _instructions(code):
        line = instruction.positions and instruction.positions.lineno
        if line:
            by_line.setdefault(line, []).append(instruction)
    best, most = code.co_firstlineno, 0
    for line, instructions in sorted(by_line.items()):
        named = {name for instruction in instructions for name in _names_in(instruction)}
        if root not in named:
            continue
        fits = 1 + any(_changes(instruction, root) for instruction in instructions)
        fits += 2 * all(part in named for part in inner)
        if fits > most:
            best, most = line, fits
    return best, most


def _names_in(instruction: dis.Instruction) -> tuple[str, ...]:
    """Return the names in an instruction. One instruction can load two local names."""
    value = instruction.argval
    return tuple(map(str, value)) if isinstance(value, tuple) else (str(value),)


def _methods_of(holder: type) -> Iterator[CodeType]:
    """Yield the code of the user's methods of a class, except those that create an object."""
    for owner in holder.__mro__:
        for name, member in vars(owner).items():
            code = getattr(bare(member), "__code__", None)
            if name == "__init__" or not isinstance(code, CodeType) or not code.co_argcount:
                continue
            if _is_the_users(code.co_filename):
                yield code


def _changes(instruction: dis.Instruction, root: str) -> bool:
    if instruction.opname in _SETS:
        return bool(instruction.argval == root)
    if instruction.opname in _CHANGES:
        return True
    return isinstance(instruction.argval, str) and instruction.argval in _MUTATORS
