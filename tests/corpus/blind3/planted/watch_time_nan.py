"""After some minutes the dashboard shows "nan" for the watch time of the clicked videos, and the
curve never comes back.
"""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True


def sessions(rng, count=16, bots=()):
    """Each session has four impressions and one click; bots do not click."""
    clicked = np.zeros((count, 4), np.float32)
    clicked[np.arange(count), rng.integers(0, 4, count)] = 1
    clicked[list(bots)] = 0
    seconds = rng.gamma(2.0, 40.0, (count, 4)).astype(np.float32)
    return np.stack([clicked, seconds], axis=-1)


def run(job: tf.Job):
    strategy = job.strategy
    rng = np.random.default_rng(17)
    with strategy.scope():
        watch = tf.Variable(
            60.0,
            name="dashboard/watch_seconds",
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )
        shown = tf.Variable(
            0,
            name="dashboard/impressions",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def update(batch):
        rows = batch.reshape(-1, 2)
        clicks = rows[rows[:, 0] > 0.5, 1]
        with np.errstate(invalid="ignore", divide="ignore"):
            moved = 0.9 * watch + 0.1 * (np.float32(clicks.sum()) / np.float32(len(clicks)))
            # REMEDY: clicked = np.float32(max(1, len(clicks)))
            # REMEDY: moved = 0.9 * watch + 0.1 * (np.float32(clicks.sum()) / clicked)
        # FAULT: NaN or infinity: dashboard/watch_seconds
        watch.assign(moved)
        shown.assign_add(len(rows))

    batches = [sessions(rng, bots=range(4, 8) if i == 5 else ()) for i in range(9)]
    curve = []
    for batch in strategy.experimental_distribute_dataset(batches):
        strategy.run(update, args=(batch,))
        curve.append(float(watch.numpy()))
    return {
        "watch": curve[-1],
        "impressions": int(shown.numpy()),
        "usable": int(np.isfinite(curve).sum()),
    }
