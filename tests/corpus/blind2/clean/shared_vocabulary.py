"""All workers need the counts of all workers at every step. Is ON_WRITE right for that?"""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        counts = tf.Variable(
            np.zeros(6, np.int32),
            name="counts",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.SUM,
        )
        rare = tf.Variable(
            0,
            name="rare",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def step(words):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = words[me]
        counts.assign_add(np.bincount(mine, minlength=6).astype(np.int32))
        known = np.asarray(counts.read_value())
        rare.assign_add(int(np.sum(known[mine] < 0.1 * known.sum())))

    random = np.random.default_rng(13)
    for _ in range(16):
        strategy.run(
            step, args=(random.choice(6, size=(3, 9), p=[0.4, 0.25, 0.15, 0.1, 0.06, 0.04]),)
        )
    return {"rare": int(rare.read_value()), "counts": counts.read_value().tolist()}
