"""I keep the centre local and average it myself. Is there a setting that does this for me?"""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        centre = tf.Variable(
            np.zeros(2, np.float32),
            name="centre",
            synchronization=tf.VariableSynchronization.NONE,
            aggregation=tf.VariableAggregation.NONE,
        )
        # REMEDY: centre = tf.Variable(
        # REMEDY:     np.zeros(2, np.float32),
        # REMEDY:     name="centre",
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_WRITE,
        # REMEDY:     aggregation=tf.VariableAggregation.MEAN,
        # REMEDY: )

    def step(points):
        context = tf.distribute.get_replica_context()
        mine = points[context.replica_id_in_sync_group :: 3]
        pull = mine.mean(axis=0) - np.asarray(centre.read_value())
        centre.assign_add((0.3 * pull).astype(np.float32))
        # FAULT: manual synchronisation after every write: centre
        centre.assign(context.all_reduce(tf.distribute.ReduceOp.MEAN, centre.read_value()))
        # REMEDY:

    random = np.random.default_rng(41)
    for _ in range(10):
        strategy.run(step, args=(random.normal(size=(12, 2)) + np.array([1.0, 4.0]),))
    final = strategy.experimental_local_results(centre)[0].numpy()
    return {"centre": final.tolist()}
