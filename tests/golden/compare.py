"""Whether two outcomes are the same: bit for bit in values, in kind and place for errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.golden.recorded import Failure, Json, Outcome

DELIBERATE = frozenset(
    "ValueError TypeError RuntimeError NotImplementedError IndexError KeyError".split()
)
"""What TensorFlow, or the program, raises on purpose: ours must be that, too."""

ACCIDENTAL = frozenset("AttributeError AssertionError InvalidArgumentError".split())
"""What TensorFlow trips over: ours must say what is wrong, as a ValueError or TypeError."""

TENSOR = re.compile(r"<tf\.Tensor: shape=\(\), dtype=(\w+), numpy=([-\d.]+)>")
ARRAY = re.compile(r"array\(([-\d.]+), dtype=(\w+)\)")
"""How a scalar tensor shows itself in TensorFlow, and in varsim."""

SAID = frozenset({"ValueError", "TypeError"})


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two outcomes part."""

    aspect: str
    """error, at, after, returned, or a name of the state: per_replica, cross_read, …"""
    path: tuple[str | int, ...]  # within what was returned
    theirs: Json
    ours: Json

    def __str__(self) -> str:
        place = "".join(f"[{step!r}]" for step in self.path)
        return f"{self.aspect}{place}: TensorFlow {_shown(self.theirs)}, varsim {_shown(self.ours)}"


def _shown(value: Json) -> str:
    match value:
        case None:
            return "nothing"
        case Failure():
            place = "the program's own " if value.by_program else ""
            return f"{place}{value.kind} at {value.at} ({value.message[:160]})"
    text = json.dumps(value, default=repr)
    return text if len(text) <= 300 else text[:297] + "..."


def same_kind(theirs: str, ours: Failure, message: str = "") -> bool:
    """Whether our error is of the kind that TensorFlow's is.

    That no kernel takes a dtype is an InvalidArgumentError in eager TensorFlow and a TypeError
    while it traces: an accident, too.

    An attribute that does not exist is an AttributeError in both if the program's own line asks
    for it: nobody's accident but the program's.
    """
    if theirs in ACCIDENTAL or message.startswith("Value passed to parameter"):
        return bool(SAID & ours.kinds) or (
            theirs == ours.kind == "AttributeError" and ours.by_program
        )
    assert theirs in DELIBERATE, theirs
    return theirs in ours.kinds


def differences(theirs: Outcome, ours: Outcome) -> list[Difference]:
    """Everything in which two outcomes differ; nothing if they are the same."""
    if theirs.error is None and ours.error is None:
        return [*_in_state(theirs, ours), *_in_returned(theirs.returned, ours.returned, ())]
    return list(_in_error(theirs.error, ours.error))


def _in_error(theirs: Failure | None, ours: Failure | None) -> Iterator[Difference]:
    if theirs is None or ours is None:
        yield Difference("error", (), theirs, ours)
        return
    if not same_kind(theirs.kind, ours, theirs.message):
        yield Difference("error", (), theirs, ours)
    if theirs.at != ours.at:
        yield Difference("at", (), theirs.at, ours.at)
    if not same_value(theirs.after, ours.after):
        yield Difference("after", (), theirs.after, ours.after)


def _in_state(theirs: Outcome, ours: Outcome) -> Iterator[Difference]:
    for aspect in sorted({*theirs.state, *ours.state}):
        left, right = theirs.state.get(aspect), ours.state.get(aspect)
        if not same_value(left, right):
            yield Difference(aspect, (), left, right)


def _in_returned(theirs: Json, ours: Json, path: tuple[str | int, ...]) -> Iterator[Difference]:
    """Goes into lists, tuples and dicts; a distributed value is one thing."""
    match theirs, ours:
        case {"type": kind, "items": left}, {"type": other, "items": right} if (
            kind == other and len(left) == len(right)
        ):
            for i, (one, another) in enumerate(zip(left, right, strict=True)):
                yield from _in_returned(one, another, (*path, i))
        case dict(), dict() if (
            "type" not in theirs and "error" not in theirs and theirs.keys() == ours.keys()
        ):
            for key in theirs:
                yield from _in_returned(theirs[key], ours[key], (*path, key))
        case _:
            if not same_value(theirs, ours):
                yield Difference("returned", path, theirs, ours)


def same_value(theirs: Json, ours: Json) -> bool:
    """Whether two recorded values are equal bit for bit, or both errors of one kind."""
    match theirs, ours:
        case {"error": {"type": kind}}, {"error": Failure() as failure}:
            return same_kind(kind, failure)
        case {"error": _}, _:
            return False
    return repr(theirs) == repr(ours) or _text(theirs) == _text(ours)


def _text(value: Json) -> str:
    """The value as text, which tells -0.0 from 0.0, 1 from 1.0 and 1 from True.

    varsim's tensors are NumPy arrays, so what TensorFlow calls a tensor and what it calls a NumPy
    value are one.
    """
    text = json.dumps(value, sort_keys=True, default=repr)
    text = text.replace('"type": "numpy"', '"type": "Tensor"').replace('"EagerTensor"', '"ndarray"')
    text = TENSOR.sub(lambda found: f"{found[1]} {float(found[2])}", text)
    return ARRAY.sub(lambda found: f"{found[2]} {float(found[1])}", text)
