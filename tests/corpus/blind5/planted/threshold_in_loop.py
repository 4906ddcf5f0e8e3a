"""Scoring a few hundred rows after the calibration takes much longer than the calibration itself."""

import numpy as np

import varsim as tf

REPLICAS = 2
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        cut = tf.Variable(
            0.0,
            name="cut_off",
            dtype=tf.float64,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.MEAN,
        )
    rng = np.random.default_rng(6)

    def calibrate(scores):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = np.array_split(scores, strategy.num_replicas_in_sync)[me]
        cut.assign_add(0.2 * (float(mine.mean()) + 2.0 - float(cut.read_value())))

    for _ in range(10):
        strategy.run(calibrate, args=(rng.gamma(2.0, 1.0, 40),))

    rows = rng.gamma(2.0, 1.0, 120)
    flagged = []
    for number, score in enumerate(rows):
        # FAULT: reads with nothing changed: cut_off
        if score > float(cut.read_value()):
            flagged.append(number)
    # REMEDY: limit = float(cut.read_value())
    # REMEDY: for number, score in enumerate(rows):
    # REMEDY:     if score > limit:
    # REMEDY:         flagged.append(number)
    return {"flagged": len(flagged), "first": flagged[:3]}
