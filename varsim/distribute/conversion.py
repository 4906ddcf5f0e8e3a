"""Convert a written value to an array that a variable can hold.

*Numbers* are Python numbers, NumPy scalars, and nested lists of these. Numbers are converted to the
variable's dtype; a conversion can lose only precision. *Arrays* are tensors, which have an explicit
dtype. As in TensorFlow, it is an error if this dtype differs from the variable's dtype.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any, Final

import numpy as np

from varsim.distribute.indexed_slices import IndexedSlices
from varsim.distribute.values import DistributedValues
from varsim.errors import (
    DistributedValueError,
    DtypeError,
    NoValueError,
    ShapeError,
    SizeError,
    ValueTypeError,
)
from varsim.extension_dtypes import (
    EXTENSION_SIZES,
    is_added_to_numpy,
    is_extension,
    is_supported,
    kind_of,
    named,
)
from varsim.extent import extent_of, is_writable
from varsim.protocol.limits import check_frame
from varsim.spec import Array, Shape
from varsim.texts.facts import shape_text

_FITS = {
    "b": "b",
    "i": "iu",
    "u": "iu",
    "f": "iuf",
    "c": "iufc",
}
"""Kind of a variable's dtype → kinds of numbers that are accepted."""

MAX_CONVERTED: Final = 2**27
"""Largest number of values in nested lists that are converted to an array. With unshared lists,
more values would take many gigabytes."""


def to_array(value: Any, dtype: np.dtype[np.generic], variable: str) -> Array:
    """Return a value as an array of a variable's dtype, to which no other code can write.

    Raises:
        DtypeError: The value is an array (or a variable) of another dtype.
        ValueTypeError: The value is not a number, or the dtype cannot hold it.
        DistributedValueError: The value is a per-replica value.
    """
    array = as_operand(value, dtype, variable)
    if array.flags.writeable or array.base is not None:
        return np.array(array, order="C")
    return np.asarray(array, order="C")


def as_operand(value: Any, dtype: np.dtype[np.generic], variable: str) -> Array:
    """Return a value as an array of a variable's dtype; the result can be the caller's array.

    Raises:
        VarsimError: See `to_array`.
    """
    kind = type(value)
    if kind is np.ndarray and value.dtype == dtype:
        array: Array = value
        return array
    if kind is float and dtype.kind == "f":
        return np.array(value, dtype)
    if isinstance(value, np.generic) and value.dtype == dtype:
        return np.asarray(value)
    if (kind is int or isinstance(value, np.integer)) and kind_of(dtype) in "iuf":
        try:
            # An extension dtype does not convert a Python int of more than 64 bits.
            return np.array(float(value) if is_extension(dtype) else value, dtype)
        except OverflowError as error:
            raise _out_of_range(value, dtype, variable) from error
    value = as_numpy(value, variable)
    if isinstance(value, IndexedSlices):
        value = value.dense(as_operand(value.values, dtype, variable), variable)
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        if value.dtype != dtype:
            raise DtypeError(
                variable,
                f"it holds {dtype}, and the value is an array of {value.dtype}",
                f"Arrays are never cast silently: use value.astype({dtype.name!r}).",
            )
        return np.asarray(value)
    return _from_numbers(value, dtype, variable)


def as_numpy(value: Any, variable: str) -> Any:
    """Return a variable or a tensor of another library as an array, or any other value as it is.

    A tensor has `__array__` or `__dlpack__`. The array can share the memory of the tensor.

    Raises:
        ValueTypeError: The tensor cannot be read here.
    """
    if getattr(value, "is_variable", False):
        return value.convert()
    if isinstance(value, np.ndarray | np.generic | DistributedValues | IndexedSlices):
        return value
    kind = type(value)
    try:
        name = str(getattr(value, "dtype", ""))
        if name.startswith(_TORCH) and name.removeprefix(_TORCH) in EXTENSION_SIZES:
            return _of_torch(value, name.removeprefix(_TORCH))
        if hasattr(kind, "__array__"):
            return np.asarray(value)
        return np.from_dlpack(value) if hasattr(kind, "__dlpack__") else value
    except (BufferError, RuntimeError, TypeError) as error:
        raise ValueTypeError(
            variable,
            f"a {kind.__module__}.{kind.__qualname__} cannot be read as a NumPy array: {error}",
            "Detach it from gradients, copy it to the CPU, and convert it to a dtype of NumPy.",
        ) from error


