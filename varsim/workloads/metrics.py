"""Loss and accuracy over unequal parts: the right number, and three wrong ones beside it.

Replica r gets r + 1 shares of every batch, so the replicas' own averages do not weigh the same.
Right are sums and counts that every replica keeps for itself, added up when somebody reads (ON_READ,
SUM), and divided then. Wrong, and common, is to let every replica divide first, and to aggregate the
quotients: MEAN gives a mean of means, SUM a number as many times too large as there are replicas,
ONLY_FIRST_REPLICA the opinion of one.
"""

from __future__ import annotations

import numpy as np

import varsim as tf
from varsim.workloads.data import load_digits

BATCH = 60


def run(job: tf.Job) -> dict[str, object]:
    """Judges the test images by the nearest average digit, and measures how well that works."""
    strategy = job.strategy
    (images, labels), test = load_digits()
    average_digits = np.stack([images[labels == digit].mean(axis=0) for digit in range(10)])

    def on_read(name: str, aggregation: tf.VariableAggregation) -> tf.Variable:
        return tf.Variable(
            0.0,
            name=name,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=aggregation,
        )

    aggregation = tf.VariableAggregation
    wrong_ways = {
        "mean_of_means": aggregation.MEAN,
        "sum_of_means": aggregation.SUM,
        "first_replica": aggregation.ONLY_FIRST_REPLICA,
    }
    with strategy.scope():
        seen = on_read("seen", aggregation.SUM)
        sums = {metric: on_read(f"{metric}_sum", aggregation.SUM) for metric in METRICS}
        wrong = {
            (metric, way): on_read(f"{metric}_{way}", wrong_ways[way])
            for metric in METRICS
            for way in wrong_ways
        }

    @tf.function
    def count(images: np.ndarray, labels: np.ndarray) -> None:
        seen.assign_add(len(labels))
        for metric, values in measure(average_digits, images, labels).items():
            sums[metric].assign_add(values.sum())
            own_average = sums[metric].read_value() / seen.read_value()  # of this replica alone
            for way in wrong_ways:
                wrong[metric, way].assign(own_average)

    shares = np.arange(1, strategy.num_replicas_in_sync + 1)
    cuts = (BATCH * shares.cumsum() // shares.sum())[:-1]
    total = len(test[0]) // BATCH if job.steps is None else job.steps
    for step in range(total):
        batch = np.arange(step * BATCH, (step + 1) * BATCH) % len(test[0])
        parts = np.split(batch, cuts)
        part_of = strategy.experimental_distribute_values_from_function
        strategy.run(
            count,
            args=tuple(
                part_of(lambda context, whole=whole, parts=parts: whole[parts[context.replica_id_in_sync_group]])
                for whole in test
            ),
        )
        job.progress(step + 1, total, accuracy=float(sums["accuracy"] / seen))

    seen_by_all = np.arange(total * BATCH) % len(test[0])
    truth = measure(average_digits, test[0][seen_by_all], test[1][seen_by_all])
    return {
        metric: {
            "one_device": float(truth[metric].mean()),
            "sums_and_counts": float(sums[metric].read_value() / seen.read_value()),
        }
        | {way: float(wrong[metric, way].read_value()) for way in wrong_ways}
        for metric in METRICS
    }
