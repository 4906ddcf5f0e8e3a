"""Lesson 4: the moving averages of batch normalisation drift apart between replicas."""

from typing import Any

import numpy as np

import varsim as tf


def run(job: tf.Job, *, synchronized: bool = False) -> dict[str, object]:
    """Keep moving averages of the mean and the variance of a feature, as batch normalisation does.

    With `synchronized`, every replica normalises with the statistics of the whole batch.
    """
    strategy = job.strategy
    random = np.random.default_rng(job.seed)
    with strategy.scope():
        moving_mean = moving("moving_mean", 0.0)
        moving_variance = moving("moving_variance", 1.0)

    @tf.function
    def train_step(feature: np.ndarray) -> None:
        mean, square = feature.mean(), (feature * feature).mean()
        if synchronized:
            mean, square = tf.distribute.get_replica_context().all_reduce("MEAN", (mean, square))
        moving_mean.assign_add(0.2 * (mean - moving_mean.read_value()))
        moving_variance.assign_add(0.2 * (square - mean * mean - moving_variance.read_value()))

    for _ in job.each_step(30):
        batch = np.sort(random.normal(5, 2, 64))  # examples in the order of a sorted file
        strategy.run(train_step, args=(parts_of(strategy, batch),))
    return {
        "moving_mean": float(moving_mean.read_value()),
        "moving_variance": float(moving_variance.read_value()),
    }


def moving(name: str, initial: float) -> tf.Variable:
    """Create a moving average: each replica writes its own component."""
    return tf.Variable(
        initial,
        name=name,
        dtype=tf.float32,
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )


def parts_of(strategy: tf.distribute.Strategy, batch: np.ndarray) -> Any:
    """Return each replica's part of a batch."""
    parts = np.array_split(batch.astype(np.float32), strategy.num_replicas_in_sync)
    return strategy.experimental_distribute_values_from_function(
        lambda replica: parts[replica.replica_id_in_sync_group]
    )