_TORCH = "torch."  # the beginning of the names of PyTorch's dtypes


def _of_torch(value: Any, name: str) -> Array:
    """Return the array of a tensor of PyTorch whose dtype PyTorch does not convert for NumPy."""
    torch = sys.modules["torch"]
    bits = value.view(torch.int16 if EXTENSION_SIZES[name] == 2 else torch.uint8)
    array: Array = np.asarray(bits).view(named(name))
    return array


def converted(value: Any, dtype: np.dtype[np.generic]) -> Array:
    """Return a value as a new array of a dtype. Unlike `to_array`, also convert arrays.

    Raises:
        ValueTypeError: The dtype cannot hold the value.
    """
    value = as_numpy(value, "(value)")
    if isinstance(value, DistributedValues | IndexedSlices):
        value = np.asarray(value)
    return _from_numbers(value, dtype, "(value)")


def as_number(value: Any, variable: str) -> Array:
    """Return a value as an array of its own dtype; Python numbers get 64 bits.

    Raises:
        ValueTypeError: The value is neither a number nor an array of numbers.
        DistributedValueError: The value is a per-replica value.
    """
    return _numbers(as_numpy(value, variable), variable)


def _from_numbers(value: Any, dtype: np.dtype[np.generic], variable: str) -> Array:
    found = _numbers(value, variable)
    if found.size and kind_of(found.dtype) not in _FITS[kind_of(dtype)]:
        raise ValueTypeError(
            variable,
            f"it holds {dtype}, and {dtype} cannot hold {_shown(value)} exactly",
            "Convert the value yourself.",
        )
    try:
        with np.errstate(over="ignore"):
            return np.array(value, dtype=dtype)
    except OverflowError as error:
        raise _out_of_range(value, dtype, variable) from error


def _out_of_range(value: Any, dtype: np.dtype[np.generic], variable: str) -> ValueTypeError:
    return ValueTypeError(variable, f"{_shown(value)} is out of range for {dtype}")


def _numbers(value: Any, variable: str) -> Array:
    if isinstance(value, DistributedValues):
        raise DistributedValueError(
            f"variable {variable!r}: a {type(value).__name__} has one value per replica, but a "
            "single value is needed here: pass it to strategy.run, so that each replica gets its "
            "own"
        )
    if value is None:
        raise _no_value(variable)
    _check_count(value, variable)
    try:
        found = np.asarray(value)
    except ValueError as error:
        raise ShapeError(
            variable, f"{_shown(value)} is ragged: its rows differ in length"
        ) from error
    if found.dtype.kind == "O" and _holds_none(value):
        raise _no_value(variable)
    if not is_supported(found.dtype):
        raise _no_number(value, found.dtype, variable)
    return found


def _check_count(value: Any, variable: str) -> None:
    """Refuse nested lists that contain a list very often, as NumPy would visit each occurrence.

    Raises:
        SizeError: The lists have too many values.
        ValueTypeError: A list contains itself.
    """
    if isinstance(value, list | tuple) and value and isinstance(value[0], list | tuple):
        extent = extent_of(value)
        if extent.contains_itself:
            raise ValueTypeError(variable, f"{_shown(value)} contains itself", "Use an array.")
        if extent.values > MAX_CONVERTED:
            raise SizeError(
                f"{variable}: nested lists of {extent.values:,} values cannot be converted to an "
                f"array; the limit is {MAX_CONVERTED:,}. Use an array."
            )


def _no_number(value: Any, dtype: np.dtype[np.generic], variable: str) -> ValueTypeError:
    if is_added_to_numpy(dtype):
        return ValueTypeError(
            variable,
            f"dtype {dtype} is not supported; of the dtypes of other packages, only "
            f"{', '.join(EXTENSION_SIZES)} are supported",
            "Use value.astype('float32').",
        )
    return ValueTypeError(variable, f"{_shown(value)} is neither a number nor an array of numbers")


