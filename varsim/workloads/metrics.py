"""Loss and accuracy over unequal parts: the right number, and three wrong numbers.

Replica r gets r + 1 shares of every batch, so the replicas' averages have different weights. The
right way: every replica keeps its own sums and counts (ON_READ, SUM). A cross-replica read returns
their sum, and then the program divides. A common mistake is to divide in every replica and to
aggregate the quotients: MEAN returns a mean of means, SUM returns N times the right number for N
replicas, and ONLY_FIRST_REPLICA returns the quotient of one replica.
"""

from __future__ import annotations

import numpy as np

import varsim as tf
from varsim.workloads.data import load_digits

BATCH = 60
METRICS = "loss", "accuracy"
WRONG = {
    "mean": tf.VariableAggregation.MEAN,
    "sum": tf.VariableAggregation.SUM,
    "first": tf.VariableAggregation.ONLY_FIRST_REPLICA,
}


def run(job: tf.Job) -> dict[str, object]:
    """Classify each test image by the nearest average digit, and measure loss and accuracy."""
    strategy = job.strategy
    (images, labels), (test_images, test_labels) = load_digits()
    average_digits = np.stack([images[labels == digit].mean(axis=0) for digit in range(10)])
    measured = measure(average_digits, test_images, test_labels)

    with strategy.scope():
        seen = counter("seen", tf.VariableAggregation.SUM)
        totals = {
            metric: counter(f"{metric}/total", tf.VariableAggregation.SUM) for metric in METRICS
        }
        wrong = {
            metric: {way: counter(f"{metric}/{way}", WRONG[way]) for way in WRONG}
            for metric in METRICS
        }
    shares = np.arange(strategy.num_replicas_in_sync + 1).cumsum()
    cuts = BATCH * shares // shares[-1]

    @tf.function
    def count(start: int) -> None:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        rows = np.arange(start + cuts[replica], start + cuts[replica + 1]) % len(test_labels)
        values = measure(average_digits, test_images[rows], test_labels[rows])
        seen.assign_add(len(rows))
        for metric in METRICS:
            totals[metric].assign_add(values[metric].sum())
            # A read in a replica returns its own component, so this is a mean of its own images.
            own_average = totals[metric].read_value() / np.maximum(seen.read_value(), 1)
            for variable in wrong[metric].values():
                variable.assign(own_average)

    total = job.steps or len(test_labels) // BATCH
    for step in job.each_step(total):
        strategy.run(count, args=(step * BATCH,))
        job.progress(step + 1, total, accuracy=float(totals["accuracy"] / seen))

    rows = np.arange(total * BATCH) % len(test_labels)  # all images, on one device
    return {
        metric: {
            "one_device": float(measured[metric][rows].mean()),
            "sums_and_counts": float(totals[metric] / seen),
        }
        | {f"{way}_of_means": float(v.read_value()) for way, v in wrong[metric].items()}
        for metric in METRICS
    }


def counter(name: str, aggregation: tf.VariableAggregation) -> tf.Variable:
    """Create a counter with a component per replica; only a cross-replica read sends messages."""
    return tf.Variable(
        0.0,
        name=name,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=aggregation,
    )


def measure(
    average_digits: np.ndarray, images: np.ndarray, labels: np.ndarray
) -> dict[str, np.ndarray]:
    """Return each image's distance from its digit's average, and whether no average is nearer."""
    distances = ((images[:, None] - average_digits) ** 2).mean(axis=2)
    return {
        "loss": distances[np.arange(len(labels)), labels],
        "accuracy": (distances.argmin(axis=1) == labels).astype(np.float32),
    }
