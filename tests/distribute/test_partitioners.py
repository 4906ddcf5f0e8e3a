"""Into how many shards a variable is divided."""

import numpy as np
import pytest

import varsim as tf
from varsim.distribute.parameter_servers.partitioners import shard_rows
from varsim.errors import DistributedValueError

partitioners = tf.distribute.experimental.partitioners


def test_a_fixed_number_of_shards_has_at_least_one_row_each() -> None:
    fixed = partitioners.FixedShardsPartitioner(3)

    assert [3, 1] == fixed((10, 4), np.float32)
    assert [2] == fixed((2,), np.float32)
    assert [] == fixed((), np.float32)


def test_shards_of_a_minimal_size_are_as_many_as_possible() -> None:
    """The numbers are those of TensorFlow's documentation."""
    assert [2, 1] == partitioners.MinSizePartitioner(4, max_shards=2)((6, 1), np.float32)
    assert [6, 1] == partitioners.MinSizePartitioner(4, max_shards=10)((6, 1), np.float32)
    assert [1, 1] == partitioners.MinSizePartitioner(max_shards=10)((6, 1), np.float32)


def test_shards_of_a_maximal_size_are_as_few_as_possible() -> None:
    """The numbers are those of TensorFlow's documentation."""
    assert [6, 1] == partitioners.MaxSizePartitioner(4)((6, 1), np.float32)
    assert [2, 1] == partitioners.MaxSizePartitioner(4, max_shards=2)((6, 1), np.float32)
    assert [1, 1] == partitioners.MaxSizePartitioner(1024)((6, 1), np.float32)


def test_an_empty_variable_is_not_divided() -> None:
    assert [1, 1] == partitioners.MaxSizePartitioner(4)((0, 3), np.float32)


@pytest.mark.parametrize("number", [0, -1, 1.5, True])
def test_sizes_and_numbers_are_ints_of_at_least_one(number) -> None:
    with pytest.raises(DistributedValueError, match="num_shards="):
        partitioners.FixedShardsPartitioner(number)


def test_larger_shards_come_first() -> None:
    assert [slice(0, 4), slice(4, 7), slice(7, 10)] == shard_rows((10, 2), [3, 1], "v")


@pytest.mark.parametrize("parts", [[1, 2], [2], [0, 1], [11, 1]])
def test_only_the_first_axis_is_divided(parts) -> None:
    with pytest.raises(DistributedValueError, match="variable 'v': the partitioner"):
        shard_rows((10, 2), parts, "v")
