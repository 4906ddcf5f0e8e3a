"""Notice collectives whose results the program does not use, and warn of them."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from enum import Enum, auto
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple, TypeVar

from varsim.location import location_of_frame

_MOST: Final = 10_000
"""Largest number of calls in the cache. Programs can create code, so the cache has a bound."""

F = TypeVar("F", bound=Callable[..., Any])


class _Fate(Enum):
    """What a frame does with the result of a call."""

    USED = auto()
    DROPPED = auto()
    RETURNED = auto()  # the caller of the frame decides

    __hash__ = object.__hash__


class Dropped(NamedTuple):
    """A collective whose result is not used."""

    method: str  # as the program calls it: "all_reduce", "hvd.allreduce"
    location: str  # the line that drops the result
    given_at: str  # the line that calls the collective; it differs if a function returns the result
    warns: bool  # whether the program is warned, whatever the values are


_known: dict[tuple[int, int, str], tuple[CodeType, _Fate]] = {}
"""A cache: (id of a code object, offset in the code, called function) → the code object, fate."""

_passing: dict[CodeType, str] = {}
"""Functions of varsim that return the result of a collective → their names for programs."""


def returns_result(name: str = "") -> Callable[[F], F]:
    """Return a decorator for functions of varsim that return the result of a collective.

    Args:
        name: The name of the function in programs; "" for the name of the collective.
    """

    def registered(function: F) -> F:
        _passing[function.__code__] = name
        return function

    return registered


def dropped(method: str, depth: int, *, warns: bool = True) -> Dropped | None:
    """Return the collective that runs now, if the program drops its result; else None.

    For example, it drops that of an all_reduce in a line of its own, or one that gets a local name
    that the function never uses. A name such as `_` drops a result on purpose. A function that only
    returns the result leaves the decision to its caller.

    Args:
        method: The method of the replica context, or of the strategy.
        depth: Number of innermost frames to skip: those of this function and of the method.
        warns: See `Dropped`.
    """
    frame: FrameType | None = sys._getframe(depth)  # noqa: SLF001
    called, given_at, name = method.rpartition(".")[2], "", method
    while frame is not None:
        own = _passing.get(frame.f_code)
        if own is None:
            location = location_of_frame(frame)
            fate = _fate(frame, called) if location else _Fate.USED
            given_at = given_at or location
            if fate is _Fate.DROPPED:
                return Dropped(name, location, given_at, warns)
            if fate is _Fate.USED:
                return None
        name = own or name
        called, frame = frame.f_code.co_name, frame.f_back
    return None


def _fate(frame: FrameType, called: str) -> _Fate:
    """Return what a frame does with the result of its call of a function; see `_fate_in`."""
    key = id(frame.f_code), frame.f_lasti, called
    found = _known.get(key)
    if found is None:
        if len(_known) >= _MOST:
            _known.clear()
        found = _known[key] = frame.f_code, _fate_in(frame.f_code, frame.f_lasti, called)
    return found[1]


def _fate_in(code: CodeType, offset: int, called: str) -> _Fate:
    """Return what the instructions after a call do with its result.

    Args:
        called: The name of the function. In `list.extend(map(function, values))`, the
            call belongs to `extend`, whose result is another one.
    """
    instructions = list(dis.get_instructions(code))
    after = next((one for one in instructions if one.offset > offset), None)
    if after is None or not _is_call_of(called, instructions, offset):
        return _Fate.USED
    if after.opname == "RETURN_VALUE":
        return _Fate.RETURNED
    if after.opname != "STORE_FAST":
        return _Fate.DROPPED if after.opname == "POP_TOP" else _Fate.USED
    if after.argval.startswith("_"):
        return _Fate.USED
    # one instruction can load or store two local names
    used = (one for one in instructions if "_FAST" in one.opname and one.opname != "STORE_FAST")
    names = (one.argval if isinstance(one.argval, tuple) else (one.argval,) for one in used)
    is_used = any(after.argval in them for them in names)
    return _Fate.USED if is_used else _Fate.DROPPED


def _is_call_of(called: str, instructions: list[dis.Instruction], offset: int) -> bool:
    """Return whether the call at an offset can be a call of a function with this name.

    A function can have another name in the program, but a method cannot.
    """
    # the offset can be that of an inline cache after the call
    call = max((one for one in instructions if one.offset <= offset), key=lambda one: one.offset)
    if call.positions is None or call.positions.lineno is None:
        return False
    begin = call.positions.lineno, call.positions.col_offset
    callee = [
        one
        for one in instructions
        if one.offset < call.offset and one.opname.startswith("LOAD_") and one.positions is not None
        if begin == (one.positions.lineno, one.positions.col_offset)
    ]
    if not callee:
        return False
    last = callee[-1]
    return last.opname not in {"LOAD_METHOD", "LOAD_ATTR"} or last.argval == called


def only_combines(function: Callable[..., Any]) -> bool:
    """Return whether a merge function does nothing but combine values and return the result.

    Then its result is all that it does. A function that changes anything can have another purpose.
    """
    code = getattr(function, "__code__", None)
    if code is None or _COMBINING.isdisjoint(code.co_names):
        return False
    names = {name.partition("_")[0] for name in code.co_names}
    operations = {one.opname for one in dis.get_instructions(code)}
    return _CHANGING.isdisjoint(names) and _EFFECTS.isdisjoint(operations)


_COMBINING: Final = frozenset({"reduce", "reduce_to", "batch_reduce_to", "gather"})
_CHANGING: Final = frozenset(
    "add append assign extend insert log pop print put scatter set update write".split()
)
_EFFECTS: Final = frozenset(
    "POP_TOP STORE_ATTR STORE_DEREF STORE_GLOBAL STORE_SUBSCR DELETE_SUBSCR".split()
)


class Discarded:
    """The collectives of a replica whose results are not used, or whose values no event shows."""

    def __init__(self) -> None:
        self._told: set[str] = set()  # the locations of all collectives that were noted
        self._new: list[Dropped] = []
        self.is_recorded = False  # whether the replica's trace can have notices
        self.not_finite: dict[str, bool] = {}
        """Lines of merge_calls to which the replica gave NaN or infinity → whether NaN."""

    def note(self, one: Dropped | None) -> None:
        """Record a collective, once for each line that drops a result."""
        if one is not None and one.location not in self._told:
            self._told.add(one.location)
            self._new.append(one)

    def note_not_finite(self, location: str, *, is_nan: bool) -> None:
        """Record that the replica gives NaN or infinity to a merge function."""
        self.not_finite.setdefault(location, is_nan)

    def take(self) -> list[Dropped]:
        """Return the new collectives."""
        new, self._new = self._new, []
        return new


def warning_of(one: Dropped) -> tuple[str, str]:
    """Return the warning about a collective: its text and its location."""
    return _TEXT.format(method=one.method, location=one.location), one.location


_TEXT: Final = (
    "the result of {method} at {location} is not used: a collective returns the combined value, "
    "and changes none of its arguments.\n"
    "  Assign the result, or remove the call. To wait for the other replicas, use barrier()."
)
