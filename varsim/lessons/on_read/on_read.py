"""Lesson 3: counters that are merged at every write, or only when the program reads them."""

import numpy as np

import varsim as tf

BATCH = 40


def run(job: tf.Job, *, read_inside: bool = False) -> dict[str, object]:
    """Count right predictions, batch by batch; each replica counts its part of the batch."""
    strategy = job.strategy
    right = predictions()
    with strategy.scope():
        correct = tf.Variable(0, name="correct", aggregation=tf.VariableAggregation.SUM)
        seen = tf.Variable(0, name="seen", aggregation=tf.VariableAggregation.SUM)

    @tf.function
    def count(start: int) -> float:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        part = np.array_split(right[start : start + BATCH], strategy.num_replicas_in_sync)[replica]
        correct.assign_add(int(part.sum()))
        seen.assign_add(len(part))
        return float(correct.read_value() / seen.read_value()) if read_inside else 0.0

    for step in job.each_step(len(right) // BATCH):
        inside = strategy.run(count, args=(step * BATCH,))
    accuracy = float(correct.read_value() / seen.read_value())
    if not read_inside:
        return {"accuracy": accuracy}
    last = strategy.experimental_local_results(inside)
    return {"accuracy": accuracy, "accuracy_inside": [round(one, 4) for one in last]}


def predictions() -> np.ndarray:
    """Return 1 for a right prediction and 0 for a wrong one, for 1,000 examples."""
    example = np.arange(1000)
    return np.where(example % 40 < 20, example % 5 > 0, example % 10 > 0).astype(np.int64)
