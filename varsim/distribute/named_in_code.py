"""Names in the code of a function: which globals it uses, which it sets, and in which lines."""

from __future__ import annotations

import dis
import re
from collections.abc import Iterator
from types import CodeType
from typing import Final

from varsim.distribute.place import place_in_code

_SETS: Final = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL", "STORE_DEREF", "DELETE_DEREF"})
_CHANGES: Final = frozenset(
    {"STORE_SUBSCR", "STORE_ATTR", "STORE_SLICE", "DELETE_SUBSCR", "DELETE_ATTR"}
)
_MUTATORS: Final = frozenset(
    "add append appendleft clear discard extend extendleft fill insert pop popitem popleft put "
    "remove resize reverse setdefault sort update".split()
)


def _inside(code: CodeType) -> Iterator[CodeType]:
    """The code of a function, and of the functions that it makes."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _inside(constant)


def _instructions(code: CodeType) -> Iterator[dis.Instruction]:
    for one in _inside(code):
        yield from dis.get_instructions(one)


def global_names(code: CodeType) -> list[str]:
    """The globals that a function names, in order."""
    found = (i.argval for i in _instructions(code) if i.opname.endswith(("_GLOBAL", "_NAME")))
    return list(dict.fromkeys(found))


def rebound_names(code: CodeType) -> frozenset[str]:
    """The globals, and the variables of functions around it, that a function sets."""
    return frozenset(i.argval for i in _instructions(code) if i.opname in _SETS)


def place_of_change(code: CodeType, name: str) -> str:
    """file:line in a function that names an object and changes something there.

    If there is none (it is changed by what the function calls): the first that names it.

    Args:
        name: As the program says it, like `history['loss']`, or `trainer.steps`.
    """
    root, *inner = re.findall(r"\w+", name)
    by_line: dict[int, list[dis.Instruction]] = {}
    for instruction in _instructions(code):
        line = instruction.positions and instruction.positions.lineno
        if line:
            by_line.setdefault(line, []).append(instruction)
    best, most = code.co_firstlineno, 0
    for line, instructions in sorted(by_line.items()):
        named = [str(instruction.argval) for instruction in instructions]
        if root not in named:
            continue
        fits = 1 + any(_changes(instruction, root) for instruction in instructions)
        fits += 2 * all(part in named for part in inner)
        if fits > most:
            best, most = line, fits
    return place_in_code(code, best)


def _changes(instruction: dis.Instruction, root: str) -> bool:
    if instruction.opname in _SETS:
        return bool(instruction.argval == root)
    if instruction.opname in _CHANGES:
        return True
    return isinstance(instruction.argval, str) and instruction.argval in _MUTATORS
