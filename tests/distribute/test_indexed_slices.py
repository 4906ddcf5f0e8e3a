"""`tf.IndexedSlices` contains rows of an array, and can be converted to the array."""

from __future__ import annotations

import numpy as np
import pytest

import varsim as tf
from varsim.errors import ShapeError, ValueTypeError


def test_rows_with_the_same_index_are_added() -> None:
    """TensorFlow's `tf.convert_to_tensor` also adds such rows."""
    slices = tf.IndexedSlices(np.array([[1.0], [2.0], [4.0]]), [2, 0, 2], dense_shape=(3, 1))

    assert [[2.0], [0.0], [5.0]] == np.asarray(slices).tolist()
    assert [[-2.0], [0.0], [-5.0]] == np.asarray(-slices).tolist()
    assert ((3, 1), np.float64) == (slices.shape, slices.dtype)


def test_a_dense_write_accepts_slices_with_a_dense_shape() -> None:
    """Optimizers may pass such slices to `assign_sub`."""
    v = tf.Variable(np.full(3, 10, np.float32))

    v.assign_sub(tf.IndexedSlices(np.ones(2, np.float32), [1, 1], dense_shape=(3,)))

    assert [10.0, 8.0, 10.0] == v.numpy().tolist()


@pytest.mark.parametrize(
    ("slices", "said"),
    [
        (tf.IndexedSlices([1.0], [0]), "Give a dense_shape"),
        (tf.IndexedSlices([1.0], [3], dense_shape=(3,)), "the index 3, but"),
        (tf.IndexedSlices([1.0], [-1], dense_shape=(3,)), "the index -1, but"),
        (tf.IndexedSlices([1.0, 2.0], [0], dense_shape=(3,)), "not rows of"),
    ],
)
def test_the_error_for_slices_that_cannot_become_an_array_says_why(
    slices: tf.IndexedSlices, said: str
) -> None:
    """The error contains the remedy."""
    with pytest.raises(ShapeError, match=said):
        np.asarray(slices)


def test_indices_that_are_not_integers_are_refused() -> None:
    """A float index would have to be rounded, so it is refused."""
    with pytest.raises(ValueTypeError, match="must be integers"):
        tf.IndexedSlices([1.0], [0.5])


def test_empty_indices_may_have_any_dtype() -> None:
    """For an empty list NumPy chooses float64."""
    assert [0.0, 0.0] == np.asarray(tf.IndexedSlices(np.empty(0), [], (2,))).tolist()


@pytest.mark.parametrize(
    ("indices", "dense_shape", "error", "said"),
    [
        ([0], "xx", ValueTypeError, "must be a list of integers"),
        ([0], (2.5,), ValueTypeError, "must be a list of integers"),
        ([0], 3, ValueTypeError, "must be a list of integers"),
        ([0], (-3, 2), ShapeError, "has a negative size"),
        (np.array([2**64 - 1], np.uint64), None, ShapeError, "index 18446744073709551615"),
    ],
)
def test_slices_with_a_wrong_shape_or_index_are_refused(
    indices: object, dense_shape: object, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        tf.IndexedSlices([1.0], indices, dense_shape)


def test_slices_with_ragged_values_cannot_become_an_array() -> None:
    slices = tf.IndexedSlices([[1.0, 2.0], [3.0]], [0, 1], dense_shape=(3, 2))

    with pytest.raises(ShapeError, match="ragged"):
        np.asarray(slices)
