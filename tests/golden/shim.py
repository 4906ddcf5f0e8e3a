"""The module `tf` of recorded programs: varsim, and the few tensor functions that they use.

varsim's tensors are NumPy arrays, so the tensor functions are NumPy's, with TensorFlow's dtypes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np

import varsim

NOT_OFFERED = {
    "tf.GradientTape": "gradients",
    "tf.__internal__": "TensorFlow's internals",
    ".handle": "resource handles",
    'tf.constant("': "strings",
}
"""Text in a program → the feature that varsim does not support yet."""


def constant(value: Any, dtype: Any = None) -> np.ndarray[Any, Any]:
    """Do `tf.constant`: Python floats become float32, and Python ints become int32."""
    with np.errstate(all="ignore"):
        found = np.asarray(value)
        if dtype is not None:
            return found.astype(dtype)
        if not isinstance(value, np.ndarray | np.generic):
            narrow = {"f": np.float32, "i": np.int32}.get(found.dtype.kind)
            return found if narrow is None else np.asarray(_elements(value), dtype=narrow)
        return found.copy()


def _elements(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_elements(member) for member in value]
    return value.item() if isinstance(value, np.ndarray | np.generic) else value


def convert_to_tensor(value: Any) -> np.ndarray[Any, Any]:
    """Do `tf.convert_to_tensor`."""
    return np.asarray(value)


def cast(value: Any, dtype: Any) -> np.ndarray[Any, Any]:
    """Do `tf.cast`."""
    return np.asarray(value).astype(dtype)


def fill(shape: Any, value: Any) -> np.ndarray[Any, Any]:
    """Do `tf.fill`."""
    return np.full(shape, value)


def zeros(shape: Any, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    """Do `tf.zeros`."""
    return np.zeros(shape, dtype)


def reduce_sum(value: Any) -> np.ndarray[Any, Any]:
    """Do `tf.reduce_sum` over all axes."""
    found = np.asarray(value)
    return np.asarray(np.sum(found, dtype=found.dtype))


class Dataset:
    """`tf.data.Dataset.range(n).batch(k)`: an iterable of arrays."""

    def __init__(self, count: int, size: int | None = None) -> None:
        self._count = count
        self._size = size

    @staticmethod
    def range(count: int) -> Dataset:
        """Return the numbers below `count`."""
        return Dataset(count)

    def batch(self, size: int) -> Dataset:
        """Return the same numbers in batches; the last one may be smaller."""
        return Dataset(self._count, size)

    def __iter__(self) -> Iterator[np.ndarray[Any, Any]]:
        assert self._size is not None
        for start in range(0, self._count, self._size):
            yield np.arange(start, min(start + self._size, self._count), dtype=np.int64)


def assert_equal(x: Any, y: Any) -> None:
    """Do `tf.debugging.assert_equal`."""
    if not np.array_equal(x, y):
        raise ValueError(f"{x!r} is not equal to {y!r}")


TF = SimpleNamespace(
    IndexedSlices=varsim.IndexedSlices,
    Variable=varsim.Variable,
    VariableAggregation=varsim.VariableAggregation,
    VariableSynchronization=varsim.VariableSynchronization,
    cast=cast,
    constant=constant,
    convert_to_tensor=convert_to_tensor,
    data=SimpleNamespace(Dataset=Dataset),
    debugging=SimpleNamespace(assert_equal=assert_equal),
    device=lambda name: nullcontext(),
    distribute=varsim.distribute,
    fill=fill,
    float32=np.float32,
    function=varsim.function,
    reduce_sum=reduce_sum,
    train=varsim.train,
    zeros=zeros,
)
"""The name `tf` in a recorded program."""
