"""Softmax regression on handwritten digits, data-parallel: the built-in job.

Every step takes the next 64 images and gives each replica its part of them. `weights` and `bias`
are *free* variables, created without a synchronization, so `--mode` sets their synchronization:

    on_write  every write is immediately averaged over the replicas: synchronous training
    on_read   every replica trains its own copy; at the end of each epoch the program reads the mean
              and assigns it to all copies: local SGD
    none      every replica trains alone, and the copies drift apart
    auto      the strategy chooses: on_write

A counter has one right setting, so the counters are not free. The workload uses no random numbers,
so every run has the same result.
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
    log_losses,
    scores,
    split_evenly,
    steps_of,
)


def run(
    job: tf.Job,
    *,
    epochs: int = 20,
    learning_rate: float = 0.5,
    batch_size: int = 64,
    steps_per_execution: int = 22,
) -> dict[str, object]:
    """Train for `epochs` (or for `job.steps` steps), and test.

    If a batch cannot be split evenly, some replicas get one image more. Then the mean of the
    replicas' gradients differs slightly from the batch's gradient. `steps_per_execution` is the
    number of steps in one `strategy.run`; with 1, the program waits for replicas at every step.
    """
    if steps_per_execution < 1:
        raise ValueError("steps_per_execution must be at least 1")
    strategy = job.strategy
    train_set, test_set = load_digits()
    with strategy.scope():
        weights, bias = classifier()
        accuracy = Accuracy()
        steps_done = counter_of_steps()

    @tf.function
    def train(batches: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        losses, right = [], []
        for images, labels in batches:  # this replica's part of each batch
            loss, hits, by_weights, by_bias = learn(weights, bias, images, labels)
            weights.assign_sub(learning_rate * by_weights)
            bias.assign_sub(learning_rate * by_bias)
            accuracy.count(hits, len(labels))
            steps_done.assign_add(1)
            losses.append(loss)
            right.append(hits)
        return np.stack(losses), np.stack(right)

    batches = split_evenly(strategy, in_batches(*train_set, batch_size))
    total = steps_of(job, epochs, batches)
    losses: list[float] = []  # the losses of the current epoch
    right: list[int] = []  # the right answers of its steps
    for step in job.each_step(total, keep={"losses": losses, "right": right}):
        if (position := step % len(batches)) == 0:
            accuracy.reset()
            losses.clear()
            right.clear()
        if position % steps_per_execution == 0:  # do this step and the other steps of its execution
            some = batches[position:][: min(steps_per_execution, total - step)]
            loss, hits = strategy.run(train, args=(some,))
            losses += strategy.reduce(tf.distribute.ReduceOp.MEAN, loss, axis=None).tolist()
            right += strategy.reduce(tf.distribute.ReduceOp.SUM, hits, axis=None).tolist()
            log_losses(job, step, losses[position:])
            done = step + len(some)
            if len(losses) == len(batches) or done == total:  # before the progress, which shows it
                job.log(step=done, accuracy=sum(right) / (len(right) * batch_size))
            job.progress(done, total)
        if position + 1 == len(batches) or step + 1 == total:
            average_copies(weights, bias)

    result: dict[str, object] = {
        "steps": int(steps_done.read_value()),
        "epochs": total / len(batches),
        "train_loss": float(np.mean(losses)),
        "train_accuracy": accuracy.result(),
    }
    return result | tested(strategy, (weights, bias), accuracy, test_set)


def tested(
    strategy: tf.distribute.Strategy,
    model: tuple[tf.Variable, tf.Variable],
    accuracy: Accuracy,
    test_set: tuple[np.ndarray, np.ndarray],
) -> dict[str, object]:
    """Return the accuracy on the test images: of all replicas together, and of each copy alone."""

    @tf.function
    def test(images: np.ndarray, labels: np.ndarray) -> None:
        accuracy.count(count_hits(scores(*model, images), labels), len(labels))

    @tf.function
    def test_alone() -> np.integer:  # tests this replica's own copy on all test images
        return count_hits(scores(*model, test_set[0]), test_set[1])

    accuracy.reset()
    (test_parts,) = split_evenly(strategy, [test_set])
    strategy.run(test, args=test_parts)
    of_all = accuracy.result()
    alone = strategy.experimental_local_results(strategy.run(test_alone))
    return {
        "test_accuracy": of_all,
        "replica_test_accuracy": [int(hits) / len(test_set[1]) for hits in alone],
    }


def average_copies(*variables: tf.Variable) -> None:
    """Make the copies equal at the end of an epoch, as the program must do under ON_READ.

    With other synchronizations, there is nothing to do.
    """
    for variable in variables:
        if variable.synchronization is tf.VariableSynchronization.ON_READ:
            variable.assign(variable.read_value())


def counter_of_steps() -> tf.Variable:
    """Create a counter of steps that all replicas do; SUM would count each step N times.

    All components have the same value, so no exchange is needed before a read.
    """
    return tf.Variable(
        0,
        name="steps_done",
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )
