"""Loss and accuracy over unequal parts: the right number, and three wrong ones beside it.

Replica r gets r + 1 shares of every batch, so the replicas' own averages do not weigh the same.
Right are sums and counts that every replica keeps for itself, added up when somebody reads
(ON_READ, SUM), and divided then. Wrong, and common, is to let every replica divide first and to
aggregate the quotients: MEAN gives a mean of means, SUM a number as many times too large as there
are replicas, ONLY_FIRST_REPLICA the opinion of one.
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
    """Names each test image after the nearest average digit, and measures how well that works."""
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
            # In a replica, a read gives the replica's own: this quotient is of its images alone.
            own_average = totals[metric].read_value() / np.maximum(seen.read_value(), 1)
            for variable in wrong[metric].values():
                variable.assign(own_average)

    total = len(test_labels) // BATCH if job.steps is None else job.steps
    for step in range(total):
        strategy.run(count, args=(step * BATCH,))
        job.progress(step + 1, total, accuracy=float(totals["accuracy"] / seen))

    rows = np.arange(total * BATCH) % len(test_labels)  # all that was seen, on one device
    return {
        metric: {
            "one_device": float(measured[metric][rows].mean()),
            "sums_and_counts": float(totals[metric] / seen),
        }
        | {f"{way}_of_means": float(v.read_value()) for way, v in wrong[metric].items()}
        for metric in METRICS
    }


def counter(name: str, aggregation: tf.VariableAggregation) -> tf.Variable:
    """Every replica keeps its own; nothing travels until somebody outside the replicas reads."""
    return tf.Variable(
        0.0,
        name=name,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=aggregation,
    )


def measure(
    average_digits: np.ndarray, images: np.ndarray, labels: np.ndarray
) -> dict[str, np.ndarray]:
    """For each image, how far it is from the average of its digit, and whether that is nearest."""
    distances = ((images[:, None] - average_digits) ** 2).mean(axis=2)
    return {
        "loss": distances[np.arange(len(labels)), labels],
        "accuracy": (distances.argmin(axis=1) == labels).astype(np.float32),
    }
