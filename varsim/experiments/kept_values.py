"""Save and restore the Python objects that a workload keeps in its checkpoints, without pickle."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from varsim import extension_dtypes
from varsim.distribute.checkpoints import archive
from varsim.errors import CheckpointError
from varsim.extent import extent_of
from varsim.protocol.limits import MAX_NESTING
from varsim.spec import Array

GENERATORS: Final = (np.random.Generator, np.random.RandomState, random.Random)
"""The classes of random generators."""

_PLAIN: Final = (str, bool, int, type(None))
_ARRAY: Final = "extra/"

MAX_KEPT_VALUES: Final = 5_000_000
"""Largest number of values in one kept object, outside arrays. A list that occurs in several places
is saved at each place."""


class Wrong(Exception):
    """A value cannot be saved, or a saved value was not made by this module."""


def encoded(value: object, arrays: dict[str, Array]) -> Any:
    """Return a value as plain JSON; add its arrays to `arrays`.

    Raises:
        Wrong: The value has another type than numbers, texts, arrays, lists, tuples and dicts; or
            it contains itself, or is nested too deeply, or has too many values.
    """
    levels, values, contains_itself = extent_of(value)
    what = f"a {type(value).__name__}"
    if contains_itself:
        raise Wrong(f"{what} that contains itself cannot be saved")
    if levels > MAX_NESTING:
        raise Wrong(f"{what} of {levels:,} levels cannot be saved; the limit is {MAX_NESTING}")
    if values > MAX_KEPT_VALUES:
        raise Wrong(
            f"{what} of {values:,} values cannot be saved; the limit is {MAX_KEPT_VALUES:,}. Keep "
            "arrays, and a list only once"
        )
    return _encoded(value, arrays)


def _encoded(value: object, arrays: dict[str, Array]) -> Any:
    if type(value) in _PLAIN:
        return value
    match value:
        case float():
            return {"float": float(value).hex()}
        case np.ndarray() | np.generic():
            array = np.asarray(value)
            if not extension_dtypes.is_supported(array.dtype):
                raise Wrong(f"an array of {array.dtype} cannot be saved")
            name = f"{_ARRAY}{len(arrays)}"
            arrays[name] = array.copy()
            kind = "array" if isinstance(value, np.ndarray) else "number"
            return {kind: name, "dtype": array.dtype.name}
        case list() | tuple():
            kind = "list" if isinstance(value, list) else "tuple"
            return {kind: [_encoded(one, arrays) for one in value]}
        case dict():
            items = [[_encoded(key, arrays), _encoded(one, arrays)] for key, one in value.items()]
            return {"dict": items}
    raise Wrong(f"a value of type {type(value).__name__} cannot be saved")


def decoded(said: Any, arrays: Mapping[str, Array]) -> Any:
    """Return the value from which `encoded` made the JSON.

    Raises:
        Wrong: The value was not made by `encoded`.
    """
    if type(said) in _PLAIN:
        return said
    match said:
        case {"float": str(text)}:
            try:
                return float.fromhex(text)
            except (ValueError, OverflowError):
                raise Wrong(f"{text!r} is not a number") from None
        case {"array": str(name), "dtype": str(dtype)} if name in arrays:
            return _array(arrays[name], dtype)
        case {"number": str(name), "dtype": str(dtype)} if name in arrays:
            return _array(arrays[name], dtype)[()]
        case {"list": list(items)}:
            return [decoded(one, arrays) for one in items]
        case {"tuple": list(items)}:
            return tuple(decoded(one, arrays) for one in items)
        case {"dict": list(items)}:
            return {decoded(key, arrays): decoded(one, arrays) for key, one in items}
    raise Wrong("a kept value is damaged")


def _array(stored: Array, dtype: str) -> Array:
    try:
        return np.array(archive.array_of(stored, dtype))
    except (CheckpointError, TypeError) as error:
        raise Wrong(str(error)) from None


def state_of(name: str, kept: object) -> Any:
    """Return the state of an object that can be restored in place.

    Raises:
        CheckpointError: The object cannot be restored in place.
    """
    match kept:
        case np.random.Generator():
            return kept.bit_generator.state
        case np.random.RandomState():
            return kept.get_state(legacy=False)
        case random.Random():
            return kept.getstate()
        case list() | dict() | np.ndarray():
            return kept
    raise CheckpointError(
        f"job.steps(keep={{{name!r}: …}}): a {type(kept).__name__} cannot be restored in place; "
        "keep a list, a dict, an array or a random generator, or put the value into one"
    )


def restore(name: str, kept: Any, state: Any) -> None:
    """Give an object the state that `state_of` has returned.

    Raises:
        CheckpointError: The state belongs to another kind of object.
    """
    try:
        match kept:
            case np.random.Generator():
                kept.bit_generator.state = state
            case np.random.RandomState():
                kept.set_state(state)
            case random.Random():
                kept.setstate(state)
            case list() if isinstance(state, list):
                kept[:] = state
            case dict() if isinstance(state, dict):
                kept.clear()
                kept.update(state)
            case np.ndarray() if np.shape(state) == kept.shape:
                np.copyto(kept, state, casting="no")
            case _:
                raise Wrong(f"the checkpoint has a {type(state).__name__}")
    except (Wrong, TypeError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"the checkpoint cannot restore {name!r}, a {type(kept).__name__}: {error}"
        ) from error