def _holds_none(value: Any) -> bool:
    return value is None or (isinstance(value, list | tuple) and any(map(_holds_none, value)))


def _no_value(variable: str) -> NoValueError:
    return NoValueError(variable, "expected a number or an array of numbers, got None")


def _shown(value: Any) -> str:
    text = f"a large {type(value).__name__}"
    if is_writable(value):
        with suppress(RecursionError):  # the value is nested too deeply
            text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def initial_array(value: Any, dtype: Any, shape: Shape | None, variable: str) -> Array:
    """Return a variable's initial value as an array.

    If `dtype` is None, a Python int becomes int32 and a Python float becomes float32, as in
    TensorFlow. A value with a dtype keeps its dtype.

    Raises:
        ValueError: The value is None, or its shape does not match `shape`.
        TypeError: A variable cannot hold the value.
    """
    value = as_numpy(value, variable)
    _check_size(value, f"the initial value of variable {variable!r}")
    if dtype is None:
        found = _numbers(value, variable)
        array = found if isinstance(value, np.ndarray | np.generic) else _narrow(found, variable)
        array = np.array(array, order="C")
    else:
        array = np.array(to_array(value, as_dtype(dtype), variable))
    if not is_supported(array.dtype):
        raise ValueTypeError(variable, f"a variable cannot hold dtype {array.dtype}")
    if shape is not None and not _compatible(shape, array.shape):
        raise ShapeError(
            variable,
            f"its initial value has shape {list(array.shape)}, which does not match the requested "
            f"shape={shape_text(shape)}",
        )
    return array


def _check_size(value: Any, what: str) -> None:
    """Refuse an array that no message can hold, before the array is copied.

    Raises:
        SizeError: The array is too large.
    """
    if isinstance(value, np.ndarray):
        check_frame(value.nbytes, what=what)


def as_tensor(value: Any) -> Array:
    """Return a number, list of numbers, array or variable as an array with TensorFlow's dtype."""
    value = as_numpy(value, "(value)")
    _check_size(value, "an array")
    if isinstance(value, np.ndarray | np.generic):
        if not is_supported(value.dtype):
            raise _no_number(value, value.dtype, "(value)")
        return np.asarray(value, order="C")
    if isinstance(value, DistributedValues):
        return np.asarray(value)
    return _narrow(_numbers(value, "(value)"), "(value)")


def as_dtype(dtype: Any) -> np.dtype[np.generic]:
    """Return a dtype, given by any of its names.

    Raises:
        ValueTypeError: A variable cannot hold this dtype.
        MissingDtype: The dtype belongs to the package `ml_dtypes`, which is not installed.
    """
    found: np.dtype[np.generic] = named(dtype) if isinstance(dtype, str) else np.dtype(dtype)
    if not is_supported(found):
        raise ValueTypeError("(dtype)", f"a variable cannot hold dtype {found}")
    return found


def _narrow(found: Array, variable: str) -> Array:
    """Convert an array of Python numbers to the dtype that TensorFlow gives them."""
    if found.dtype == np.float64:
        return found.astype(np.float32)
    if found.dtype.kind in "iu":
        if found.size and (found.max() > 2**31 - 1 or found.min() < -(2**31)):
            raise ValueTypeError(
                variable, f"{_shown(found.tolist())} is out of range for int32", "Give a dtype."
            )
        return found.astype(np.int32)
    return found


def as_shape(shape: Any) -> Shape | None:
    """Return a declared shape as a tuple, with None for unknown dimensions; None for any shape."""
    if shape is None:
        return None
    if isinstance(shape, int):
        return (shape,)
    return tuple(None if size is None else int(size) for size in shape)


def _compatible(declared: Shape, shape: tuple[int, ...]) -> bool:
    return len(declared) == len(shape) and all(
        size is None or size == got for size, got in zip(declared, shape, strict=True)
    )
