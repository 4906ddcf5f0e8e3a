"""Provide TensorFlow's dtypes, and its most used functions for tensors, which return NumPy arrays.

Numbers get TensorFlow's dtypes: a Python int becomes int32, and a Python float becomes float32. The
program can write to the returned arrays (docs/adr/0032).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from varsim.distribute.conversion import as_dtype, as_numpy, as_shape, as_tensor, converted
from varsim.errors import MissingName, ShapeError
from varsim.extension_dtypes import EXTENSION_SIZES, named
from varsim.spec import Array

bool: Final = np.dtype(np.bool_)  # noqa: A001  # TensorFlow's name
complex64: Final = np.dtype(np.complex64)
complex128: Final = np.dtype(np.complex128)
float16: Final = np.dtype(np.float16)
float32: Final = np.dtype(np.float32)
float64: Final = np.dtype(np.float64)
half, double = float16, float64
if TYPE_CHECKING:
    bfloat16: np.dtype[Any]
    float8_e4m3fn: np.dtype[Any]
    float8_e5m2: np.dtype[Any]
int8: Final = np.dtype(np.int8)
int16: Final = np.dtype(np.int16)
int32: Final = np.dtype(np.int32)
int64: Final = np.dtype(np.int64)
uint8: Final = np.dtype(np.uint8)
uint16: Final = np.dtype(np.uint16)
uint32: Final = np.dtype(np.uint32)
uint64: Final = np.dtype(np.uint64)


def constant(value: Any, dtype: Any = None, shape: Any = None, name: str | None = None) -> Array:
    """Return a value as an array.

    Args:
        value: A number, nested list, array, variable, or tensor of another library.
        dtype: The dtype of the result; by default the dtype of the value.
        shape: The shape of the result. A value with one element is repeated to fill the shape.
    Raises:
        TypeError: The dtype cannot hold the value.
        ShapeError: The number of elements does not match the shape.
    Source: `tf.constant`.
    """
    array = convert_to_tensor(value, dtype)
    if shape is None:
        return array
    wanted = _sizes(shape)
    if array.size == 1:
        return np.full(wanted, array.reshape(()), array.dtype)
    if array.size != np.prod(wanted, dtype=np.int64):
        raise ShapeError("(value)", f"{array.size} elements cannot have the shape {list(wanted)}")
    return array.reshape(wanted)


def convert_to_tensor(
    value: Any, dtype: Any = None, dtype_hint: Any = None, name: str | None = None
) -> Array:
    """Return a value as an array; see `constant`.

    Source: `tf.convert_to_tensor`.
    """
    if dtype is None:
        return np.array(as_tensor(value), order="C")
    return converted(value, as_dtype(dtype))


def zeros(shape: Any, dtype: Any = float32, name: str | None = None) -> Array:
    """Return an array of zeros; float32 by default.

    Source: `tf.zeros`.
    """
    return np.zeros(_sizes(shape), as_dtype(dtype))


def ones(shape: Any, dtype: Any = float32, name: str | None = None) -> Array:
    """Return an array of ones; float32 by default.

    Source: `tf.ones`.
    """
    return np.ones(_sizes(shape), as_dtype(dtype))


def zeros_like(input: Any, dtype: Any = None, name: str | None = None) -> Array:  # noqa: A002
    """Return zeros in the shape of a value, and in its dtype if `dtype` is None.

    Source: `tf.zeros_like`.
    """
    array = as_tensor(input)
    return zeros(array.shape, array.dtype if dtype is None else dtype)


def ones_like(input: Any, dtype: Any = None, name: str | None = None) -> Array:  # noqa: A002
    """Return ones in the shape of a value, and in its dtype if `dtype` is None.

    Source: `tf.ones_like`.
    """
    array = as_tensor(input)
    return ones(array.shape, array.dtype if dtype is None else dtype)


def identity(input: Any, name: str | None = None) -> Array:  # noqa: A002
    """Return a copy of a value as an array.

    Source: `tf.identity`.
    """
    return np.array(as_tensor(input), order="C")


def cast(x: Any, dtype: Any, name: str | None = None) -> Array:
    """Return a value in another dtype; truncate fractions, and drop imaginary parts.

    Args:
        x: A value as for `constant`, or an array of a dtype that another package adds to NumPy.
    Source: `tf.cast`.
    """
    wanted, array = as_dtype(dtype), as_numpy(x, "(value)")
    if not isinstance(array, np.ndarray):
        array = as_tensor(array)
    if array.dtype.kind == "c" and wanted.kind != "c":
        array = array.real
    with np.errstate(all="ignore"):
        return np.array(array, wanted, order="C")


def _sizes(shape: Any) -> tuple[int, ...]:
    sizes = as_shape(shape.tolist() if isinstance(shape, np.ndarray) else shape) or ()
    if None in sizes:
        raise ShapeError("(value)", f"the shape {list(sizes)} has an unknown dimension")
    return tuple(size for size in sizes if size is not None)


if not TYPE_CHECKING:  # the package `ml_dtypes` is imported when one of its dtypes is used

    def __getattr__(name: str) -> Any:
        if name in EXTENSION_SIZES:
            return named(name)
        raise MissingName("tf", name)
