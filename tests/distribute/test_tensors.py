"""TensorFlow's functions and dtypes for tensors, as varsim provides them for NumPy arrays."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.distribute.programs import components, create_variable
from tests.dtypes import HAS_ML_DTYPES
from tests.replica_context import replica_id
from varsim.extension_dtypes import EXTENSION_SIZES, named


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1, "int32"),
        (1.5, "float32"),
        (True, "bool"),
        ([[1, 2], [3, 4]], "int32"),
        (np.float64(1.0), "float64"),
        (np.zeros(2, np.int8), "int8"),
        (1j, "complex128"),
    ],
)
def test_a_constant_has_the_dtype_of_tensorflow(value, dtype):
    array = tf.constant(value)

    assert (np.ndarray, dtype) == (type(array), array.dtype.name)
    assert np.array_equal(np.asarray(value), array)


def test_a_constant_has_the_requested_dtype_or_is_refused():
    assert tf.float64 == tf.constant(0.1, tf.float64).dtype
    assert 0.1 == tf.constant(0.1, "float64")
    assert tf.float32 == tf.constant(np.array([1, 2]), tf.float32).dtype
    with pytest.raises(TypeError, match=r"cannot hold 1\.5"):
        tf.constant(1.5, tf.int32)
    with pytest.raises(TypeError, match="cannot hold dtype"):
        tf.constant(1, "datetime64[s]")
    with pytest.raises(TypeError, match="got None"):
        tf.constant(None)


def test_a_constant_has_the_requested_shape():
    assert [[7, 7], [7, 7]] == tf.constant(7, shape=(2, 2)).tolist()
    assert [[1, 2], [3, 4]] == tf.constant([1, 2, 3, 4], shape=[2, 2]).tolist()
    assert (0,) == tf.constant(1.0, shape=(0,)).shape
    assert () == tf.constant([5], shape=()).shape
    with pytest.raises(ValueError, match="3 elements cannot have the shape"):
        tf.constant([1, 2, 3], shape=(2, 2))


def test_a_constant_is_a_copy():
    array = np.zeros(2)
    tf.constant(array)[0] = tf.convert_to_tensor(array)[0] = tf.identity(array)[0] = 1.0

    assert [0.0, 0.0] == array.tolist()
    v = tf.Variable([1.0])
    tf.identity(v)[0] = 2.0
    assert [1.0] == v.numpy().tolist()


def test_zeros_and_ones_have_the_requested_shape_and_dtype():
    assert (tf.float32, (2, 3)) == (tf.zeros([2, 3]).dtype, tf.zeros((2, 3)).shape)
    assert 1 == tf.ones((), tf.int64)
    assert (2,) == tf.ones(np.array([2])).shape
    assert tf.int32 == tf.zeros_like([1, 2]).dtype
    assert [1, 1] == tf.ones_like(np.zeros(2, np.int8), tf.int32).tolist()
    with pytest.raises(ValueError, match="an unknown dimension"):
        tf.zeros((None, 2))


def test_a_cast_drops_fractions_and_imaginary_parts():
    assert [1, -1] == tf.cast([1.9, -1.9], tf.int32).tolist()
    assert 1.0 == tf.cast(True, tf.float32)
    assert 2.0 == tf.cast(2 + 3j, tf.float64)
    assert tf.bool == tf.cast([0, 2], tf.bool).dtype
    assert tf.float16 is tf.half
    assert tf.float64 is tf.double


def test_dtypes_are_those_of_numpy():
    names = "bool float16 float32 float64 complex64 complex128 "
    names += "int8 int16 int32 int64 uint8 uint16 uint32 uint64"
    for name in names.split():
        assert np.dtype(name) == getattr(tf, name)
    assert tf.float32 == tf.Variable(1.0).dtype
    assert tf.uint8 == tf.Variable(1, dtype=tf.uint8).dtype


def test_a_constant_keeps_its_dtype_in_a_write(strategy):
    v = create_variable(strategy, np.float64(0.0))

    with pytest.raises(ValueError, match="it holds float64, and the value is an array of float32"):
        v.assign(tf.constant(1.0))
    v.assign(tf.constant(1.0, tf.float64))
    assert [1.0, 1.0] == components(v)


def test_only_numbers_can_be_cast():
    with pytest.raises(TypeError, match="neither a number"):
        tf.cast("text", tf.float32)


# ---------------------------------------------------------------- tensors of other libraries


class WithArray:
    """A tensor with `__array__`, such as the tensors of PyTorch, JAX and TensorFlow."""

    def __init__(self, *values: float, dtype: str = "float32") -> None:
        self.held = np.array(values, dtype)

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return self.held


class WithDlpack:
    """A tensor that shares its memory by DLPack only."""

    def __init__(self, *values: float, dtype: str = "float32") -> None:
        self.held = np.array(values, dtype)

    def __dlpack__(self, **options: object) -> object:
        return self.held.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.held.__dlpack_device__()


class Elsewhere(WithArray):
    """A tensor on a GPU."""

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        raise TypeError("it is on cuda:0")


@pytest.mark.parametrize("kind", [WithArray, WithDlpack])
def test_tensors_of_other_libraries_are_values(strategy, kind):
    v = create_variable(strategy, kind(1.0, 2.0), aggregation="SUM")
    assert (tf.float32, (2,)) == (v.dtype, v.shape)

    v.assign(kind(3.0, 4.0))
    assert [3.0, 4.0] == v.numpy().tolist()
    strategy.run(lambda: v.assign_add(kind(1.0, replica_id()), read_value=False))
    assert [5.0, 5.0] == v.numpy().tolist()
    total = strategy.run(lambda: tf.distribute.get_replica_context().all_reduce("SUM", kind(2.0)))
    assert [[4.0], [4.0]] == [part.tolist() for part in total.values]
    each = tf.distribute.PerReplica([kind(1.0), kind(2.0)])
    assert [3.0] == strategy.reduce("SUM", each, axis=None).tolist()
    assert [1.0, 2.0] == strategy.gather(each, axis=0).tolist()
    assert [1.0] == tf.constant(kind(1.0)).tolist()
    batches = strategy.experimental_distribute_dataset([kind(1.0, 2.0, 3.0)])
    assert [[1.0, 2.0], [3.0]] == [part.tolist() for part in next(iter(batches)).values]


@pytest.mark.parametrize("kind", [WithArray, WithDlpack])
def test_a_tensor_keeps_its_dtype(strategy, kind):
    v = create_variable(strategy, 1.0)

    with pytest.raises(ValueError, match="an array of float64"):
        v.assign(kind(1.0, dtype="float64"))
    assert tf.float64 == tf.Variable(kind(1.0, dtype="float64")).dtype


def test_a_tensor_on_a_gpu_has_a_remedy(strategy):
    v = create_variable(strategy, 1.0)

    with pytest.raises(TypeError, match=r"Elsewhere cannot be read .*: it is on cuda"):
        v.assign(Elsewhere(1.0))


class Peer(WithDlpack):
    """A tensor that refuses arithmetic with NumPy's arrays, as a tensor of PyTorch does."""

    __array_ufunc__ = None

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return self.held


