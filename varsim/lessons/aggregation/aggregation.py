"""Lesson 2: a metric that is N times too large, and two remedies that are none."""

from typing import Any

import numpy as np

import varsim as tf


def run(job: tf.Job) -> dict[str, object]:
    """Measure an accuracy: each replica measures its part of the examples."""
    strategy = job.strategy
    with strategy.scope():
        accuracy = metric("accuracy", tf.VariableAggregation.SUM)
        seen = metric("seen", tf.VariableAggregation.SUM)

    @tf.function
    def measure(right: np.ndarray) -> None:
        accuracy.assign_add(right.mean())  # the accuracy on this replica's part
        seen.assign_add(len(right))

    strategy.run(measure, args=(parts_of(strategy, predictions()),))
    return {"accuracy": float(accuracy.read_value()), "examples": int(seen.read_value())}


def metric(name: str, aggregation: tf.VariableAggregation) -> tf.Variable:
    """Create a metric: each replica writes its component, and a read combines them."""
    return tf.Variable(
        0.0,
        name=name,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=aggregation,
    )


def predictions() -> np.ndarray:
    """Return 1 for a right prediction and 0 for a wrong one: 850 and 150 of 1,000 examples."""
    example = np.arange(1000)
    return np.where(example < 500, example % 5 > 0, example % 10 > 0).astype(np.float32)


def parts_of(strategy: tf.distribute.Strategy, examples: np.ndarray) -> Any:
    """Return each replica's part of the examples: replica r gets r + 1 shares of them."""
    shares = np.arange(strategy.num_replicas_in_sync + 1).cumsum()
    cuts = len(examples) * shares // shares[-1]
    return strategy.experimental_distribute_values_from_function(
        lambda replica: np.split(examples, cuts[1:-1])[replica.replica_id_in_sync_group]
    )
