"""Find out from the code of a program whether it uses an object after a call of its replicas.

A program that runs `strategy.run(step)` continues after this call, and in a loop before it, too.
What it loads there, it uses after the call. It may call functions and methods there, so what these
load counts as well. Functions that replicas run do not count.

`source_use.py` answers a similar question for replicas on worker processes, which do not see the
program's frames. It has only the source, so its answer is "perhaps" in doubt. Here the frames wait
for the call, and an answer must name the line of the use. This needs the bytecode in two cases:

- an object that the program loads only before a call is not used after it, except in a loop. The
  instruction at which a frame waits, and the jumps, show this;
- the program has another name for an object that it passes to `strategy.run`. The local variables
  of its frames show this name, and code tells local, captured and global variables apart.
"""

from __future__ import annotations

import dis
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from types import CodeType, FrameType, FunctionType
from typing import Any, Final

from varsim.location import location_in_code

_INLINE: Final = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>", "<lambda>"})
"""Names of code that runs where it is written, or soon after."""

_CONVERSIONS: Final = frozenset(
    f"__{name}__" for name in "bool float format int iter len repr str".split()
)
"""Methods that builtins call, by which programs show an object."""

_LOCAL: Final = ("LOAD_FAST", "LOAD_NAME")
_ATTRIBUTES: Final = ("LOAD_ATTR", "LOAD_METHOD")

_CODE_UNIT_BYTES: Final = 2
"""The size of a code unit. `co_positions` has one entry for each code unit."""


@dataclass(frozen=True, slots=True)
class Load:
    """A place where code loads a name: a variable, or an attribute of an object."""

    name: str
    kind: str  # local, cell, global or attribute
    code: CodeType
    offset: int
    line: int

    @property
    def location(self) -> str:
        """Return the file:line of the load."""
        return location_in_code(self.code, self.line)


@dataclass(slots=True)
class ProgramCode:
    """The code of a program: of the functions that wait for a call, and of its modules."""

    waiting: dict[CodeType, int] = field(default_factory=dict)
    """Code of a function that waits for a call → the offset of the first such call."""
    calls: set[tuple[CodeType, int]] = field(default_factory=set)  # code and line of these calls
    others: set[CodeType] = field(default_factory=set)  # of functions and methods of its modules
    run_by_replicas: set[CodeType] = field(default_factory=set)

    def add(self, frame: FrameType) -> None:
        """Add the code of a frame that waits for a call, and that of its module."""
        known = self.waiting.get(frame.f_code)
        self.waiting[frame.f_code] = frame.f_lasti if known is None else min(known, frame.f_lasti)
        self.calls |= {(frame.f_code, line) for line in _lines_of(frame)}
        self.others.update(_codes_of(frame.f_globals))

    def loads(self) -> list[Load]:
        """Return what the program loads after a call, in any of its functions."""
        found = [
            one
            for code, offset in self.waiting.items()
            for one in self._loads_of(code)
            if _follows(code, offset, one.offset)
        ]
        left = self._further()
        names, fresh = set[str](), found
        while fresh:
            names |= {one.name for one in fresh}
            called = {one for one in left if one.co_name in names | _CONVERSIONS}
            left -= called
            fresh = [one for code in called for one in self._loads_of(code)]
            found += fresh
        return found

    def _further(self) -> set[CodeType]:
        """Return the code of functions that the program may call."""
        every = [*self.others, *self.waiting]
        nested = {one for code in every for one in _nested(code)}
        done = self.run_by_replicas | self.waiting.keys()
        return {one for one in (*self.others, *nested) if one not in done}

    def _loads_of(self, code: CodeType) -> Iterator[Load]:
        """Yield what code loads, with the code that runs inside it."""
        yield from _own_loads(code)
        for at, inner in _inline(code):
            if inner not in self.run_by_replicas:
                for one in self._loads_of(inner):
                    yield Load(one.name, one.kind, one.code, at, one.line)


