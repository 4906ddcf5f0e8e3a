"""Compares two outcomes: values bit for bit, errors by kind and position."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.golden.recorded import CaseOutcome, Json, RecordedError

DELIBERATE = frozenset(
    "ValueError TypeError RuntimeError NotImplementedError IndexError KeyError".split()
)
"""Errors that TensorFlow or the program raises on purpose. varsim must raise the same kind."""

ACCIDENTAL = frozenset("AttributeError AssertionError InvalidArgumentError".split())
"""Errors that TensorFlow raises by accident. varsim must raise a clear ValueError or TypeError."""

TENSOR = re.compile(r"<tf\.Tensor: shape=\(\), dtype=(\w+), numpy=([-\d.]+)>")
ARRAY = re.compile(r"array\(([-\d.]+), dtype=(\w+)\)")
"""The text of a scalar tensor in TensorFlow and in varsim."""

SAID = frozenset({"ValueError", "TypeError"})


@dataclass(frozen=True, slots=True)
class OutcomeDifference:
    """One difference between two outcomes."""

    aspect: str
    """error, at, after, returned, or a name of the state: per_replica, cross_read, …"""
    path: tuple[str | int, ...]  # the path within the returned value
    theirs: Json
    ours: Json

    def __str__(self) -> str:
        path = "".join(f"[{step!r}]" for step in self.path)
        return f"{self.aspect}{path}: TensorFlow {_shown(self.theirs)}, varsim {_shown(self.ours)}"


def _shown(value: Json) -> str:
    match value:
        case None:
            return "nothing"
        case RecordedError():
            whose = "the program's own " if value.by_program else ""
            return f"{whose}{value.kind} at {value.at} ({value.message[:160]})"
    text = json.dumps(value, default=repr)
    return text if len(text) <= 300 else text[:297] + "..."


def same_kind(theirs: str, ours: RecordedError, message: str = "") -> bool:
    """Return whether varsim may raise this kind of error where TensorFlow raises `theirs`.

    If no kernel supports a dtype, TensorFlow raises an InvalidArgumentError in eager mode and
    a TypeError while tracing. In both cases varsim may raise any clear error.

    If the program's own line reads an attribute that does not exist, both must raise an
    AttributeError. varsim's can be a MissingName, which says what to use instead.
    """
    if theirs in ACCIDENTAL or message.startswith("Value passed to parameter"):
        return bool(SAID & ours.kinds) or (
            theirs == "AttributeError"
            and (ours.kind == "MissingName" or (ours.kind == theirs and ours.by_program))
        )
    assert theirs in DELIBERATE, theirs
    return theirs in ours.kinds


def differences(theirs: CaseOutcome, ours: CaseOutcome) -> list[OutcomeDifference]:
    """Return all differences between two outcomes."""
    if theirs.error is None and ours.error is None:
        return [*_in_state(theirs, ours), *_in_returned(theirs.returned, ours.returned, ())]
    return list(_in_error(theirs.error, ours.error))


def _in_error(
    theirs: RecordedError | None, ours: RecordedError | None
) -> Iterator[OutcomeDifference]:
    if theirs is None or ours is None:
        yield OutcomeDifference("error", (), theirs, ours)
        return
    if not same_kind(theirs.kind, ours, theirs.message):
        yield OutcomeDifference("error", (), theirs, ours)
    if theirs.at != ours.at:
        yield OutcomeDifference("at", (), theirs.at, ours.at)
    if not same_value(theirs.after, ours.after):
        yield OutcomeDifference("after", (), theirs.after, ours.after)


def _in_state(theirs: CaseOutcome, ours: CaseOutcome) -> Iterator[OutcomeDifference]:
    for aspect in sorted({*theirs.state, *ours.state}):
        left, right = theirs.state.get(aspect), ours.state.get(aspect)
        if not same_value(left, right):
            yield OutcomeDifference(aspect, (), left, right)


def _in_returned(
    theirs: Json, ours: Json, path: tuple[str | int, ...]
) -> Iterator[OutcomeDifference]:
    """Compare lists, tuples and dicts element by element. A distributed value is one element."""
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
                yield OutcomeDifference("returned", path, theirs, ours)


def same_value(theirs: Json, ours: Json) -> bool:
    """Return whether two values are equal bit for bit, or both are errors of the same kind."""
    match theirs, ours:
        case {"error": {"type": kind}}, {"error": RecordedError() as failure}:
            return same_kind(kind, failure)
        case {"error": _}, _:
            return False
    return repr(theirs) == repr(ours) or _text(theirs) == _text(ours)


def _text(value: Json) -> str:
    """Return the value as a text that distinguishes -0.0 from 0.0, and 1 from 1.0 and True.

    Tensors and NumPy values have the same text, because varsim's tensors are NumPy arrays.
    """
    text = json.dumps(value, sort_keys=True, default=repr)
    text = text.replace('"type": "numpy"', '"type": "Tensor"').replace('"EagerTensor"', '"ndarray"')
    text = TENSOR.sub(lambda found: f"{found[1]} {float(found[2])}", text)
    return ARRAY.sub(lambda found: f"{found[2]} {float(found[1])}", text)
