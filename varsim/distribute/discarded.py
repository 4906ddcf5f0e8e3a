"""Warn of collectives whose results the program does not use."""

from __future__ import annotations

import dis
from types import CodeType, FrameType
from typing import Final

from varsim.location import user_location

_MOST: Final = 10_000
"""Largest number of calls in the cache. Programs can create code, so the cache has a bound."""

_known: dict[tuple[int, int], tuple[CodeType, bool]] = {}
"""A cache: (id of a code object, offset in the code) → the code object, and the answer."""


def is_discarded(frame: FrameType) -> bool:
    """Return whether a frame drops the result of the call that it makes now.

    For example, this is so for an all_reduce in a line of its own, or for one whose result gets a
    local name that the function never uses. A name such as `_` drops a result on purpose.
    """
    key = id(frame.f_code), frame.f_lasti
    found = _known.get(key)
    if found is None:
        if len(_known) >= _MOST:
            _known.clear()
        found = _known[key] = frame.f_code, _drops(*key[1:], frame.f_code)
    return found[1]


def _drops(offset: int, code: CodeType) -> bool:
    """Return whether the instruction after the one at an offset drops the value on the stack."""
    instructions = list(dis.get_instructions(code))
    after = next((one for one in instructions if one.offset > offset), None)
    if after is None or after.opname != "STORE_FAST":
        return after is not None and after.opname == "POP_TOP"
    if after.argval.startswith("_"):
        return False
    # one instruction can load or store two local names
    used = (one for one in instructions if "_FAST" in one.opname and one.opname != "STORE_FAST")
    names = (one.argval if isinstance(one.argval, tuple) else (one.argval,) for one in used)
    return all(after.argval not in them for them in names)


class Discarded:
    """The collectives of a replica whose results the program does not use."""

    def __init__(self) -> None:
        self._told: set[str] = set()  # the locations of all collectives that were noted
        self._new: list[tuple[str, str]] = []  # (method, location)

    def note(self, method: str) -> None:
        """Record a collective in the current line, once for each line."""
        location = user_location()
        if location not in self._told:
            self._told.add(location)
            self._new.append((method, location))

    def take(self) -> list[tuple[str, str]]:
        """Return the new collectives, as pairs of method and location."""
        new, self._new = self._new, []
        return new


def warning_of(method: str, location: str) -> tuple[str, str]:
    """Return the warning about a collective: its text and its location."""
    return _TEXT.format(method=method, location=location), location


_TEXT: Final = (
    "the result of {method} at {location} is not used: a collective returns the combined value, "
    "and changes none of its arguments.\n"
    "  Assign the result, or remove the call. To wait for the other replicas, use barrier()."
)