def test_arithmetic_of_a_variable_with_a_tensor_gives_an_array():
    v = tf.Variable([1.0, 2.0])

    assert [3.0, 6.0] == (v * Peer(3.0, 3.0)).tolist()
    with pytest.raises(TypeError):
        v + "text"


def test_the_fix_for_a_tensor_of_another_dtype_is_a_cast(strategy):
    v = create_variable(strategy, [1.0])

    with pytest.raises(ValueError, match=r"tf\.cast\(value, 'float32'\): assigns \[2") as refused:
        v.assign(WithDlpack(2.0, dtype="float64"))
    assert "np.asarray" not in str(refused.value)


class OfTorch:
    """A tensor of PyTorch in a dtype that PyTorch does not convert for NumPy."""

    def __init__(self, array: np.ndarray) -> None:
        self.held = array
        self.dtype = f"torch.{array.dtype.name}"

    def view(self, dtype: Any) -> np.ndarray:
        return self.held.view(dtype)

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        raise TypeError(f"Got unsupported ScalarType {self.dtype}")


@pytest.mark.skipif(not HAS_ML_DTYPES, reason="needs ml_dtypes")
@pytest.mark.parametrize("name", EXTENSION_SIZES)
def test_a_tensor_of_pytorch_in_an_extension_dtype_is_a_value(strategy, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "torch", np)  # the code uses only torch.int16 and torch.uint8
    tensor = OfTorch(np.array([1.0, 2.0], named(name)))
    v = create_variable(strategy, tensor)
    v.assign_add(tensor)

    assert (named(name), [2.0, 4.0]) == (v.dtype, v.numpy().tolist())
    assert [1.0, 2.0] == tf.cast(tensor, tf.float32).tolist()
    assert [2.0, 4.0] == strategy.run(
        lambda: tf.distribute.get_replica_context().all_reduce("SUM", tensor)
    ).values[1].tolist()


def test_a_tensor_of_pytorch_is_a_value(strategy):
    torch = pytest.importorskip("torch")
    v = create_variable(strategy, torch.ones(2))
    v.assign_add(torch.tensor([1.0, 2.0]))

    assert [2.0, 3.0] == v.numpy().tolist()
    with pytest.raises(TypeError, match="Detach it"):
        v.assign(torch.ones(2, requires_grad=True))
