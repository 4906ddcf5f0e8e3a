"""The digits job under ParameterServerStrategy, for `benchmarks.ways`.

It is not an experiment: its strategy has no replicas, and `varsim run` does not record it.
"""

from __future__ import annotations

import time

import numpy as np

import varsim as tf
from varsim.workloads.data import load_digits
from varsim.workloads.softmax import count_hits, in_batches, learn, scores

RATE = 0.5
BATCH_SIZE = 64
EPOCHS = 10


def train(workers: int, steps: int | None = None) -> tuple[float, float]:
    """Train asynchronously, with a closure for each worker's part of each batch.

    Args:
        steps: The number of batches; by default those of `EPOCHS` epochs.
    Returns:
        The accuracy on the test images, and the seconds of the training.
    """
    train_set, test_set = load_digits()
    strategy = tf.distribute.ParameterServerStrategy(workers=workers, servers=1)
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    with strategy.scope():
        weights = tf.Variable(np.zeros((64, 10), np.float32), name="weights")
        bias = tf.Variable(np.zeros(10, np.float32), name="bias")

    def step(images: np.ndarray, labels: np.ndarray) -> None:
        _, _, by_weights, by_bias = learn(weights, bias, images, labels)
        weights.assign_sub(RATE / workers * by_weights)
        bias.assign_sub(RATE / workers * by_bias)

    batches = list(in_batches(*train_set, BATCH_SIZE))
    coordinator.schedule(lambda: None)
    coordinator.join()  # the workers have started
    began_s = time.perf_counter()
    for number in range(steps or EPOCHS * len(batches)):
        images, labels = batches[number % len(batches)]
        for part in zip(
            np.array_split(images, workers), np.array_split(labels, workers), strict=True
        ):
            coordinator.schedule(step, args=part)
    coordinator.join()
    took_s = time.perf_counter() - began_s
    hits = count_hits(scores(weights.numpy(), bias.numpy(), test_set[0]), test_set[1])
    return int(hits) / len(test_set[1]), took_s
