"""Provide `tf.IndexedSlices`: some rows of an array, such as the gradient of an embedding."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from varsim.distribute.missing import explains_missing
from varsim.errors import ShapeError, ValueTypeError
from varsim.spec import Array


@explains_missing("tf.IndexedSlices")
class IndexedSlices:
    """Rows of a larger array: `values[i]` belongs to row `indices[i]`; an index can be repeated.

    Args:
        values: The rows, as an array or nested list.
        indices: The row number of each value, as integers.
        dense_shape: The shape of the larger array, if it is known.
    Source: `tf.IndexedSlices` of TensorFlow 2.21.
    """

    def __init__(self, values: Any, indices: Any, dense_shape: Any = None) -> None:
        self.values = values
        self.indices = np.asarray(indices)
        self.dense_shape = None if dense_shape is None else _sizes(dense_shape)
        if self.indices.size == 0:  # an empty list has no dtype
            self.indices = self.indices.astype(np.int64)
        if self.indices.dtype.kind not in "iu":
            raise ValueTypeError(
                "(slices)",
                f"the indices of IndexedSlices are {self.indices.dtype}, but must be integers",
                "Use indices.astype(numpy.int64).",
            )
        if self.indices.dtype == np.uint64 and self.indices.max(initial=0) > _LARGEST:
            raise ShapeError(
                "(slices)", f"the index {self.indices.max()} of IndexedSlices is out of range"
            )

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
        """Return the larger array. Values with the same index are added; missing rows are zero.

        Raises:
            ShapeError: `dense_shape` is not given, or does not match the rows.
        """
        try:
            values = np.asarray(self.values)
        except ValueError as error:
            raise ShapeError(
                "(slices)", "the values of IndexedSlices are ragged: their rows differ in length"
            ) from error
        rows = self.indices.reshape(-1)
        if self.dense_shape is None:
            raise ShapeError(
                "(slices)",
                "IndexedSlices without a dense_shape cannot become an array",
                "Give a dense_shape, or write the rows: v.scatter_add(slices).",
            )
        if values.shape != (*self.indices.shape, *self.dense_shape[1:]) or not self.dense_shape:
            raise ShapeError(
                "(slices)",
                f"values of shape {list(values.shape)} with {rows.size} indices are not rows of an "
                f"array of shape {list(self.dense_shape)}",
            )
        if rows.size and not (rows.min() >= 0 and rows.max() < self.dense_shape[0]):
            raise ShapeError(
                "(slices)",
                f"an index of IndexedSlices is out of range for {self.dense_shape[0]} rows",
            )
        dense: Array = np.zeros(self.dense_shape, values.dtype)
        np.add.at(dense, rows, values.reshape(-1, *self.dense_shape[1:]))
        return dense if dtype is None else dense.astype(dtype)

    def __repr__(self) -> str:
        shape = "" if self.dense_shape is None else f", dense_shape={self.dense_shape}"
        return f"IndexedSlices(indices={self.indices!r}, values={self.values!r}{shape})"


_LARGEST = np.iinfo(np.int64).max


def _sizes(dense_shape: Any) -> tuple[int, ...]:
    try:
        sizes = tuple(operator.index(size) for size in dense_shape)
    except TypeError as error:
        raise ValueTypeError(
            "(slices)", f"the dense_shape of IndexedSlices is {dense_shape!r}, but must be integers"
        ) from error
    if min(sizes, default=0) < 0:
        raise ShapeError("(slices)", f"the dense_shape {list(sizes)} has a negative size")
    return sizes
