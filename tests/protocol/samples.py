"""Random messages for tests of the codec, drawn by Hypothesis, and a comparison of messages."""

from __future__ import annotations

import dataclasses
from enum import Enum
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.dtypes import DTYPES
from varsim.extension_dtypes import NUMPY_DTYPES
from varsim.protocol.codec import MESSAGES
from varsim.protocol.messages import Message, Payload

ints = st.integers(0, 2**63)
texts = st.text(max_size=8)
arrays = st.sampled_from(NUMPY_DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))
)
trees = st.recursive(
    st.none() | st.booleans() | ints | st.floats(allow_nan=False) | texts | st.binary(max_size=8),
    lambda children: st.lists(children, max_size=3),
    max_leaves=6,
)


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Draw values of a type annotation that occurs in messages."""
    arguments = get_args(hint)
    match get_origin(hint) or hint:
        case origin if origin is UnionType:
            return st.one_of([values_of(argument) for argument in arguments])
        case origin if origin is np.ndarray:
            return arrays
        case origin if origin is np.dtype:
            return st.sampled_from(DTYPES)
        case origin if origin is tuple and Ellipsis in arguments:
            return st.lists(values_of(arguments[0]), max_size=3).map(tuple)
        case origin if origin is tuple:
            return st.tuples(*map(values_of, arguments))
        case origin if origin is NoneType:
            return st.none()
        case origin if origin is Payload:
            return st.builds(Payload, trees, st.lists(arrays, max_size=2).map(tuple))
        case cls if dataclasses.is_dataclass(cls):
            return built(cls)
        case enum if issubclass(enum, Enum):
            return st.sampled_from(enum)
        case plain:
            return {
                int: ints,
                float: st.floats(allow_nan=False),
                str: texts,
                bool: st.booleans(),
                bytes: st.binary(max_size=8),
            }[plain]


def built(cls: Any) -> st.SearchStrategy[Any]:
    """Draw instances of a dataclass with all fields."""
    hints = get_type_hints(cls)
    return st.builds(
        cls, **{field.name: values_of(hints[field.name]) for field in dataclasses.fields(cls)}
    )


messages: st.SearchStrategy[Message] = st.sampled_from(MESSAGES).flatmap(built)


def plain(value: Any) -> Any:
    """Return a value that can be compared by ==. Arrays become dtype, shape and bytes."""
    if isinstance(value, np.ndarray):
        return ("array", value.dtype.str, value.shape, value.tobytes())
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        return (type(value).__name__, [plain(getattr(value, name)) for name in names])
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    return value
