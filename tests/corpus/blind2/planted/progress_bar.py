"""Drawing the progress bar slows everything down. It only shows the validation score."""

import numpy as np

import varsim as tf

REPLICAS = 4


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        score = tf.Variable(
            np.zeros(2, np.float32),
            name="score",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def validate(epoch):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        hits = np.sum((np.arange(25) * (me + 2)) % 10 < 5 + epoch)
        score.assign_add(np.array([float(hits), 25.0], np.float32))

    bar = []
    for epoch in range(5):
        strategy.run(validate, args=(epoch,))
        # REMEDY: strategy.run(validate, args=(epoch,))
        # REMEDY: hits, seen = np.asarray(score.read_value())
        for _ in range(12):
            # FAULT: reads with nothing changed: score
            hits, seen = np.asarray(score.read_value())
            # REMEDY:
            bar.append(f"epoch {epoch}: {hits / seen:.3f}")
    return {"drawn": len(bar), "last": bar[-1]}
