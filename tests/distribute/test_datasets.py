"""Datasets for replicas are Python iterables."""

from __future__ import annotations

import numpy as np
import pytest

import varsim as tf
from tests.distribute.programs import create_variable


def test_a_dataset_can_be_read_in_every_epoch(strategy):
    total = create_variable(strategy, 0.0, "ON_READ", "SUM")
    dataset = strategy.experimental_distribute_dataset([np.ones(4, np.float32)])
    for _ in range(3):
        for batch in dataset:
            strategy.run(lambda x: total.assign_add(np.sum(x)) and None, (batch,))

    assert 12.0 == total.numpy()


def test_an_iterator_can_be_read_only_once(strategy):
    dataset = strategy.experimental_distribute_dataset(iter([np.ones(4)]))

    assert 1 == len(list(dataset))
    with pytest.raises(ValueError, match="an iterator that has ended"):
        list(dataset)


def test_a_function_makes_one_batch_for_each_replica(strategy):
    contexts = []

    def dataset_fn(context):
        contexts.append(context)
        size = context.get_per_replica_batch_size(4)
        return [np.full(size, i) for i in range(3)]

    dataset = strategy.distribute_datasets_from_function(dataset_fn)
    with pytest.warns(tf.VarsimWarning, match="batch 2 .* replica 1 gets none"):
        assert [[[0, 0], [1, 1]], [[2, 2], []]] == [
            [part.tolist() for part in batch.values] for batch in dataset
        ]
    with pytest.warns(tf.VarsimWarning, match="replica 1 gets none"):
        assert 2 == len(list(dataset))
    assert [tf.distribute.InputContext(1, 0, 2)] == contexts
    old = strategy.experimental_distribute_datasets_from_function(dataset_fn)
    assert [0, 0] == next(iter(old)).values[0].tolist()


def test_a_last_batch_without_rows_cannot_be_shared(strategy):
    dataset = strategy.distribute_datasets_from_function(lambda _: [np.float32(1.0)])

    with pytest.raises(ValueError, match="replicas without a batch can get 0 rows"):
        next(iter(dataset))


def test_a_global_batch_is_divided_equally():
    context = tf.distribute.InputContext(num_replicas_in_sync=4)

    assert 8 == context.get_per_replica_batch_size(32)
    with pytest.raises(ValueError, match="33 cannot be divided into equal parts for 4 replicas"):
        context.get_per_replica_batch_size(33)


def test_on_one_device_batches_are_not_divided(simulated):
    one = tf.distribute.OneDeviceStrategy()
    dataset = one.distribute_datasets_from_function(lambda context: [context.num_replicas_in_sync])

    assert [[1], [1]] == [list(dataset), list(dataset)]
    assert 1 == iter(dataset).get_next()


def test_a_missing_attribute_of_a_dataset_has_a_remedy(strategy):
    dataset = strategy.experimental_distribute_dataset([])

    with pytest.raises(AttributeError, match=r"use next\(iterator, None\)"):
        iter(dataset).get_next_as_optional()
    with pytest.raises(AttributeError, match="leave the input signature out"):
        dataset.element_spec  # noqa: B018
