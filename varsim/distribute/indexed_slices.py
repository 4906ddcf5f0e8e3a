"""Provide `tf.IndexedSlices`: some rows of an array, such as the gradient of an embedding."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from varsim.distribute.missing import explains_missing
from varsim.errors import ShapeError, ValueTypeError, VariableError
from varsim.location import user_location
from varsim.spec import Array
from varsim.texts.facts import rows_text


@explains_missing("tf.IndexedSlices")
class IndexedSlices:
    """Rows of a larger array: `values[i]` belongs to row `indices[i]`. Indices can repeat.

    Args:
        values: The rows, as an array or nested list.
        indices: The row number of each value, as integers.
        dense_shape: The shape of the larger array, if it is known.
    Source: `tf.IndexedSlices` of TensorFlow 2.21.
    """

    def __init__(self, values: Any, indices: Any, dense_shape: Any = None) -> None:
        self.values = values
        self.indices = index_array(indices, _NAME)
        self.dense_shape = None if dense_shape is None else _sizes(dense_shape)
        if self.indices.size == 0:  # an empty list has no dtype
            self.indices = self.indices.astype(np.int64)
        if self.indices.dtype.kind not in "iu":
            remedy = "Use numpy.asarray(indices).astype('int64')."
            raise _located(
                ValueTypeError(
                    _NAME,
                    f"the indices are {self.indices.dtype}, but must be integers",
                    remedy if self.indices.dtype.kind in "fb" else "",
                )
            )
        if self.indices.dtype == np.uint64 and self.indices.max(initial=0) > _LARGEST:
            raise _located(ShapeError(_NAME, f"the index {self.indices.max()} is out of range"))

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Return the dtype of the rows."""
        return np.asarray(self.values).dtype

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Return the shape of the larger array; the first size is None if it is not known."""
        if self.dense_shape is not None:
            return self.dense_shape
        return (None, *np.asarray(self.values).shape[1:])

    def __neg__(self) -> IndexedSlices:
        return IndexedSlices(-np.asarray(self.values), self.indices, self.dense_shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Return the larger array; see `dense`."""
        try:
            values = np.asarray(self.values)
        except ValueError as error:
            raise _located(ShapeError(_NAME, "the values are ragged: rows differ in length")) from (
                error
            )
        dense = self.dense(values, _NAME)
        return dense if dtype is None else dense.astype(dtype)

    def dense(self, values: Array, variable: str) -> Array:
        """Return the larger array. Values with the same index are added; missing rows are zero.

        Args:
            values: The values as an array.
            variable: The name of the variable that gets the array, for errors.
        Raises:
            ShapeError: `dense_shape` is not given, or does not match the rows.
        """
        rows = self.indices.reshape(-1)
        if self.dense_shape is None:
            raise _located(
                ShapeError(
                    variable,
                    "IndexedSlices without a dense_shape cannot become an array",
                    "Give a dense_shape: tf.IndexedSlices(values, indices, dense_shape=v.shape).",
                )
            )
        if values.shape != (*self.indices.shape, *self.dense_shape[1:]) or not self.dense_shape:
            raise _located(
                ShapeError(
                    variable,
                    f"values of shape {list(values.shape)} with {rows.size} indices are not rows "
                    f"of an array of shape {list(self.dense_shape)}",
                )
            )
        if rows.size and not (rows.min() >= 0 and rows.max() < self.dense_shape[0]):
            wrong = rows.min() if rows.min() < 0 else rows.max()
            raise _located(
                ShapeError(
                    variable,
                    f"IndexedSlices have the index {wrong}, but their dense_shape "
                    f"{list(self.dense_shape)} has {rows_text(self.dense_shape[0])}",
                )
            )
        dense: Array = np.zeros(self.dense_shape, values.dtype)
        np.add.at(dense, rows, values.reshape(-1, *self.dense_shape[1:]))
        return dense

    def __repr__(self) -> str:
        shape = "" if self.dense_shape is None else f", dense_shape={self.dense_shape}"
        return f"IndexedSlices(indices={self.indices!r}, values={self.values!r}{shape})"


def index_array(indices: Any, variable: str) -> Array:
    """Return indices as an array, of any dtype.

    Raises:
        ShapeError: The indices are nested lists of different lengths.
    """
    try:
        return np.asarray(indices)
    except ValueError as error:
        raise _located(
            ShapeError(variable, "the indices are ragged: their rows differ in length")
        ) from error


_LARGEST = np.iinfo(np.int64).max
_NAME = "(slices)"


def _located(error: VariableError) -> VariableError:
    """Add the location of the program to an error."""
    error.location = user_location()
    return error


def _sizes(dense_shape: Any) -> tuple[int, ...]:
    try:
        sizes = tuple(operator.index(size) for size in dense_shape)
    except TypeError as error:
        raise _located(
            ValueTypeError(
                _NAME, f"the dense_shape is {dense_shape!r}, but must be a list of integers"
            )
        ) from error
    if min(sizes, default=0) < 0:
        raise _located(ShapeError(_NAME, f"the dense_shape {list(sizes)} has a negative size"))
    return sizes
