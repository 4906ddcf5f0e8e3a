"""My step takes much longer now that I count tokens. I print the count only at the end."""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        tokens = tf.Variable(
            np.zeros(2, np.float32),
            name="tokens",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.SUM,
        )

    def step(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        sentence = (np.arange(20 + number) * (me + 3)) % 17
        known = float(np.sum(sentence < 12))
        # FAULT: merges that are never read: tokens
        tokens.assign_add(np.array([known, len(sentence) - known], np.float32))

    for number in range(24):
        strategy.run(step, args=(number,))
    known, unknown = (float(count) for count in tokens.read_value())
    return {"known": known, "unknown": unknown}
