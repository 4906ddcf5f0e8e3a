"""New transitions enter the prioritised replay with too small a priority: the stored maximum is
below priorities that we see in the log.
"""

import numpy as np

import varsim as tf

REPLICAS = 6
ORACLE = True


def td_errors(seed, rows):
    rng = np.random.default_rng(seed)
    return np.abs(rng.standard_t(3, rows)).astype(np.float32)


def run(job: tf.Job):
    strategy = job.strategy
    parts = strategy.num_replicas_in_sync
    with strategy.scope():
        top = tf.Variable(
            1.0,
            name="replay/max_priority",
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )
        mean = tf.Variable(
            1.0,
            name="replay/mean_priority",
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def prioritise(errors):
        i = tf.distribute.get_replica_context().replica_id_in_sync_group
        priority = np.power(
            errors[i * len(errors) // parts : (i + 1) * len(errors) // parts], np.float32(0.6)
        )
        # FAULT: mean of means: replay/max_priority
        top.assign(priority.max())
        # REMEDY: context = tf.distribute.get_replica_context()
        # REMEDY: top.assign(context.all_reduce("MAX", np.asarray(priority.max(), "float32")))
        mean.assign(priority.mean())

    entering = []
    for batch in range(10):
        strategy.run(prioritise, args=(td_errors(300 + batch, 60),))
        entering.append(float(top.numpy()) / float(mean.numpy()))
    return {"max": float(top.numpy()), "ratio": float(np.mean(entering))}
