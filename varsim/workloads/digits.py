"""Softmax regression on handwritten digits, data-parallel: the built-in job.

Every step takes the next 64 images and gives each replica its part of them. `weights` and `bias`
are *free* variables, created without a synchronization, so `--mode` says what becomes of them:

    on_write  every write is averaged over the replicas at once: synchronous training
    on_read   every replica trains its own copy; at the end of each epoch the mean is read and
              assigned to all: local SGD
    none      every replica trains alone, and the copies drift apart
    auto      what the strategy makes of AUTO: on_write

A counter has one right setting, so the counters are not free. Nothing here is random: the same
numbers on every run.
"""

from __future__ import annotations

import numpy as np

import varsim as tf
from varsim.workloads.data import load_digits
from varsim.workloads.softmax import (
    Accuracy,
    classifier,
    count_hits,
    in_batches,
    learn,
    mean_over_replicas,
    scores,
    steps_of,
)


def run(
    job: tf.Job, *, epochs: int = 20, learning_rate: float = 0.5, batch_size: int = 64
) -> dict[str, object]:
    """Trains for `epochs` (or for `job.steps` steps), and tests.

    If the replicas do not divide the batch, the first ones get one image more, as
    `np.array_split` does; the mean of their gradients is then not quite the batch's gradient.
    """
    strategy = job.strategy
    train, (test_images, test_labels) = load_digits()
    with strategy.scope():
        weights, bias = classifier()
        accuracy = Accuracy()
        # Counts what the replicas do together: SUM would count every step once per replica.
        steps_done = tf.Variable(
            0,
            name="steps_done",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    @tf.function
    def train_step(images: np.ndarray, labels: np.ndarray) -> np.float32:
        loss, hits, by_weights, by_bias = learn(weights, bias, images, labels)
        weights.assign_sub(learning_rate * by_weights)
        bias.assign_sub(learning_rate * by_bias)
        accuracy.count(hits, len(labels))
        steps_done.assign_add(1)
        return loss

    @tf.function
    def test_step(images: np.ndarray, labels: np.ndarray) -> None:
        accuracy.count(count_hits(scores(weights, bias, images), labels), len(labels))

    @tf.function
    def test_alone() -> np.integer:
        """How many of all test images this replica's own copy names rightly."""
        return count_hits(scores(weights, bias, test_images), test_labels)

    batches = list(strategy.experimental_distribute_dataset(in_batches(*train, batch_size)))
    total = steps_of(job, epochs, batches)
    losses: list[float] = []
    for step in range(total):
        if step % len(batches) == 0:
            accuracy.reset()
            losses.clear()
        loss = strategy.run(train_step, args=batches[step % len(batches)])
        losses.append(mean_over_replicas(strategy, loss))
        if (step + 1) % len(batches) == 0 or step + 1 == total:
            for variable in (weights, bias):
                if variable.synchronization is tf.VariableSynchronization.ON_READ:
                    # What ON_READ owes: the copies stay apart until somebody reads their mean.
                    variable.assign(variable.read_value())
        job.progress(step + 1, total, loss=losses[-1])

    result: dict[str, object] = {
        "steps": int(steps_done.read_value()),
        "epochs": total / len(batches),
        "train_loss": float(np.mean(losses)),
        "train_accuracy": accuracy.result(),
    }
    accuracy.reset()
    (test,) = strategy.experimental_distribute_dataset([(test_images, test_labels)])
    strategy.run(test_step, args=test)
    result["test_accuracy"] = accuracy.result()
    alone = strategy.experimental_local_results(strategy.run(test_alone))
    return result | {"replica_test_accuracy": [int(hits) / len(test_labels) for hits in alone]}