@lru_cache(maxsize=1000)
def _own_loads(code: CodeType) -> tuple[Load, ...]:
    """Return what code loads itself, in order. Loads to create closures do not count."""
    cells = {*code.co_cellvars, *code.co_freevars}
    found, line = [], code.co_firstlineno
    for one in dis.get_instructions(code):
        line = (one.positions and one.positions.lineno) or line
        names = one.argval if isinstance(one.argval, tuple) else (one.argval,)
        kind = ""
        if one.opname.startswith(_ATTRIBUTES):
            kind = "attribute"
        elif one.opname.startswith(("LOAD_DEREF", "LOAD_CLASSDEREF")):
            kind = "cell"
        elif one.opname.startswith("LOAD_GLOBAL"):
            kind = "global"
        elif one.opname.startswith(_LOCAL):
            kind = "local"
        found += [
            Load(name, kind, code, one.offset, line)
            for name in names
            if kind and isinstance(name, str) and not (kind == "local" and name in cells)
        ]
    return tuple(found)


@lru_cache(maxsize=1000)
def _inline(code: CodeType) -> tuple[tuple[int, CodeType], ...]:
    """Return the code that runs inside other code, with the offset at which it is loaded."""
    return tuple(
        (one.offset, one.argval)
        for one in dis.get_instructions(code)
        if isinstance(one.argval, CodeType) and one.argval.co_name in _INLINE
    )


@lru_cache(maxsize=1000)
def _jumps_back(code: CodeType) -> tuple[tuple[int, int], ...]:
    """Return the jumps to an earlier instruction, as pairs of offsets."""
    return tuple(
        (one.offset, one.argval)
        for one in dis.get_instructions(code)
        if "JUMP" in one.opname and isinstance(one.argval, int) and one.argval <= one.offset
    )


def _follows(code: CodeType, call: int, offset: int) -> bool:
    """Return whether an instruction can run after a call."""
    return offset > call or any(
        target <= offset and jump > call for jump, target in _jumps_back(code)
    )


def _nested(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of the functions that are defined in code, except what runs inside it."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_name not in _INLINE:
                yield constant
            yield from _nested(constant)


def _codes_of(scope: Mapping[str, Any]) -> Iterator[CodeType]:
    """Yield the code of the functions and methods that a module defines."""
    module = scope.get("__name__")
    for value in list(scope.values()):
        if isinstance(value, FunctionType) and value.__module__ == module:
            yield value.__code__
        elif isinstance(value, type) and value.__module__ == module:
            for member in vars(value).values():
                inner = getattr(member, "fget", None) or getattr(member, "__func__", member)
                if isinstance(inner, FunctionType):
                    yield inner.__code__


def use_of(
    name: str, owner: CodeType, aliases: Collection[tuple[CodeType, str]], program: ProgramCode
) -> str:
    """Return where the program uses an object after a call, as file:line; "" if nowhere.

    Args:
        name: The name of the object in the function of a replica: `losses`, `trainer.steps`.
        owner: The code of that function.
        aliases: The names by which functions that wait for the call know the object itself.
    """
    root, *attributes = [one for one in name.partition("[")[0].split(".") if one]
    loads = program.loads()
    if attributes:
        found = [one for one in loads if one.kind == "attribute" and one.name == attributes[-1]]
        return found[0].location if found else ""
    kind = "cell" if root in owner.co_freevars else "global"
    if root in owner.co_varnames:
        kind = ""
    for one in loads:
        fits = one.kind == kind or (kind == "global" and one.code.co_name == "<module>")
        if fits and one.name == root and _is_of_module(one.code, owner):
            return one.location
    for one in loads:
        passes = (one.code, one.line) in program.calls  # the object is an argument of the call
        if (one.code, one.name) in aliases and not passes:
            return one.location
    return ""


def _lines_of(frame: FrameType) -> range:
    """Return the lines of the expression that a frame evaluates."""
    first = last = frame.f_lineno
    at = max(frame.f_lasti, 0) // _CODE_UNIT_BYTES
    for start, end, _, _ in islice(frame.f_code.co_positions(), at, at + 1):
        first, last = start or first, end or last
    return range(first, last + 1)


def _is_of_module(code: CodeType, owner: CodeType) -> bool:
    return code.co_filename == owner.co_filename
