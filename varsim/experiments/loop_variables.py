"""Find what a resumed run does not restore: values that a loop over steps changes, and iterators.

The values are those of the local variables of the function with the loop. Iterators are also found
in objects of the program, in lists, tuples and dicts, in closures, and in the variables of the
module.
"""

from __future__ import annotations

import dis
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from inspect import GEN_CREATED, getgeneratorstate
from types import CellType, CodeType, FrameType, FunctionType, GeneratorType, MethodType
from typing import Any, Final

import numpy as np

from varsim.experiments.dataset_positions import DatasetPositions, sources_of
from varsim.experiments.kept_values import GENERATORS
from varsim.experiments.sources import location_of_module

_LOCAL: Final = "local "  # the prefix of the names of generators in local variables
_SMALL_BYTES: Final = 2**12  # larger arrays are not compared
_MANY: Final = 10_000  # containers with more elements are not compared
_MOST_VALUES: Final = 10_000  # so many values are searched for iterators
_KEYS: Final = (str, int)  # types of keys in the names of iterators
_EMPTY: Final = CellType()


class LoopVariables:
    """The variables around the loop: generators to keep, and values that the loop changes."""

    def __init__(
        self, frame: FrameType, loop: object, keep: Mapping[str, Any], positions: DatasetPositions
    ) -> None:
        self.positions = positions
        self._frame = frame
        self._keep = {name: one for name, one in keep.items() if not positions.restores(one)}
        self._before = {
            name: (value, _shape_of(value))
            for name, value in frame.f_locals.items()
            if name not in _targets_at(frame.f_code, frame.f_lasti)
            if not any(one is loop for one in sources_of([value]))
        }

    def kept(self) -> dict[str, Any]:
        """Return the objects in `keep`, and the generators among the workload's local variables."""
        given = {id(one) for one in self._keep.values()}
        found = {
            _LOCAL + name: value
            for name, (value, _) in self._before.items()
            if isinstance(value, GENERATORS) and id(value) not in given
        }
        return {**self._keep, **found}

    def changed(self) -> list[str]:
        """Return the local variables that the loop has changed, and the iterators, sorted."""
        kept = {id(one) for one in self.kept().values()}
        now = self._frame.f_locals
        changed = {
            name
            for name, (before, shape) in self._before.items()
            if name in now
            and (now[name] is not before or (_shape_of(before) != shape and id(before) not in kept))
            and not self.positions.restores(before)
        }
        return sorted(changed | {*self._iterators(kept)})

    def _iterators(self, kept: set[int]) -> Iterator[str]:
        """Yield the names of the iterators that begin anew in a resumed run."""
        roots = {
            name: value for name, value in self._frame.f_locals.items() if name in self._before
        }
        if _is_programs(self._frame.f_globals.get("__name__")):
            roots = {**self._frame.f_globals, **roots}
        for name, value in _iterators_in(roots, kept):
            if _has_begun(value) and not self.positions.continues(value):
                yield name


def _iterators_in(roots: Mapping[str, object], kept: set[int]) -> Iterator[tuple[str, object]]:
    """Yield the iterators in these variables, by name: `rows`, `reader.rows` or `parts['train']`.

    Args:
        kept: The ids of values that are not searched.
    """
    pending = deque((name, value) for name, value in roots.items() if not name.startswith("__"))
    seen = set(kept)
    while pending and len(seen) < _MOST_VALUES:
        name, value = pending.popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if hasattr(type(value), "__next__"):
            yield name, value
            continue
        pending += _inside(name, value)


def _inside(name: str, value: Any) -> Iterator[tuple[str, object]]:
    """Yield the values in a container, in an object of the program, or in a closure."""
    kind = type(value)
    if kind in (list, tuple) and len(value) <= _MANY:
        yield from ((f"{name}[{i}]", one) for i, one in enumerate(value))
    elif kind is dict and len(value) <= _MANY:
        yield from ((f"{name}[{key!r}]", one) for key, one in value.items() if type(key) in _KEYS)
    elif kind is MethodType:
        yield f"{name}.__self__", value.__self__
    elif kind is FunctionType:
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        for variable, cell in cells:
            if cell != _EMPTY:
                yield f"{variable} of {name}", cell.cell_contents
    elif _is_programs(kind.__module__):
        try:
            attributes = object.__getattribute__(value, "__dict__")
        except AttributeError:  # the class has only slots
            attributes = {}
        yield from ((f"{name}.{key}", one) for key, one in attributes.items())


def _has_begun(iterator: object) -> bool:
    return type(iterator) is not GeneratorType or getgeneratorstate(iterator) != GEN_CREATED


def _shape_of(value: object) -> object:
    """Return a value that differs after a small container or array was changed in place."""
    match value:
        case np.ndarray() if value.nbytes <= _SMALL_BYTES:
            return value.tobytes()
        case list() | tuple() | dict() | set() if len(value) <= _MANY:
            items = [*value, *value.values()] if isinstance(value, dict) else [*value]
            return [item if isinstance(item, int | float | str) else id(item) for item in items]
    return None


def _is_programs(module: object) -> bool:
    """Return whether a module is a file of the program, and not an installed one."""
    found = sys.modules.get(module) if isinstance(module, str) else None
    return found is not None and (
        location_of_module(found.__name__, getattr(found, "__file__", None)) is not None
    )


def _targets_at(code: CodeType, offset: int) -> set[str]:
    """Return the variables to which a `for` statement assigns the item that it reads at `offset`.

    They have new values in each step.
    """
    targets: set[str] = set()
    for one in dis.get_instructions(code):
        if one.offset <= offset or one.opname.startswith(("UNPACK_", "CACHE", "EXTENDED_ARG")):
            continue
        if not one.opname.startswith("STORE_"):
            break
        match one.opname.split("_STORE_"), one.argval:
            case [_, _], (str(first), str(second)):  # two targets in one instruction
                targets |= {first, second}
            case _, (str(first), *_):  # a target, and the first variable of the loop's body
                targets.add(first)
                break
            case _, str(name):
                targets.add(name)
    return targets
