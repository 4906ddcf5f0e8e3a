"""The model that the workloads train: softmax regression on 8 x 8 images, in NumPy.

This module is not a workload. It contains the code that the workloads share. The workloads differ
in the settings and the uses of their variables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

import varsim as tf


def classifier() -> tuple[tf.Variable, tf.Variable]:
    """Create free weights and bias with MEAN, so that a write averages all replicas' values."""
    return (
        tf.Variable(
            np.zeros((64, 10), np.float32), name="weights", aggregation=tf.VariableAggregation.MEAN
        ),
        tf.Variable(np.zeros(10, np.float32), name="bias", aggregation=tf.VariableAggregation.MEAN),
    )


class Accuracy:
    """Two counters with a component per replica (ON_READ); a read adds the components (SUM)."""

    def __init__(self) -> None:
        self.correct, self.seen = (
            tf.Variable(
                0,
                name=name,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.SUM,
            )
            for name in ("correct", "seen")
        )

    def count(self, hits: np.integer, images: int) -> None:
        """Count this replica's images. Sends nothing."""
        self.correct.assign_add(hits)
        self.seen.assign_add(images)

    def result(self) -> float:
        """Return the accuracy over all replicas. Call it in cross-replica context."""
        return float(self.correct.read_value() / self.seen.read_value())

    def reset(self) -> None:
        """Set the counters of all replicas to 0. Call it in cross-replica context."""
        self.correct.assign(0)
        self.seen.assign(0)


def in_batches(
    images: np.ndarray, labels: np.ndarray, size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield consecutive full batches, without the remainder."""
    if not 1 <= size <= len(images):
        raise ValueError(f"batch_size must be from 1 to {len(images)}, the number of images")
    for start in range(0, len(images) - size + 1, size):
        yield images[start : start + size], labels[start : start + size]


def split_evenly(
    strategy: tf.distribute.Strategy, batches: Iterable[tuple[np.ndarray, np.ndarray]]
) -> list[Any]:
    """Split every batch into one part per replica; sizes differ by one image at most.

    `experimental_distribute_dataset` rounds up, as TensorFlow does: 12 replicas get 6, 6, ..., 4
    and 0 of 64 images, and the mean loss over 0 images is NaN.
    """

    def split(batch: tuple[np.ndarray, np.ndarray]) -> Any:
        count = strategy.num_replicas_in_sync
        if len(batch[1]) < count:
            raise ValueError(
                f"a batch of {len(batch[1])} images cannot be split over {count} replicas: "
                "give params.batch_size, or fewer workers"
            )
        parts = [np.array_split(array, count) for array in batch]
        return strategy.experimental_distribute_values_from_function(
            lambda replica: tuple(part[replica.replica_id_in_sync_group] for part in parts)
        )

    return [split(batch) for batch in batches]


def steps_of(job: tf.Job, epochs: int, batches: Sequence[object]) -> int:
    """Return the job's number of steps, or else the number of steps of `epochs` epochs."""
    steps = job.steps or epochs * len(batches)
    if steps < 1:
        raise ValueError("there is nothing to train: epochs must be at least 1")
    return steps


def scores(weights: ArrayLike, bias: ArrayLike, images: np.ndarray) -> np.ndarray:
    """Return the score of each image for each digit, (n, 10). Takes variables and arrays."""
    return np.asarray(images @ np.asarray(weights) + np.asarray(bias))


def count_hits(scores: np.ndarray, labels: np.ndarray) -> np.integer:
    """Return how many images have the highest score for their own digit."""
    hits: np.integer = np.sum(scores.argmax(axis=1) == labels)
    return hits


def learn(
    weights: ArrayLike, bias: ArrayLike, images: np.ndarray, labels: np.ndarray
) -> tuple[np.float32, np.integer, np.ndarray, np.ndarray]:
    """Return the mean loss, the number of right answers, and the gradients by weights and bias."""
    logits = scores(weights, bias, images)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    of_label = probabilities[np.arange(len(labels)), labels]
    error = (probabilities - np.eye(10, dtype=np.float32)[labels]) / np.float32(len(labels))
    loss: np.float32 = -np.log(of_label).mean()
    return loss, count_hits(logits, labels), images.T @ error, error.sum(axis=0)


def log_losses(job: tf.Job, done: int, losses: Iterable[float]) -> None:
    """Log the losses of the steps after the first `done` steps, which one `strategy.run` did."""
    for step, loss in enumerate(losses, done + 1):
        job.log(step=step, loss=loss)


def mean_over_replicas(strategy: tf.distribute.Strategy, value: object) -> float:
    """Return the mean of the replicas' values."""
    return float(strategy.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None))
