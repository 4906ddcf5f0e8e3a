"""Define the dtypes that a variable can have: NumPy's, and three of the package `ml_dtypes`.

bfloat16 and two float8 dtypes are *extension dtypes*: NumPy has them only after `ml_dtypes` is
imported. This package is an optional extra. It is imported when such a dtype is first used.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any, Final

import numpy as np

from varsim.errors import MissingDtype

EXTENSION_SIZES: Final = {"bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1}
"""The extension dtypes, with the size of an element in bytes. Add new dtypes at the end."""

NUMPY_DTYPES: Final[tuple[np.dtype[np.generic], ...]] = tuple(
    map(np.dtype, "? f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 c8 c16".split())
)
"""NumPy's own dtypes that a variable can have. Add new dtypes at the end."""

NAMES: Final = (*(dtype.name for dtype in NUMPY_DTYPES), *EXTENSION_SIZES)
"""The names of all dtypes; in messages a dtype is an index of this tuple."""

SIZES: Final = {**{dtype.name: dtype.itemsize for dtype in NUMPY_DTYPES}, **EXTENSION_SIZES}
"""The size of an element in bytes, by the name of the dtype."""

_OWN: Final = 1  # `isbuiltin` of NumPy's own dtypes
_ADDED: Final = 2  # `isbuiltin` of dtypes that other packages have added to NumPy

_NUMPY_DTYPES: Final = frozenset(NUMPY_DTYPES)


def named(name: str) -> np.dtype[Any]:
    """Return the dtype with this name, even if no variable can have it.

    Raises:
        MissingDtype: The name belongs to an extension dtype, and `ml_dtypes` is not installed.
        TypeError: No dtype has this name.
    """
    found: np.dtype[Any] = _extension(name) if name in EXTENSION_SIZES else np.dtype(name)
    return found


@cache
def _extension(name: str) -> np.dtype[Any]:
    try:
        module = import_module("ml_dtypes")
    except ImportError as error:
        raise MissingDtype(name) from error
    found: np.dtype[Any] = np.dtype(getattr(module, name))
    return found


def is_extension(dtype: np.dtype[Any]) -> bool:
    """Return whether the dtype is an extension dtype that a variable can have."""
    return dtype.isbuiltin == _ADDED and dtype.name in EXTENSION_SIZES


def is_added_to_numpy(dtype: np.dtype[Any]) -> bool:
    """Return whether a package has added the dtype to NumPy, even if no variable can have it."""
    return dtype.isbuiltin == _ADDED


def is_supported(dtype: np.dtype[Any]) -> bool:
    """Return whether a variable can have this dtype."""
    return dtype in _NUMPY_DTYPES or is_extension(dtype)


def kind_of(dtype: np.dtype[Any]) -> str:
    """Return the kind of a dtype: `dtype.kind`, but "f" for every extension dtype.

    In NumPy, bfloat16 has the kind "V", like unstructured bytes.
    """
    kind = dtype.kind
    return "f" if kind == "V" and is_extension(dtype) else kind


def key_of(dtype: np.dtype[Any]) -> str:
    """Return the text for a dtype in records; `named` converts it back to the dtype.

    The dtype of an array that was pickled is equal to NumPy's own one, but another object.
    """
    return dtype.char if dtype.isbuiltin == _OWN or dtype in _NUMPY_DTYPES else dtype.name


def eps_of(dtype: np.dtype[Any]) -> float:
    """Return the distance from 1 to the next larger number that a dtype of floats contains."""
    if is_extension(dtype):
        return float(import_module("ml_dtypes").finfo(dtype).eps)
    return float(np.finfo(dtype).eps)


def max_of(dtype: np.dtype[Any]) -> float:
    """Return the largest finite number that a dtype of floats contains."""
    if is_extension(dtype):
        return float(import_module("ml_dtypes").finfo(dtype).max)
    return float(np.finfo(dtype).max)


def smallest_of(dtype: np.dtype[Any]) -> float:
    """Return the smallest positive number that a dtype of floats contains."""
    if is_extension(dtype):
        return float(import_module("ml_dtypes").finfo(dtype).smallest_subnormal)
    return float(np.finfo(dtype).smallest_subnormal)


def has_infinity(dtype: np.dtype[Any]) -> bool:
    """Return whether a dtype of floats has an infinity. If not, an overflow gives NaN."""
    return dtype.name != "float8_e4m3fn"
