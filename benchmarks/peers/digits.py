"""Run the built-in job `digits` as a TensorFlow program: same model, images, batches and steps.

The arguments are the way to read batches, and the numbers of replicas and epochs. Batches are read
from a distributed `dataset`, as in TensorFlow's guides; or as `tensors` that were split in advance
and stay on their devices, as in the built-in job. The output is JSON: for each epoch, the time
at which it ended, in seconds since the training began; and the result.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.peers.mirrored import mirrored
from varsim.workloads.data import load_digits

BATCH_SIZE = 64
LEARNING_RATE = 0.5


class Model:
    """Softmax regression, trained by a step on each replica."""

    def __init__(self) -> None:
        self.weights = tf.Variable(tf.zeros((64, 10)), aggregation=tf.VariableAggregation.MEAN)
        self.bias = tf.Variable(tf.zeros(10), aggregation=tf.VariableAggregation.MEAN)
        self.accuracy = tf.keras.metrics.SparseCategoricalAccuracy()

    def step(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Learn from a replica's part of a batch; return the mean loss of this part."""
        with tf.GradientTape() as tape:
            logits = images @ self.weights + self.bias
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        by_weights, by_bias = tape.gradient(loss, (self.weights, self.bias))
        self.weights.assign_sub(LEARNING_RATE * by_weights)
        self.bias.assign_sub(LEARNING_RATE * by_bias)
        self.accuracy.update_state(labels, logits)
        return loss


def from_dataset(strategy: Any, model: Model, images: np.ndarray, labels: np.ndarray) -> Any:
    """Return a `tf.function` that trains one epoch over a distributed dataset."""
    whole = tf.data.Dataset.from_tensor_slices((images, labels))
    batches = strategy.experimental_distribute_dataset(whole.batch(BATCH_SIZE, drop_remainder=True))

    def epoch() -> tf.Tensor:
        total, count = 0.0, 0.0
        for batch in batches:
            loss = strategy.run(model.step, args=batch)
            total += strategy.reduce(tf.distribute.ReduceOp.MEAN, loss, axis=None)
            count += 1.0
        return total / count

    return tf.function(epoch)


def from_tensors(strategy: Any, model: Model, images: np.ndarray, labels: np.ndarray) -> Any:
    """Return a `tf.function` that trains one epoch over each replica's parts of all batches."""
    replicas = strategy.num_replicas_in_sync
    count = len(labels) // BATCH_SIZE
    split = (count, replicas, BATCH_SIZE // replicas)
    all_images = images[: count * BATCH_SIZE].reshape(*split, -1)
    all_labels = labels[: count * BATCH_SIZE].reshape(split)
    parts = strategy.experimental_distribute_values_from_function(
        lambda context: tuple(
            tf.constant(array[:, context.replica_id_in_sync_group])
            for array in (all_images, all_labels)
        )
    )

    def epoch() -> tf.Tensor:
        total = 0.0
        for i in tf.range(count):
            loss = strategy.run(lambda x, y: model.step(x[i], y[i]), args=parts)  # noqa: B023
            total += strategy.reduce(tf.distribute.ReduceOp.MEAN, loss, axis=None)
        return total / count

    return tf.function(epoch)


def main(source: str, replicas: int, epochs: int) -> None:
    """Train, test, and print."""
    strategy = mirrored(replicas)
    train_set, (images, labels) = load_digits()
    with strategy.scope():
        model = Model()
    epoch_from = {"dataset": from_dataset, "tensors": from_tensors}[source]
    epoch = epoch_from(strategy, model, *train_set)
    start = time.perf_counter()
    ends = []
    for _ in range(epochs):
        model.accuracy.reset_state()
        loss = float(epoch())
        ends.append(time.perf_counter() - start)
    guesses = (images @ model.weights.numpy() + model.bias.numpy()).argmax(axis=1)
    reached = {
        "train_loss": loss,
        "train_accuracy": float(model.accuracy.result()),
        "test_accuracy": float(np.mean(guesses == labels)),
    }
    print(json.dumps({"version": tf.__version__, "epoch_ends": ends, "reached": reached}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
