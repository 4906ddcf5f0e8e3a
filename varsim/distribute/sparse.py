"""Provide the methods of variables that change some rows, which are given as `tf.IndexedSlices`."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from varsim.distribute.conversion import as_operand, as_tensor
from varsim.distribute.indexed_slices import IndexedSlices, index_array
from varsim.errors import PartError, ShapeError, ValueTypeError
from varsim.spec import Array, Operation, Rows


def as_rows(value: Any, dtype: np.dtype[np.generic], variable: str) -> Rows:
    """Return IndexedSlices as rows of a variable's dtype, in arrays that no other code can write.

    Raises:
        ValueTypeError: `value` is not IndexedSlices.
        DtypeError: The values have another dtype.
        ShapeError: The shapes of values and indices do not match.
    """
    if not isinstance(value, IndexedSlices):
        raise _not_slices("a sparse write", value, variable)
    indices = np.asarray(value.indices)
    values = np.array(as_operand(value.values, dtype, variable), order="C")
    if values.shape[: indices.ndim] != indices.shape:
        raise _not_alike(values, indices, variable)
    return Rows(
        np.array(indices.reshape(-1), np.int64),
        values.reshape(indices.size, *values.shape[indices.ndim :]),
    )


def rows_alike(slices: IndexedSlices) -> tuple[Array, Array]:
    """Return the values and the indices of IndexedSlices that are used without a variable.

    Raises:
        ShapeError: The number of rows of values is not the number of indices.
    """
    values, indices = as_tensor(slices.values), slices.indices
    if values.shape[: indices.ndim] != indices.shape:
        raise _not_alike(values, indices, "(slices)")
    return values, indices


def _not_alike(values: Array, indices: Array, variable: str) -> ShapeError:
    return ShapeError(
        variable,
        f"values of shape {list(values.shape)} do not fit indices of shape "
        f"{list(indices.shape)}: each index needs one row of values",
    )


def read_indices(method: str, indices: Any, variable: str) -> Array:
    """Return the indices of `sparse_read` or `gather_nd`. Unlike NumPy, refuse negative indices.

    Raises:
        ValueTypeError: The indices are not integers.
        PartError: An index is negative.
    """
    index = index_array(indices, variable)
    if index.size == 0:  # an empty list has no dtype
        return index.astype(np.int64)
    if index.dtype.kind not in "iu":
        raise ValueTypeError(
            variable, f"{method} needs integer indices, but these are {index.dtype}"
        )
    if index.min() < 0:
        raise PartError(variable, f"{method} got the negative index {index.min()}")
    if index.max() > np.iinfo(np.int64).max:
        raise PartError(variable, f"{method} got the index {index.max()}, which is out of range")
    return index.astype(np.int64)


def _not_slices(method: str, value: Any, variable: str) -> ValueTypeError:
    return ValueTypeError(
        variable,
        f"{method} needs tf.IndexedSlices, but got {type(value).__name__}",
        "Write tf.IndexedSlices(values, indices).",
    )


def selects(key: Any, variable: str) -> bool:
    """Return whether a key is an array of integers, which selects copies of rows.

    Raises:
        ShapeError: The key is a nested list whose rows differ in length.
    """
    if isinstance(key, list):
        key = index_array(key, variable)
    return isinstance(key, np.ndarray) and key.dtype.kind in "iu"


def row_indices(key: Any, variable: str) -> Array:
    """Return the indices of `v[key]`, which copies rows. Refuse negative indices.

    A sparse write also refuses negative indices, and so does TensorFlow's `sparse_read`.

    Raises:
        PartError: An index is negative.
    """
    index = index_array(key, variable)
    if index.dtype.kind == "i" and index.size and index.min() < 0:
        raise PartError(
            variable,
            f"row {index.min()} cannot be read: a list of indices counts rows from 0",
            "Use v[-1] for the last row, or v.read_value()[indices].",
        )
    return index


class SparseWrites:
    """The methods of `tf.Variable` that change or read only some rows.

    The argument of a sparse write is `tf.IndexedSlices`. If an index occurs several times, its row
    is changed several times, in order. The methods return the variable (difference D6 in
    docs/semantics.md).
    """

    def scatter(self, operation: Operation, sparse_delta: Any) -> None:
        """Apply one of the sparse writes."""
        raise NotImplementedError

    def scatter_elements(self, method: str, indices: Any, updates: Any = None) -> None:
        """Apply `batch_scatter_update` or one of the `scatter_nd` methods.

        Args:
            method: The name of the method.
            indices: The indices; for `batch_scatter_update`, IndexedSlices, which contain the
                indices and the updates.
            updates: The updates; None for `batch_scatter_update`.
        """
        raise NotImplementedError

    def sparse_read(self, indices: Any, name: str | None = None) -> Array:
        """Return a copy of the rows at `indices`."""
        raise NotImplementedError

    def gather_nd(self, indices: Any, name: str | None = None) -> Array:
        """Return the elements at the index tuples in the last axis of `indices`."""
        raise NotImplementedError

    def scatter_add(self, sparse_delta: Any, use_locking: bool = False, name: Any = None) -> Self:
        """Add values to rows."""
        self.scatter(Operation.SCATTER_ADD, sparse_delta)
        return self

    def scatter_sub(self, sparse_delta: Any, use_locking: bool = False, name: Any = None) -> Self:
        """Subtract values from rows."""
        self.scatter(Operation.SCATTER_SUB, sparse_delta)
        return self

    def scatter_mul(self, sparse_delta: Any, use_locking: bool = False, name: Any = None) -> Self:
        """Multiply rows by values."""
        self.scatter(Operation.SCATTER_MUL, sparse_delta)
        return self

    def scatter_div(self, sparse_delta: Any, use_locking: bool = False, name: Any = None) -> Self:
        """Divide rows by values; integers are truncated towards zero."""
        self.scatter(Operation.SCATTER_DIV, sparse_delta)
        return self

    def scatter_min(self, sparse_delta: Any, use_locking: bool = False, name: Any = None) -> Self:
        """Set rows to the minimum of themselves and the values."""
        self.scatter(Operation.SCATTER_MIN, sparse_delta)
        return self

    def scatter_max(self, sparse_delta: Any, use_locking: bool = False, name: Any = None) -> Self:
        """Set rows to the maximum of themselves and the values."""
        self.scatter(Operation.SCATTER_MAX, sparse_delta)
        return self

    def scatter_update(
        self, sparse_delta: Any, use_locking: bool = False, name: Any = None
    ) -> Self:
        """Set rows to the values."""
        self.scatter(Operation.SCATTER_UPDATE, sparse_delta)
        return self

    def batch_scatter_update(
        self, sparse_delta: Any, use_locking: bool = False, name: Any = None
    ) -> Self:
        """Set rows of each batch.

        Along the last axis, the indices number the rows within one batch.
        """
        self.scatter_elements("batch_scatter_update", sparse_delta)
        return self

    def scatter_nd_add(self, indices: Any, updates: Any, name: Any = None) -> Self:
        """Add to the elements or slices at the index tuples in the last axis of `indices`."""
        self.scatter_elements("scatter_nd_add", indices, updates)
        return self

    def scatter_nd_sub(self, indices: Any, updates: Any, name: Any = None) -> Self:
        """Subtract from the elements or slices; see `scatter_nd_add`."""
        self.scatter_elements("scatter_nd_sub", indices, updates)
        return self

    def scatter_nd_update(self, indices: Any, updates: Any, name: Any = None) -> Self:
        """Set the elements or slices; see `scatter_nd_add`."""
        self.scatter_elements("scatter_nd_update", indices, updates)
        return self


def with_elements(method: str, before: Array, indices: Any, updates: Any, variable: str) -> Array:
    """Return a value after `batch_scatter_update` or one of the `scatter_nd` methods.

    Raises:
        ShapeError: The shapes of the variable, the indices and the updates do not match.
    """
    if method == "batch_scatter_update" and not isinstance(indices, IndexedSlices):
        raise _not_slices(method, indices, variable)
    index = index_array(
        indices.indices if isinstance(indices, IndexedSlices) else indices, variable
    )
    updates = as_operand(
        indices.values if isinstance(indices, IndexedSlices) else updates, before.dtype, variable
    )
    if method == "batch_scatter_update":
        index = _batch_indices(index)
    depth = index.shape[-1] if index.ndim else 0
    if index.dtype.kind not in "iu" or not 0 < depth <= before.ndim:
        raise ShapeError(
            variable,
            f"{method} needs integer indices with 1 to {before.ndim} numbers along the last axis",
        )
    wanted = (*index.shape[:-1], *before.shape[depth:])
    if updates.shape != wanted:
        raise ShapeError(
            variable,
            f"{method} got updates of shape {list(updates.shape)}, but these indices need updates "
            f"of shape {list(wanted)}",
        )
    flat = index.reshape(-1, depth)
    if flat.size and (flat.min() < 0 or (flat.max(axis=0) >= before.shape[:depth]).any()):
        raise PartError(variable, f"{method} got an index beyond the shape {list(before.shape)}")
    after = np.array(before)
    where = tuple(flat.T)
    values = updates.reshape(len(flat), *before.shape[depth:])
    with np.errstate(all="ignore"):
        if method == "scatter_nd_add":
            np.add.at(after, where, values)
        elif method == "scatter_nd_sub":
            np.subtract.at(after, where, values)
        else:
            after[where] = values
    return after


def _batch_indices(index: Array) -> Array:
    """Return a tuple for each row: the position of the row's batch, then the row's number."""
    if not index.ndim:
        return index
    batch = np.indices(index.shape)[:-1]
    return np.stack([*batch, index], axis=-1)
