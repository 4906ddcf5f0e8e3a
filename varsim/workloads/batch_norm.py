"""Batch normalisation: the error of moving statistics that are aggregated over replicas.

Each replica normalises with the mean and the variance of its own part of the batch, and keeps
moving averages of the mean and the variance for later use (ON_READ, MEAN: nothing is sent before a
cross-replica read).
The aggregated mean is right. The aggregated variance is too small: a mean of the parts' variances
does not contain the distances between the parts' means. The error is larger if the parts are less
similar (`by_label`). `synchronized` averages the statistics in every step, which costs one message
per replica and step.
"""

from __future__ import annotations

import numpy as np

import varsim as tf
from varsim.workloads.data import load_digits
from varsim.workloads.softmax import (
    classifier,
    count_hits,
    in_batches,
    learn,
    mean_over_replicas,
    scores,
    split_evenly,
    steps_of,
)

EPSILON = 1e-3


def run(
    job: tf.Job,
    *,
    epochs: int = 5,
    learning_rate: float = 0.1,
    momentum: float = 0.9,
    by_label: bool = False,
    synchronized: bool = False,
) -> dict[str, object]:
    """Train a classifier on normalised images, and compare the statistics that it could save.

    With `by_label` each batch is sorted before the split, so that replicas see different digits.
    """
    strategy = job.strategy
    train, (test_images, test_labels) = load_digits()
    with strategy.scope():
        weights, bias = classifier()
        moving_mean = moving("moving_mean", np.zeros(64, np.float32))
        moving_variance = moving("moving_variance", np.ones(64, np.float32))

    @tf.function
    def train_step(images: np.ndarray, labels: np.ndarray) -> np.float32:
        mean, variance = images.mean(axis=0), images.var(axis=0)
        if synchronized:
            mean, square = tf.distribute.get_replica_context().all_reduce(
                tf.distribute.ReduceOp.MEAN, (mean, (images * images).mean(axis=0))
            )
            variance = np.maximum(square - mean * mean, 0)
        moving_mean.assign_add((mean - moving_mean.read_value()) * (1 - momentum))
        moving_variance.assign_add((variance - moving_variance.read_value()) * (1 - momentum))
        normal = normalize(images, mean, variance)
        loss, _, by_weights, by_bias = learn(weights, bias, normal, labels)
        weights.assign_sub(learning_rate * by_weights)
        bias.assign_sub(learning_rate * by_bias)
        return loss

    @tf.function
    def accuracy_with(mean: np.ndarray, variance: np.ndarray) -> float:
        normal = normalize(test_images, mean, variance)
        return count_hits(scores(weights, bias, normal), test_labels) / len(test_labels)

    batches = list(in_batches(*train, 64))
    if by_label:
        orders = [labels.argsort(kind="stable") for _, labels in batches]
        batches = [(x[order], y[order]) for (x, y), order in zip(batches, orders, strict=True)]
    total = steps_of(job, epochs, batches)
    split = split_evenly(strategy, batches)
    for step in job.each_step(total):
        loss = strategy.run(train_step, args=split[step % len(batches)])
        job.progress(step + 1, total, loss=mean_over_replicas(strategy, loss))

    whole_mean, whole_variance = of_one_device(batches, total, momentum)
    kept = moving_mean, moving_variance
    first_of_each = (strategy.experimental_local_results(variable)[0] for variable in kept)
    candidates = {
        "whole_batch": (whole_mean, whole_variance),
        "aggregated": tuple(variable.read_value() for variable in kept),
        "first_replica": tuple(component.read_value() for component in first_of_each),
    }
    return {
        name: {
            "mean_off_by_at_most": float(np.abs(mean - whole_mean).max()),
            "variance_missing": 1 - float(variance.sum() / whole_variance.sum()),
            "test_accuracy": mean_over_replicas(
                strategy, strategy.run(accuracy_with, args=(mean, variance))
            ),
        }
        for name, (mean, variance) in candidates.items()
    }


def of_one_device(
    batches: list[tuple[np.ndarray, np.ndarray]], total: int, momentum: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the moving statistics of one device that gets whole batches: the right values."""
    mean, variance = np.zeros(64, np.float32), np.ones(64, np.float32)
    for step in range(total):
        images, _ = batches[step % len(batches)]
        mean += (images.mean(axis=0) - mean) * (1 - momentum)
        variance += (images.var(axis=0) - variance) * (1 - momentum)
    return mean, variance


def moving(name: str, initial: np.ndarray) -> tf.Variable:
    """Create a statistic with a component per replica; a cross-replica read averages these."""
    return tf.Variable(
        initial,
        name=name,
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.MEAN,
    )


def normalize(images: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return normalised images: pixels with this mean and variance get mean 0 and variance 1."""
    return np.asarray((images - mean) / np.sqrt(variance + np.float32(EPSILON)))
