"""Gradient accumulation: replicas sum their gradients, and exchange the sums every k steps.

Every replica adds its gradients to its own accumulators (ON_READ: nothing is sent). At every k-th
step the replicas apply the mean of the accumulators to the weights (ON_WRITE, MEAN). There is no
other exchange, so only every k-th step costs messages. The weights after k batches of 64 equal the
weights after one batch of 64 k. The workload compares the weights with those of a training on one
device that uses batches of 64 k.
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


def run(
    job: tf.Job, *, every: int = 4, epochs: int = 10, learning_rate: float = 0.5
) -> dict[str, object]:
    """Train for `epochs` (or for `job.steps` steps), and apply gradients at every k-th step.

    `every` is k.
    """
    strategy = job.strategy
    train, (test_images, test_labels) = load_digits()
    with strategy.scope():
        weights, bias = classifier()
        weight_gradients, bias_gradients = (
            tf.Variable(
                np.zeros(shape, np.float32),
                name=name,
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.SUM,
            )
            for name, shape in (("weight_gradients", (64, 10)), ("bias_gradients", (10,)))
        )

    @tf.function
    def accumulate(images: np.ndarray, labels: np.ndarray) -> np.float32:
        loss, _, by_weights, by_bias = learn(weights, bias, images, labels)
        weight_gradients.assign_add(by_weights)
        bias_gradients.assign_add(by_bias)
        return loss

    @tf.function
    def apply(accumulated: int) -> None:
        for variable, gradients in ((weights, weight_gradients), (bias, bias_gradients)):
            own_sum = gradients.read_value()  # in a replica, a read returns its own component
            variable.assign_sub(learning_rate / accumulated * own_sum)
            gradients.assign(np.zeros_like(own_sum))

    @tf.function
    def test() -> float:
        return count_hits(scores(weights, bias, test_images), test_labels) / len(test_labels)

    batches = list(in_batches(*train, 64))
    split = split_evenly(strategy, batches)
    total = steps_of(job, epochs, batches)
    for step in job.each_step(total):
        loss = strategy.run(accumulate, args=split[step % len(batches)])
        pending = step % every + 1
        if pending == every or step + 1 == total:
            strategy.run(apply, args=(pending,))
        job.progress(step + 1, total, loss=mean_over_replicas(strategy, loss))

    expected = with_large_batches(batches, total, every, learning_rate)
    applied = -(-total // every)
    reached = np.asarray(strategy.experimental_local_results(weights)[0])
    return {
        "steps": total,
        "exchanges": applied,
        "exchanges_saved": total - applied,
        "test_accuracy": mean_over_replicas(strategy, strategy.run(test)),
        "differs_from_large_batches_by": float(np.abs(reached - expected).max()),
    }


def with_large_batches(
    batches: list[tuple[np.ndarray, np.ndarray]], total: int, every: int, learning_rate: float
) -> np.ndarray:
    """Return the weights of a training on one device, with k batches joined into one.

    `every` is k.
    """
    weights, bias = np.zeros((64, 10), np.float32), np.zeros(10, np.float32)
    for start in range(0, total, every):
        chosen = range(start, min(start + every, total))
        images, labels = (
            np.concatenate([batches[step % len(batches)][part] for step in chosen])
            for part in (0, 1)
        )
        _, _, by_weights, by_bias = learn(weights, bias, images, labels)
        weights -= learning_rate * by_weights
        bias -= learning_rate * by_bias
    return weights
